"""The scheduler at one moment, as the pages show it: one snapshot a second, for all who look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import anyio
from markupsafe import Markup

from asyncsched._core.errors import SchedulerStateError, StoreError, StoreUnavailable
from asyncsched._core.instants import MINUTE, to_datetime, to_instant
from asyncsched._core.models import Run, Schedule
from asyncsched._core.reports import Health, Instance, JobInfo, Pause, Statistics
from asyncsched._core.tallies import Tally, percentile
from asyncsched._scheduler.scheduler import Scheduler

GRACE = 10.0
"""Seconds by which a start may be late before a schedule counts as late, where its job gives no ``grace``."""

FRESH = 0.9
"""Seconds for which one snapshot serves all who ask."""

PATIENCE = 3.0
"""Seconds that a page waits for the store before it shows the last state; three times as long where there is none."""

_NO_TALLY = Tally()

ORDER = ("failing", "late", "running", "retrying", "on_time", "ended", "paused", "orphaned")
"""The states of a schedule, those first that need somebody."""

_RANK = {state: rank for rank, state in enumerate(ORDER)}
_FAR = datetime.max.replace(tzinfo=to_datetime(0).tzinfo)


@dataclass(slots=True)
class Row:
    """One schedule with its state and its figures."""

    schedule: Schedule
    job: JobInfo | None
    tally: Tally
    state: str
    live: list[Run] = field(default_factory=list)
    overdue: timedelta | None = None
    stuck: Run | None = None

    @property
    def id(self) -> str:
        """The schedule's id."""
        return self.schedule.id

    @property
    def running(self) -> Run | None:
        """The run that is running, the longest first."""
        return min(
            (run for run in self.live if run.state == "running" and run.started_at),
            key=lambda run: run.started_at or run.due, default=None,
        )  # fmt: skip

    @property
    def p95(self) -> timedelta | None:
        """The duration within which 95 % of its runs ended, of those of the last 25 hours."""
        bins: dict[int, int] = {}
        for hour in self.tally.hours.values():
            for number, count in hour.took.items():
                bins[number] = bins.get(number, 0) + count
        micros = percentile(bins, 0.95)
        return None if micros is None else timedelta(microseconds=micros)

    @property
    def late(self) -> timedelta | None:
        """By how much its last run began late."""
        for one in reversed(self.tally.recent):
            if one.late is not None:
                return timedelta(microseconds=max(0, one.late))
        return None

    @property
    def grace(self) -> float:
        """The seconds by which it may be late."""
        return grace_of(self.job)


def grace_of(job: JobInfo | None) -> float:
    """Return the seconds by which a job may begin late before it counts as late."""
    return job.grace if job is not None and job.grace else GRACE


@dataclass(slots=True)
class Snapshot:
    """Everything that a page needs, except single runs."""

    at: datetime
    rows: list[Row]
    jobs: Mapping[str, JobInfo]
    live: list[Run]
    instances: list[Instance]
    paused_jobs: Mapping[str, Pause]
    statistics: Statistics
    health: Health
    capacity: int
    by_id: Mapping[str, Row] = field(init=False)
    counts: Mapping[str, int] = field(init=False)
    stale_since: datetime | None = None
    trouble: str = ""

    def __post_init__(self) -> None:
        self.by_id = {row.id: row for row in self.rows}
        counts: dict[str, int] = {str(state): 0 for state in ORDER}
        for row in self.rows:
            counts[row.state] += 1
        self.counts = counts

    @property
    def loose_jobs(self) -> list[JobInfo]:
        """The jobs that have no schedule."""
        scheduled = {row.schedule.job for row in self.rows}
        return [job for name, job in self.jobs.items() if name not in scheduled]

    def instance_name(self, id: str | None) -> str:
        """Return what an instance is called: its host, with its process where a host has several."""
        if id is None:
            return "–"
        found = next((one for one in self.instances if one.id == id), None)
        return name_of(found, self.instances) if found else id or "this process"


def name_of(instance: Instance, among: list[Instance]) -> str:
    """Return what an instance is called among others."""
    alone = sum(one.host == instance.host for one in among) == 1
    return instance.host if alone else f"{instance.host}:{instance.pid}"


async def take(scheduler: Scheduler) -> Snapshot:
    """Return the present snapshot.

    Raises:
        StoreError: the store cannot be reached.

    """
    statistics = await scheduler.statistics()
    live = await scheduler.live_runs()
    jobs = {job.name: job for job in scheduler.jobs()}
    by_schedule: dict[str | None, list[Run]] = {}
    for run in live:
        by_schedule.setdefault(run.schedule, []).append(run)
    rows = [
        _row(schedule, jobs.get(schedule.job), statistics, by_schedule.get(schedule.id, []))
        for schedule in await scheduler.schedules()
    ]
    rows.sort(key=lambda row: (_RANK[row.state], row.stuck is None, row.schedule.next_due or _FAR, row.id))
    return Snapshot(
        statistics.at, rows, jobs, live, await scheduler.instances(), await scheduler.paused_jobs(), statistics,
        scheduler.health(), scheduler.capacity().get("loop", 0),
    )  # fmt: skip


