"""Every seam on one page: what a part must be able to do to take its place.

==============  =================  ===================================================================
a part          is at least a      and may be, or add
==============  =================  ===================================================================
a trigger       ``Trigger``        ``TwoWayTrigger``, ``DescribedTrigger``; or ``InstantTrigger``, which
                                   speaks the engine's own words
a clock         ``Clock``          ``DrivenClock``
an executor     ``Executor``       its ``traits``
an observer     ``Observer``       ``SelectiveObserver``
a policy        ``Policy``         ``RetryRule``, ``PermitRule`` and ``Provider`` have options of their own
a store         ``Store``          ``ImmediateStore``; or ``ClusterStore``, ``TransactionalStore``
==============  =================  ===================================================================

Implementations stand in the folders of the same plural name; the engine knows only these. A part of one's
own is written with this module and the public names alone: it also has the records that a store keeps,
what is asked of a store, and the rules by which one answers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from typing import Any, Protocol, runtime_checkable

from asyncsched._core.arguments.signature import Provider
from asyncsched._core.context import CurrentRun, tell_began
from asyncsched._core.events import Event
from asyncsched._core.execution import (
    Call,
    Clock,
    DrivenClock,
    Executor,
    ExecutorTraits,
    Observer,
    Policy,
    SelectiveObserver,
)
from asyncsched._core.instants import Instant, Now, to_datetime, to_instant
from asyncsched._core.jobs import PermitRule, RetryRule
from asyncsched._core.models import ErrorInfo, Progress
from asyncsched._core.records import (
    AttemptRecord,
    InstanceRecord,
    JobPause,
    Permit,
    RunRecord,
    ScheduleRecord,
    Stretch,
)
from asyncsched._core.requests import (
    Added,
    Changes,
    Claim,
    Claimed,
    Ending,
    Fenced,
    Firing,
    RunQuery,
    Verdict,
    Watch,
)
from asyncsched._core.rules import retention, transitions
from asyncsched._core.rules.admission import admit, gcra
from asyncsched._core.rules.outcome import heeding
from asyncsched._core.states import FAILURES
from asyncsched._core.trigger import DescribedTrigger, InstantTrigger, Trigger, TwoWayTrigger

__all__ = (
    "Added", "AttemptRecord", "Call", "Changes", "Claim", "Claimed", "Clock", "ClusterStore", "CurrentRun",
    "DescribedTrigger", "DrivenClock", "Ending", "ErrorInfo", "Event", "Executor", "ExecutorTraits", "FAILURES", "Fenced",
    "Firing", "ImmediateStore", "InstanceRecord", "Instant", "InstantTrigger", "JobPause", "Now", "Observer",
    "Permit", "PermitRule", "Policy", "Progress", "Provider", "ReadTrigger", "RetryRule", "RunQuery",
    "RunRecord", "ScheduleRecord", "SelectiveObserver", "Store", "Stretch", "TransactionalStore", "Trigger",
    "TwoWayTrigger", "Verdict", "Watch", "admit", "gcra", "heeding", "retention", "tell_began", "to_datetime",
    "to_instant", "transitions",
)  # fmt: skip


@runtime_checkable
class Store(Protocol):
    """The ledger of schedules and runs.

    Every write is one transaction. ``now`` comes in from the caller: a scheduler with a virtual
    clock *is* the cluster's clock. A write shields itself from cancellation once it was handed over.
    """

    durable: bool
    """Whether it outlives the process: arguments go through JSON, and instances share it."""

    async def open(self, notify: Callable[[], None]) -> None:
        """Open the store; call ``notify`` (from the loop) whenever something earlier may be due."""
        ...

    async def close(self) -> None:
        """Close it. Idempotent."""
        ...

    async def schedules(self, ids: Collection[str] | None = None) -> list[ScheduleRecord]:
        """Return all schedules, or those of the given ids that exist."""
        ...

    async def put_schedule(
        self, record: ScheduleRecord, revision: int, now: Now, lost: Stretch | None = None
    ) -> ScheduleRecord:
        """Insert (``revision`` 0) or replace the row if it stands at ``revision``.

        The same transaction keeps ``lost``, the slots that get no run by this change, and lets the waiting
        runs of a schedule go on that stood paused and no longer is; where they are very many, the first of
        them. Returns the row as it stands afterwards: the caller's if it won, else the one to look at.
        A write that is repeated because its answer was lost has won, where the store can tell.
        """
        ...

    async def remove_schedule(self, id: str, now: Now) -> bool:
        """Remove the row; runs that exist stay. Returns whether it was there."""
        ...

    async def add(self, runs: Sequence[RunRecord], now: Now, replace: bool = False) -> list[Added]:
        """Put pending runs into the ledger, keys respected; one answer each, in order.

        With ``replace``, a pending run that holds the key takes over the new time and arguments.
        """
        ...

    async def claim(self, claim: Claim, now: Now) -> Claimed:
        """Move due schedules on, make their runs, and take what is ready and there is room for."""
        ...

    async def record(self, endings: Sequence[Ending]) -> list[bool]:
        """End the current attempts of these runs; if one of them is refused, all may be asked for again.

        Returns for each whether we held it. If not, nothing was changed of it.
        """
        ...

    async def note(self, run: RunRecord, now: Now) -> None:
        """Write a held run's progress."""
        ...

    async def cancel(self, run_id: int, why: str, now: Now) -> RunRecord | None:
        """End a pending run, or ask its holder to cancel it. Returns the row, or ``None``."""
        ...

    async def move(self, run_id: int, due: Instant, steady: bool, now: Now) -> RunRecord | None:
        """Give a pending run another due time. Returns the row as it stands, or ``None``."""
        ...

    async def pause_job(self, job: str, pause: JobPause | None, now: Now) -> None:
        """Stop to begin runs of a job, or begin them again."""
        ...

    async def paused_jobs(self) -> dict[str, JobPause]:
        """Return the paused jobs, with why and by whom."""
        ...

    async def runs(self, query: RunQuery) -> list[RunRecord]:
        """Return the runs that match, newest due first.

        Runs asked for by ``ids``, and that of a ``slot`` with its ``schedule`` and ``origin="schedule"``,
        are looked up, however many runs there are.
        """
        ...

    async def stretches(self, schedule: str, start: Instant, end: Instant) -> list[Stretch]:
        """Return the stretches of a schedule that touch ``start`` to ``end``, oldest first."""
        ...

    async def prune(self, now: Now) -> int:
        """Drop what the history's bounds no longer keep. Returns how many runs went."""
        ...


