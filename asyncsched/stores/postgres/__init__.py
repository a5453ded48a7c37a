"""The store in PostgreSQL: any number of processes on any number of hosts.

This folder may import ``stores.sql``, and what that may import; psycopg is imported here only. Begin reading at
``store``.
"""

from asyncsched.stores.postgres.store import PostgresStore as PostgresStore
