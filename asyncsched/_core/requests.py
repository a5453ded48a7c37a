"""What the instances of a cluster know of one another: their rows, and what each wants to hear."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncsched._core.instants import Instant
from asyncsched._core.records import RunRecord, ScheduleRecord, Stretch

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
    ``snoozed`` or ``released``. The store puts the schedule's row into ``paused`` if this verdict
    was the failure that paused it.
    """

    __slots__ = ("attempt", "error", "pause_after", "paused", "ready_at", "result", "spent", "state", "why")

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
    """Which runs are asked for; every field that is given must match."""

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
