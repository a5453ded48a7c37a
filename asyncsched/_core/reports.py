"""Frozen values that describe a scheduler: its instances, its health, and the end of a due time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta

from asyncsched._core.book import Book, subject_of
from asyncsched._core.instants import HOUR, to_instant
from asyncsched._core.models import Run
from asyncsched._core.tallies import Bins, Hour, Tally, add_bins, counts_between, percentile
from asyncsched._core.values import value


@value
class Pause:
    """A pause of a job, with its note, author and time: while it lasts, no run of the job is begun."""

    note: str
    by: str
    since: datetime


@value
class Instance:
    """One running scheduler, as the store records it.

    Attributes:
        id: the id in :attr:`Run.instance`; a new one at each start, and whenever the scheduler joins again.
        host, pid, version, role: the machine, the process, the version of asyncsched, and the role.
        jobs: the names of the jobs that its code knows.
        started_at: when it joined; the declarations of the newest instance count.
        beat_at: the time of its last heartbeat; shown to people, and no decision depends on it.
        loop_lag: the most by which its event loop was late in the half minute before that.

    """

    id: str
    host: str
    pid: int
    version: str
    role: str
    jobs: frozenset[str]
    started_at: datetime
    beat_at: datetime
    loop_lag: timedelta = timedelta()


@value
class Health:
    """The health of a scheduler and its store, as far as this process knows.

    Attributes:
        trouble: the fault, in words; ``""`` while all is well.
        since: the beginning of the fault, in UTC.
        last_beat: when the store last accepted a heartbeat of this instance; ``None`` in memory. An
            instance without a heartbeat for 15 s is declared dead by the others.
        full: the executors without a free place, in words; that is no fault.

    """

    trouble: str = ""
    since: datetime | None = None
    last_beat: datetime | None = None
    full: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is no fault."""
        return not self.trouble


@value
class Probe:
    """The answer of a probe, which is true if it passes.

    Attributes:
        reasons: why it does not pass, in a word or two each, for anybody to see.
        details: the same in whole sentences, for the operator.

    """

    reasons: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the probe passes."""
        return not self.reasons

    def __bool__(self) -> bool:
        return self.ok


@value
class Explanation:
    """How one due time ended, and why: the answer of ``explain``.

    Attributes:
        verdict: ``ran`` (it has a run that began), ``pending`` (it will), ``cancelled`` and
            ``rate_limited`` or ``over_limit`` (before it began), ``missed``, ``paused``, ``skipped``, ``overlap``,
            ``orphaned`` and ``ended`` (it got no run), ``future``, ``before_first``, ``pruned`` or ``not_a_slot``.
        text: the verdict in a sentence.
        run: the slot's own run, where there is one; else the newest run by which the slot was backfilled.

    """

    schedule: str
    at: datetime
    verdict: str
    text: str
    run: Run | None = None


@value
class Coming:
    """One slot on the timeline.

    Attributes:
        note: the effect of a clock change on it, such as ``"02:30 does not exist on 29 March …"``, or ``""``.
        fault: the error of the schedule's trigger in the search for the slot after ``at``, which is
            no slot then; ``""`` for a slot.

    """

    at: datetime
    schedule: str
    job: str
    note: str = ""
    fault: str = ""


@value
class JobInfo:
    """A job as the code declares it: the function and its options, for people to read.

    Attributes:
        callable: the function as ``module:name``; ``defined_at`` is its file and line.
        timeout, grace: seconds.
        parameters: the function's parameters, each with its annotation and default as text.

    """

    name: str
    callable: str
    defined_at: str
    doc: str
    executor: str
    timeout: float | None
    retry: str
    attempts: int
    overlap: str
    catch_up: str
    grace: float | None
    limits: tuple[str, ...]
    priority: int
    tags: tuple[str, ...]
    pause_after: int
    each_instance: bool
    parameters: Mapping[str, str]


@value
class Activity:
    """One operation of a person or a program, from ``activity``.

    Attributes:
        action, subject: what was done, such as ``pause``, and the schedule, job or run it was done to.
        via: ``page``, ``api``, ``cli``, or ``code`` where the app made the call itself.
        result: the outcome in words; the error where ``ok`` is false.

    """

    id: str
    at: datetime
    action: str
    subject: str
    by: str
    note: str
    via: str
    result: str
    ok: bool


@value
class Skipped:
    """Slots of a schedule that got no run, in a row: the first, the last, their number, and the reason.

    Attributes:
        exact: whether ``count`` is exact; otherwise there were more.
        reason: ``missed``, ``paused``, ``overlap`` or ``skipped``.

    """

    first: datetime
    last: datetime
    count: int
    exact: bool
    reason: str


@value
class Spread:
    """A distribution of durations: its percentiles, to about an eighth, and the counts between given edges."""

    bins: Bins = field(repr=False)

    @property
    def count(self) -> int:
        """The number of values."""
        return sum(self.bins.values())

    def percentile(self, share: float) -> timedelta | None:
        """Return the duration below which a share of the values lies, such as 0.95; ``None`` where there is none."""
        micros = percentile(self.bins, share)
        return None if micros is None else timedelta(microseconds=micros)

    def counts(self, *edges: float) -> list[int]:
        """Return how many values lie below the first edge, between the edges, and from the last on; in seconds."""
        return counts_between(self.bins, [round(edge * 1_000_000) for edge in edges])


@value
class RunStatistics:
    """The figures of the runs that ended in some hours.

    Attributes:
        states: the number of runs by outcome.
        skipped: the number of slots without a run by reason: ``missed``, ``overlap``, ``paused`` ….
        late: from the due time to the beginning of the first attempt.
        took: the duration of the last attempt.

    """

    states: Mapping[str, int]
    skipped: Mapping[str, int]
    late: Spread
    took: Spread

    @property
    def runs(self) -> int:
        """The number of runs that ended."""
        return sum(self.states.values())


@value
class Statistics:
    """The figures of a scheduler at one moment, from ``statistics``."""

    at: datetime
    book: Book = field(repr=False)

    def schedule(self, id: str, hours: int = 24) -> RunStatistics:
        """Return the figures of a schedule's runs of the last hours, at most 25, the present one included."""
        return self._of(subject_of(id, ""), hours)

    def one_offs(self, job: str, hours: int = 24) -> RunStatistics:
        """Return the figures of the runs of a job that belong to no schedule."""
        return self._of(subject_of(None, job), hours)

    def total(self, hours: float = 24, ago: float = 0) -> RunStatistics:
        """Return the figures of all runs of the last hours, or of as many hours ``ago`` hours before; two days at most."""
        end = to_instant(self.at) - round(ago * HOUR) + 1
        total = self.book.between(end - round(hours * HOUR), end)
        states = {"succeeded": total.succeeded, "failed": total.failed, "cancelled": total.cancelled}
        skipped = {"missed": 0, "overlap": 0, **total.skipped}
        return RunStatistics(states, skipped, Spread(total.late), Spread(total.took))

    def _of(self, subject: str, hours: int) -> RunStatistics:
        tally = self.book.tallies.get(subject) or Tally()
        found: Hour = tally.last_hours(to_instant(self.at), hours)
        return RunStatistics(found.states, found.skipped, Spread(found.late), Spread(found.took))


def spread_of(*spreads: Spread) -> Spread:
    """Return the sum of distributions."""
    total: Bins = {}
    for one in spreads:
        add_bins(total, one.bins)
    return Spread(total)
