"""The limiter in memory: it bounds concurrency and rates. SQL stores keep the same state as rows.

A run takes all of its permits at the moment it begins, or none. So a waiting run never holds a
limit, and a rate is exact at the instants of the ledger, however long a run had to wait for
another reason. A run that gets no permits waits in the queue of the first limit that is full. Only
the head of a queue tries again when there is room (for a rate: at the time of its next permit). A run
that tried and did not begin wakes the next run of the queue: without that, the queue would stall.
"""

from __future__ import annotations

from collections.abc import Callable

from asyncsched._core.instants import Instant
from asyncsched._core.records import Permit, RunRecord
from asyncsched._core.rules.admission import gcra
from asyncsched._core.rules.transitions import park
from asyncsched.stores.memory.run_queue import RunQueue

_SWEEP = 1024


class _Limit:
    """The limit of one key: its holders' number, its waiting runs; for a rate, the theoretical arrival time."""

    __slots__ = ("theoretical", "trying", "used", "waiting")

    def __init__(self) -> None:
        self.used = 0
        self.theoretical = 0
        self.waiting = RunQueue()
        self.trying: RunRecord | None = None  # for a rate: the run that has the next turn, at a known time

    def open(self, permit: Permit, now: Instant) -> bool:
        if permit.interval:
            return gcra(self.theoretical, permit, now)[0] <= now
        return self.used < permit.most


class Limiter:
    """Gives out permits in order of rank.

    ``ready`` is called with a run that may try again, and the time for it: ``None`` for now, else an
    instant of the steady timeline. Rates are kept on that timeline because the wall clock's steps do
    not show on it.
    """

    def __init__(self, ready: Callable[[RunRecord, Instant | None], None]) -> None:
        self._places: dict[str, _Limit] = {}
        self._ready = ready
        self._sweep_at = _SWEEP

    def __len__(self) -> int:
        return len(self._places)

    def take(self, run: RunRecord, now: Instant) -> str:
        """Take the permits of a run; return ``yes``, ``wait``, or the reason for which the run is dropped."""
        shut: Permit | None = None
        for permit in run.permits:
            place = self._place(permit.key, now)
            if place.trying is run:
                place.trying = None
            if shut is None and not place.open(permit, now):
                shut = permit
        if shut is None:
            self._occupy(run, now)
            return "yes"
        # A run is dropped before its first attempt only; its retries wait for their turn.
        if shut.drop and run.started_at is None:
            return shut.reason
        park(run, shut.key)
        self._places[shut.key].waiting.push(run.rank, run)
        self._pass_on(run, now)
        return "wait"

    def _occupy(self, run: RunRecord, now: Instant) -> None:
        run.waits_for = None
        for permit in run.permits:
            place = self._places[permit.key]
            if permit.interval:
                place.theoretical = gcra(place.theoretical, permit, now)[1]
                self._wake(place, permit, now)
            else:
                place.used += 1

    def give_back(self, run: RunRecord, now: Instant) -> None:
        """Free the limits that a running run held, and let the next run in rank try."""
        for permit in run.permits:
            if not permit.interval:
                place = self._places[permit.key]
                place.used -= 1
                self._wake(place, permit, now)

    def leave(self, run: RunRecord, now: Instant) -> None:
        """Withdraw a pending run that is already out of its queue and will not try."""
        for permit in run.permits:
            place = self._places.get(permit.key)
            if place is not None and place.trying is run:
                place.trying = None
        self._pass_on(run, now)

    def _pass_on(self, run: RunRecord, now: Instant) -> None:
        for permit in run.permits:
            place = self._places.get(permit.key)
            if place is not None:
                self._wake(place, permit, now)

    def _wake(self, place: _Limit, permit: Permit, now: Instant) -> None:
        """Let the head of a queue try, if there is room, or at the known time at which there will be room."""
        if permit.interval:
            if place.trying is None and (head := place.waiting.pop()) is not None:
                turn = gcra(place.theoretical, permit, now)[0]
                place.trying = head
                self._ready(head, None if turn <= now else turn)
        elif place.used < permit.most and (head := place.waiting.pop()) is not None:
            head.waits_for = None
            self._ready(head, None)

    def _place(self, key: str, now: Instant) -> _Limit:
        place = self._places.get(key)
        if place is None:
            if len(self._places) >= self._sweep_at:
                self._sweep(now)
            place = self._places[key] = _Limit()
        return place

    def _sweep(self, now: Instant) -> None:
        """Forget the keys of idle limits, so that a million values of an argument do not stay in memory."""
        for key, place in list(self._places.items()):
            idle = not place.used and place.trying is None and place.theoretical <= now
            if idle and place.waiting.peek() is None:
                del self._places[key]
        self._sweep_at = max(_SWEEP, 2 * len(self._places))
