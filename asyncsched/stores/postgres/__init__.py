"""The store in PostgreSQL: for any number of processes on any number of hosts.

This folder may import ``stores.sql``, and the folders that ``stores.sql`` may import; psycopg is imported here
only. Begin reading at ``store``.
"""

from asyncsched.stores.postgres.store import PostgresStore as PostgresStore
