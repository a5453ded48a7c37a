"""A heap of runs whose changed entries go stale and are dropped when they are met."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count

from asyncsched._ledger import RunRecord

_tickets = count(1)


class RunQueue:
    """Runs by a number. A run stands in one queue at most, and its ticket names its valid entry.

    The comparison of two entries stays in C: number first, then ticket, never the run.
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
        run.ticket = ticket = next(_tickets)
        run.queue = self
        heappush(self._heap, (at, ticket, run))

    def peek(self) -> int | None:
        """Return the least number of a valid entry."""
        heap = self._heap
        while heap:
            at, ticket, run = heap[0]
            if run.ticket == ticket:
                return at
            heappop(heap)
            self._dead -= 1
        return None

    def pop(self, upto: int | None = None) -> RunRecord | None:
        """Take out the run with the least number, if that is at most ``upto``."""
        heap = self._heap
        while heap:
            at, ticket, run = heap[0]
            if run.ticket != ticket:
                heappop(heap)
                self._dead -= 1
            elif upto is not None and at > upto:
                return None
            else:
                heappop(heap)
                run.ticket, run.queue = 0, None
                return run
        return None

    def died(self) -> None:
        """Hear that one entry went stale; rebuild when more than half are."""
        self._dead += 1
        if self._dead > 64 and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].ticket == entry[1]]
            heapify(self._heap)
            self._dead = 0

    def runs(self) -> list[RunRecord]:
        """Return the runs in order."""
        return [run for _, ticket, run in sorted(self._heap) if run.ticket == ticket]


def take_out(run: RunRecord) -> None:
    """Take a run out of the queue it stands in, if any."""
    run.ticket = 0
    queue, run.queue = run.queue, None
    if queue is not None:
        queue.died()
