"""The part of a SQL store that keeps figures and the record of what people did."""

from __future__ import annotations

from asyncsched._core.book import Book
from asyncsched._core.reporting import ActivityQuery, ActivityRecord
from asyncsched.stores.sql.connections import Connected
from asyncsched.stores.sql.operations import reporting


class Reporting(Connected):
    """Implements ``ReportingStore`` with the calls of a store's two threads."""

    async def add_tallies(self, counted: Book, source: int, number: int) -> None:
        """Add what an instance has counted, once."""
        await self._call(reporting.add_tallies, reporting.Adding(counted, source, number))

    async def tallies(self, version: int) -> tuple[Book, int]:
        """Return the tallies that were written since a version, all periods, and the new version."""
        now = self.clock.wall()
        found: tuple[Book, int] = await self._read(lambda session: reporting.tallies(session, version, now))
        return found

    async def add_activity(self, one: ActivityRecord) -> None:
        """Keep a record of what somebody did."""
        await self._call(reporting.add_activity, one)

    async def activity(self, query: ActivityQuery) -> list[ActivityRecord]:
        """Return the records that match, newest first."""
        found: list[ActivityRecord] = await self._read(lambda session: reporting.activity(session, query))
        return found
