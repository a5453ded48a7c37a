"""Every seam on one page: the protocols of the parts that can be exchanged.

==============  =================  ===================================================================
a part          is at least a      and may be, or add
==============  =================  ===================================================================
a trigger       ``Trigger``        ``TwoWayTrigger``, ``DescribedTrigger``; or ``InstantTrigger``, which
                                   speaks the engine's own words
a clock         ``Clock``          ``DrivenClock``
an executor     ``Executor``       its ``traits``; a ``TaskEngine`` runs functions elsewhere
an observer     ``Observer``       ``SelectiveObserver``, ``AttachedObserver``, ``RecordObserver``,
                                   ``CarryingObserver``, ``QueuedObserver``
a policy        ``Policy``         ``RetryRule``, ``PermitRule`` and ``Provider`` have options of their own
a store         ``Store``          ``ImmediateStore``; or ``ClusterStore``, ``TransactionalStore``; ``ReportingStore``
==============  =================  ===================================================================

The folders of the same plural names hold the implementations; the engine knows only these protocols. This
module and the public names suffice to write a part outside the library: the module also has the records
that a store keeps, the requests to a store, and the rules by which a store answers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from typing import Any, Protocol, runtime_checkable

from asyncsched._core.arguments.provided import Opening, Provider
from asyncsched._core.context import CurrentRun, goes_on_elsewhere, keep_reference, reference_of, tell_began
from asyncsched._core.events import Event
from asyncsched._core.execution import (
    Answer,
    Batch,
    Call,
    Carried,
    CarryingObserver,
    Clock,
    DrivenClock,
    Executor,
    ExecutorTraits,
    Observer,
    Policy,
    QueuedObserver,
    RecordObserver,
    SelectiveObserver,
    TaskEngine,
)
from asyncsched._core.figures import AttachedObserver, Figures, Slots
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
from asyncsched._core.reporting import BEGUN, ActivityQuery, ActivityRecord, Entry, ReportingStore
from asyncsched._core.requests import (
    Added,
    Cancelled,
    Changes,
    Claim,
    Claimed,
    Closed,
    Closing,
    Ending,
    Fenced,
    Firing,
    RunQuery,
    Verdict,
    Watch,
)
from asyncsched._core.rules import ending, letters, retention, transitions
from asyncsched._core.rules.admission import admit, gcra
from asyncsched._core.rules.lost import lengthened
from asyncsched._core.rules.outcome import heeding
from asyncsched._core.states import FAILURES
from asyncsched._core.trigger import DescribedTrigger, InstantTrigger, Trigger, TwoWayTrigger

__all__ = (
    "ActivityQuery", "ActivityRecord", "Added", "Answer", "AttachedObserver", "AttemptRecord", "BEGUN", "Batch", "Call",
    "Cancelled", "Carried", "CarryingObserver", "Changes", "Claim", "Claimed", "Clock", "Closed", "Closing", "ClusterStore",
    "CurrentRun", "DescribedTrigger", "DrivenClock", "Ending", "Entry", "ErrorInfo", "Event", "Executor",
    "ExecutorTraits", "FAILURES", "Fenced", "Figures", "Firing", "ImmediateStore", "InstanceRecord", "Instant",
    "InstantTrigger", "JobPause", "Now", "Observer", "Opening", "Permit", "PermitRule", "Policy", "Progress",
    "Provider", "QueuedObserver", "ReadTrigger", "RecordObserver", "ReportingStore", "RetryRule", "RunQuery", "RunRecord",
    "ScheduleRecord", "SelectiveObserver", "Slots", "Store", "Stretch", "TaskEngine", "TransactionalStore",
    "Trigger", "TwoWayTrigger", "Verdict", "Watch", "admit", "ending", "gcra", "goes_on_elsewhere", "heeding",
    "keep_reference", "lengthened", "letters", "reference_of", "retention", "tell_began", "to_datetime",
    "to_instant", "transitions",
)  # fmt: skip


@runtime_checkable
class Store(Protocol):
    """The ledger of schedules and runs.

    Every write is one transaction. The caller gives ``now``: a scheduler with a virtual clock *is*
    the cluster's clock. A write shields itself from cancellation once it was handed over.
    """

    durable: bool
    """Whether the ledger outlives the process: arguments are kept as JSON, and instances share it."""

    async def open(self, notify: Callable[[], None]) -> None:
        """Open the store; call ``notify`` (from the loop) whenever a run or a schedule may be due earlier."""
        ...

    async def close(self) -> None:
        """Close the store. Idempotent."""
        ...

    async def schedules(self, ids: Collection[str] | None = None) -> list[ScheduleRecord]:
        """Return all schedules, or those of the given ids that exist."""
        ...

    async def put_schedule(
        self, record: ScheduleRecord, revision: int, now: Now, lost: Stretch | None = None
    ) -> ScheduleRecord:
        """Insert the row (``revision`` 0), or replace it if its revision is ``revision``.

        The same transaction keeps ``lost``, the slots that get no run because of this change, and wakes the
        waiting runs of a schedule that was paused and no longer is; where there are very many, the first of
        them. Returns the row after the transaction: the caller's if it was written, else the stored one.
        A write that is repeated because its answer was lost counts as written, where the store detects that.
        """
        ...

    async def remove_schedule(self, id: str, now: Now) -> bool:
        """Remove the row; existing runs stay. Returns whether the row existed."""
        ...

    async def add(self, runs: Sequence[RunRecord], now: Now, replace: bool = False) -> list[Added]:
        """Put pending runs into the ledger, keys respected; return one answer for each, in order.

        With ``replace``, a pending run that holds the key takes over the new time and arguments.
        """
        ...

    async def close_letters(self, closings: Sequence[Closing], now: Now) -> list[Closed]:
        """Close dead letters by ``rules.letters``, and add the runs that come of them, as :meth:`add` does.

        A letter is closed in the transaction that adds its run. Where another run holds the key, the letter is
        closed by that run, if its arguments are the same. Returns one answer for each closing, in order.
        """
        ...

    async def claim(self, claim: Claim, now: Now) -> Claimed:
        """Move due schedules on, make their runs, and begin ready runs as far as there is capacity."""
        ...

    async def record(self, endings: Sequence[Ending]) -> list[bool]:
        """End the current attempts of these runs; if one of them is refused, all may be recorded again.

        Returns for each run whether the caller held it. A run that the caller did not hold is unchanged.
        """
        ...

    async def note(self, run: RunRecord, now: Now) -> None:
        """Write a held run's progress."""
        ...

    async def cancel(self, run_id: int, why: str, now: Now) -> Cancelled:
        """Cancel a pending run, or request its cancel from its holder."""
        ...

    async def move(self, run_id: int, due: Instant, steady: bool, now: Now) -> RunRecord | None:
        """Give a pending run another due time. Returns the stored row, or ``None``."""
        ...

    async def pause_job(self, job: str, pause: JobPause | None, now: Now) -> None:
        """Pause a job, so that no run of it begins; ``None`` resumes it."""
        ...

    async def paused_jobs(self) -> dict[str, JobPause]:
        """Return the paused jobs, each with the note, author and time of its pause."""
        ...

    async def runs(self, query: RunQuery) -> list[RunRecord]:
        """Return the runs that match, newest due first.

        Runs by ``ids``, and the run of a ``slot`` with its ``schedule`` and ``origin="schedule"``, are
        found without a scan, however many runs there are.
        """
        ...

    async def stretches(self, schedule: str, start: Instant, end: Instant) -> list[Stretch]:
        """Return the stretches of a schedule that touch ``start`` to ``end``, oldest first."""
        ...

    async def prune(self, now: Now, schedule: str | None = None) -> int:
        """Delete the history beyond its bounds, or all of one schedule but keys. Returns the number of deleted runs."""
        ...


