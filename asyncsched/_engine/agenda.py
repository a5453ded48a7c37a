"""The due times that a worker knows: those of its schedules, and that of the earliest pending run.

Plain code over two heaps, without a store and without waiting. The rules by which no wake-up gets lost
stand here. There are three:

1. A claim's answer says when the earliest pending run is ready, as it was when the claim was made. A run
   that was added while the claim was under way is merged into the answer, never replaced by it.
2. A run that becomes ready between the moment of a claim and the next sleep is due at once.
3. A notification stands until the next claim has begun.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf

from asyncsched._core.instants import SECOND, Instant, Now
from asyncsched._core.records import RunRecord, ScheduleRecord
from asyncsched._core.requests import Claimed

APART = 10_000
"""Microseconds between the claims of two instances that fire the same schedules, so that the claims do not collide
at the due time itself. The order of the instances differs from one due time to the next."""

LOCKED = SECOND // 4
"""Microseconds until a due schedule is tried again whose row another transaction has locked."""

_MOST_APART = 3
_MIX = 0x9E3779B97F4A7C15  # Knuth's multiplicative hashing: The Art of Computer Programming, 6.4

Entry = tuple[Instant, int, str, int]
"""A due time, a number that decides between equal due times, and a schedule's id and revision."""


class Agenda:
    """Keeps the schedules of one store, and the due times of its schedules and pending runs.

    Due times stand on two timelines: index 0 is the wall clock's, index 1 the steady one's.

    Args:
        wake: ends the worker's sleep. Called in the loop's thread.

    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self.schedules: dict[str, ScheduleRecord] = {}
        self.share: tuple[int, int] = (0, 1)
        """The rank of this instance among those that fire schedules, and the number of those."""
        self.heaps: tuple[list[Entry], list[Entry]] = ([], [])
        self._numbers = count()
        self.notified = True
        self._pending: list[Instant | None] = [None, None]  # when the earliest pending run is ready
        self._added: list[Instant | None] = [None, None]  # the same of runs added while a claim is under way
        self._claiming = False
        self._left: dict[str, Instant] = {}  # jobs whose runs are left to other instances, and until when

    # ── news ─────────────────────────────────────────────────────────────────────────────────

    def notify(self) -> None:
        """Note that something may be due earlier than was known, and end the sleep. Call it in the loop's thread."""
        self.notified = True
        self._wake()

    def add(self, run: RunRecord) -> None:
        """Note a run; end the worker's sleep only if the run is pending and ready before any other."""
        ready = run.ready_at
        if ready is None or run.state != "pending":
            return
        earliest = self._added if self._claiming else self._pending
        known = earliest[run.steady]
        if known is None or ready < known:
            earliest[run.steady] = ready
            self._wake()

    def leave(self, job: str, until: Instant) -> None:
        """Claim no run of this job until then, on the steady timeline: another instance is to take it."""
        self._left[job] = until
        self._wake()

    def claimable(self, jobs: Collection[str], held: Collection[str], now: Now) -> Collection[str]:
        """Return the jobs whose runs are to be claimed: nearly always all. Those that are held are asked for again."""
        if not (self._left or held):
            return jobs
        for job in held:
            self._left[job] = max(self._left.get(job, 0), now.steady + SECOND)
        self._left = {job: until for job, until in self._left.items() if until > now.steady}
        return [job for job in jobs if job not in self._left]

    def expect(self, earliest: Instant | None) -> None:
        """Hear when the store's first pending run is ready; claim if that is sooner than was known.

        Args:
            earliest: on the cluster's one timeline; ``None`` if no run is pending.

        """
        known = [at for at in self._pending if at is not None]
        if earliest is not None and (self._claiming or not known or earliest < min(known)):
            self.notify()

    def follow(self, records: Iterable[ScheduleRecord]) -> None:
        """Replace these schedules by their rows as they stand now."""
        for record in records:
            known = self.schedules.get(record.id)
            if known is not None and known.spec is not None:
                record.keep_trigger(known)
            self.schedules[record.id] = record
            if record.next_due is not None and not record.dormant:
                self.put(record, record.next_due)

    def put(self, record: ScheduleRecord, at: Instant) -> None:
        """Make a schedule due at ``at``."""
        if self.share[1] > 1:
            at += self._after_others(at)
        heappush(self.heaps[record.steady], (at, next(self._numbers), record.id, record.revision))

    def _after_others(self, due: Instant) -> int:
        """Return by how many microseconds this instance waits for the others at a due time."""
        place, instances = self.share
        return APART * min((place + (due * _MIX >> 40)) % instances, _MOST_APART)

    def forget(self, id: str) -> None:
        """Stop firing this schedule."""
        self.schedules.pop(id, None)

    def tidy(self) -> None:
        """Drop the entries of old revisions, if there are many."""
        heap = self.heaps[False]
        if len(heap) > 2 * len(self.schedules) + 64:
            heap[:] = [entry for entry in heap if self._stands(entry)]
            heapify(heap)

    def _stands(self, entry: Entry) -> bool:
        record = self.schedules.get(entry[2])
        return record is not None and record.revision == entry[3]

    # ── what is due ──────────────────────────────────────────────────────────────────────────

    def take_due(self, now: Now, most: int) -> list[ScheduleRecord]:
        """Remove and return the schedules that are due, at most ``most``, those of the wall clock first."""
        found: list[ScheduleRecord] = []
        schedules = self.schedules
        for heap, at in zip(self.heaps, now, strict=True):
            while heap and heap[0][0] <= at and len(found) < most:
                _, _, id, revision = heappop(heap)
                record = schedules.get(id)
                if record is not None and record.revision == revision:  # else its new entry is in the heap
                    found.append(record)
        return found

    def has_ready_runs(self, now: Now) -> bool:
        """Whether a pending run may be ready, or a notification came after the last claim had begun."""
        wall, steady = self._pending
        return (
            self.notified
            or (wall is not None and wall <= now.wall)
            or (steady is not None and steady <= now.steady)
            or (self._left != {} and min(self._left.values()) <= now.steady)
        )

    def wait(self, now: Now) -> float:
        """Return the seconds until something is due; ``inf`` where nothing is known to come."""
        if self.notified:
            return 0.0
        least = (min(self._left.values()) - now.steady) / SECOND if self._left else inf
        for heap, pending, at in zip(self.heaps, self._pending, now, strict=True):
            if heap:
                least = min(least, (heap[0][0] - at) / SECOND)
            if pending is not None:
                least = min(least, (pending - at) / SECOND)
        return max(0.0, least)

    # ── around a claim ───────────────────────────────────────────────────────────────────────

    def claim_begins(self) -> None:
        """Note that a claim is sent to the store."""
        self.notified = False
        self._claiming = True
        self._added = [None, None]

    def claim_failed(self) -> None:
        """Note that the claim failed: the runs that were added meanwhile are merged into what was known before."""
        self._claiming = False
        self._merge_added()

    def claim_answered(self, claimed: Claimed, now: Now) -> None:
        """Note when the next pending run is ready. ``now`` is the moment of the claim."""
        self._claiming = False
        self._pending = [claimed.next_wall, claimed.next_steady]
        for id in claimed.locked:
            if (record := self.schedules.get(id)) is not None:
                self.put(record, now[record.steady] + LOCKED)
        if self._added == [None, None]:
            return
        self._merge_added()
        # A run that was ready when the claim looked, and not there yet: no due time will say so again.
        self.notified = self.notified or any(
            added is not None and added <= at for added, at in zip(self._added, now, strict=True)
        )

    def _merge_added(self) -> None:
        for steady, added in enumerate(self._added):
            pending = self._pending[steady]
            if added is not None and (pending is None or added < pending):
                self._pending[steady] = added
