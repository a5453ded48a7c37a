"""The book of a scheduler's figures: all tallies, and one :class:`Period` for each half minute of two days.

A book is also what an instance has counted since it last wrote: the store merges that into the one that it keeps.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from asyncsched._core.instants import HOUR, SECOND, Instant
from asyncsched._core.states import FAILURES
from asyncsched._core.tallies import EDGES, Bins, LastSkip, Tally, add_bins, drop_old

if TYPE_CHECKING:
    from asyncsched._core.records import RunRecord

PERIOD = 30 * SECOND
"""The time that one period of the whole scheduler covers."""

PERIODS_KEPT = 49 * HOUR // PERIOD


class Period:
    """The figures of the whole scheduler for half a minute."""

    __slots__ = ("cancelled", "failed", "late", "missed", "succeeded")

    def __init__(
        self,
        succeeded: int = 0,
        failed: int = 0,
        cancelled: int = 0,
        missed: int = 0,
        late: Bins | None = None,
    ) -> None:
        self.succeeded = succeeded
        self.failed = failed
        self.cancelled = cancelled
        self.missed = missed
        self.late = late or {}

    def merge(self, more: Period) -> None:
        """Add the figures of the same half minute."""
        self.succeeded += more.succeeded
        self.failed += more.failed
        self.cancelled += more.cancelled
        self.missed += more.missed
        add_bins(self.late, more.late)

    @property
    def runs(self) -> int:
        """The number of runs that ended."""
        return self.succeeded + self.failed + self.cancelled


class Book:
    """All tallies by their subject, and the periods of the whole scheduler by their beginning."""

    __slots__ = ("periods", "tallies")

    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = {}
        self.periods: dict[Instant, Period] = {}

    def tally(self, subject: str) -> Tally:
        """Return the tally of a subject, which exists from then on."""
        found = self.tallies.get(subject)
        if found is None:
            found = self.tallies[subject] = Tally()
        return found

    def period(self, at: Instant) -> Period:
        """Return the period of a moment, which exists from then on."""
        start = at - at % PERIOD
        found = self.periods.get(start)
        if found is None:
            found = self.periods[start] = Period()
            drop_old(self.periods, PERIODS_KEPT)
        return found

    def count(self, runs: Sequence[RunRecord], now: Instant) -> None:
        """Count runs that have ended, in the order of their ends: many together cost a third of each alone.

        Args:
            runs: the runs.
            now: the end of those that have no time of an end.

        """
        groups: dict[Any, list[RunRecord]] = {}
        for run in runs:
            one = run.schedule or (run.job,)
            if one in groups:
                groups[one].append(run)
            else:
                groups[one] = [run]
        for group in groups.values():
            self.tally(subject_of(group[0].schedule, group[0].job)).count(group, now)
        start, period = None, Period()
        for run in runs:
            at = run.finished_at or now
            if at - at % PERIOD != start:
                start, period = at - at % PERIOD, self.period(at)
            if run.state == "succeeded":
                period.succeeded += 1
            elif run.state in FAILURES:
                period.failed += 1
            else:
                period.cancelled += 1
            if run.late is not None:
                bin = bisect_right(EDGES, run.late)
                period.late[bin] = period.late.get(bin, 0) + 1

    def skipped(self, schedule: str, skip: LastSkip) -> None:
        """Count slots that got no run."""
        self.tally(subject_of(schedule, "")).skipped(skip)
        if skip.reason == "missed":
            self.period(skip.at).missed += skip.slots

    def between(self, start: Instant, end: Instant) -> Period:
        """Return the sum of the periods that begin from ``start`` on and before ``end``."""
        total = Period()
        for at, period in self.periods.items():
            if start <= at < end:
                total.merge(period)
        return total


def subject_of(schedule: str | None, job: str) -> str:
    """Return the subject of a run's figures: its schedule, or for a one-off its job."""
    return f"job:{job}" if schedule is None else f"schedule:{schedule}"
