"""The ledger in a SQLite file: several processes of one host, and nothing lost at ``kill -9``."""

from asyncsched.stores.sqlite.store import SqliteStore as SqliteStore
