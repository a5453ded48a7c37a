"""The figures of runs: counters that are kept as runs end, so that no page has to count runs.

A :class:`Tally` has the figures of one schedule, or of one job's one-offs: for each of the last 25 hours the
outcomes and two distributions, and beside them the last runs. :mod:`asyncsched._core.book` has all tallies.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncsched._core.instants import HOUR, SECOND, Instant
from asyncsched._core.states import FAILURES

if TYPE_CHECKING:
    from asyncsched._core.records import RunRecord

HOURS_KEPT = 25
RECENT = 24
"""How many of its last runs a tally has."""

_STEPS = (100, 125, 160, 200, 250, 315, 400, 500, 630, 800)
EDGES = tuple(sorted({step * 10**power // 100 for power in range(2, 12) for step in _STEPS} | {60 * SECOND}))
"""The lower edges of the bins of a distribution, in microseconds: ten for each power of ten, and one minute."""

_new = tuple.__new__  # half the time of a named tuple's constructor

Bins = dict[int, int]
"""A distribution: how many values lie in each bin, by the bin's number."""


def percentile(bins: Mapping[int, int], share: float) -> int | None:
    """Return the microseconds below which ``share`` of a distribution lies, to about an eighth; ``None`` if empty."""
    total = sum(bins.values())
    if not total:
        return None
    wanted, below = share * total, 0
    for number in sorted(bins):
        count = bins[number]
        if below + count >= wanted:
            low = EDGES[number - 1] if number else 0
            high = EDGES[number] if number < len(EDGES) else 2 * low
            return round(low + (high - low) * (wanted - below) / count)
        below += count
    return EDGES[-1]


def counts_between(bins: Mapping[int, int], edges: Iterable[int]) -> list[int]:
    """Return how many values lie below the first edge, between the edges, and from the last edge on."""
    numbers = [bisect_right(EDGES, edge - 1) for edge in edges]
    found = [0] * (len(numbers) + 1)
    for number, count in bins.items():
        found[bisect_right(numbers, number - 1) if number else 0] += count
    return found


def binned(values: list[int]) -> Bins:
    """Return the distribution of microseconds: they are sorted, and each bin is one search for its end."""
    values.sort()
    found: Bins = {}
    first = 0
    while first < len(values):
        number = bisect_right(EDGES, values[first])
        last = bisect_left(values, EDGES[number], first) if number < len(EDGES) else len(values)
        found[number] = last - first
        first = last
    return found


def add_bins(to: Bins, more: Mapping[int, int]) -> None:
    """Add a distribution to another."""
    for number, count in more.items():
        to[number] = to.get(number, 0) + count


class RecentRun(NamedTuple):
    """One of the last runs; times are wall instants, durations microseconds."""

    number: int
    state: str
    due: Instant
    started: Instant | None
    finished: Instant
    late: int | None
    attempt: int
    why: str = ""

    @property
    def id(self) -> str:
        """The run's id as users see it, which is rendered only where it is read."""
        return f"{self.number:032x}"

    @property
    def took(self) -> int | None:
        """How long its last attempt took."""
        return None if self.started is None else max(0, self.finished - self.started)


def _recent(run: RunRecord, now: Instant) -> RecentRun:
    at = run.finished_at or now
    return _new(RecentRun, (run.id, run.state, run.due, run.started_at, at, run.late, run.attempt, run.why))


class Hour:
    """The figures of one hour: outcomes by state, slots without a run by reason, and two distributions."""

    __slots__ = ("late", "skipped", "states", "took")

    def __init__(
        self,
        states: dict[str, int] | None = None,
        skipped: dict[str, int] | None = None,
        late: Bins | None = None,
        took: Bins | None = None,
    ) -> None:
        self.states = states or {}
        self.skipped = skipped or {}
        self.late = late or {}
        self.took = took or {}

    def merge(self, more: Hour) -> None:
        """Add the figures of the same hour."""
        for counts, others in ((self.states, more.states), (self.skipped, more.skipped)):
            for word, count in others.items():
                counts[word] = counts.get(word, 0) + count
        add_bins(self.late, more.late)
        add_bins(self.took, more.took)

    def to_json(self) -> list[Any]:
        """Return the hour as JSON can hold it."""
        return [self.states, self.skipped, self.late, self.took]

    @classmethod
    def from_json(cls, kept: list[Any]) -> Hour:
        """Return the hour that :meth:`to_json` has written."""
        states, skipped, late, took = kept
        return cls(states, skipped, _numbered(late), _numbered(took))


def _numbered(bins: Mapping[str, int]) -> Bins:
    return {int(number): count for number, count in bins.items()}


class LastError(NamedTuple):
    """The last error of a schedule: the run, when it ended, and the error's type and message, shortened."""

    run: str
    at: Instant
    type: str
    message: str


class LastSkip(NamedTuple):
    """The last slots that got no run: when that was noticed, the first and the last, their number and the reason."""

    at: Instant
    first: Instant
    last: Instant
    slots: int
    reason: str


