"""What pages and commands show: the jobs of the code, the live runs, the figures, and what people did."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any

from asyncsched._core.checks import check_int, check_text
from asyncsched._core.errors import ConfigurationError, NotCancellable
from asyncsched._core.instants import SECOND, to_datetime, to_instant
from asyncsched._core.jobs import Job
from asyncsched._core.mapping import run_view
from asyncsched._core.models import Run
from asyncsched._core.reporting import ActivityQuery, ActivityRecord
from asyncsched._core.reports import Activity, JobInfo, Skipped, Statistics
from asyncsched._core.requests import RunQuery
from asyncsched._core.text import safe_repr
from asyncsched._scheduler.audit import audited
from asyncsched._scheduler.face import Face
from asyncsched._scheduler.handle import run_number

if TYPE_CHECKING:
    from asyncsched._core.jobs import RetryRule

_MOST_LIVE = 10_000


class Reporting(Face):
    """The part of a scheduler that pages and commands are made of."""

    def jobs(self) -> list[JobInfo]:
        """Return the jobs that this code declares, in order of name."""
        return [_job_info(job) for _, job in sorted(self._registry.jobs.items())]

    async def live_runs(self, *, limit: int = 1000) -> list[Run]:
        """Return the runs that are running, and the runs of schedules that wait, latest due first."""
        check_int(limit, "limit", 1, _MOST_LIVE)
        found = await self._here().main.store.runs(RunQuery(live=True, limit=limit))
        return [run_view(one, self._registry.jobs.get(one.job)) for one in found]

    def capacity(self) -> dict[str, int]:
        """Return the capacity of each executor of this process, by its name."""
        return {name: executor.capacity for name, executor in self._registry.executors.items()}

    async def statistics(self) -> Statistics:
        """Return the figures of runs: outcomes, lateness and durations, of each schedule and of all.

        They are counted as runs end, so this costs the same however many runs there were. An instance adds
        what it has counted to a shared store once a second. Under a store in memory the figures begin at the start.
        """
        worker = self._here().main
        book = await worker.endings.books.tallies()
        return Statistics(to_datetime(worker.timeline.now().wall), book)

    async def skipped(self, schedule: str, start: datetime, end: datetime) -> list[Skipped]:
        """Return the slots of a schedule between two aware moments that got no run, oldest first, with the reasons.

        Raises:
            UnknownSchedule: there is no schedule of that id.

        """
        record = await self._schedule(schedule)
        first, last = to_instant(start, "start"), to_instant(end, "end")
        return [
            Skipped(to_datetime(one.first), to_datetime(one.last), one.count, one.exact, one.reason)
            for one in await self._here().main.store.stretches(record.id, first, last)
        ]

    async def activity(
        self, *, subject: str | None = None, action: str | Collection[str] | None = None, by: str | None = None,
        limit: int = 100, before: str | None = None,
    ) -> list[Activity]:  # fmt: skip
        """Return what people and programs did to schedules and runs, newest first.

        Args:
            subject: a schedule's id, a job's name, or a run's id.
            action: one word, such as ``pause``, or several.
            by: the author.
            limit: the most records to return.
            before: the id of a record; only those before it are returned, to page on.

        """
        for name, value in (("subject", subject), ("by", by)):
            check_text(value, name)
        check_int(limit, "limit", 1, 10_000)
        actions = (action,) if isinstance(action, str) else None if action is None else tuple(action)
        query = ActivityQuery(subject, actions, by, None if before is None else run_number(before), limit)
        return [_activity(one) for one in await self._here().main.endings.books.activity(query)]

    @audited("forget_history", several=True)
    async def forget_history(self, id: str, *, note: str = "", by: str = "") -> int:
        """Delete the ended runs of a schedule, its records of slots without a run, and its figures.

        Runs that go on, runs with a key, the totals of all schedules, and the record of what people did stay.

        Returns:
            The number of runs that were deleted.

        Raises:
            UnknownSchedule: there is no schedule of that id.

        """
        worker = self._here().main
        record = await self._schedule(id)
        count = await worker.store.prune(worker.timeline.now(), record.id)
        worker.endings.books.forget(record.id)
        return count

    @audited("cancel", "run_id")
    async def cancel(self, run_id: str, *, note: str = "", by: str = "") -> Run:
        """Cancel a run: a pending one ends at once, a running one gets its cancellation at its next await.

        Returns:
            The run as it then stands.

        Raises:
            UnknownRun: there is no run of that id.
            NotCancellable: the run has ended already.

        """
        before = await self._run_record(run_id)
        if not before.live:
            raise NotCancellable(f"run {run_id} has ended: it is {before.state}")
        record = await self._control(self._here().main).cancel(before.id, "cancelled")
        return run_view(record or before, self._registry.jobs.get(before.job))


def _activity(one: ActivityRecord) -> Activity:
    return Activity(
        f"{one.id:032x}",
        to_datetime(one.at),
        one.action,
        one.subject,
        one.by,
        one.note,
        one.via,
        one.result,
        not one.failed,
    )


def _job_info(job: Job) -> JobInfo:
    function = inspect.unwrap(job.func)
    code = getattr(function, "__code__", None)
    where = f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""
    name = getattr(function, "__qualname__", type(function).__name__)
    misfire = job.misfire
    return JobInfo(
        name=job.name, callable=f"{getattr(function, '__module__', '?')}:{name}", defined_at=where,
        doc=(inspect.getdoc(function) or "").partition("\n\n")[0], executor=job.executor,
        timeout=None if job.timeout is None else job.timeout / SECOND, retry=_retry(job.retry),
        attempts=job.attempts, overlap=job.overlap, catch_up=misfire.catch_up,
        grace=None if misfire.grace_micros is None else misfire.grace_micros / SECOND,
        limits=tuple(map(repr, job.limits)), priority=job.priority, tags=job.tags, pause_after=job.pause_after,
        each_instance=job.each_instance, parameters=_parameters(function),
    )  # fmt: skip


def _retry(rule: RetryRule | None) -> str:
    return "" if rule is None else repr(rule)


def _parameters(function: Any) -> dict[str, str]:
    """Return the parameters with their annotations and defaults as text."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError, ConfigurationError):
        return {}
    return {one.name: _parameter(one) for one in parameters}


def _parameter(one: inspect.Parameter) -> str:
    """Return a parameter as it stands in the code: an annotation that is text is not quoted."""
    stars = "*" if one.kind is one.VAR_POSITIONAL else "**" if one.kind is one.VAR_KEYWORD else ""
    annotation = one.annotation
    text = f"{stars}{one.name}"
    if annotation is not one.empty:
        text += f": {annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)}"
    return text if one.default is one.empty else f"{text} = {safe_repr(one.default, 200)}"
