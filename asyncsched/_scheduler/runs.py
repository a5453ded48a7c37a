"""Runs that people make, cancel and repeat: ``run_now``, ``backfill``, ``cancel_many`` and ``requeue``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from asyncsched._core.errors import (
    ArgumentError,
    ConfigurationError,
    NotCancellable,
    SchedulerStateError,
    UnknownRun,
)
from asyncsched._core.instants import Instant, to_instant
from asyncsched._core.jobs import Job, arguments_of
from asyncsched._core.mapping import run_id_text
from asyncsched._core.propagation import capture
from asyncsched._core.records import Permit, RunRecord, ScheduleRecord
from asyncsched._core.requests import Added, Closed, Closing, RunQuery
from asyncsched._core.trigger import asking
from asyncsched._scheduler.audit import audited, count_of_runs, filter_of, told
from asyncsched._scheduler.face import EVERYTHING, Face, check_texts, here, states_of
from asyncsched._scheduler.handle import RunHandle
from asyncsched._scheduler.once import Once

if TYPE_CHECKING:
    from asyncsched._engine.worker import Worker

_BACKFILL_LIMIT = 10_000
_LIVE = ("pending", "running")


class Runs(Face):
    """The part of a scheduler by which people make, end and repeat runs."""

    @audited("run_now")
    async def run_now(
        self, id: str, respect_overlap: bool = False, *, args: tuple[Any, ...] | None = None,
        kwargs: Mapping[str, Any] | None = None, note: str = "", by: str = "",
    ) -> RunHandle[Any]:  # fmt: skip
        """Run a schedule's job now, with the schedule's arguments; its own slots are not touched.

        Args:
            args, kwargs: for this run only, arguments in place of those of the schedule; the others stay.
            note, by: the reason and the author, for the record of what people did.
            respect_overlap: refuse if a run of the schedule's own is live, unless its job's overlap
                rule is ``allow``.

        Raises:
            UnknownSchedule: there is no schedule of that id.
            SchedulerStateError: a run is live, and ``respect_overlap`` was given.

        """
        worker = self._here().main
        record = await self._schedule(id)
        job = self._registry.get(record.job)
        if respect_overlap and job.overlap != "allow":
            query = RunQuery(schedule=id, origin="schedule", states=_LIVE, limit=1)
            if live := await worker.store.runs(query):
                raise SchedulerStateError(
                    f"schedule {id!r} has a live run, {run_id_text(live[0].id)}; it was not run once more"
                )
        if args is None and kwargs is None:
            run = self._made(worker, record, job, "manual", None)
        else:
            once = Once(job.func, *job.signature.merged(record.arguments, args or (), kwargs or {}))
            run = self._make_run(worker, job, once, worker.timeline.now(), "manual", id)
        told(f"run {run_id_text(run.id)}")
        await worker.store.add((run,), worker.timeline.now())
        worker.agenda.add(run)
        return RunHandle(self._control(worker), run.id, run, True)

    @audited("run_job", "job")
    async def run_job(
        self, job: str | Callable[..., Any], *, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None,
        delay: float | timedelta | None = None, at: datetime | None = None, key: str | None = None,
        note: str = "", by: str = "",
    ) -> RunHandle[Any]:  # fmt: skip
        """Run a declared job once, by hand, with these arguments; it may have no schedule.

        Args:
            job: a declared function or a job's name.
            args, kwargs: the arguments of the function.
            delay, at, key: as those of ``schedule_once``.
            note, by: the reason and the author, for the record of what people did.

        Raises:
            UnknownJob: no job of that name is declared.
            ArgumentError: the function does not take the arguments.
            KeyConflict: the key belongs to a run with other arguments.

        """
        worker, found = self._here().main, self._registry.get(job)
        now, once = worker.timeline.now(), Once(found.func, args, kwargs, delay, at, key)
        run = self._make_run(worker, found, once, now, "manual")
        told(f"run {run_id_text(run.id)}")
        added = (await worker.store.add((run,), now))[0]
        worker.agenda.add(added.run)
        return self._handle_of(worker, run, added)

    @audited("backfill", several=True)
    async def backfill(
        self, id: str, start: datetime, end: datetime, only_missed: bool = True, dry_run: bool = False, *,
        note: str = "", by: str = "",
    ) -> int:  # fmt: skip
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
        worker = self._here().main
        record = await self._schedule(id)
        job = self._registry.get(record.job)
        now = worker.timeline.now()
        first, last = to_instant(start, "start"), to_instant(end, "end")
        if last < first:
            raise ConfigurationError(f"backfill of {id!r}: end lies before start")
        slots = await self._slots_to_fill(worker, record, first, min(last, here(record, now)), only_missed)
        if dry_run or not slots:
            told(f"{'dry run: ' if dry_run else ''}{count_of_runs(len(slots))}")
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

    @audited("cancel_many", filter_of, several=True)
    async def cancel_many(
        self, *, job: str | None = None, schedule: str | None = None, tag: str | None = None, key: str | None = None,
        state: str | Collection[str] = _LIVE, note: str = "", by: str = "",
    ) -> int:  # fmt: skip
        """Cancel the live runs that match everything given; at least one filter is needed.

        Args:
            key: that of ``schedule_once``; with ``job=`` it is one run at most.
            state: ``pending``, ``running`` or both.

        Returns:
            The number of pending runs that were cancelled, and of running ones that were asked to end.

        """
        if job is None and schedule is None and tag is None and key is None:
            raise ConfigurationError(
                "cancel_many: give job=, schedule=, tag= or key=; without one it would cancel all"
            )
        check_texts(job=job, schedule=schedule, tag=tag, key=key)
        worker = self._here().main
        states = states_of(state)
        if not set(states) <= set(_LIVE):
            raise ConfigurationError(
                "cancel_many: state is 'pending', 'running' or both; a run that has ended stays as it is"
            )
        query = RunQuery(job=job, schedule=schedule, tag=tag, key=key, states=states, limit=EVERYTHING)
        found = await worker.store.runs(query)
        for run in found:
            await self._control(worker).cancel(run.id, "cancelled")
        return len(found)

    @audited("requeue", filter_of, several=True)
    async def requeue(
        self, run_id: str | None = None, *, job: str | None = None, schedule: str | None = None,
        tag: str | None = None, state: str | Collection[str] | None = None,
        since: float | timedelta | None = None, args: tuple[Any, ...] | None = None,
        kwargs: Mapping[str, Any] | None = None, again: bool = False, note: str = "", by: str = "",
    ) -> list[RunHandle[Any]]:  # fmt: skip
        """Run dead letters again: one by its id, or all that match. Each becomes one new run, and leaves the list.

        The call is safe to repeat: for a run that was run again before, the handle is that of the run that came
        of it (``handle.created`` is False). The two name each other, as ``requeued_as`` and ``requeue_of``. The
        new run takes over the key; where another run holds it by now, the handle is that run's.

        Args:
            run_id: the id of a run that failed, timed out, was lost or was cancelled.
            job, schedule, tag, state, since: as for :meth:`dead_letters`; without a ``run_id``,
                at least one is needed.
            args, kwargs: for a single run, arguments in place of those that it had; the others stay.
            again: run a single run once more that was run again before, or dismissed.
            note, by: the reason and the author, for the record of what people did.

        Returns:
            The handles of the new runs, the newest letter's first.

        Raises:
            UnknownRun: there is no run of that id.
            NotCancellable: the run has not ended, or succeeded, was dismissed, or was run again with other arguments.
            ArgumentError: the function does not take the arguments (any more).
            KeyConflict: its key belongs to another run by now, with other arguments; of many, the others are run.

        """
        wanted = (job, schedule, tag, state, since)
        if (run_id is None) == all(one is None for one in wanted):
            raise ConfigurationError(
                "requeue: give a run's id, or job=, schedule=, tag=, state= or since=; not both"
            )
        if run_id is None:
            if args is not None or kwargs is not None:
                raise ConfigurationError("requeue: other arguments can be given to one run only, by its id")
            if again:
                raise ConfigurationError(
                    "requeue: again=True is for one run, by its id; a filter finds only runs "
                    "that were not run again"
                )
            letters = await self._letters(*wanted)
        else:
            letters = [_checked_letter(await self._run_record(run_id))]
        worker = self._here().main
        runs = [self._again(letter, args, kwargs) for letter in letters]
        if run_id is not None:
            told(f"run {run_id_text(runs[0].id)}")
        closings = [Closing(letter.id, run, again=again) for letter, run in zip(letters, runs, strict=True)]
        closed = await worker.store.close_letters(closings, worker.timeline.now())
        for one in closed:
            if one.run is not None:
                worker.agenda.add(one.run)
        handles = [self._came_of(worker, run, one) for run, one in zip(runs, closed, strict=True)]
        if run_id is not None:
            told(f"run {handles[0].id}")  # it may be one of an earlier call
        return handles

    @audited("dismiss", "run_id")
    async def dismiss(self, run_id: str, note: str = "", by: str = "") -> None:
        """Put a dead letter aside: it leaves the list, and stays in the history with the note.

        Args:
            run_id: the id of a run that failed, timed out, was lost or was cancelled.
            note, by: why nothing is to be done about it, and the author; a second call changes the note.

        Raises:
            UnknownRun: there is no run of that id.
            NotCancellable: the run has not ended, or succeeded, or was run again.

        """
        check_texts(note=note)
        letter = _checked_letter(await self._run_record(run_id))
        worker = self._here().main
        (closed,) = await worker.store.close_letters([Closing(letter.id, note=note)], worker.timeline.now())
        if closed.letter is None:
            raise UnknownRun(run_id)
        if closed.letter.requeued_as is not None:
            raise NotCancellable(f"{_closed(closed.letter)}: there is nothing to dismiss")

    def _came_of(self, worker: Worker, run: RunRecord, closed: Closed) -> RunHandle[Any]:
        """Return the handle of the run that came of a letter, which is ``run`` if it was run again by this call."""
        letter, stands = closed.letter, closed.run
        if letter is None:
            self._registry.let_go(run.job)
            raise UnknownRun(run_id_text(run.requeue_of or 0))
        again = closed.created or stands is None or stands.id == letter.requeued_as
        if stands is None or (again and closed.conflict):
            self._registry.let_go(run.job)
            other = " with other arguments" if closed.conflict else ""
            raise NotCancellable(f"{_closed(letter)}{other}; again=True runs it once more")
        return self._handle_of(worker, run, Added(stands, closed.created, closed.conflict))

    def _again(
        self, letter: RunRecord, args: tuple[Any, ...] | None, kwargs: Mapping[str, Any] | None
    ) -> RunRecord:
        worker = self._running().main
        job = self._registry.get(letter.job)
        if args is None and kwargs is None:
            given = arguments_of(letter, job)
        else:
            given = job.signature.merged(letter.arguments, args or (), kwargs or {})
        once = Once(
            job.func,
            *given,
            key=letter.key,
            key_ttl=timedelta(microseconds=letter.key_ttl),
            priority=letter.priority,
        )
        run = self._make_run(worker, job, once, worker.timeline.now(), "manual", letter.schedule)
        run.tags, run.context_vars, run.requeue_of = letter.tags, letter.context_vars, letter.id
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
            context_vars=capture(job, worker.as_json) if job.carry else None,
        )  # fmt: skip


def _checked_letter(run: RunRecord) -> RunRecord:
    """Return the run if it ended without success."""
    if run.live or run.state == "succeeded":
        raise NotCancellable(f"run {run_id_text(run.id)} is {run.state}: it is no dead letter")
    return run


def _closed(letter: RunRecord) -> str:
    """Return how a letter was closed, in words."""
    if letter.requeued_as is not None:
        return f"run {run_id_text(letter.id)} was run again as {run_id_text(letter.requeued_as)}"
    return f"run {run_id_text(letter.id)} was dismissed" + (
        f" ({letter.dismissed})" if letter.dismissed else ""
    )


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
