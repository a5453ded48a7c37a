"""The store in a SQLite file: for several processes of one host; it loses nothing at ``kill -9``.

This folder may import ``stores.sql``, and the folders that ``stores.sql`` may import. Begin reading at
``store``.
"""

from asyncsched.stores.sqlite.store import SqliteStore as SqliteStore
