"""Calls at a moment of the loop's time, for parts without a task that could sleep.

One task serves all timers of a worker. It never waits for the store, so a timeout is served while a claim
waits for a database that is locked or away.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncsched._backends.base import Sleeper
    from asyncsched.abc import Clock

logger = logging.getLogger("asyncsched.scheduler")

_LONG = 86_400.0
"""Seconds for which the task sleeps if there is no timer."""


class Timer:
    """One call at a moment; ``cancel`` makes its entry in the heap stale."""

    __slots__ = ("_timers", "call")

    def __init__(self, timers: Timers, call: Callable[[], object]) -> None:
        self._timers = timers
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """Cancel the call. Idempotent."""
        if self.call is not None:
            self.call = None
            self._timers.stale += 1


class Timers:
    """A heap of timers. Cancelled entries are dropped when they come to the top, or when there are many."""

    def __init__(self, clock: Clock, sleeper: Sleeper) -> None:
        self._clock = clock
        self._sleeper = sleeper
        self._heap: list[tuple[float, int, Timer]] = []
        self._numbers = count()
        self._closing = False
        self.stale = 0

    def now(self) -> float:
        """Return the loop's time."""
        return self._clock.monotonic()

    def at(self, when: float, call: Callable[[], object]) -> Timer:
        """Call ``call`` at the loop's time ``when``."""
        timer = Timer(self, call)
        heap = self._heap
        heappush(heap, (when, next(self._numbers), timer))
        if heap[0][2] is timer:
            self._sleeper.wake()
        if self.stale > 64 and self.stale * 2 > len(heap):
            self._heap = [entry for entry in heap if entry[2].call is not None]
            heapify(self._heap)
            self.stale = 0
        return timer

    async def serve(self) -> None:
        """Make the calls that are due, until :meth:`close`. A call that raises is logged, and stops no other timer."""
        while not self._closing:
            now = self._clock.monotonic()
            self._call_due(now)
            first = self._first()
            await self._sleeper.until(now + _LONG if first is None else first)

    def close(self) -> None:
        """End the task that serves the timers; timers can still be cancelled."""
        self._closing = True
        self._sleeper.wake()

    def _first(self) -> float | None:
        heap = self._heap
        while heap and heap[0][2].call is None:
            heappop(heap)
            self.stale -= 1
        return heap[0][0] if heap else None

    def _call_due(self, now: float) -> None:
        while (when := self._first()) is not None and when <= now:
            timer = heappop(self._heap)[2]
            call, timer.call = timer.call, None
            assert call is not None
            try:
                call()
            except Exception:
                logger.exception("a timer failed; the others are served")
