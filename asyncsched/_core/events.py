"""The events that observers receive. Each is a frozen value; times are wall instants as datetimes."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime, timedelta

from asyncsched._core.models import Run
from asyncsched._core.values import value


@value
class Event:
    """Base of all events."""

    at: datetime


@value
class RunStarted(Event):
    """An attempt begins."""

    run: Run


@value
class RunFinished(Event):
    """A run ended; the event is one of the two below."""

    run: Run


@value
class RunSucceeded(RunFinished):
    """A run ended as ``succeeded``."""


@value
class RunUnsuccessful(RunFinished):
    """A run ended without success: ``failed``, ``timed_out``, ``cancelled`` or ``lost``.

    ``exception`` is the exception itself, in the process that ran the job. It has its traceback until the plain
    observers have heard of it; the text is in ``run.traceback`` for ever.
    """

    exception: BaseException | None = field(default=None, repr=False, compare=False)


@value
class RunWaits(Event):
    """An attempt ended and the run is pending again: for a retry, a snooze, or another instance."""

    run: Run


@value
class RunFenced(Event):
    """An attempt ended and its end was not recorded, because this instance no longer held the run."""

    run: Run


@value
class SlotsSkipped(Event):
    """Slots got no run; ``reason`` says why. ``exact`` is False where ``count`` is a lower bound."""

    schedule: str
    first: datetime
    last: datetime
    count: int
    exact: bool
    reason: str
    job: str = ""


@value
class JobUnknown(Event):
    """No living instance knows a job of which ``schedules`` and pending ``runs`` wait; both are counted at its time."""

    job: str
    schedules: int
    runs: int


@value
class SchedulePaused(Event):
    """A schedule was paused, by a person or after failures in a row."""

    schedule: str
    note: str
    by: str


@value
class ScheduleEnded(Event):
    """A schedule has ended, and is kept: its trigger has no further due time, or it has had its ``max_runs``.

    ``why`` is ``"trigger"`` or ``"max_runs"``.
    """

    schedule: str
    job: str
    why: str = "trigger"


@value
class ClockStepped(Event):
    """The wall clock moved against the monotonic one by ``by``; schedules were planned again."""

    by: timedelta
    replanned: tuple[str, ...]


@value
class LoopStalled(Event):
    """Something blocked the event loop; ``job`` is ``None`` where the blocking code belongs to no job."""

    job: str | None
    run_id: str | None
    milliseconds: float
    stack: str


@value
class StoreFailed(Event):
    """A claim, a heartbeat or a poll was not accepted by the store; it is tried again."""

    error: str


@value
class SchedulerStarted(Event):
    """The scheduler begins its work."""

    schedules: int


@value
class SchedulerStopped(Event):
    """The scheduler has stopped, and none of its tasks, threads or processes is left."""

    unfinished: int
