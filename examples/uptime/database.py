"""The monitor's own data in SQLite: the standard library's module, kept off the event loop."""

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio import CapacityLimiter, to_thread

SCHEMA = """
create table if not exists subscriber (email text primary key);
create table if not exists monitor (id integer primary key, url text not null unique, every real not null);
create table if not exists checked (
    monitor integer not null references monitor on delete cascade,
    at real not null, ms real not null, status integer, error text
);
create index if not exists checked_of_monitor on checked (monitor, at);
create table if not exists mail (id integer primary key, "to" text not null, subject text not null, text text not null);
create table if not exists news (id integer primary key, at real not null, text text not null);
"""
KEPT = 2_000  # checks of each monitor


class Database:
    """One connection, used by one worker thread at a time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._one = CapacityLimiter(1)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        self._connection = await self._call(sqlite3.connect, self._path, 5, 0, None, False)
        self._connection.row_factory = sqlite3.Row
        await self._call(
            self._connection.executescript, f"pragma journal_mode = wal; pragma foreign_keys = on; {SCHEMA}"
        )
        try:
            yield
        finally:
            self._connection.close()

    async def query(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """Execute one statement; return its rows."""
        rows: list[dict[str, Any]] = await self._call(
            lambda: [dict(row) for row in self._connection.execute(sql, values)]
        )
        return rows

    async def add_check(self, monitor: int, ms: float, status: int | None, error: str | None) -> None:
        """Write down one check, unless its monitor was removed meanwhile."""
        await self.query(
            "insert into checked select id, ?, ?, ?, ? from monitor where id = ?",
            time.time(), ms, status, error, monitor,
        )  # fmt: skip
        await self.query(
            "delete from checked where monitor = ? and at < (select at from checked "
            "where monitor = ? order by at desc limit 1 offset ?)",
            monitor, monitor, KEPT,
        )  # fmt: skip

    async def monitors(self) -> list[dict[str, Any]]:
        """Return the monitors, each with its last check and its share of good ones."""
        return await self.query(
            "select monitor.*, last.at, last.ms, last.status, last.error, counted.checks, counted.good "
            "from monitor left join (select monitor, max(at) as at, count(*) as checks, "
            "sum(error is null) as good from checked group by monitor) counted on counted.monitor = monitor.id "
            "left join checked last on last.monitor = monitor.id and last.at = counted.at order by monitor.id"
        )

    async def put_monitor(self, url: str, every: float) -> int:
        """Add a monitor, or change how often it is checked; return its number."""
        sql = (
            "insert into monitor (url, every) values (?, ?) "
            "on conflict do update set every = excluded.every returning id"
        )
        id: int = (await self.query(sql, url, every))[0]["id"]
        return id

    async def add_mail(self, to: str, subject: str, text: str) -> None:
        """Keep a mail that our own server has received: every worker can show it."""
        await self.query('insert into mail ("to", subject, text) values (?, ?, ?)', to, subject, text)

    async def add_news(self, text: str) -> None:
        """Keep a line of what happened to the workers."""
        await self.query("insert into news (at, text) values (?, ?)", time.time(), text[:300])

    async def _call(self, func: Any, *args: Any) -> Any:
        return await to_thread.run_sync(func, *args, limiter=self._one)
