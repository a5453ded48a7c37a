"""Things to do at a moment of the loop's time, for those who have no task of their own to sleep."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count


class Timer:
    """One thing to do; ``cancel`` makes its entry stale."""

    __slots__ = ("_timers", "call")

    def __init__(self, timers: Timers, call: Callable[[], object]) -> None:
        self._timers = timers
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """Do not do it. Idempotent."""
        if self.call is not None:
            self.call = None
            self._timers.stale += 1


class Timers:
    """A heap of timers whose cancelled entries are dropped when they are met, or when they are many."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._numbers = count()
        self._wake = wake
        self.stale = 0

    def at(self, when: float, call: Callable[[], object]) -> Timer:
        """Have ``call`` called at the loop's time ``when``."""
        timer = Timer(self, call)
        heap = self._heap
        heappush(heap, (when, next(self._numbers), timer))
        if heap[0][2] is timer:
            self._wake()
        if self.stale > 64 and self.stale * 2 > len(heap):
            self._heap = [entry for entry in heap if entry[2].call is not None]
            heapify(self._heap)
            self.stale = 0
        return timer

    def peek(self) -> float | None:
        """Return when the next timer is due, or ``None``."""
        heap = self._heap
        while heap and heap[0][2].call is None:
            heappop(heap)
            self.stale -= 1
        return heap[0][0] if heap else None

    def run_due(self, now: float) -> None:
        """Call what is due."""
        while (when := self.peek()) is not None and when <= now:
            timer = heappop(self._heap)[2]
            call, timer.call = timer.call, None
            assert call is not None
            call()
