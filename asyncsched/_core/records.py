"""The rows of the ledger: runs and their attempts, schedules, stretches, pauses of jobs, and instances.

The rows are mutable objects with slots: one is made for every run, and a frozen value costs ten times as
much. Users never see a row; ``mapping`` turns it into a frozen value of ``models``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from asyncsched._core.ids import moment_of
from asyncsched._core.instants import MINUTE, Instant

if TYPE_CHECKING:
    from asyncsched._core.models import ErrorInfo, Progress
    from asyncsched._core.trigger import InstantTrigger

V = TypeVar("V")

Given = tuple[tuple[Any, ...], dict[str, Any]]
"""The arguments of a call, by position and by name."""

Arguments = Given | str
"""Objects in memory; JSON text in a durable store, and in memory under ``strict``."""

NO_ARGUMENTS: Given = ((), {})


class Permit(NamedTuple):
    """A permit that a run needs before it may begin: one row of the limiter.

    ``most`` is the number of runs that may hold it at once. A rate's permit has ``interval`` set instead:
    the emission interval of the GCRA in microseconds, ``most`` being the burst.
    """

    key: str
    most: int
    interval: int = 0
    drop: bool = False  # a run above the limit ends, instead of waiting

    @property
    def reason(self) -> str:
        """Why a run that is dropped for it was cancelled."""
        return "rate_limited" if self.interval else "over_limit"


class AttemptRecord(NamedTuple):
    """One attempt that has ended; times are wall instants."""

    number: int
    started_at: Instant
    finished_at: Instant
    state: str
    why: str
    error: ErrorInfo | None


class _Rare(Generic[V]):
    """A field that few runs have: kept in ``rare`` once it was set to anything but its usual value.

    Each of a million pending runs takes 8 bytes less for every such field.
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


def rank_of(ready_at: Instant, priority: int) -> Instant:
    """Return a run's rank among the ready runs: a point of priority is worth a minute of waiting."""
    return ready_at - priority * MINUTE


