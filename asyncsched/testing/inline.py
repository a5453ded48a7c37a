"""``drain`` and ``inline``: runs that happen at once, in a test."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any

import anyio

from asyncsched._core.errors import SchedulerStateError
from asyncsched._core.instants import Instant
from asyncsched._core.mapping import run_view
from asyncsched._core.models import Run
from asyncsched._core.records import RunRecord
from asyncsched._core.requests import RunQuery
from asyncsched._engine.runtime import Runtime
from asyncsched._engine.worker import Worker
from asyncsched._scheduler.handle import RunHandle
from asyncsched._scheduler.lookup import run_of_id
from asyncsched._scheduler.once import Once
from asyncsched._scheduler.scheduler import Scheduler

_ALL = 1_000_000
_LIVE = ("pending", "running")
_ALL_STATES = None


async def drain(scheduler: Scheduler) -> list[Run]:
    """Run everything that is due now, and the runs that these schedule for now, until none is left.

    Time passes only as far as the jobs themselves sleep. Runs that wait for a later moment (a delay, a
    retry, the next slot), and runs of paused jobs and schedules, stay pending.

    Returns:
        The runs that ended, or were put off by a retry, in the order in which they began.

    Raises:
        SchedulerStateError: the scheduler does not run, or its role lets it begin nothing.

    Example:
        >>> await scheduler.schedule_once(send_email, "ada@example.org")
        >>> assert [run.state for run in await drain(scheduler)] == ["succeeded"]

    """
    runtime = scheduler._running()
    if not runtime.works or runtime.shutdown.draining():
        raise SchedulerStateError(
            "this scheduler begins no runs (by its role, or because it is being closed), so there is "
            "nothing to wait for; inline(scheduler) runs one-offs whatever the role"
        )
    moment = max(runtime.main.timeline.now())
    before = {run.id: _stage_of(run) for _, run in await _owed(runtime, moment, _ALL_STATES)}
    while True:
        for worker in runtime.workers:
            worker.agenda.notify()
        await anyio.wait_all_tasks_blocked()
        due = [
            (worker, run)
            for worker, run in await _owed(runtime, moment, _LIVE)
            if await _can_move(worker, run)
        ]
        if not due:
            break
        for worker, run in due:
            await _until_still(runtime, worker, run.id)
    ran = [
        run for _, run in await _owed(runtime, moment, _ALL_STATES) if _stage_of(run) != before.get(run.id)
    ]
    ran.sort(key=lambda run: (run.started_at or 0, run.id))
    return [run_view(run, runtime.registry.jobs.get(run.job)) for run in ran if run.started_at is not None]


def _stage_of(run: RunRecord) -> tuple[str, int]:
    return run.state, len(run.attempts or ())


async def _owed(
    runtime: Runtime, moment: Instant, states: Collection[str] | None
) -> list[tuple[Worker, RunRecord]]:
    """Return the runs, without those of slots after ``moment``; oldest first."""
    query = RunQuery(states=states, limit=_ALL)
    return [
        (worker, run)
        for worker in runtime.workers
        for run in reversed(await worker.store.runs(query))
        if run.origin != "schedule" or run.due <= moment
    ]


async def _can_move(worker: Worker, run: RunRecord) -> bool:
    """Return whether a live run is running, or could begin now."""
    if run.state == "running" or not _moves(worker, run):
        return run.state == "running"
    if run.job in await worker.store.paused_jobs():
        return False
    if run.origin != "schedule" or run.schedule is None:
        return True
    return not any(record.paused for record in await worker.store.schedules((run.schedule,)))


def _moves(worker: Worker, run: RunRecord) -> bool:
    if run.state == "running":
        return True
    now = worker.timeline.now()
    here = now.steady if run.steady else now.wall
    return run.state == "pending" and run.ready_at is not None and run.ready_at <= here


async def _until_still(runtime: Runtime, worker: Worker, run_id: int) -> None:
    """Wait until the run has ended, or waits for a later moment."""
    while True:
        changed, leave = runtime.environment.waiters.wait_for(run_id)
        try:
            run = await run_of_id(worker.store, run_id)
            if run is None or not _moves(worker, run):
                return
            await changed.wait()
        finally:
            leave()


@contextmanager
def inline(scheduler: Scheduler) -> Iterator[list[Run]]:
    """Run one-offs at once: in this block ``schedule_once`` returns when the run has its outcome.

    ``delay`` and ``at`` are ignored. Executor, policies, timeout and retries work as always, and the
    waits pass in virtual time where there is one. A failure raises at
    ``handle.result()``, not at the call. In a scheduler that runs nothing (``role="off"``, or not
    started at all, as in a test without lifespan) each call gets a temporary scheduler in memory.

    Yields:
        The runs of the block, in the order in which they ended.

    Example:
        >>> with inline(scheduler) as ran:
        ...     client.post("/signup", json={"email": "ada@example.org"})
        >>> assert [(run.job, run.state) for run in ran] == [("send_email", "succeeded")]

    """
    stage = _Stage(scheduler)
    names = ("schedule_once", "schedule_many")
    before = {name: vars(scheduler).get(name) for name in names}
    for name in names:
        setattr(scheduler, name, getattr(stage, name))
    try:
        yield stage.ran
    finally:
        for name, value in before.items():  # in a nested block, the values are those of the outer block
            delattr(scheduler, name) if value is None else setattr(scheduler, name, value)


class _Stage:
    """Runs the one-offs of a block: in the scheduler itself if it runs jobs, else in a temporary one."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._enqueue = scheduler.schedule_once
        self._own: Scheduler | None = None
        self._users = 0
        self._left = anyio.Event()
        self.ran: list[Run] = []

    async def schedule_once(self, func: Any, *args: Any, **options: Any) -> RunHandle[Any]:
        options.update(delay=None, at=None)
        runtime = self._scheduler._runtime
        if runtime is not None and runtime.works:
            return await self._run(self._enqueue, func, args, options)
        if self._own is not None:  # a job that schedules another
            self._users += 1
            try:
                return await self._run(self._own.schedule_once, func, args, options)
            finally:
                self._users -= 1
                self._left.set()
        async with _like(self._scheduler) as own:
            self._own = own
            try:
                return await self._run(own.schedule_once, func, args, options)
            finally:
                while self._users:
                    self._left = anyio.Event()
                    await self._left.wait()
                self._own = None

    async def schedule_many(self, items: Sequence[Once], *, over: object = None) -> list[RunHandle[Any]]:
        return [
            await self.schedule_once(
                item.func, *item.args, kwargs=item.kwargs, key=item.key, key_ttl=item.key_ttl,
                priority=item.priority, tags=item.tags,
            )
            for item in items
        ]  # fmt: skip

    async def _run(
        self, enqueue: Any, func: Any, args: tuple[Any, ...], options: dict[str, Any]
    ) -> RunHandle[Any]:
        handle: RunHandle[Any] = await enqueue(func, *args, **options)
        run = await handle.wait()
        if handle.created:
            self.ran.append(run)
        return handle


def _like(scheduler: Scheduler) -> Scheduler:
    """Return a scheduler in memory with the same jobs and executors, and no schedules."""
    durable = scheduler._runtime is not None and scheduler._runtime.main.store.durable
    observers: Any = scheduler._observers[1:]  # without the first, the log's, which every scheduler has
    made = Scheduler(
        role="run",
        strict=scheduler._strict or durable,
        observers=observers,
        clock=scheduler._choices.clock,
        stall_threshold=None,
    )
    registry = copy(scheduler._registry)
    registry.jobs, registry._functions, registry.schedules = (
        dict(registry.jobs),
        dict(registry._functions),
        {},
    )
    made._registry, made._executors = registry, scheduler._executors
    made.state, made.overrides = scheduler.state, scheduler.overrides
    return made
