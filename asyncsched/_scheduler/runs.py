"""Runs that people make, cancel and repeat: ``run_now``, ``backfill``, ``cancel_many`` and ``requeue``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from asyncsched._core.errors import ArgumentError, ConfigurationError, NotCancellable, SchedulerStateError
from asyncsched._core.instants import Instant, to_instant
from asyncsched._core.jobs import Job, arguments_of
from asyncsched._core.mapping import run_id_text
from asyncsched._core.records import Permit, RunRecord, ScheduleRecord
from asyncsched._core.requests import RunQuery
from asyncsched._core.trigger import asking
from asyncsched._scheduler.face import EVERYTHING, Face, check_texts, here, states_of
from asyncsched._scheduler.handle import RunHandle
from asyncsched._scheduler.once import Once

if TYPE_CHECKING:
    from asyncsched._engine.worker import Worker

_BACKFILL_LIMIT = 10_000
_LIVE = ("pending", "running")


class Runs(Face):
    """The part of a scheduler by which people make, end and repeat runs."""

    async def run_now(self, id: str, respect_overlap: bool = False) -> RunHandle[Any]:
        """Run a schedule's job now, with the schedule's arguments; its own slots are not touched.

        Args:
            respect_overlap: refuse if a run of the schedule's own is live, unless its job's overlap
                rule is ``allow``.

        Raises:
            UnknownSchedule: there is no schedule of that id.
            SchedulerStateError: a run is live, and ``respect_overlap`` was given.

        """
        worker = self._running().main
        record = await self._schedule(id)
        job = self._registry.get(record.job)
        if respect_overlap and job.overlap != "allow":
            query = RunQuery(schedule=id, origin="schedule", states=_LIVE, limit=1)
            if live := await worker.store.runs(query):
                raise SchedulerStateError(
                    f"schedule {id!r} has a live run, {run_id_text(live[0].id)}; it was not run once more"
                )
        run = self._made(worker, record, job, "manual", None)
        await worker.store.add((run,), worker.timeline.now())
        worker.agenda.add(run)
        return RunHandle(self._control(worker), run.id, run, True)

    async def backfill(
        self, id: str, start: datetime, end: datetime, only_missed: bool = True, dry_run: bool = False
    ) -> int:
        """Run the job once for each past slot between two aware moments, oldest first.

        The records of the slots themselves do not change.

        Args:
            start, end: both included; slots ahead of now are left out.
            only_missed: leave out slots that have a run already, the schedule's or a backfilled one.
            dry_run: count the runs without making them.

        Returns:
            The number of runs that were made, or would be.

        Raises:
            UnknownSchedule: there is no schedule of that id.
            ConfigurationError: ``end`` lies before ``start``, or there are more than 10,000 slots:
                take a shorter stretch.

        """
        worker = self._running().main
        record = await self._schedule(id)
        job = self._registry.get(record.job)
        now = worker.timeline.now()
        first, last = to_instant(start, "start"), to_instant(end, "end")
        if last < first:
            raise ConfigurationError(f"backfill of {id!r}: end lies before start")
        slots = await self._slots_to_fill(worker, record, first, min(last, here(record, now)), only_missed)
        if dry_run or not slots:
            return len(slots)
        runs = [self._made(worker, record, job, "backfill", slot) for slot in slots]
        for added in await worker.store.add(runs, now):
            worker.agenda.add(added.run)
        return len(slots)

    async def _slots_to_fill(
        self, worker: Worker, record: ScheduleRecord, first: Instant, last: Instant, only_missed: bool
    ) -> list[Instant]:
        done: set[Instant] = set()
        if only_missed:
            for origin in ("schedule", "backfill"):
                query = RunQuery(schedule=record.id, origin=origin, limit=EVERYTHING)
                done.update(run.slot for run in await worker.store.runs(query) if run.slot is not None)
        slots: list[Instant] = []
        with asking(record.id):
            at = record.trigger.next_instant(first - 1)
            while at is not None and at <= last and len(slots) <= _BACKFILL_LIMIT:
                if at not in done:
                    slots.append(at)
                at = record.trigger.next_instant(at)
        if len(slots) > _BACKFILL_LIMIT:
            raise ConfigurationError(
                f"backfill of {record.id!r}: more than {_BACKFILL_LIMIT} slots; take a shorter stretch of time"
            )
        return slots

    async def cancel_many(
        self, *, job: str | None = None, schedule: str | None = None, tag: str | None = None,
        state: str | Collection[str] = _LIVE,
    ) -> int:  # fmt: skip
        """Cancel the live runs that match; at least one filter is needed.

        Args:
            state: ``pending``, ``running`` or both.

        Returns:
            The number of pending runs that were cancelled, and of running ones that were asked to end.

        """
        if job is None and schedule is None and tag is None:
            raise ConfigurationError(
                "cancel_many: give job=, schedule= or tag=; without one it would cancel all"
            )
        check_texts(job=job, schedule=schedule, tag=tag)
        worker = self._running().main
        states = states_of(state)
        if not set(states) <= set(_LIVE):
            raise ConfigurationError(
                "cancel_many: state is 'pending', 'running' or both; a run that has ended stays as it is"
            )
        query = RunQuery(job=job, schedule=schedule, tag=tag, states=states, limit=EVERYTHING)
        found = await worker.store.runs(query)
        for run in found:
            await self._control(worker).cancel(run.id, "cancelled")
        return len(found)

    async def requeue(
        self, run_id: str | None = None, *, job: str | None = None, schedule: str | None = None,
        tag: str | None = None, state: str | Collection[str] | None = None,
        since: float | timedelta | None = None, args: tuple[Any, ...] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> list[RunHandle[Any]]:  # fmt: skip
        """Run dead letters again: one by its id, or all that match. Each becomes a new run.

        Args:
            run_id: the id of a run that failed, timed out, was lost or was cancelled.
            job, schedule, tag, state, since: as for :meth:`dead_letters`; without a ``run_id``,
                at least one is needed.
            args, kwargs: for a single run, arguments in place of those that it had; the others stay.

        Returns:
            The handles of the new runs, the newest letter's first.

        Raises:
            UnknownRun: there is no run of that id.
            NotCancellable: the run has not ended, or succeeded.
            ArgumentError: the function does not take the arguments (any more).

        """
        wanted = (job, schedule, tag, state, since)
        if (run_id is None) == all(one is None for one in wanted):
            raise ConfigurationError(
                "requeue: give a run's id, or job=, schedule=, tag=, state= or since=; not both"
            )
        if run_id is None:
            if args is not None or kwargs is not None:
                raise ConfigurationError("requeue: other arguments can be given to one run only, by its id")
            letters = await self._letters(*wanted)
        else:
            letters = [await self._run_record(run_id)]
            if letters[0].live or letters[0].state == "succeeded":
                raise NotCancellable(f"run {run_id} is {letters[0].state}: only a dead letter is run again")
        runs = [self._again(letter, args, kwargs) for letter in letters]
        worker = self._running().main
        added = await worker.store.add(runs, worker.timeline.now())
        for run in runs:
            worker.agenda.add(run)
        return [self._handle_of(worker, run, one) for run, one in zip(runs, added, strict=True)]

    def _again(
        self, letter: RunRecord, args: tuple[Any, ...] | None, kwargs: Mapping[str, Any] | None
    ) -> RunRecord:
        worker = self._running().main
        job = self._registry.get(letter.job)
        if args is None and kwargs is None:
            given = arguments_of(letter, job)
        else:
            given = job.signature.merged(letter.arguments, args or (), kwargs or {})
        once = Once(job.func, *given, priority=letter.priority)
        run = self._make_run(worker, job, once, worker.timeline.now(), "manual", letter.schedule)
        run.tags, run.context_vars = letter.tags, letter.context_vars
        return run

    def _made(
        self, worker: Worker, record: ScheduleRecord, job: Job, origin: str, slot: Instant | None
    ) -> RunRecord:
        """Return a run of a schedule's job with another origin than the schedule."""
        now = worker.timeline.now()
        return RunRecord(
            worker.ids.next(now.wall), job.name, now.steady, executor=job.executor, schedule=record.id,
            origin=origin, slot=slot, steady=True, priority=job.priority, arguments=record.arguments,
            tags=job.tags + record.tags, permits=_permits(job, record), max_attempts=job.attempts,
        )  # fmt: skip


def _permits(job: Job, record: ScheduleRecord) -> tuple[Permit, ...]:
    if not job.limits:
        return ()
    arguments = record.arguments
    if isinstance(arguments, str):
        try:
            arguments = job.signature.decode(arguments)
        except TypeError as error:
            raise ArgumentError(f"schedule {record.id!r}: {error}") from None
    return job.permits(arguments)
