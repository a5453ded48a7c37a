"""The words as frozen values: the options that users give, and the views that they receive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from typing import Annotated, Any

from asyncsched._core.shown import AnyValue, SafeRepr
from asyncsched._core.states import FINAL_STATES, Origin, Outcome, State
from asyncsched._core.values import value


@value
class Progress:
    """The progress that a run reported last."""

    done: float
    total: float | None = None
    message: str = ""


@value
class Attempt:
    """One attempt of a run that has ended."""

    number: int
    started_at: datetime
    finished_at: datetime
    state: str
    why: str = ""
    error_type: str | None = None
    message: str = ""
    traceback: str = ""


@value
class Run(SafeRepr):
    """One execution of a job, from pending to its outcome, all attempts included.

    Times are aware UTC datetimes. ``scheduled_for`` is the due time before jitter, ``due`` the due
    time after it; ``late`` is the time from ``due`` to the beginning of the first attempt. ``reference`` is
    the run's id in an engine elsewhere, and after a space the address of its page there, if it has one.

    ``requeued_as`` is the id of the run that came of this one by ``requeue``, and ``requeue_of`` that of the run
    of which this one came. ``dismissed`` is the note with which a dead letter was put aside, which may be ``""``.
    """

    id: str
    job: str
    schedule: str | None
    origin: Origin
    state: State
    scheduled_for: datetime
    due: datetime
    ready_at: datetime | None
    waiting_for: str | None
    started_at: datetime | None
    finished_at: datetime | None
    late: timedelta | None
    attempt: int
    max_attempts: int
    why: str
    error_type: str | None
    message: str
    traceback: str
    result: Annotated[Any, AnyValue()]
    progress: Progress | None
    attempts: tuple[Attempt, ...]
    args: Annotated[tuple[Any, ...], AnyValue()]
    kwargs: Annotated[Mapping[str, Any], AnyValue()]
    key: str | None
    priority: int
    tags: tuple[str, ...]
    executor: str
    instance: str | None
    reference: str | None = None
    requeue_of: str | None = None
    requeued_as: str | None = None
    dismissed: str | None = None

    __repr__ = SafeRepr.__repr__

    @property
    def outcome(self) -> Outcome | None:
        """How the run ended, or ``None`` while it is pending or running."""
        return Outcome(self.state, self.why) if self.state in FINAL_STATES else None

    @property
    def finished(self) -> bool:
        """Whether the run has an outcome."""
        return self.state in FINAL_STATES


@value
class Schedule(SafeRepr):
    """A trigger bound to a job by a stable id, as it stands in the store.

    ``orphaned`` is True for a declared schedule that left the code, and for one whose job no living instance knows:
    it is kept, and not fired. ``ended`` is True where its trigger has no further due time, and where ``runs_made``,
    the runs of its own slots so far, has reached ``max_runs``.
    """

    id: str
    job: str
    trigger: Annotated[Any, AnyValue()]
    describe: str
    next_due: datetime | None
    paused: bool
    note: str
    by: str
    declared: bool
    orphaned: bool
    rescheduled: bool
    revision: int
    args: Annotated[tuple[Any, ...], AnyValue()]
    kwargs: Annotated[Mapping[str, Any], AnyValue()]
    jitter: timedelta
    tags: tuple[str, ...]
    last_slot: datetime | None
    failures: int
    paused_at: datetime | None = None
    ended: bool = False
    max_runs: int | None = None
    runs_made: int = 0

    __repr__ = SafeRepr.__repr__


@value
class ErrorInfo:
    """An exception as text, the form in which it is kept, shown and sent."""

    type: str
    message: str
    traceback: str = field(default="", repr=False)
