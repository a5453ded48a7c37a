"""The part of a SQL store that keeps figures and the record of what people did."""

from __future__ import annotations

from collections.abc import Awaitable, Hashable
from contextlib import AbstractContextManager

from asyncsched._core.book import Book
from asyncsched._core.instants import Instant
from asyncsched._core.reporting import ActivityQuery, ActivityRecord, Entry
from asyncsched._core.requests import Added
from asyncsched.stores.sql.carrying import carried, carrying, payload_of
from asyncsched.stores.sql.connections import Connected
from asyncsched.stores.sql.operations import reporting
from asyncsched.stores.sql.operations.adding import Adding, add_carrying
from asyncsched.stores.sql.operations.history import PRUNED_AT_ONCE, forget


class Reporting(Connected):
    """Implements ``ReportingStore`` with the calls of a store's two threads."""

    async def add_tallies(self, counted: Book, source: int, number: int) -> None:
        """Add what an instance has counted, once."""
        await self._call(reporting.add_tallies, reporting.Adding(counted, source, number))

    async def tallies(self, version: int) -> tuple[Book, int]:
        """Return the tallies and periods that were written since a version, and the new version."""
        found: tuple[Book, int] = await self._read(lambda session: reporting.tallies(session, version))
        return found

    def along(self, entry: Entry) -> AbstractContextManager[None]:
        """Have the writes inside the block carry a record."""
        return carrying(entry)

    def _add(self, request: Adding, weight: int = 1, about: Hashable = None) -> Awaitable[list[Added]]:
        """Put runs into the ledger, with a record if one is carried."""
        if carried() is None:
            if weight == 1 and about is None:
                return self._insert(request)
            return self._write("add", request, weight, about=about)
        return self._write("call", payload_of(add_carrying, (request,)), weight, about=about)

    async def _forget(self, schedule: str, upto: Instant) -> int:
        """Drop the history of a schedule, in portions; return the number of runs."""
        total, some = 0, PRUNED_AT_ONCE
        while some == PRUNED_AT_ONCE:
            some = await self._call(forget, schedule, upto)
            total += some
        return total

    async def add_activity(self, one: ActivityRecord) -> None:
        """Keep a record of what somebody did."""
        await self._call(reporting.add_activity, one)

    async def activity(self, query: ActivityQuery) -> list[ActivityRecord]:
        """Return the records that match, newest first."""
        found: list[ActivityRecord] = await self._read(lambda session: reporting.activity(session, query))
        return found
