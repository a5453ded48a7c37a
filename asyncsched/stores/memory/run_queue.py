"""A queue of runs by a number: an entry goes stale when its run changes, and is dropped when it comes first."""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush

from asyncsched._core.records import RunRecord

Entry = tuple[int, int, RunRecord]


class RunQueue:
    """Runs ordered by a number; for equal numbers, the older run is first. A run is in one queue at most.

    An entry is valid while its run's ``queue`` is this queue and its ``place`` is this number. The
    comparison of two entries stays in C: number first, then the run's id, never the run. Nearly every run
    comes with the greatest number so far and is put at the end of a line; a heap has only the others, since
    its order costs each run as much as the rest of the queue.
    """

    __slots__ = ("_heap", "_line", "_stale")

    def __init__(self) -> None:
        self._line: deque[Entry] = deque()
        self._heap: list[Entry] = []
        self._stale = 0

    def __len__(self) -> int:
        return len(self._line) + len(self._heap) - self._stale

    def push(self, at: int, run: RunRecord) -> None:
        """Add a run; its entry in another queue goes stale."""
        if run.queue is not None:
            take_out(run)
        run.queue = self
        run.place = at
        line, entry = self._line, (at, run.id, run)
        if not line or line[-1] < entry:
            line.append(entry)
        else:
            heappush(self._heap, entry)

    def peek(self) -> int | None:
        """Return the least number of a valid entry, or ``None``."""
        place = self._first()
        return None if place is None else place[0][0]

    def pop(self, upto: int | None = None) -> RunRecord | None:
        """Remove and return the run with the least number, if that is at most ``upto``."""
        place = self._first()
        if place is None or (upto is not None and place[0][0] > upto):
            return None
        run = (heappop(place) if isinstance(place, list) else place.popleft())[2]
        run.queue = None
        return run

    def _first(self) -> deque[Entry] | list[Entry] | None:
        """Drop the stale entries that come first; return the line or the heap, whose first entry is the next."""
        line, heap = self._line, self._heap
        while line or heap:
            place = heap if heap and (not line or heap[0] < line[0]) else line
            at, _, run = place[0]
            if run.queue is self and run.place == at:
                return place
            heappop(place) if isinstance(place, list) else place.popleft()
            self._stale -= 1
        return None

    def count_stale(self) -> None:
        """Count an entry that went stale; drop all when more than half are stale."""
        self._stale += 1
        if self._stale > 64 and self._stale * 2 > len(self._line) + len(self._heap):
            # A run that was added again by the same number has two entries that seem valid: one is kept.
            valid = {
                entry[1]: entry
                for entry in (*self._line, *self._heap)
                if entry[2].queue is self and entry[2].place == entry[0]
            }
            self._line = deque([entry for entry in self._line if valid.get(entry[1]) is entry])
            self._heap = [entry for entry in self._heap if valid.get(entry[1]) is entry]
            heapify(self._heap)
            self._stale = 0


def take_out(run: RunRecord) -> None:
    """Take a run out of the queue it is in, if any."""
    queue, run.queue = run.queue, None
    if queue is not None:
        queue.count_stale()