@runtime_checkable
class ImmediateStore(Protocol):
    """A store in memory, which also answers without ``await``, for callers that cannot or need not await."""

    def put(self, record: ScheduleRecord, revision: int) -> ScheduleRecord:
        """Do what ``put_schedule`` does."""
        ...

    def end(self, run: RunRecord, verdict: Verdict, now: Now) -> bool:
        """Do what ``record`` does, for one run."""
        ...


@runtime_checkable
class TransactionalStore(Protocol):
    """A store in a database, which can also write in the user's transaction.

    ``connection`` is the user's, on any thread; the answer of an async connection is awaited.
    """

    def statement(self, run: RunRecord) -> tuple[str, tuple[Any, ...]]:
        """Return the INSERT that puts a run into the ledger, with its parameters in the driver's style."""
        ...

    def add_in(self, connection: Any, run: RunRecord, now: Now) -> Any:
        """Put a run into the ledger; return the number of added runs: 0 where another run holds the key."""
        ...

    def key_holder_in(self, connection: Any, run: RunRecord) -> Any:
        """Return the run that holds a run's key: one row of id and arguments, or none."""
        ...

    def complete_in(self, run: RunRecord, connection: Any) -> Any:
        """Write a held run's success; raise ``SchedulerStateError`` if this instance no longer holds it."""
        ...


