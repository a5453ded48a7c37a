"""The figures of one store, counted as runs end, and the record of what people did.

Counting must not slow a run down, and a write for each end would: an instance counts in memory, and adds what it
has counted to the store once a second. Under a store that keeps no figures, the count in memory is all there is.
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Container
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context
from typing import TYPE_CHECKING

from asyncsched._core.book import Book
from asyncsched._core.errors import StoreUnavailable
from asyncsched._core.events import Event, SlotsSkipped
from asyncsched._core.instants import to_instant
from asyncsched._core.records import RunRecord
from asyncsched._core.reporting import ActivityQuery, ActivityRecord, Entry, ReportingStore
from asyncsched._core.tallies import LastSkip

if TYPE_CHECKING:
    from asyncsched._backends.clock import Timeline
    from asyncsched._engine.environment import Environment
    from asyncsched.abc import Store

logger = logging.getLogger("asyncsched.scheduler")

AT_ONCE = 64
"""The most ended runs of one subject that wait to be counted together: about 30 µs. Each alone would cost four times
as much."""

IN_ONE_TURN = 16
"""The subjects that are counted before other tasks get their turn: at most half a millisecond."""

EVERY = 1.0
"""Seconds between two writes."""

SUBJECTS_AT_ONCE = 100
"""The most tallies of one write, so that no beat waits for many."""

ACTIVITY_IN_MEMORY = 10_000


class Bookkeeper:
    """Counts the runs that end and the slots that get no run.

    Args:
        store: the ledger.
        timeline: its time.
        environment: the scheduler's shared parts.
        schedules: the ids of the schedules of this store: events of others are not counted.

    """

    wants = SlotsSkipped

    def __init__(
        self, store: Store, timeline: Timeline, environment: Environment, schedules: Container[str]
    ) -> None:
        self._store = store if isinstance(store, ReportingStore) else None
        self._timeline = timeline
        self._clock = environment.clock
        self._backend = environment.backend
        self._bus = environment.bus
        self._source = environment.ids.instance
        self._sleeper = environment.backend.sleeper()
        self._schedules = schedules
        self._ended: defaultdict[str | tuple[str], list[RunRecord]] = defaultdict(list)  # and not yet counted
        self._counted = Book()  # since the last write, or all
        self._known = Book()  # as it stands in the store
        self._version = -1
        self._writes = 0
        self._busy = self._closing = False
        self._activity: deque[ActivityRecord] = deque(maxlen=ACTIVITY_IN_MEMORY)
        self._bus.subscribe(self)

    # ── counting ─────────────────────────────────────────────────────────────────────────────

    def ended(self, run: RunRecord) -> None:
        """Count a run that has its outcome."""
        subject = run.schedule or (run.job,)
        ended = self._ended[subject]
        ended.append(run)
        if len(ended) == AT_ONCE:
            del self._ended[subject]
            self._counted.count(ended, self._timeline.now().wall)
        if self._store is not None and not self._busy:
            self._begin()

    async def _count(self) -> None:
        """Count all runs that have ended."""
        while self._ended:
            now = self._timeline.now().wall
            for _ in range(min(IN_ONE_TURN, len(self._ended))):
                self._counted.count(self._ended.popitem()[1], now)
            if self._ended:
                await self._backend.pause()

    def __call__(self, event: Event) -> None:
        """Count slots that got no run."""
        assert isinstance(event, SlotsSkipped)
        if event.schedule in self._schedules:
            at, first, last = to_instant(event.at), to_instant(event.first), to_instant(event.last)
            self._counted.skipped(event.schedule, LastSkip(at, first, last, event.count, event.reason))
            if self._store is not None and not self._busy:
                self._begin()

    # ── writing ──────────────────────────────────────────────────────────────────────────────

    def _begin(self) -> None:
        if not self._closing:
            self._busy = True
            self._backend.spawn(self._serve(), Context(), apart=True)

    async def _serve(self) -> None:
        """Write until nothing more was counted for as long as the time between two writes."""
        try:
            while self._ended or self._counted.tallies:
                until = self._clock.monotonic() + EVERY
                while not self._closing and self._clock.monotonic() < until:
                    await self._sleeper.until(until)
                await self._write()
        except Exception:
            logger.exception("the figures of runs could not be written; the next ones are tried again")
        finally:
            self._busy = False

    async def _write(self) -> None:
        assert self._store is not None
        await self._count()
        counted, self._counted = self._counted, Book()
        for part in _parts(counted):
            self._writes += 1
            while True:
                try:
                    await self._store.add_tallies(part, self._source, self._writes)
                    break
                except StoreUnavailable:
                    if self._closing:
                        return
                    until = self._clock.monotonic() + 5 * EVERY
                    while not self._closing and self._clock.monotonic() < until:
                        await self._sleeper.until(until)

    def close(self) -> None:
        """Write once more, and then no more."""
        self._closing = True
        self._bus.unsubscribe(self)
        self._sleeper.wake()

    # ── reading ──────────────────────────────────────────────────────────────────────────────

    async def tallies(self) -> Book:
        """Return the figures as they stand; do not change them."""
        if self._store is None:
            await self._count()
            return self._counted
        newer, self._version = await self._store.tallies(self._version)
        self._known.take(newer)
        return self._known

    def forget(self, schedule: str) -> None:
        """Begin the figures of a schedule anew, as far as they are not in the store."""
        if (ended := self._ended.pop(schedule, None)) is not None:
            self._counted.count(ended, self._timeline.now().wall)  # in the periods they stay
        self._counted.tallies.pop(f"schedule:{schedule}", None)

    # ── the record of what people did ────────────────────────────────────────────────────────

    def along(self, entry: Entry) -> AbstractContextManager[None]:
        """Have the writes inside the block carry a record; a store in memory has none that could be cut off from it."""
        return nullcontext() if self._store is None else self._store.along(entry)

    async def note(self, one: ActivityRecord) -> None:
        """Keep a record of what somebody did."""
        if self._store is None:
            self._activity.append(one)
        else:
            await self._store.add_activity(one)

    async def activity(self, query: ActivityQuery) -> list[ActivityRecord]:
        """Return the records that match, newest first."""
        if self._store is None:
            return [one for one in reversed(self._activity) if query.matches(one)][: query.limit]
        return await self._store.activity(query)


def _parts(book: Book) -> list[Book]:
    """Return a book in portions; the periods are in the first."""
    subjects = sorted(book.tallies)  # in one order everywhere, so that two writers cannot lock each other out
    parts = []
    for first in range(0, len(subjects), SUBJECTS_AT_ONCE):
        part = Book()
        part.tallies = {one: book.tallies[one] for one in subjects[first : first + SUBJECTS_AT_ONCE]}
        parts.append(part)
    parts[0].periods = book.periods
    return parts
