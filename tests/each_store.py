"""The durable stores as parameters of fixtures, each on one backend.

The conformance suite holds every store on both. What a test asks of the database itself, or of a
scheduler over it, does not depend on the backend, and every virtual hour costs hundreds of real round trips.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from asyncsched.stores.migrations import sql

# The statements of the PostgreSQL store are read from their files when it is imported: not in a test's event loop.
with contextlib.suppress(ImportError):
    import asyncsched.stores.postgres  # noqa: F401

on_trio, on_asyncio = pytest.mark.only_on("trio"), pytest.mark.only_on("asyncio")

SQLITE = pytest.param("sqlite", marks=on_trio)
POSTGRES = pytest.param("postgres", marks=on_asyncio)


@functools.cache
def _migrated() -> bytes:
    """Return a file with the tables and no row, made once: to make them anew takes longer than most tests."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        with closing(sqlite3.connect(file)) as connection:
            connection.executescript(f"PRAGMA journal_mode = WAL; BEGIN; {sql('sqlite:///new', 0)} COMMIT;")
        return file.read_bytes()


def sqlite_file(folder: Path) -> Path:
    """Return a database file in a folder, which already has the tables."""
    file = folder / "jobs.db"
    if not file.exists():
        file.write_bytes(_migrated())
    return file
