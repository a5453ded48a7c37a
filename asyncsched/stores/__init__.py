"""Stores, which keep schedules and runs: in memory, in a SQLite file, in PostgreSQL.

This folder may import ``_core``, ``abc`` and ``_backends``. Begin reading at ``memory/store``, whose methods do
in a few lines what the databases do in SQL; ``factory`` chooses a store by its URL.
"""
