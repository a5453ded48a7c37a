"""Queries: the present schedules, runs and instances, and the slots past and to come."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from asyncsched._backends.turns import in_turns
from asyncsched._core.checks import check_int
from asyncsched._core.errors import ConfigurationError, SchedulerStateError
from asyncsched._core.instants import Instant, to_datetime, to_instant
from asyncsched._core.mapping import schedule_tags, schedule_view
from asyncsched._core.models import Run, Schedule
from asyncsched._core.records import RunRecord, ScheduleRecord
from asyncsched._core.reports import Coming, Explanation, Health, Instance, Pause
from asyncsched._core.requests import RunQuery
from asyncsched._engine.members import living_instances
from asyncsched._scheduler.coming import DueCounts, slots_to_come
from asyncsched._scheduler.control import view_here
from asyncsched._scheduler.explain import explain_slot, slot_meant
from asyncsched._scheduler.face import EVERYTHING, Face, check_texts, here, states_of

if TYPE_CHECKING:
    from asyncsched._core.jobs import Job
    from asyncsched._engine.worker import Worker
    from asyncsched.abc import Store

R = TypeVar("R", RunRecord, ScheduleRecord)
V = TypeVar("V")

_ONE_TURN = 16
"""The views that are made before other tasks get their turn: about 0.3 ms."""


class Queries(Face):
    """The part of a scheduler that answers questions."""

    async def schedules(
        self, *, job: str | None = None, tag: str | None = None, paused: bool | None = None,
        limit: int | None = None, after: str | None = None,
    ) -> list[Schedule]:  # fmt: skip
        """Return the schedules of the cluster that match everything given, in order of id.

        Those of ``each_instance`` jobs are not among them.

        Args:
            job: the name of their job.
            tag: one of their tags.
            paused: whether they are paused.
            limit: the most schedules to return; all by default.
            after: an id; only schedules whose ids come after it are returned, to page on.

        """
        check_texts(job=job, tag=tag, after=after)
        most = EVERYTHING if limit is None else check_int(limit, "limit", 1, EVERYTHING)
        store = self._here().main.store
        matching = [
            record
            for record in await store.schedules()
            if (job is None or record.job == job) and (paused is None or record.paused == paused)
            and (tag is None or tag in schedule_tags(record, self._registry.find(record.job))) and (after is None or record.id > after)
        ]  # fmt: skip
        found = sorted(matching, key=lambda one: one.id)[:most]
        return await self._views(store, _schedule, found)

    async def schedule(self, id: str) -> Schedule:
        """Return one schedule.

        Raises:
            UnknownSchedule: there is no schedule of that id.

        """
        record = await self._schedule(id)
        return self._view_of(_schedule, record)

    async def paused_jobs(self) -> dict[str, Pause]:
        """Return the paused jobs, each with the note, the author and the time of its pause."""
        paused = await self._here().main.store.paused_jobs()
        return {
            job: Pause(pause.note, pause.by, to_datetime(pause.since))
            for job, pause in sorted(paused.items())
        }

    async def runs(
        self, *, job: str | None = None, schedule: str | None = None, state: str | Collection[str] | None = None,
        origin: str | None = None, key: str | None = None, tag: str | None = None,
        start: datetime | None = None, end: datetime | None = None, limit: int = 100, before: str | None = None,
    ) -> list[Run]:  # fmt: skip
        """Return the runs that match everything given, newest due first.

        Args:
            state: one state or several.
            start, end: bounds on the due time, aware, both included.
            limit: the most runs to return.
            before: the id of a run; only runs that come after it in this order are returned, to page on.

        Raises:
            UnknownRun: there is no run of the id ``before``.

        """
        check_texts(job=job, schedule=schedule, origin=origin, key=key, tag=tag)
        query = RunQuery(
            job=job, schedule=schedule, states=None if state is None else states_of(state), origin=origin,
            key=key, tag=tag, start=None if start is None else to_instant(start, "start"),
            end=None if end is None else to_instant(end, "end"), limit=check_int(limit, "limit", 1, EVERYTHING),
            before=None if before is None else await self._place_of(before),
        )  # fmt: skip
        store = self._here().main.store
        return await self._views(store, view_here, await store.runs(query))

    def _view_of(self, view: Callable[[R, Job | None, Worker], V], record: R) -> V:
        return view(record, self._registry.find(record.job), self._running().main)

    async def _views(
        self, store: Store, view: Callable[[R, Job | None, Worker], V], records: Sequence[R]
    ) -> list[V]:
        # Records in memory may change while other tasks run: a list of them is made in one turn.
        most = _ONE_TURN if store.durable else EVERYTHING
        return await in_turns(lambda some: [self._view_of(view, one) for one in some], records, most)

    async def _place_of(self, id: str) -> tuple[Instant, int]:
        record = await self._run_record(id)
        return record.due, record.id

    async def run(self, id: str) -> Run:
        """Return one run.

        Raises:
            UnknownRun: there is no run of that id, or it has been pruned.

        """
        record = await self._run_record(id)
        return self._view_of(view_here, record)

    async def instances(self) -> list[Instance]:
        """Return the living instances of the cluster, oldest first; in memory there is this one.

        An instance that has crashed is among them until another has declared it dead.
        """
        running = self._here()
        return await living_instances(running.main, running.environment)

    @property
    def durable(self) -> bool:
        """Whether schedules and runs are kept in a database, and not in the memory of this process.

        Raises:
            SchedulerStateError: the scheduler is not running.

        """
        return self._here().main.store.durable

    def health(self) -> Health:
        """Return the health of this scheduler and its store.

        The call does not query the store, so it answers at once, in an outage too: for a health check of the app.
        A scheduler that was not started, such as that of a mounted app whose lifespan no server runs, or that was
        closed, is not well.

        Example:
            >>> scheduler.health().ok
            True

        """
        try:
            worker = self._running().main
        except SchedulerStateError as error:
            return Health(str(error))
        health = Health() if worker.membership is None else worker.membership.health()
        health = replace(
            health, full=tuple(f"runs wait for {one}" for one in worker.capacity.full().values())
        )
        unknown = None if worker.orphans is None else worker.orphans.trouble()
        if health.ok and unknown is not None:
            return replace(health, trouble=unknown[0], since=to_datetime(unknown[1]))
        held = worker.capacity.held()
        if health.ok and held:
            jobs = ", ".join(map(repr, sorted(held)))
            return replace(health, trouble=f"no run of job {jobs} is begun: it waits for {held[min(held)]}")
        return health

    async def dead_letters(
        self, *, job: str | None = None, schedule: str | None = None, tag: str | None = None,
        state: str | Collection[str] | None = None, since: float | timedelta | None = None, limit: int = 100,
    ) -> list[Run]:  # fmt: skip
        """Return the runs that ended without success and without an attempt left, newest first.

        Those are ``failed``, ``timed_out``, ``lost`` and ``cancelled`` by a shutdown. Each has its
        arguments, its attempts and their tracebacks; :meth:`requeue` runs them again.

        Args:
            state: one of those states, or several.
            since: only those that ended within this time.
            limit: the most runs to return.

        """
        check_int(limit, "limit", 1, EVERYTHING)
        store = self._here().main.store
        letters = await self._letters(job, schedule, tag, state, since, limit)
        return await self._views(store, view_here, letters)

    async def explain(self, schedule: str, at: datetime) -> Explanation:
        """Explain one due time: how it ended, and why.

        Args:
            at: the slot, aware; without a fraction of a second, the slot within that second. For any other moment,
                the answer is that it is no slot, and names the ones beside it.

        Raises:
            UnknownSchedule: there is no such schedule.

        """
        record = await self._schedule(schedule)
        worker = self._here().main
        slot = await slot_meant(worker.store, record, to_instant(at, "at"))
        return await explain_slot(worker, record, self._registry.find(record.job), slot)

    async def timeline(
        self, start: datetime, end: datetime, *, limit: int = 1000, schedule: str | None = None
    ) -> list[Coming]:
        """Return the slots between two aware moments, in order, with notes where the clock changes.

        Schedules that are paused or orphaned have none.
        A user's trigger that raises hides no other slots: the last entry of its schedule has a ``fault``.

        Args:
            limit: the most slots to return; the earliest are kept.
            schedule: the id of one schedule, whose slots alone are returned.

        """
        first, last = to_instant(start, "start"), to_instant(end, "end")
        if last < first:
            raise ConfigurationError("timeline: end lies before start")
        check_int(limit, "limit", 1, 1_000_000)
        coming: list[tuple[Instant, Coming]] = []
        now = self._here().main.timeline.now()
        for record in await self._here().main.store.schedules(None if schedule is None else (schedule,)):
            if record.paused or record.orphaned or record.used_up or not self._here().main.knows(record.job):
                continue
            coming += slots_to_come(record, first, last, limit, here(record, now))
        coming.sort(key=lambda one: (one[0], one[1].schedule))
        return [one for _, one in coming[:limit]]

    async def due_counts(self, start: datetime, end: datetime, step: timedelta) -> list[int]:
        """Return how many slots of all schedules lie in each step between two aware moments, ``end`` not included.

        Schedules that are paused or orphaned have none. Where there are very many slots, the first ones of each
        schedule are counted, and the others are taken to follow at the same rate.

        Raises:
            ConfigurationError: ``end`` lies before ``start``, or there are more than 100,000 steps.

        """
        first, last, width = (
            to_instant(start, "start"),
            to_instant(end, "end"),
            step // timedelta(microseconds=1),
        )
        if last < first or width <= 0 or (last - first) // width > 100_000:
            raise ConfigurationError(
                "due_counts: give a start before the end, and a step of which there are at most 100,000"
            )
        worker = self._here().main
        now = worker.timeline.now()
        due = [
            record for record in await worker.store.schedules()
            if not (record.paused or record.orphaned or record.used_up) and worker.knows(record.job)
        ]  # fmt: skip
        counted = DueCounts(first, last, width, len(due))

        def count(some: Sequence[ScheduleRecord]) -> Sequence[ScheduleRecord]:
            for record in some:
                counted.add(record, here(record, now))
            return some

        await in_turns(count, due, _ONE_TURN)
        return counted.counts()


def _schedule(record: ScheduleRecord, job: Job | None, worker: Worker) -> Schedule:
    return schedule_view(record, job, worker.knows(record.job))
