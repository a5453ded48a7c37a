"""A heap of runs: an entry goes stale when its run changes, and is dropped when it reaches the top."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from asyncsched._core.records import RunRecord


class RunQueue:
    """Runs ordered by a number; for equal numbers, the older run is first. A run is in one queue at most.

    An entry is valid while its run's ``queue`` is this queue and its ``place`` is this number. The
    comparison of two entries stays in C: number first, then the run's id, never the run.
    """

    __slots__ = ("_heap", "_stale")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, RunRecord]] = []
        self._stale = 0

    def __len__(self) -> int:
        return len(self._heap) - self._stale

    def push(self, at: int, run: RunRecord) -> None:
        """Add a run; its entry in another queue goes stale."""
        if run.queue is not None:
            take_out(run)
        run.queue = self
        run.place = at
        heappush(self._heap, (at, run.id, run))

    def peek(self) -> int | None:
        """Return the least number of a valid entry, or ``None``."""
        heap = self._heap
        while heap:
            at, _, run = heap[0]
            if run.queue is self and run.place == at:
                return at
            heappop(heap)
            self._stale -= 1
        return None

    def pop(self, upto: int | None = None) -> RunRecord | None:
        """Remove and return the run with the least number, if that is at most ``upto``."""
        heap = self._heap
        while heap:
            at, _, run = heap[0]
            if run.queue is not self or run.place != at:
                heappop(heap)
                self._stale -= 1
            elif upto is not None and at > upto:
                return None
            else:
                heappop(heap)
                run.queue = None
                return run
        return None

    def count_stale(self) -> None:
        """Count an entry that went stale; rebuild the heap when more than half are stale."""
        self._stale += 1
        if self._stale > 64 and self._stale * 2 > len(self._heap):
            # A run that was added again by the same number has two entries that seem valid: one is kept.
            valid = {
                run.id: (at, run.id, run)
                for at, _, run in self._heap
                if run.queue is self and run.place == at
            }
            self._heap = list(valid.values())
            heapify(self._heap)
            self._stale = 0


def take_out(run: RunRecord) -> None:
    """Take a run out of the queue it is in, if any."""
    queue, run.queue = run.queue, None
    if queue is not None:
        queue.count_stale()