class Tally:
    """The figures of one schedule, or of the one-offs of one job."""

    __slots__ = ("error", "failed", "failing_since", "hours", "recent", "skip", "succeeded_at")

    def __init__(self) -> None:
        self.hours: dict[int, Hour] = {}
        self.recent: deque[RecentRun] = deque(maxlen=RECENT)
        self.failed = 0  # in a row
        self.failing_since: Instant | None = None
        self.succeeded_at: Instant | None = None
        self.error: LastError | None = None
        self.skip: LastSkip | None = None

    def hour(self, at: Instant) -> Hour:
        """Return the figures of the hour of a moment, which exist from then on."""
        number = at // HOUR
        found = self.hours.get(number)
        if found is None:
            found = self.hours[number] = Hour()
            drop_old(self.hours, HOURS_KEPT)
        return found

    def count(
        self, runs: Sequence[RunRecord], at: Instant, lateness: Bins, durations: Bins
    ) -> dict[str, int]:
        """Count runs that have ended within one hour, in the order of their ends.

        Args:
            runs: the runs.
            at: a moment of that hour, and the end of those that have no time of an end.
            lateness: how late they began is counted here, too.
            durations: how long they took is counted here, too.

        Returns:
            How many runs ended in each state.

        """
        hour = self.hour(at)
        begun = [run for run in runs if run.started_at is not None]
        late = binned([run.late for run in begun if run.late is not None])
        took = binned([(run.finished_at or at) - (run.started_at or 0) for run in begun])
        states = dict(Counter([run.state for run in runs]))
        # Nearly all succeed, and of many successes the last one tells all.
        for run in runs if len(states) > 1 or "succeeded" not in states else runs[-1:]:
            ended = run.finished_at or at
            if run.state == "succeeded":
                self.succeeded_at = ended
                self.failed, self.failing_since = 0, None
            elif run.state in FAILURES:
                self._count_failure(run, ended)
        for state, count in states.items():
            hour.states[state] = hour.states.get(state, 0) + count
        add_bins(hour.took, took)
        add_bins(durations, took)
        add_bins(hour.late, late)
        add_bins(lateness, late)
        self.recent.extend([_recent(run, at) for run in runs[-RECENT:]])
        return states

    def _count_failure(self, run: RunRecord, at: Instant) -> None:
        self.failed += 1
        self.failing_since = self.failing_since or at
        error = run.error
        self.error = LastError(
            f"{run.id:032x}",
            at,
            error.type if error else run.state,
            error.message[:300] if error else run.why,
        )

    def skipped(self, skip: LastSkip) -> None:
        """Count slots that got no run."""
        hour = self.hour(skip.at)
        hour.skipped[skip.reason] = hour.skipped.get(skip.reason, 0) + skip.slots
        self.skip = skip

    def merge(self, newer: Tally) -> None:
        """Add what was counted since."""
        for number, hour in newer.hours.items():
            self.hours.setdefault(number, Hour()).merge(hour)
        drop_old(self.hours, HOURS_KEPT)
        recent = sorted([*self.recent, *newer.recent], key=lambda one: one.finished)
        self.recent = deque(recent, maxlen=RECENT)
        if newer.succeeded_at is not None:
            self.succeeded_at = newer.succeeded_at
            self.failed, self.failing_since = newer.failed, newer.failing_since
        elif newer.failed:
            self.failed += newer.failed
            self.failing_since = self.failing_since or newer.failing_since
        self.error = newer.error or self.error
        self.skip = newer.skip or self.skip

    def to_json(self) -> dict[str, Any]:
        """Return the tally as JSON can hold it."""
        return {
            "hours": {number: hour.to_json() for number, hour in self.hours.items()},
            "recent": [(one.id, *one[1:]) for one in self.recent],
            "failed": self.failed,
            "failing_since": self.failing_since,
            "succeeded_at": self.succeeded_at,
            "error": self.error,
            "skip": self.skip,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Tally:
        """Return the tally that :meth:`to_json` has written."""
        tally = cls()
        tally.hours = {int(number): Hour.from_json(hour) for number, hour in kept["hours"].items()}
        tally.recent.extend([RecentRun(int(id, 16), *rest) for id, *rest in kept["recent"]])
        tally.failed, tally.failing_since = kept["failed"], kept["failing_since"]
        tally.succeeded_at = kept["succeeded_at"]
        tally.error = LastError(*kept["error"]) if kept["error"] else None
        tally.skip = LastSkip(*kept["skip"]) if kept["skip"] else None
        return tally

    def last_hours(self, now: Instant, hours: int = 24) -> Hour:
        """Return the sum of the last hours: the present one, begun, and those before it."""
        total, first = Hour(), now // HOUR - hours + 1
        for number, hour in self.hours.items():
            if number >= first:
                total.merge(hour)
        return total


def drop_old(kept: dict[int, Any], most: int) -> None:
    if len(kept) > most:
        for oldest in sorted(kept)[: len(kept) - most]:
            del kept[oldest]
