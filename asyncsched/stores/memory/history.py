"""The history in memory: finished runs, bounded by age, count and bytes."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable

from asyncsched._core.instants import Instant
from asyncsched._core.records import RunRecord
from asyncsched._core.rules.retention import Bounds, is_dead_letter
from asyncsched._core.rules.transitions import answers_for_key
from asyncsched._core.states import FAILURES

_RECORD_BYTES = 700
_SWEEP = 1000


class _Recent:
    """The runs of one schedule that are kept in any case: the last ones, by number, and the last failure."""

    __slots__ = ("ended", "failure")

    def __init__(self) -> None:
        self.ended = 0
        self.failure: RunRecord | None = None


def size_of(run: RunRecord) -> int:
    """Return about how many bytes a finished run takes; objects that its result refers to are not counted."""
    size = _RECORD_BYTES
    if run.result is not None:
        try:
            size += sys.getsizeof(run.result)
        except Exception:  # the __sizeof__ of a user's object failed
            size += 0
    if isinstance(run.arguments, str):
        size += len(run.arguments)
    if run.error is not None:
        size += len(run.error.traceback) + len(run.error.message)
    for past in run.attempts or ():
        size += 200 + (len(past.error.traceback) if past.error is not None else 0)
    return size


class History:
    """Finished runs, oldest first, and the rule that prunes them."""

    def __init__(self, bounds: Bounds, forget: Callable[[RunRecord], None]) -> None:
        self._bounds = bounds
        self._forget = forget
        # A run's size is stored in its `place`: the result is an object of the job, and may grow later.
        self._order: deque[RunRecord] = deque()
        self._most, self._most_bytes = bounds.count, bounds.size
        self._bytes = 0
        self._expires = 0  # when the oldest run of the order is too old
        self._spared: dict[int, RunRecord] = {}
        self._spared_bytes = 0
        self._sweep_at = _SWEEP
        self._recent: dict[str, _Recent] = {}
        self.letters: dict[int, RunRecord] = {}  # the dead letters

    def __len__(self) -> int:
        return len(self._order) + len(self._spared)

    def push(self, run: RunRecord, now: Instant, known: bool = False) -> None:
        """Add a run that has just ended, and prune the runs beyond the bounds.

        Args:
            run: the finished run.
            now: the wall instant.
            known: whether the run's schedule exists, so that its last runs are kept in any case.

        """
        order = self._order
        if not order:
            self._expires = (run.finished_at or 0) + self._bounds.age
        order.append(run)
        plain = (
            run.result is None and run.rare is None and type(run.arguments) is tuple
        )  # as nearly every run
        run.place = size = _RECORD_BYTES if plain else size_of(run)
        self._bytes += size
        if run.state != "succeeded" and is_dead_letter(run):
            self.letters[run.id] = run
        if known and run.schedule is not None:
            self._remember(run, run.schedule)
        if now > self._expires or self._bytes > self._most_bytes or len(order) > self._most:
            self._shift(now)
            if len(self._spared) > self._sweep_at or self._spared_bytes > 2 * self._most_bytes:
                self._sweep(now)

    def prune(self, now: Instant) -> int:
        """Prune the runs beyond the bounds; return the number of runs dropped."""
        return self._shift(now) + self._sweep(now)

    def drop_schedule(self, schedule: str) -> None:
        """Stop keeping runs for the sake of a schedule that was removed."""
        self._recent.pop(schedule, None)

    def forget_schedule(self, schedule: str) -> int:
        """Forget all runs of a schedule; those with a key stay, since they answer for it. Return their number."""
        mine = [run for run in self._order if run.schedule == schedule and run.key is None]
        gone = {run.id for run in mine}
        self._order = deque(run for run in self._order if run.id not in gone)
        self._bytes -= sum(run.place for run in mine)
        for run in mine:
            self._drop(run)
        spared = [run for run in self._spared.values() if run.schedule == schedule and run.key is None]
        for run in spared:
            self._forget_spared(run)
        return len(mine) + len(spared)

    def _shift(self, now: Instant) -> int:
        """Take out the oldest runs while the bounds are exceeded: each is forgotten, or spared."""
        gone, order = 0, self._order
        oldest = now - self._bounds.age
        while order and (
            self._bytes > self._most_bytes or len(order) > self._most or (order[0].finished_at or 0) < oldest
        ):
            run = order.popleft()
            self._bytes -= run.place
            if self._keeps(run, now):
                self._spared[run.id] = run
                self._spared_bytes += run.place
            else:
                self._drop(run)
                gone += 1
        if order:
            self._expires = (order[0].finished_at or 0) + self._bounds.age
        return gone

    def _sweep(self, now: Instant) -> int:
        """Forget the spared runs that no rule keeps, and the oldest dead letters beyond the bounds."""
        over = [run for run in self._spared.values() if not self._keeps(run, now)]
        for run in over:
            self._forget_spared(run)
        gone = len(over)
        for run in list(self._spared.values()):
            if len(self._spared) <= self._bounds.count and self._spared_bytes <= self._bounds.size:
                break
            if not self._is_recent(run):
                self._forget_spared(run)
                gone += 1
        # Doubling the threshold keeps the cost of a sweep constant for each run that is added.
        self._sweep_at = max(_SWEEP, 2 * len(self._spared))
        return gone

    def _forget_spared(self, run: RunRecord) -> None:
        self._spared_bytes -= self._spared.pop(run.id).place
        self._drop(run)

    def _drop(self, run: RunRecord) -> None:
        self.letters.pop(run.id, None)
        self._forget(run)

    def _keeps(self, run: RunRecord, now: Instant) -> bool:
        if run.state == "succeeded" and answers_for_key(run, now):
            return True
        finished = run.finished_at or 0
        return (is_dead_letter(run) and finished >= now - self._bounds.dead_letters) or self._is_recent(run)

    def _is_recent(self, run: RunRecord) -> bool:
        recent = self._recent.get(run.schedule) if run.schedule is not None else None
        return recent is not None and (
            run is recent.failure or recent.ended - (run.queue or 0) < self._bounds.per_schedule
        )

    def _remember(self, run: RunRecord, schedule: str) -> None:
        recent = self._recent.get(schedule)
        if recent is None:
            recent = self._recent[schedule] = _Recent()
        recent.ended = run.queue = recent.ended + 1
        if run.state in FAILURES:
            recent.failure = run
