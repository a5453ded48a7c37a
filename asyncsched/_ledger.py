"""The rows of the ledger, and what is asked of it in one transaction.

Mutable slots objects: they are made for every run, and a frozen value costs ten times as much.
Users never see them; ``_views`` turns them into the frozen values of ``_models``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from asyncsched._ids import moment_of
from asyncsched._instants import MINUTE, Instant

if TYPE_CHECKING:
    from asyncsched._clock import Now
    from asyncsched._models import ErrorInfo, Progress
    from asyncsched.abc import InstantTrigger

V = TypeVar("V")

Given = tuple[tuple[Any, ...], dict[str, Any]]
"""The arguments of a call, by position and by name."""

Arguments = Given | str
"""By reference in memory; as JSON text in a store, and in memory under ``strict``."""

NO_ARGUMENTS: Given = ((), {})


class Permit(NamedTuple):
    """A place that a run needs before it may begin: one row of the limiter.

    ``most`` is how many may hold it at once. A rate's permit has ``interval`` set instead: the
    emission interval of the GCRA in microseconds, ``most`` being the burst.
    """

    key: str
    most: int
    interval: int = 0
    drop: bool = False


class PastAttempt(NamedTuple):
    """One attempt that has ended; times are wall instants."""

    number: int
    started_at: Instant
    finished_at: Instant
    state: str
    why: str
    error: ErrorInfo | None


class _Rare(Generic[V]):
    """A field that few runs have: kept beside the run, from when it is first set to anything else.

    A million pending runs hold 8 bytes less each for every one of these.
    """

    def __init__(self, usual: V) -> None:
        self._usual = usual

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, run: RunRecord, owner: type) -> V:
        value: V = self._usual if run.rare is None else run.rare.get(self._name, self._usual)
        return value

    def __set__(self, run: RunRecord, value: V) -> None:
        if run.rare is not None:
            run.rare[self._name] = value
        elif value != self._usual:
            run.rare = {self._name: value}


class RunRecord:
    """One run.

    ``due`` is the promise from which lateness counts; ``ready_at`` is when it may begin, ``None``
    while it waits for the permit or the schedule named by ``waits_for``. Both stand on the steady
    timeline where ``steady`` is set. ``rank`` orders what is ready: one point of priority is worth
    a minute of waiting, so nothing starves. ``rare`` is ``None`` while all of the rare fields are
    as usual, which spares whoever is in a hurry to look at each.
    """

    __slots__ = (
        "arguments", "attempt", "due", "executor", "finished_at", "holder", "id", "job", "late",
        "max_attempts", "origin", "place", "priority", "queue", "rank", "rare", "ready_at", "result", "schedule",
        "slot", "started_at", "state", "steady", "tags", "why",
    )  # fmt: skip

    key: _Rare[str | None] = _Rare(None)
    key_ttl: _Rare[int] = _Rare(0)
    permits: _Rare[tuple[Permit, ...]] = _Rare(())
    carried: _Rare[dict[str, Any] | None] = _Rare(None)  # context variables
    waits_for: _Rare[str | None] = _Rare(None)
    asked: _Rare[str | None] = _Rare(None)  # why its holder is to cancel it
    progress: _Rare[Progress | None] = _Rare(None)
    error: _Rare[ErrorInfo | None] = _Rare(None)
    attempts: _Rare[list[PastAttempt] | None] = _Rare(None)
    reference: _Rare[str | None] = _Rare(None)  # the id an engine elsewhere gave it

    def __init__(
        self,
        id: int,
        job: str,
        due: Instant,
        *,
        executor: str = "loop",
        schedule: str | None = None,
        origin: str = "once",
        slot: Instant | None = None,
        steady: bool = False,
        priority: int = 0,
        arguments: Arguments = NO_ARGUMENTS,
        tags: tuple[str, ...] = (),
        max_attempts: int = 1,
        key: str | None = None,
        key_ttl: int = 0,
        permits: tuple[Permit, ...] = (),
        carried: dict[str, Any] | None = None,
    ) -> None:
        self.id = id
        self.job = job
        self.schedule = schedule
        self.origin = origin
        self.slot = slot
        self.due = due
        self.steady = steady
        self.ready_at: Instant | None = due
        self.priority = priority
        # The same number where it can be: a million pending runs hold 32 bytes less each.
        self.rank = due - priority * MINUTE if priority else due
        self.executor = executor
        self.arguments = arguments
        self.tags = tags
        self.max_attempts = max_attempts
        self.state = "pending"
        self.attempt = 0
        self.holder = 0
        self.started_at: Instant | None = None
        self.finished_at: Instant | None = None
        self.late: int | None = None
        self.why = ""
        self.result: Any = None
        # In memory: the queue it stands in, and by which number; in the history, its number among
        # those of its schedule, and how many bytes it counts for.
        self.queue: Any = None
        self.place = 0
        self.rare: dict[str, Any] | None = None
        if key is not None or key_ttl or permits or carried:
            self.key, self.key_ttl, self.permits, self.carried = key, key_ttl, permits, carried

    @property
    def created_at(self) -> Instant:
        """When it was made, which its id tells."""
        return moment_of(self.id)

    def __copy__(self) -> RunRecord:
        twin = RunRecord.__new__(RunRecord)
        for name in self.__slots__:
            setattr(twin, name, getattr(self, name))
        twin.rare = None if self.rare is None else {**self.rare}
        return twin

    @property
    def live(self) -> bool:
        """Whether it has no outcome yet."""
        return self.state == "pending" or self.state == "running"

    def __repr__(self) -> str:
        return f"<RunRecord {self.job} {self.id:032x} {self.state} attempt {self.attempt}>"


@dataclass(slots=True, eq=False)
class ScheduleRecord:
    """One schedule.

    ``cursor`` is the last slot that was settled: every slot up to it has its record. ``next_slot``
    is the next one, ``next_due`` the same with jitter; both ``None`` when the trigger has ended,
    and not looked at while ``paused``.
    """

    id: str
    job: str
    trigger: InstantTrigger
    anchor: Instant
    cursor: Instant
    next_slot: Instant | None = None
    next_due: Instant | None = None
    steady: bool = False
    arguments: Arguments = NO_ARGUMENTS
    jitter: int = 0
    tags: tuple[str, ...] = ()
    spec: str | None = None  # the trigger as JSON, where it can be written down
    fingerprint: str = ""
    declared: bool = False
    declared_by: int = 0
    orphaned: bool = False  # declared once, and by no instance that lives and knows the job
    rescheduled: bool = False
    paused: bool = False
    paused_at: Instant | None = None
    note: str = ""
    by: str = ""
    revision: int = 0
    edition: int = 1  # counts the changes of the trigger
    edition_since: Instant = 0
    failures: int = 0  # in a row
    created_at: Instant = 0

    @property
    def dormant(self) -> bool:
        """Whether it is not to be fired: paused, orphaned, or with a trigger that is not known here."""
        return self.paused or self.orphaned or getattr(self.trigger, "foreign", False)


@dataclass(slots=True)
class Stretch:
    """Slots of a schedule that got no run. ``exact`` is False where ``count`` is only a least."""

    schedule: str
    first: Instant
    last: Instant
    count: int
    reason: str
    exact: bool = True


class JobPause(NamedTuple):
    """Why, by whom and since when nothing of a job is begun."""

    note: str
    by: str
    since: Instant


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
    timeline; ``more`` says that something is ready already. ``asked`` names running runs that
    are to be cancelled, and why; whoever holds one does.
    """

    runs: list[RunRecord] = field(default_factory=list)
    schedules: list[ScheduleRecord] = field(default_factory=list)
    skipped: list[Stretch] = field(default_factory=list)
    asked: list[tuple[int, str]] = field(default_factory=list)
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
