"""The ledger in PostgreSQL: any number of processes on any number of hosts."""

from asyncsched.stores.postgres.store import PostgresStore as PostgresStore
