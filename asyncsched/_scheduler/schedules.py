"""Schedules that are added, paused, changed and removed while the scheduler runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from anyio.lowlevel import checkpoint

from asyncsched._core.errors import ConfigurationError, ScheduleExists, SchedulerStateError, UnknownJob
from asyncsched._core.events import SchedulePaused
from asyncsched._core.instants import Instant, to_datetime
from asyncsched._core.jobs import Declared
from asyncsched._core.mapping import schedule_view
from asyncsched._core.models import Schedule
from asyncsched._core.records import JobPause, ScheduleRecord, Stretch
from asyncsched._core.requests import RunQuery
from asyncsched._core.rules.due import resumed
from asyncsched._core.rules.ending import why_ended
from asyncsched._core.trigger import Trigger, as_instants, asking
from asyncsched._engine.worker import Worker
from asyncsched._scheduler.audit import audited, told
from asyncsched._scheduler.changing import Changing
from asyncsched._scheduler.face import EVERYTHING, here
from asyncsched._scheduler.lost import lost_until
from asyncsched._scheduler.options import check_name, jitter_of, max_runs_of, tags_of

logger = logging.getLogger("asyncsched.scheduler")


class Schedules(Changing):
    """The part of a scheduler that people and pages use."""

    async def add_schedule(
        self, job: Callable[..., Any] | str, trigger: Trigger, *, id: str | None = None,
        args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None,
        jitter: float | timedelta | None = None, paused: bool = False, replace: bool = False,
        tags: Sequence[str] = (), max_runs: int | None = None,
    ) -> Schedule:  # fmt: skip
        """Bind a trigger to a job while the scheduler runs; the store keeps it.

        Args:
            job: a declared function or a job's name; in memory any function.
            trigger: an ``Interval``, ``Cron``, ``At``, ``AnyOf``, or any object with ``next(after)``.
            id: the schedule's id; the job's name by default.
            args, kwargs: the arguments of the function.
            jitter: seconds or ``timedelta`` by which a due time is moved at most.
            paused: whether the schedule is paused from the start.
            replace: whether an existing schedule of this id is replaced. Its history stays, so does its pause, which
                :meth:`resume` ends, the anchor of an interval without ``start=``, and the count of ``max_runs``.
            tags: labels of the schedule and its runs, beside those of the job.
            max_runs: the schedule ends after so many runs of its own slots; ``remove`` begins the count anew.

        Raises:
            ScheduleExists: the id is taken, and ``replace`` was not given.
            ConfigurationError: the trigger never fires, or an argument is wrong.

        """
        schedule = await self._add(
            job, trigger, id=id, args=args, kwargs=kwargs, jitter=jitter, paused=paused, replace=replace,
            tags=tags, max_runs=max_runs,
        )  # fmt: skip
        if not self._here().main.store.durable:
            await checkpoint()  # a store in memory never waits: thousands of calls would hold up the loop
        return schedule

    async def _add(
        self, job: Callable[..., Any] | str, trigger: Trigger, *, id: str | None = None,
        args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None,
        jitter: float | timedelta | None = None, paused: bool = False, replace: bool = False,
        tags: Sequence[str] = (), max_runs: int | None = None,
    ) -> Schedule:  # fmt: skip
        """Add a schedule as :meth:`add_schedule` does, without a turn for the others."""
        running = self._here()
        worker = running.main
        found = self._job_for(job, running)
        id = check_name(found.name if id is None else id, "id")
        if found.each_instance:
            raise ConfigurationError(
                f"schedule {id!r}: job {found.name!r} is each_instance, whose schedules stand in the code"
            )
        declared = Declared(
            id, found, as_instants(trigger, f"schedule {id!r}"), found.signature.bind(args, kwargs),
            jitter_of(jitter, f"schedule {id!r}"), max_runs_of(max_runs, f"schedule {id!r}"),
        )  # fmt: skip
        now = worker.timeline.now()
        record = worker.reconciler.new_schedule(declared, now, by_code=False)
        record.tags = tags_of(tags, f"schedule {id!r}")
        job_pause = (await worker.store.paused_jobs()).get(found.name)
        if paused:
            _stop(record, "added as paused", "", _instant_but(now.wall, job_pause))
        elif job_pause is not None:
            _stop(record, *job_pause)
        known = await worker.store.schedules((id,))
        if known and not replace:
            raise ScheduleExists(f"there is a schedule {id!r} already; replace=True replaces it")
        if known and known[0].declared:
            raise ConfigurationError(
                f"schedule {id!r} is declared in the code; change it there, or reschedule() it"
            )
        lost = lost_until(known[0], now, record.max_runs) if known else None
        if known:
            worker.reconciler.succeed(record, declared, known[0], lost, now)
            self._registry.unpin(known[0].job)
        self._registry.pin(found.name)
        revision, had_ended = (known[0].revision, known[0].ended) if known else (0, False)
        record = await self._put(worker, record, revision, lost, had_ended)
        return schedule_view(record, found)

    # ── pausing ──────────────────────────────────────────────────────────────────────────────

    @audited("pause")
    async def pause(self, id: str, note: str = "", by: str = "") -> None:
        """Begin no more runs of a schedule; its running attempts go on.

        The slots of the pause become one record and are never caught up. For a job with all its schedules
        and one-offs, there is :meth:`pause_job`.

        Args:
            id: the schedule's id.
            note, by: the reason and the author, which are shown with the schedule.

        Raises:
            UnknownSchedule: there is no schedule of that id.

        """
        worker = self._here().main
        record = await self._schedule(id)
        job_pause = (await worker.store.paused_jobs()).get(record.job)
        at = _instant_but(worker.timeline.now().wall, job_pause)
        await self._change(id, lambda record: _stop(record, note, by, _since(record, job_pause, at)))
        self._tell_pause(id, note, by)

    @audited("resume")
    async def resume(self, id: str, *, note: str = "", by: str = "") -> None:
        """Let a paused schedule go on from now.

        A schedule that is resumed while its job is paused goes on when the job is resumed.

        Raises:
            UnknownSchedule: there is no schedule of that id.
            SchedulerStateError: the schedule is paused by its job's pause alone.

        """
        worker = self._here().main
        record = await self._schedule(id)
        job_pause = (await worker.store.paused_jobs()).get(record.job)
        if job_pause is None or not record.paused:
            await self._resume(worker, id)
        elif record.paused_at == job_pause.since:
            raise SchedulerStateError(
                f"schedule {id!r} is paused because its job {record.job!r} is; use resume_job({record.job!r})"
            )
        else:
            await self._change(id, lambda record: _stop(record, *job_pause))

    @audited("pause_job", "job", several=True)
    async def pause_job(self, job: str | Callable[..., Any], note: str = "", by: str = "") -> None:
        """Begin no more runs of a job: of its schedules, its one-offs, and those made by hand.

        Running attempts go on. Each of its schedules that is not paused already is paused with it.

        Args:
            job: the job's name, or its function. The job of schedules that this code does not know may be named, too.
            note, by: the reason and the author.

        Raises:
            UnknownJob: no such job is declared, and no schedule is of such a job.

        """
        worker = self._here().main
        await self._pause_job(worker, await self._job_named(job), note, by)

    @audited("resume_job", "job", several=True)
    async def resume_job(self, job: str | Callable[..., Any], *, note: str = "", by: str = "") -> None:
        """Let a paused job go on from now, with the schedules that were paused by its pause.

        A schedule that was paused separately stays paused.

        Raises:
            UnknownJob: no such job is declared or paused, and no schedule is of such a job.

        """
        worker = self._here().main
        name = await self._job_named(job)
        known = self._registry.find(name)
        for one in (name,) if known is None else (name, *known.aliases):
            await self._resume_job(worker, one)

    async def _job_named(self, job: object) -> str:
        """Return the name of a job that this code declares, or that the store has something of."""
        if not isinstance(job, str):
            return self._registry.get(job).name  # type: ignore[arg-type]  # its error names what it is
        found = self._registry.find(job)
        if found is not None:
            return found.name
        store = self._here().main.store
        if job in await store.paused_jobs() or any(one.job == job for one in await store.schedules()):
            return job
        if await store.schedules((job,)):
            raise UnknownJob(job, f"{job!r} is a schedule, for which there are pause(id) and resume(id)")
        return self._registry.get(job).name

    async def _resume(self, worker: Worker, id: str) -> None:
        def go_on(record: ScheduleRecord) -> Stretch | None:
            if not record.paused:
                return None
            now = worker.timeline.now()
            with asking(id):
                lost, following = resumed(record, here(record, now))
            if lost is not None:
                record.cursor = lost.last
            record.paused, record.paused_at, record.note, record.by, record.failures = False, None, "", "", 0
            record.next_slot, record.next_due = following or (None, None)
            return None if lost is None else Stretch(record.id, *lost[:3], "paused", lost.exact)

        await self._change(id, go_on)

    async def _pause_job(self, worker: Worker, job: str, note: str, by: str) -> None:
        """Pause a job, and with it those of its schedules that are not paused already.

        Those schedules are known by the instant of their pause, which is that of the job's pause.
        """
        now = worker.timeline.now()
        schedules = [record for record in await worker.store.schedules() if record.job == job]
        before = (await worker.store.paused_jobs()).get(job)
        since = now.wall if before is None else before.since
        while before is None and any(record.paused_at == since for record in schedules):
            since += 1
        pause = JobPause(note, by, since)
        await worker.store.pause_job(job, pause, now)
        for record in schedules:
            if not record.paused or record.paused_at == since:
                await self._change(
                    record.id,
                    lambda one: None if one.paused and one.paused_at != since else _stop(one, *pause),
                )
                self._tell_pause(record.id, note, by)

    async def _resume_job(self, worker: Worker, job: str) -> None:
        pause = (await worker.store.paused_jobs()).get(job)
        if pause is None:
            return
        for record in await worker.store.schedules():
            if record.job == job and record.paused and record.paused_at == pause.since:
                await self._resume(worker, record.id)
        await worker.store.pause_job(job, None, worker.timeline.now())

    def _tell_pause(self, id: str, note: str, by: str) -> None:
        running = self._running()
        bus = running.environment.bus
        if bus.wants(SchedulePaused):
            bus.emit(SchedulePaused(to_datetime(running.main.timeline.now().wall), id, note, by))

    # ── removing and changing ────────────────────────────────────────────────────────────────

    @audited("remove", several=True)
    async def remove(self, id: str, *, note: str = "", by: str = "") -> None:
        """Remove a schedule and its pending runs; running attempts go on, and its history stays.

        Raises:
            UnknownSchedule: there is no schedule of that id.
            ConfigurationError: the schedule is declared in the code, which would bring it back.

        """
        worker = self._here().main
        record = await self._schedule(id)
        if record.declared and (id in self._registry.schedules or not record.orphaned):
            raise ConfigurationError(
                f"schedule {id!r} is declared in the code; remove it there, or pause() it to stop it now"
            )
        await worker.store.remove_schedule(id, worker.timeline.now())
        worker.agenda.forget(id)
        query = RunQuery(schedule=id, origin="schedule", states=("pending",), limit=EVERYTHING)
        for run in await worker.store.runs(query):
            await self._control(worker).cancel(run.id, "removed")
        self._registry.unpin(record.job)

    @audited("reschedule")
    async def reschedule(self, id: str, trigger: Trigger, *, note: str = "", by: str = "") -> Schedule:
        """Give a schedule another trigger, from now on.

        For a declared schedule, the trigger holds until the one in the code changes.

        Raises:
            UnknownSchedule: there is no schedule of that id.
            ConfigurationError: the trigger never fires.
            SchedulerStateError: the schedule has ended by its ``max_runs``, which no trigger changes.

        """
        worker = self._here().main
        found = as_instants(trigger, f"schedule {id!r}")
        now = worker.timeline.now()

        def change(record: ScheduleRecord) -> Stretch | None:
            if record.used_up:
                raise SchedulerStateError(
                    f"schedule {id!r} has ended: {why_ended(record)}; give it a larger max_runs first"
                )
            lost = lost_until(record, now, record.max_runs)
            job = self._registry.get(record.job)
            declared = Declared(id, job, found, record.arguments, record.jitter)
            fresh = worker.reconciler.new_schedule(declared, now)
            record.trigger, record.spec, record.anchor, record.steady = (
                fresh.trigger, fresh.spec, fresh.anchor, fresh.steady,
            )  # fmt: skip
            record.cursor, record.next_slot, record.next_due = fresh.cursor, fresh.next_slot, fresh.next_due
            record.rescheduled, record.edition, record.edition_since = True, record.edition + 1, now.wall
            told(f"due {schedule_view(record, job).describe}")
            return lost

        record = await self._change(id, change)
        return schedule_view(record, self._registry.find(record.job), worker.knows(record.job))


def _stop(record: ScheduleRecord, note: str, by: str, since: Instant) -> None:
    record.paused, record.note, record.by, record.paused_at = True, note, by, since


def _instant_but(now: Instant, job_pause: JobPause | None) -> Instant:
    """Return now, or the instant after it if now would mean "paused with its job"."""
    return now + 1 if job_pause is not None and job_pause.since == now else now


def _since(record: ScheduleRecord, job_pause: JobPause | None, now: Instant) -> Instant:
    """Return since when a schedule is paused separately: a second pause changes its note only."""
    since = record.paused_at if record.paused else None
    return now if since is None or (job_pause is not None and since == job_pause.since) else since
