"""The requests to a store, each of one transaction, and its answers."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncsched._core.instants import Instant
from asyncsched._core.records import RunRecord, ScheduleRecord, Stretch
from asyncsched._core.rules.retention import is_dead_letter

if TYPE_CHECKING:
    from asyncsched._core.instants import Now
    from asyncsched._core.models import ErrorInfo


class Fenced(Exception):
    """The instance has been declared dead: it no longer holds the runs that it executes."""


class Watch(NamedTuple):
    """A poll of an instance for the changes since the versions that it saw last, and for some runs.

    ``version`` is below 0 before the first poll. ``after`` is that of the last answer: the id of the schedule
    after which the changes of ``version`` go on, ``None`` where all of it was seen.
    """

    holder: int
    work_version: Any
    version: int
    runs: Collection[int] = ()
    fully: bool = False  # answered even if nothing has changed
    after: str | None = None


@dataclass(slots=True, eq=False)
class Changes:
    """The answer to a poll.

    ``work_version`` differs from the last one when a claim may find a run or a due schedule. ``earliest``
    then is the time at which the first pending run is ready: 0 for now, or where only a claim can find
    out, ``None`` for never. ``ids`` are those of all schedules, given only when some were removed; ``runs``
    are tokens that change with a run. An answer has a portion of the changed schedules: there are more if
    ``after`` is not ``None``.
    """

    work_version: Any
    version: int
    beats: list[tuple[int, int]]
    schedules: list[ScheduleRecord] = field(default_factory=list)
    ids: set[str] | None = None
    cancel_requests: list[tuple[int, str]] = field(default_factory=list)
    runs: dict[int, Any] = field(default_factory=dict)
    earliest: Instant | None = 0
    after: str | None = None


class Firing:
    """One step of a due schedule: valid only while the revision of its row is ``revision``."""

    __slots__ = (
        "chained", "cursor", "next_due", "next_slot", "overlap", "revision", "runs", "schedule",
        "stretch",
    )  # fmt: skip

    def __init__(
        self,
        schedule: str,
        revision: int,
        runs: list[RunRecord],
        stretch: Stretch | None,
        cursor: Instant,
        next_slot: Instant | None,
        next_due: Instant | None,
        overlap: str,
        chained: bool,
    ) -> None:
        self.schedule = schedule
        self.revision = revision
        self.runs = runs
        self.stretch = stretch
        self.cursor = cursor
        self.next_slot = next_slot
        self.next_due = next_due
        self.overlap = overlap
        self.chained = chained  # a catch-up: its runs begin one after the other


class Claim(NamedTuple):
    """A claim of one instance, in one transaction."""

    holder: int
    firings: list[Firing]
    free: dict[str, int]
    most: int = 256
    jobs: Collection[str] | None = None


@dataclass(slots=True, eq=False)
class Claimed:
    """The answer to a claim.

    ``next_wall`` and ``next_steady`` are the times at which the earliest pending run becomes ready on each
    timeline; ``more`` is True if another run is ready already. ``cancel_requests`` names running runs that
    their holders are to cancel, each with the reason. ``locked`` names due schedules that are as they were,
    because another transaction has locked their rows. ``ended`` are the schedules without a next slot after this
    claim's own firing.
    """

    runs: list[RunRecord] = field(default_factory=list)
    schedules: list[ScheduleRecord] = field(default_factory=list)
    skipped: list[Stretch] = field(default_factory=list)
    cancel_requests: list[tuple[int, str]] = field(default_factory=list)
    dropped: list[RunRecord] = field(default_factory=list)
    next_wall: Instant | None = None
    next_steady: Instant | None = None
    more: bool = False
    locked: set[str] = field(default_factory=set)
    ended: list[ScheduleRecord] = field(default_factory=list)


class Verdict:
    """How an attempt ended: with an outcome, or ``pending`` again at ``ready_at``.

    ``attempt`` is the end of the attempt itself where that differs: ``failed``, ``timed_out``,
    ``snoozed`` or ``released``. ``began`` is False where the job's code never had its first step: then it
    is no attempt at all. The store puts the schedule's row into ``paused`` if the failure of this verdict
    paused the schedule.
    """

    __slots__ = (
        "attempt",
        "began",
        "error",
        "pause_after",
        "paused",
        "ready_at",
        "result",
        "spent",
        "state",
        "why",
    )

    def __init__(
        self,
        state: str,
        why: str = "",
        *,
        result: Any = None,
        error: ErrorInfo | None = None,
        ready_at: Instant | None = None,
        spent: bool = True,
        pause_after: int = 0,
        attempt: str = "",
    ) -> None:
        self.attempt = attempt or state
        self.began = True
        self.state = state
        self.why = why
        self.result = result
        self.error = error
        self.ready_at = ready_at
        self.spent = spent
        self.pause_after = pause_after
        self.paused: ScheduleRecord | None = None


class Ending(NamedTuple):
    """An attempt of this instance that is over: its run, its verdict, and its time."""

    run: RunRecord
    verdict: Verdict
    now: Now


class Added(NamedTuple):
    """The answer to an added run: the run itself, or the run that holds its key."""

    run: RunRecord
    created: bool
    conflict: bool = False


class Cancelled(NamedTuple):
    """The answer to a cancel: the run as it stands, or ``None``, and whether this cancel has ended it."""

    run: RunRecord | None
    ended: bool = False


class Closing(NamedTuple):
    """A request to close a dead letter: by ``run``, which is to come of it, or by a ``note``.

    A letter that is closed already stays as it is, unless ``again``; a new note replaces an old one.
    """

    letter: int
    run: RunRecord | None = None
    note: str = ""
    again: bool = False


class Closed(NamedTuple):
    """The answer to a closing: the letter as it stands, and the run that came of it, as far as they are kept.

    ``created`` tells whether the run of the closing was added, and ``conflict`` whether another run stands in
    its place that has other arguments: the run that came of the letter before, or the one that holds its key.
    """

    letter: RunRecord | None
    run: RunRecord | None = None
    created: bool = False
    conflict: bool = False


class RunQuery(NamedTuple):
    """A query for runs: a run matches if every given field does.

    ``finished_since`` is the earliest end, and ``dead_letters`` leaves out every run that is none. The
    earliest and the latest due time are ``start`` and ``end``.
    """

    ids: Collection[int] | None = None  # first, because it is the most frequent filter
    job: str | None = None
    schedule: str | None = None
    states: Collection[str] | None = None
    origin: str | None = None
    key: str | None = None
    tag: str | None = None
    slot: Instant | None = None
    start: Instant | None = None
    end: Instant | None = None
    limit: int = 100
    before: tuple[Instant, int] | None = None  # due time and id, to page on
    finished_since: Instant | None = None
    dead_letters: bool = False
    live: bool = False  # running, or of a schedule's own and pending

    def select(self, runs: Iterable[RunRecord]) -> list[RunRecord]:
        """Return the runs that match, newest due first: the answer of a store that filters run by run."""
        found = [run for run in runs if self.matches(run)]
        if len(found) > 1:
            found.sort(key=lambda run: (run.due, run.id), reverse=True)
        return found[: self.limit]

    def matches(self, run: RunRecord) -> bool:
        """Whether a run matches, limit aside."""
        return (
            (self.ids is None or run.id in self.ids)
            and (self.job is None or run.job == self.job)
            and (self.schedule is None or run.schedule == self.schedule)
            and (self.states is None or run.state in self.states)
            and (self.origin is None or run.origin == self.origin)
            and (self.key is None or run.key == self.key)
            and (self.tag is None or self.tag in run.tags)
            and (self.slot is None or run.slot == self.slot)
            and (not self.dead_letters or is_dead_letter(run))
            and (
                not self.live
                or run.state == "running"
                or (run.state == "pending" and run.origin == "schedule")
            )
            and (self.finished_since is None or (run.finished_at or 0) >= self.finished_since)
            and (self.start is None or run.due >= self.start)
            and (self.end is None or run.due <= self.end)
            and (self.before is None or (run.due, run.id) < self.before)
        )
