"""What the scenarios share: clocks, percentiles, memory, and how the peers are driven.

The time module is read directly here: the schedulers are measured from outside.
"""

from __future__ import annotations

import gc
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` (0 to 1) of the values lie; infinite if nothing ran."""
    if not values:
        return float("inf")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def moment(epoch: float) -> datetime:
    """Return seconds since the epoch as an aware datetime."""
    return datetime.fromtimestamp(epoch, UTC)


def resident() -> int:
    """Return the bytes of memory that this process holds."""
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def aps3(**options: Any) -> Any:
    """Return APScheduler 3 as its documentation sets it up for an application on asyncio."""
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

    return AsyncIOScheduler(timezone=UTC, **options)


class Cpu:
    """The CPU seconds of this process since it was made, all threads included."""

    def __init__(self) -> None:
        self._began = time.process_time()

    def spent(self) -> float:
        """Return the seconds."""
        return time.process_time() - self._began


@contextmanager
def sqlite_statements() -> Iterator[list[str]]:
    """Yield the statements that SQLite's own trace hears of, without the looks at the file's version."""
    seen: list[str] = []

    class Traced(sqlite3.Connection):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.set_trace_callback(lambda sql: sql.startswith("PRAGMA data_version") or seen.append(sql))

    with _replaced(sqlite3, "connect", lambda *args, **options: Traced(*args, **options)):
        yield seen


@contextmanager
def postgres_statements() -> Iterator[list[str]]:
    """Yield the statements that PostgreSQL's driver is given, one for each row of many."""
    import psycopg

    seen: list[str] = []
    one, many = psycopg.Cursor.execute, psycopg.Cursor.executemany

    def execute(cursor: Any, query: Any, *args: Any, **options: Any) -> Any:
        seen.append(query if isinstance(query, str) else query.decode())
        return one(cursor, query, *args, **options)

    def executemany(cursor: Any, query: Any, rows: Any, **options: Any) -> Any:
        seen.extend([query if isinstance(query, str) else query.decode()] * len(rows))
        return many(cursor, query, rows, **options)

    with _replaced(psycopg.Cursor, "execute", execute), _replaced(psycopg.Cursor, "executemany", executemany):
        yield seen


@contextmanager
def _replaced(where: Any, name: str, value: Any) -> Iterator[None]:
    plain = getattr(where, name)
    setattr(where, name, value)
    try:
        yield
    finally:
        setattr(where, name, plain)
