"""A heap of runs whose changed entries go stale and are dropped when they are met."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from asyncsched._core.records import RunRecord


class RunQueue:
    """Runs by a number, the older first where it is the same. A run stands in one queue at most.

    An entry is valid while its run says that it stands here, by this number. The comparison of two
    entries stays in C: number first, then the run's id, never the run.
    """

    __slots__ = ("_dead", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, RunRecord]] = []
        self._dead = 0

    def __len__(self) -> int:
        return len(self._heap) - self._dead

    def push(self, at: int, run: RunRecord) -> None:
        """Put a run in; the entry it has elsewhere goes stale."""
        if run.queue is not None:
            take_out(run)
        run.queue = self
        run.place = at
        heappush(self._heap, (at, run.id, run))

    def peek(self) -> int | None:
        """Return the least number of a valid entry."""
        heap = self._heap
        while heap:
            at, _, run = heap[0]
            if run.queue is self and run.place == at:
                return at
            heappop(heap)
            self._dead -= 1
        return None

    def pop(self, upto: int | None = None) -> RunRecord | None:
        """Take out the run with the least number, if that is at most ``upto``."""
        heap = self._heap
        while heap:
            at, _, run = heap[0]
            if run.queue is not self or run.place != at:
                heappop(heap)
                self._dead -= 1
            elif upto is not None and at > upto:
                return None
            else:
                heappop(heap)
                run.queue = None
                return run
        return None

    def died(self) -> None:
        """Hear that one entry went stale; rebuild when more than half are."""
        self._dead += 1
        if self._dead > 64 and self._dead * 2 > len(self._heap):
            # A run that came back by the number it had before has two entries that look valid: one is.
            valid = {
                run.id: (at, run.id, run)
                for at, _, run in self._heap
                if run.queue is self and run.place == at
            }
            self._heap = list(valid.values())
            heapify(self._heap)
            self._dead = 0


def take_out(run: RunRecord) -> None:
    """Take a run out of the queue it stands in, if any."""
    queue, run.queue = run.queue, None
    if queue is not None:
        queue.died()
