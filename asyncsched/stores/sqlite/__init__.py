"""The store in a SQLite file: several processes of one host, and nothing lost at ``kill -9``.

This folder may import ``stores.sql``, and what that may import. Begin reading at ``store``.
"""

from asyncsched.stores.sqlite.store import SqliteStore as SqliteStore