@runtime_checkable
class ImmediateStore(Protocol):
    """What a store in memory can, beyond the above: answer without being awaited, for who cannot or need not."""

    def put(self, record: ScheduleRecord, revision: int) -> ScheduleRecord:
        """Do what ``put_schedule`` does."""
        ...

    def end(self, run: RunRecord, verdict: Verdict, now: Now) -> bool:
        """Do what ``record`` does, for one run."""
        ...


@runtime_checkable
class TransactionalStore(Protocol):
    """What a store in a database can, beyond the above: write in a transaction of the user's own.

    ``connection`` is the user's, on any thread; what an async one returns is awaited.
    """

    def statement(self, run: RunRecord) -> tuple[str, tuple[Any, ...]]:
        """Return the INSERT that puts a run into the ledger, with its parameters in the driver's style."""
        ...

    def add_in(self, connection: Any, run: RunRecord, now: Now) -> Any:
        """Put a run into the ledger; return how many were added: 0 where another holds the key."""
        ...

    def key_holder_in(self, connection: Any, run: RunRecord) -> Any:
        """Return the run that holds a run's key: rows of id and arguments, one or none."""
        ...

    def complete_in(self, run: RunRecord, connection: Any) -> Any:
        """Write a held run's success; raise ``SchedulerStateError`` if it is no longer held here."""
        ...


class ReadTrigger(Protocol):
    """Makes the trigger of a schedule's row."""

    def __call__(self, id: str, spec: str | None, anchor: Instant, /) -> InstantTrigger:
        """Return the trigger that ``spec`` describes, or the code's own where there is no text of it."""
        ...


class ClusterStore(Store, Protocol):
    """A ledger that several instances share: what a ``durable`` store can, beyond the above.

    An instance is a row with a counter of beats. A run's holder is (incarnation, attempt), and
    :meth:`Store.claim` raises ``Fenced`` for an incarnation whose row is gone.
    """

    timeout: float
    """Seconds that a call waits for an answer before it raises ``StoreUnavailable``."""
    lease: float
    """Seconds for which a beat must stand still before its instance is declared dead."""
    beat_every: float
    poll_every: float

    @property
    def lost_answers(self) -> int:
        """How many answers were lost so far: each time runs may be held since then that nobody knows of."""
        ...

    @property
    def unconfirmed(self) -> bool:
        """Whether answers were lost beyond those that :meth:`confirm` has heard of."""
        ...

    @property
    def trouble(self) -> str:
        """What keeps it from being written to, in words; ``""`` while it is well."""
        ...

    notified: Callable[[bool, Set[int] | None], None]
    """Set by whoever looks; called, from the loop, where the store hears by itself that others wrote:
    with whether there may be something to do, and which runs have changed (``None``: perhaps any).
    Then, and if one of the runs is waited for, it is worth a :meth:`poll` before the next poll."""

    def prepare(self, clock: Clock, triggers: ReadTrigger) -> None:
        """Take the scheduler's clock, and what reads triggers. Before ``open``."""
        ...

    async def time(self) -> Instant:
        """Return the store's time, by which the whole cluster goes."""
        ...

    async def join(self, instance: InstanceRecord, now: Now) -> InstanceRecord:
        """Add a living instance; one without a seat gets the newest."""
        ...

    async def beat(self, incarnation: int, now: Now) -> bool:
        """Count one beat. Returns False if the instance was declared dead."""
        ...

    async def poll(self, watch: Watch) -> Changes | None:
        """Return what has changed, or ``None`` if nothing has."""
        ...

    async def declare_dead(self, incarnation: int, beat: int, now: Now) -> dict[str, int] | None:
        """Declare dead whose beat still stands at ``beat``, fencing all its runs in the same write.

        Returns how many runs got which state, or ``None`` if it lives or was buried before.
        """
        ...

    async def sweep(self, now: Now) -> dict[str, int]:
        """Fence the runs that are held by no instance."""
        ...

    async def held(self, incarnation: int) -> dict[int, Instant]:
        """Return the runs that an instance holds, each with when its attempt began."""
        ...

    async def let_go(self, incarnation: int, held: Mapping[int, Instant] | None, now: Now) -> dict[str, int]:
        """Make runs pending again that are held since then, no attempt spent; ``None`` means all."""
        ...

    async def leave(self, incarnation: int, known: Set[int], now: Now) -> None:
        """Take out an instance that ends; what it holds beside the known runs becomes pending again.

        One that holds some of the known runs stays, to be declared dead: how they ended is not recorded.
        """
        ...

    async def instances(self) -> list[InstanceRecord]:
        """Return the living instances, oldest first."""
        ...

    def confirm(self, lost_answers: int) -> None:
        """Hear that all that is held is known, as far as the first ``lost_answers`` of them are concerned."""
        ...
