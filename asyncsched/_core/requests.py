"""What the instances of a cluster know of one another: their rows, and what each wants to hear."""

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
    """The instance has been declared dead: what it runs is no longer its own."""


class Watch(NamedTuple):
    """What an instance wants to hear: changes since the numbers it saw last, and of some runs."""

    holder: int
    work_version: Any
    version: int
    runs: Collection[int] = ()
    fully: bool = False  # whether or not anything has changed


@dataclass(slots=True, eq=False)
class Changes:
    """What it hears.

    ``work_version`` differs from the last one when there may be something to claim. ``earliest`` then
    says when the first pending run is ready: 0 for now, or where only a claim can tell, ``None`` for
    never. ``ids`` are all schedules there are, given only when some have gone; ``runs`` are tokens that
    change with a run.
    """

    work_version: Any
    version: int
    beats: list[tuple[int, int]]
    schedules: list[ScheduleRecord] = field(default_factory=list)
    ids: set[str] | None = None
    cancel_requests: list[tuple[int, str]] = field(default_factory=list)
    runs: dict[int, Any] = field(default_factory=dict)
    earliest: Instant | None = 0


class Firing:
    """A due schedule moving on: valid only while its row stands at ``revision``."""

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
        self.chained = chained  # a catch-up: its runs go behind one another


class Claim(NamedTuple):
    """What one instance asks for in one transaction."""

    holder: int
    firings: list[Firing]
    free: dict[str, int]
    most: int = 256
    jobs: Collection[str] | None = None


@dataclass(slots=True, eq=False)
class Claimed:
    """What it got.

    ``next_wall`` and ``next_steady`` are when the earliest pending run becomes ready on each
    timeline; ``more`` says that something is ready already. ``cancel_requests`` names running runs that
    are to be cancelled, and why; whoever holds one does.
    """

    runs: list[RunRecord] = field(default_factory=list)
    schedules: list[ScheduleRecord] = field(default_factory=list)
    skipped: list[Stretch] = field(default_factory=list)
    cancel_requests: list[tuple[int, str]] = field(default_factory=list)
    dropped: list[RunRecord] = field(default_factory=list)
    next_wall: Instant | None = None
    next_steady: Instant | None = None
    more: bool = False


class Verdict:
    """How an attempt ended: with an outcome, or ``pending`` again at ``ready_at``.

    ``attempt`` is how the attempt itself ended where that differs: ``failed``, ``timed_out``,
    ``snoozed`` or ``released``. ``began`` is False where the job's code never had its first step: then nothing
    of it is an attempt. The store puts the schedule's row into ``paused`` if this verdict was the failure
    that paused it.
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
    """An attempt of ours that is over: of which run, how, and when."""

    run: RunRecord
    verdict: Verdict
    now: Now


class Added(NamedTuple):
    """What became of a run that was to be added: itself, or the one that holds its key."""

    run: RunRecord
    created: bool
    conflict: bool = False


class RunQuery(NamedTuple):
    """Which runs are asked for; every field that is given must match.

    ``finished_since`` is the earliest end, and ``dead_letters`` leaves out all that is none. The earliest
    and the latest due time are ``start`` and ``end``.
    """

    ids: Collection[int] | None = None  # first, for nothing is asked as often
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

    def select(self, runs: Iterable[RunRecord]) -> list[RunRecord]:
        """Return the runs that match, newest due first: the answer of a store that looks at each."""
        found = [run for run in runs if self._matches(run)]
        if len(found) > 1:
            found.sort(key=lambda run: (run.due, run.id), reverse=True)
        return found[: self.limit]

    def _matches(self, run: RunRecord) -> bool:
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
            and (self.finished_since is None or (run.finished_at or 0) >= self.finished_since)
            and (self.start is None or run.due >= self.start)
            and (self.end is None or run.due <= self.end)
            and (self.before is None or (run.due, run.id) < self.before)
        )