def _row(schedule: Schedule, job: JobInfo | None, statistics: Statistics, live: list[Run]) -> Row:
    tally = statistics.book.tallies.get(f"schedule:{schedule.id}", _NO_TALLY)
    row = Row(schedule, job, tally, "on_time", live)
    now = statistics.at
    due = schedule.next_due
    if due is not None and (now - due).total_seconds() > GRACE:
        row.overdue = now - due
    row.stuck = _stuck(row, now)
    row.state = _state(row)
    return row


def _state(row: Row) -> str:
    schedule = row.schedule
    if schedule.orphaned:
        return "orphaned"
    if schedule.paused:
        return "paused"
    if schedule.failures:
        return "failing"
    if row.overdue is not None or _is_late(row):
        return "late"
    if any(run.state == "running" for run in row.live):
        return "running"
    if any(run.attempt for run in row.live):
        return "retrying"
    return "ended" if schedule.next_due is None else "on_time"


def _is_late(row: Row) -> bool:
    """Whether the newest slot was missed, or its run began too late."""
    tally = row.tally
    own = next((one for one in reversed(tally.recent) if one.late is not None), None)
    missed = tally.skip if tally.skip is not None and tally.skip.reason == "missed" else None
    if missed is not None and (own is None or own.due < missed.last):
        return True
    return own is not None and (own.late or 0) > row.grace * 1_000_000


def _stuck(row: Row, now: datetime) -> Run | None:
    """Return the run that runs for much longer than the others did."""
    run = row.running
    if run is None or run.started_at is None:
        return None
    usual = row.p95
    bound = max(row.job.timeout or 0 if row.job else 0, 3 * usual.total_seconds() if usual else 0, 5)
    if usual is None and not (row.job and row.job.timeout):
        return None
    return run if (now - run.started_at).total_seconds() > bound else None


class Watch:
    """Takes snapshots, at most one a second however many look; the last one stays while the store is away."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._lock = anyio.Lock()
        self._last: Snapshot | None = None
        self._taken = float("-inf")
        self._failed: Exception | None = None
        self._due: tuple[datetime, list[int]] | None = None
        self.strip: tuple[datetime, Markup] | None = None
        """The chart of due times, and the moment that it is of: its bars are many, so it is sent each 10 s."""

    def forget(self) -> None:
        """Take a new snapshot the next time: something was done."""
        self._taken = float("-inf")
        self._due = self.strip = None

    async def due(self, now: datetime, ahead: timedelta, step: timedelta) -> list[int]:
        """Return how many slots come in each step from a moment on; counted once for each moment.

        While the store is away, those that were counted last are returned.
        """
        if self._last is not None and self._last.trouble:
            return self._due[1] if self._due is not None else []
        if self._due is None or self._due[0] != now:
            self._due = now, await self._scheduler.due_counts(now, now + ahead, step)
        return self._due[1]

    async def snapshot(self) -> Snapshot:
        """Return the present snapshot, or the last one with the trouble.

        Raises:
            StoreError: the store cannot be reached, and there is no earlier snapshot.

        """
        async with self._lock:
            if anyio.current_time() - self._taken < FRESH:
                if self._failed is not None:
                    raise self._failed.with_traceback(None)
                if self._last is not None:
                    return self._last
            try:
                self._last = await self._in_time()
                self._failed = None
            except (StoreError, SchedulerStateError) as error:
                if self._last is None:
                    self._failed = (
                        error  # for all who ask at the same time: they do not wait one after the other
                    )
                    raise
                self._last.trouble = str(error)
                self._last.stale_since = self._last.stale_since or self._last.at
            finally:
                self._taken = anyio.current_time()
            return self._last

    async def _in_time(self) -> Snapshot:
        """Return a new snapshot.

        Raises:
            StoreUnavailable: the store answers, and too slowly for a page.

        """
        bound = PATIENCE if self._last is not None else 3 * PATIENCE
        with anyio.move_on_after(bound):
            return await take(self._scheduler)
        raise StoreUnavailable(f"the store has not answered within {bound:g} s")


def in_last_minutes(row: Row, now: datetime, minutes: int) -> bool:
    """Whether slots of a schedule were missed in the last minutes."""
    skip = row.tally.skip
    return skip is not None and skip.reason == "missed" and skip.at >= to_instant(now) - minutes * MINUTE