class RunRecord:
    """One run.

    ``due`` is the promise from which lateness counts; ``ready_at`` is when the run may begin, ``None``
    while it waits for the permit or the schedule named by ``waits_for``. Both are on the steady
    timeline where ``steady`` is set. ``rank`` orders the ready runs: one point of priority is worth
    a minute of waiting, so no run starves. ``rare`` is ``None`` while all of the rare fields are
    as usual, so that the hot path does not read each of them.
    """

    __slots__ = (
        "arguments", "attempt", "due", "executor", "finished_at", "holder", "id", "job", "late",
        "max_attempts", "origin", "place", "priority", "queue", "rank", "rare", "ready_at", "result", "schedule",
        "slot", "started_at", "state", "steady", "tags", "why",
    )  # fmt: skip

    key: _Rare[str | None] = _Rare(None)
    key_ttl: _Rare[int] = _Rare(0)
    key_from: _Rare[int | None] = _Rare(None)  # of a new run: the running run whose code adds it
    key_passed: _Rare[bool] = _Rare(False)  # whether the key went to a run that this one added
    permits: _Rare[tuple[Permit, ...]] = _Rare(())
    context_vars: _Rare[dict[str, Any] | None] = _Rare(None)  # context variables
    waits_for: _Rare[str | None] = _Rare(None)
    cancel_requested: _Rare[str | None] = _Rare(None)  # the reason for which its holder is to cancel it
    progress: _Rare[Progress | None] = _Rare(None)
    error: _Rare[ErrorInfo | None] = _Rare(None)
    attempts: _Rare[list[AttemptRecord] | None] = _Rare(None)
    reference: _Rare[str | None] = _Rare(None)  # the run's id in an engine elsewhere
    requeue_of: _Rare[int | None] = _Rare(None)  # the dead letter of which this run came
    requeued_as: _Rare[int | None] = _Rare(None)  # the newest run that came of this dead letter
    dismissed: _Rare[str | None] = _Rare(None)  # the note with which this dead letter was put aside

    def __init__(
        self,
        id: int,
        job: str,
        due: Instant,
        steady: bool = False,
        executor: str = "loop",
        priority: int = 0,
        arguments: Arguments = NO_ARGUMENTS,
        tags: tuple[str, ...] = (),
        max_attempts: int = 1,
        schedule: str | None = None,
        origin: str = "once",
        slot: Instant | None = None,
        *,
        key: str | None = None,
        key_ttl: int = 0,
        permits: tuple[Permit, ...] = (),
        context_vars: dict[str, Any] | None = None,
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
        # The same number object where it can be: each of a million pending runs takes 32 bytes less.
        self.rank = rank_of(due, priority) if priority else due
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
        # In memory: the run's queue, and its number there; in the history, its number among the runs
        # of its schedule, and the bytes that it counts for.
        self.queue: Any = None
        self.place = 0
        self.rare: dict[str, Any] | None = None
        if key is not None or key_ttl or permits or context_vars:
            self.key, self.key_ttl, self.permits, self.context_vars = key, key_ttl, permits, context_vars

    @property
    def created_at(self) -> Instant:
        """The time at which the run was made, which is part of its id."""
        return moment_of(self.id)

    def __copy__(self) -> RunRecord:
        twin = RunRecord.__new__(RunRecord)
        for name in self.__slots__:
            setattr(twin, name, getattr(self, name))
        twin.rare = None if self.rare is None else {**self.rare}
        return twin

    @property
    def live(self) -> bool:
        """Whether the run has no outcome yet."""
        return self.state == "pending" or self.state == "running"

    def __repr__(self) -> str:
        return f"<RunRecord {self.job} {self.id:032x} {self.state} attempt {self.attempt}>"


@dataclass(slots=True, eq=False)
class ScheduleRecord:
    """One schedule.

    ``cursor`` is the last slot that was settled: every slot up to it has its record. ``next_slot``
    is the next slot, ``next_due`` the same with jitter; both are ``None`` when the trigger has ended,
    and are not read while the schedule is ``paused``.
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
    spec: str | None = None  # the trigger as JSON, where it has such a text
    fingerprint: str = ""
    declared: bool = False
    declared_by: int = 0
    orphaned: bool = False  # declared once, but by no living instance that knows the job
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
    max_runs: int | None = None
    runs_made: int = 0  # of its own slots

    @property
    def dormant(self) -> bool:
        """Whether the schedule does not fire: it is paused or orphaned, or its trigger is not known here."""
        return self.paused or self.orphaned or self.trigger.foreign

    @property
    def used_up(self) -> bool:
        """Whether the schedule has had as many runs as ``max_runs`` allows."""
        return self.max_runs is not None and self.runs_made >= self.max_runs

    @property
    def ended(self) -> bool:
        """Whether no further slot gets a run; of a paused schedule's trigger, that is not known."""
        return self.used_up or (self.next_slot is None and not self.paused)

    def keep_trigger(self, known: ScheduleRecord) -> None:
        """Take over the trigger of an earlier row if it is the same, so that its text is read once."""
        if self.spec == known.spec and self.anchor == known.anchor:
            self.trigger = known.trigger


@dataclass(slots=True)
class Stretch:
    """Slots of a schedule that got no run. ``exact`` is False where ``count`` is a lower bound."""

    schedule: str
    first: Instant
    last: Instant
    count: int
    reason: str
    exact: bool = True


class JobPause(NamedTuple):
    """A pause of a job, with its note, author and time: while it lasts, no run of the job is begun."""

    note: str
    by: str
    since: Instant


class InstanceRecord(NamedTuple):
    """One running scheduler, as the other instances know it.

    ``ordinal`` numbers the instances in the order of their start: the declarations of the newest count.
    ``beat`` counts up while the instance lives. ``signatures`` has, by job, the fingerprint of the function's
    parameters: an instance with another one may read arguments that do not fit here. ``lag`` is the most by which
    its event loop was late before its last beat, in microseconds.
    """

    incarnation: int
    host: str
    pid: int
    version: str
    role: str
    jobs: frozenset[str]
    schedules: frozenset[str]
    ordinal: int = 0
    started_at: Instant = 0
    beat: int = 0
    beat_at: Instant = 0
    signatures: Mapping[str, str] = {}
    lag: int = 0