class ReadTrigger(Protocol):
    """Makes the trigger of a schedule's row."""

    def __call__(self, id: str, spec: str | None, anchor: Instant, /) -> InstantTrigger:
        """Return the trigger that ``spec`` describes, or the code's trigger where it has no text."""
        ...


class ClusterStore(Store, Protocol):
    """A ledger that several instances share: the protocol of a ``durable`` store.

    An instance is a row with a counter of beats. A run's holder is (incarnation, attempt), and
    :meth:`Store.claim` raises ``Fenced`` for an incarnation without a row.
    """

    timeout: float
    """Seconds that a call waits for an answer before it raises ``StoreUnavailable``."""
    lease: float
    """Seconds without a beat after which an instance is declared dead."""
    beat_every: float
    poll_every: float

    @property
    def lost_answers(self) -> int:
        """The number of lost answers so far: after each, this instance may hold runs unknown to it."""
        ...

    @property
    def unconfirmed(self) -> bool:
        """Whether answers were lost beyond the number last given to :meth:`confirm`."""
        ...

    @property
    def trouble(self) -> str:
        """The fault that keeps the store from being written, in words; ``""`` while there is none."""
        ...

    notified: Callable[[bool, Set[int] | None], None]
    """The scheduler sets this callback; a store that is notified of the writes of other instances calls it
    from the loop: with whether there may be work, and which runs have changed (``None``: perhaps any).
    If there may be work, or a changed run is waited for, a :meth:`poll` follows before the next regular one."""

    def prepare(self, clock: Clock, triggers: ReadTrigger) -> None:
        """Take the scheduler's clock and the reader of triggers. Called before ``open``."""
        ...

    async def time(self) -> Instant:
        """Return the store's time, which is the time of the whole cluster."""
        ...

    async def join(self, instance: InstanceRecord, now: Now) -> InstanceRecord:
        """Add a living instance; one without an ordinal gets the newest."""
        ...

    async def beat(self, incarnation: int, now: Now, lag: int = 0) -> bool:
        """Count one beat; ``lag`` is of its loop, in µs. Returns False if the instance was declared dead."""
        ...

    async def poll(self, watch: Watch) -> Changes | None:
        """Return the changes since ``watch``, or ``None`` if there are none."""
        ...

    async def declare_dead(self, incarnation: int, beat: int, now: Now) -> dict[str, int] | None:
        """Declare an instance dead whose beat is still ``beat``, fencing all its runs in the same write.

        Returns the runs by new state (``locked``: left to :meth:`sweep`), or ``None`` if it lives or was dead before.
        """
        ...

    async def sweep(self, now: Now) -> dict[str, int]:
        """Fence the running runs that no instance holds; returns what ``declare_dead`` does."""
        ...

    async def held(self, incarnation: int) -> dict[int, Instant]:
        """Return the runs that an instance holds, each with the begin of its attempt."""
        ...

    async def let_go(self, incarnation: int, held: Mapping[int, Instant] | None, now: Now) -> dict[str, int]:
        """Make the ``held`` runs pending, if still held since then, no attempt spent; ``None``: all."""
        ...

    def hurry(self, seconds: float) -> None:
        """Have all calls answered, or fail, within ``seconds``, and ``close`` take no longer: the process ends."""
        ...

    async def leave(self, incarnation: int, known: Set[int], now: Now) -> None:
        """Remove an instance that ends; the runs that it holds beside the known ones become pending again.

        One that holds some of the known runs stays, to be declared dead: their outcome is not recorded.
        """
        ...

    async def instances(self) -> list[InstanceRecord]:
        """Return the living instances, oldest first."""
        ...

    async def job_names(self) -> list[str]:
        """Return the names of all jobs that have runs, beside running ones; without a scan of the runs."""
        ...

    async def rename_job(self, old: str, new: str, schedule: bool = False) -> tuple[list[str], int]:
        """Give the added schedules and pending runs of a job to another, and pause that one if the job is paused.

        With ``schedule``, the declared schedule whose id is the old name gets the new one, with all its records.
        Returns the ids of those schedules, and the number of runs.
        """
        ...

    def confirm(self, lost_answers: int) -> None:
        """Take note that all held runs are known, as far as the first ``lost_answers`` are concerned."""
        ...
