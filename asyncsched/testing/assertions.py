"""Assertions for tests: the runs that a scheduler had, and the runs and slots to come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from asyncsched._core.instants import SECOND, Instant, to_datetime, to_instant, to_micros
from asyncsched._core.jobs import Job
from asyncsched._core.mapping import run_view
from asyncsched._core.models import Run, Schedule
from asyncsched._core.requests import RunQuery
from asyncsched._core.text import safe_repr, shorten
from asyncsched._engine.runtime import Runtime
from asyncsched._scheduler.scheduler import Scheduler

_ALL = 1_000_000
_LISTED = 20
_EVER = (-(1 << 62), 1 << 62)


# ── the history ──────────────────────────────────────────────────────────────────────────────────


class Happened(NamedTuple):
    """One run, or one stretch of slots that got none.

    Attributes:
        job: the job's name.
        at: the due time before jitter, in UTC; for a stretch, that of its first slot.
        outcome: the run's state (``succeeded``, ``failed``, ``pending`` …), or the reason of a stretch
            (``missed``, ``paused``, ``overlap``), with the number of slots if there are several.

    """

    job: str
    at: datetime
    outcome: str


async def history(scheduler: Scheduler, *jobs: Callable[..., Any] | str) -> list[Happened]:
    """Return the history so far, in order of due time: every run, and every stretch of slots without one.

    It reaches as far back as the scheduler keeps it: 7 days by default.

    Args:
        scheduler: a running one.
        *jobs: only these, as functions or names; all of them by default.

    Raises:
        SchedulerStateError: the scheduler is not running.
        UnknownJob: no such job is declared.

    Example:
        >>> assert await history(scheduler, digest) == [
        ...     ("digest", datetime(2026, 1, 1, 7, tzinfo=UTC), "succeeded"),
        ...     ("digest", datetime(2026, 1, 2, 7, tzinfo=UTC), "failed"),
        ... ]

    """
    names = {scheduler._registry.get(job).name for job in jobs}
    found: list[Happened] = []
    for worker in scheduler._running().workers:
        for run in await worker.store.runs(RunQuery(limit=_ALL)):
            at = to_datetime(run.due if run.slot is None else run.slot)
            found.append(Happened(run.job, at, run.state))
        for record in await worker.store.schedules():
            for lost in await worker.store.stretches(record.id, *_EVER):
                number = f"{lost.count}{'' if lost.exact else '+'} " if lost.count > 1 else ""
                found.append(Happened(record.job, to_datetime(lost.first), number + lost.reason))
    return sorted(
        (one for one in found if not names or one.job in names),
        key=lambda one: (one.at, one.job, one.outcome),
    )


# ── the runs and slots to come ───────────────────────────────────────────────────────────────────


async def assert_scheduled(
    scheduler: Scheduler,
    job: Callable[..., Any] | str,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    at: datetime | None = None,
    within: float | timedelta | None = None,
    key: str | None = None,
) -> Run | Schedule:
    """Return the run or schedule that matches all arguments, or fail with a list of what is scheduled.

    A run matches in any state; a schedule matches by its coming slots.

    Args:
        scheduler: a running one, with any role.
        job: a declared function, or a job's name.
        args, kwargs: all of the arguments, by position or by name.
        at: the due time, aware, to the microsecond.
        within: seconds or ``timedelta``: due no later than this from now; with ``at``, no further
            than this from ``at``.
        key: the run's key.

    Raises:
        AssertionError: nothing matches; the text lists what is scheduled.
        UnknownJob: no such job is declared.
        ArgumentError: the job does not take such arguments.

    Example:
        >>> client.post("/signup", json={"email": "ada@example.org"})
        >>> await assert_scheduled(scheduler, send_email, args=["ada@example.org"], within=10)

        In a sync test: ``client.portal.call(partial(assert_scheduled, scheduler, send_email))``.

    """
    __tracebackhide__ = True
    wanted = _Wanted(scheduler, job, args, kwargs, at, within, key)
    found = await wanted.find()
    if found is None:
        raise AssertionError(f"{wanted} is not scheduled; {await _listed(scheduler, wanted.job.name)}")
    return found


async def assert_not_scheduled(
    scheduler: Scheduler,
    job: Callable[..., Any] | str,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    at: datetime | None = None,
    within: float | timedelta | None = None,
    key: str | None = None,
) -> None:
    """Fail if :func:`assert_scheduled` would find a run or schedule.

    Raises:
        AssertionError: there is such a run or schedule; the text names it.
        UnknownJob: no such job is declared.
        ArgumentError: the job does not take such arguments.

    """
    __tracebackhide__ = True
    wanted = _Wanted(scheduler, job, args, kwargs, at, within, key)
    found = await wanted.find()
    if found is not None:
        raise AssertionError(f"{wanted} is scheduled: {_line(found)}")


class _Wanted:
    """The run or schedule that a test looks for."""

    def __init__(
        self,
        scheduler: Scheduler,
        job: Callable[..., Any] | str,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        at: datetime | None,
        within: float | timedelta | None,
        key: str | None,
    ) -> None:
        self._scheduler = scheduler
        self.job = scheduler._registry.get(job)
        self._arguments = None
        if args is not None or kwargs is not None:
            self._arguments = _by_name(self.job, tuple(args or ()), dict(kwargs or {}), check=True)
        self._at = None if at is None else to_instant(at, "at")
        self._within = None if within is None else to_micros(within, "within")
        self._key = key

    async def find(self) -> Run | Schedule | None:
        runtime = self._scheduler._running()
        now = runtime.main.timeline.now()
        for run in await _runs(runtime, self.job.name):
            due = to_instant(run.due)
            if self._in_time(due, now.steady) and self._fits(run) and self._key in (None, run.key):
                return run
        for schedule in await self._scheduler.schedules(job=self.job.name, paused=False):
            slot = self._slot(schedule)
            if (
                self._key is None
                and slot is not None
                and self._in_time(slot, now.wall)
                and self._fits(schedule)
            ):
                return schedule
        return None

    def _slot(self, schedule: Schedule) -> Instant | None:
        if schedule.next_due is None or self._at is None:
            return None if schedule.next_due is None else to_instant(schedule.next_due)
        before = to_datetime(max(self._at - (self._within or 0), to_instant(schedule.next_due)) - 1)
        following = schedule.trigger.next(before)
        return None if following is None else to_instant(following)

    def _in_time(self, due: Instant, now: Instant) -> bool:
        if self._at is not None:
            return abs(due - self._at) <= (self._within or 0)
        return self._within is None or due <= now + self._within

    def _fits(self, found: Run | Schedule) -> bool:
        return self._arguments is None or self._arguments == _by_name(self.job, found.args, found.kwargs)

    def __str__(self) -> str:
        text = self.job.name
        if self._arguments is not None:
            text += f"({_given((), self._arguments)})"
        if self._key is not None:
            text += f" with key {self._key!r}"
        if self._at is not None:
            text += f" at {to_datetime(self._at).isoformat(' ')}"
        if self._within is not None:
            text += f" within {self._within / SECOND:g} s"
        return text


def _by_name(
    job: Job, args: tuple[Any, ...], kwargs: Mapping[str, Any], check: bool = False
) -> dict[str, Any]:
    """Return the arguments by the parameters' names, whether they were passed by position or by name."""
    if check:
        job.signature.bind(args, kwargs)
    try:
        return dict(job.signature.named((args, dict(kwargs))))
    except TypeError:  # written for an older version of the function
        return dict(kwargs)


