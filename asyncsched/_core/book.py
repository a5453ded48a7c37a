"""The book of a scheduler's figures: all tallies, and one :class:`Period` for each half minute of two days.

A book is also what an instance has counted since it last wrote: the store merges that into the one that it keeps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from asyncsched._core.instants import HOUR, SECOND, Instant
from asyncsched._core.states import FAILURES
from asyncsched._core.tallies import Bins, LastSkip, Tally, add_bins, drop_old

if TYPE_CHECKING:
    from asyncsched._core.records import RunRecord

PERIOD = 30 * SECOND
"""The time that one period of the whole scheduler covers."""

PERIODS_KEPT = 49 * HOUR // PERIOD


class Period:
    """The figures of the whole scheduler for half a minute."""

    __slots__ = ("cancelled", "failed", "late", "skipped", "succeeded", "took")

    def __init__(
        self,
        succeeded: int = 0,
        failed: int = 0,
        cancelled: int = 0,
        skipped: dict[str, int] | None = None,
        late: Bins | None = None,
        took: Bins | None = None,
    ) -> None:
        self.succeeded = succeeded
        self.failed = failed
        self.cancelled = cancelled
        self.skipped = skipped or {}  # the slots without a run, by reason
        self.late = late or {}
        self.took = took or {}

    def merge(self, more: Period) -> None:
        """Add the figures of the same half minute."""
        self.succeeded += more.succeeded
        self.failed += more.failed
        self.cancelled += more.cancelled
        for reason, count in more.skipped.items():
            self.skip(reason, count)
        add_bins(self.late, more.late)
        add_bins(self.took, more.took)

    def ended(self, states: Mapping[str, int]) -> None:
        """Count runs that have ended, by state."""
        for state, count in states.items():
            if state == "succeeded":
                self.succeeded += count
            elif state in FAILURES:
                self.failed += count
            else:
                self.cancelled += count

    def skip(self, reason: str, count: int) -> None:
        """Count slots that got no run."""
        self.skipped[reason] = self.skipped.get(reason, 0) + count

    @property
    def runs(self) -> int:
        """The number of runs that ended."""
        return self.succeeded + self.failed + self.cancelled


class Book:
    """All tallies by their subject, and the periods of the whole scheduler by their beginning."""

    __slots__ = ("_hours", "periods", "tallies")

    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = {}
        self.periods: dict[Instant, Period] = {}
        self._hours: dict[int, Period] = {}  # sums of periods, until one of them changes

    def tally(self, subject: str) -> Tally:
        """Return the tally of a subject, which exists from then on."""
        found = self.tallies.get(subject)
        if found is None:
            found = self.tallies[subject] = Tally()
        return found

    def period(self, at: Instant) -> Period:
        """Return the period of a moment, which exists from then on."""
        start = at - at % PERIOD
        self._hours.pop(at // HOUR, None)
        found = self.periods.get(start)
        if found is None:
            found = self.periods[start] = Period()
            drop_old(self.periods, PERIODS_KEPT)
        return found

    def count(self, runs: Sequence[RunRecord], now: Instant) -> None:
        """Count runs that have ended: many together cost a fifth of each alone.

        Args:
            runs: runs of one subject, in the order of their ends.
            now: the end of those that have no time of an end.

        """
        tally = self.tally(subject_of(runs[0].schedule, runs[0].job))
        for some in _of_one_period(runs, now):
            at = some[0].finished_at or now
            period = self.period(at)
            period.ended(tally.count(some, at, period.late, period.took))

    def take(self, newer: Book) -> None:
        """Replace the figures that another book has anew, and keep the others."""
        self.tallies.update(newer.tallies)
        self.periods.update(newer.periods)
        for start in newer.periods:
            self._hours.pop(start // HOUR, None)
        drop_old(self.periods, PERIODS_KEPT)
        drop_old(self._hours, PERIODS_KEPT * PERIOD // HOUR)

    def skipped(self, schedule: str, skip: LastSkip) -> None:
        """Count slots that got no run."""
        self.tally(subject_of(schedule, "")).skipped(skip)
        self.period(skip.at).skip(skip.reason, skip.slots)

    def between(self, start: Instant, end: Instant) -> Period:
        """Return the sum of the periods that begin from ``start`` on and before ``end``."""
        first, last = -(-start // HOUR), end // HOUR
        if first >= last:
            return self._sum(start, end)
        total = self._sum(start, first * HOUR)
        for number in range(first, last):
            total.merge(self._hour(number))
        total.merge(self._sum(last * HOUR, end))
        return total

    def _hour(self, number: int) -> Period:
        found = self._hours.get(number)
        if found is None:
            found = self._hours[number] = self._sum(number * HOUR, (number + 1) * HOUR)
        return found

    def _sum(self, start: Instant, end: Instant) -> Period:
        total = Period()
        for at in range(-(-start // PERIOD) * PERIOD, end, PERIOD):
            if (period := self.periods.get(at)) is not None:
                total.merge(period)
        return total


def _of_one_period(runs: Sequence[RunRecord], now: Instant) -> Iterator[Sequence[RunRecord]]:
    """Yield the runs in stretches that have ended in one period; nearly always that is one stretch."""
    ends = [run.finished_at or now for run in runs]
    first = 0
    while first < len(runs):
        start = ends[first] - ends[first] % PERIOD
        last = len(runs)
        if min(ends) < start or max(ends) >= start + PERIOD:
            last = next((i for i in range(first, last) if not start <= ends[i] < start + PERIOD), last)
        yield runs[first:last]
        first = last


def subject_of(schedule: str | None, job: str) -> str:
    """Return the subject of a run's figures: its schedule, or for a one-off its job."""
    return f"job:{job}" if schedule is None else f"schedule:{schedule}"