async def _runs(runtime: Runtime, job: str | None = None) -> list[Run]:
    found = []
    for worker in runtime.workers:
        for record in await worker.store.runs(RunQuery(job=job, limit=_ALL)):
            found.append(run_view(record, runtime.registry.jobs.get(record.job)))
    return sorted(found, key=lambda run: run.due)


async def _listed(scheduler: Scheduler, job: str) -> str:
    """Return a list in words of what is scheduled of the job, or else of all jobs."""
    runs = await _runs(scheduler._running())
    schedules = await scheduler.schedules()
    everything: list[Run | Schedule] = [*runs, *schedules]
    of_job = [one for one in everything if one.job == job]
    listed = of_job or everything
    if not listed:
        return "nothing is"
    lines = [f"\n  {_line(one)}" for one in listed[:_LISTED]]
    more = f"\n  and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return ("scheduled are" if of_job else "of this job nothing is; there are") + ":" + "".join(lines) + more


def _line(one: Run | Schedule) -> str:
    text = f"{one.job}({_given(one.args, one.kwargs)})"
    if isinstance(one, Schedule):
        due = "never" if one.next_due is None else one.next_due.isoformat(" ")
        return f"{text} by schedule {one.id!r}, {'paused' if one.paused else 'next at ' + due}"
    key = "" if one.key is None else f", key {one.key!r}"
    return f"{text} at {one.due.isoformat(' ')}, {one.state}{key}"


def _given(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    given = [safe_repr(value, 200) for value in args]
    given += [f"{name}={safe_repr(value, 200)}" for name, value in kwargs.items()]
    return shorten(", ".join(given), 200)
