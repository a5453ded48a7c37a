"""Schedules and one-offs that end with a block: pushes for as long as a websocket lives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta, tzinfo
from typing import Any, TypeVar

import anyio

from asyncsched._core.errors import ConfigurationError, SchedulerClosed
from asyncsched._core.instants import HOUR
from asyncsched._core.jobs import Declared, Job
from asyncsched._core.models import Schedule
from asyncsched._core.requests import RunQuery
from asyncsched._core.rules.retention import Bounds
from asyncsched._core.trigger import Trigger
from asyncsched._engine.pipeline import Runnables
from asyncsched._engine.runtime import Runtime
from asyncsched._engine.worker import Worker
from asyncsched._scheduler.control import RunControl
from asyncsched._scheduler.decorators import Declarations
from asyncsched._scheduler.enqueue import Enqueue
from asyncsched._scheduler.face import EVERYTHING, Running
from asyncsched._scheduler.queries import Queries
from asyncsched._scheduler.registry import Registry
from asyncsched._scheduler.runs import Runs
from asyncsched._scheduler.schedules import Schedules
from asyncsched.stores.memory.store import MemoryStore

F = TypeVar("F", bound=Callable[..., Any])

_BOUNDS = Bounds(age=HOUR, count=100, size=4 * 1024 * 1024)
"""The bounds on a scope's history: small, because an app may have a scope for each of many connections."""

_WHY = "scope"


class Scope(Declarations, Enqueue, Schedules, Runs, Queries):
    """A small scheduler that ends with a block: ``async with scheduler.scope() as scope``.

    It has the calls of the scheduler: the decorators ``interval``, ``cron`` and ``job``, which begin
    at once, ``schedule_once``, ``add_schedule``, ``pause``, ``runs`` and so on. Schedules and runs are kept in
    memory, whatever the scheduler's store. Any function can be used; a function that is declared with the
    scheduler keeps its options, and its limits count within the scope. When the block is left, pending and
    running runs are cancelled and awaited. A job's failure does not end the block.
    """

    def __init__(self, host: Runtime, registry: Registry, timezone: tzinfo) -> None:
        super().__init__(_ScopeRegistry(registry), timezone)
        self._runtime = ScopeRuntime(host, self._registry)

    def _running(self) -> ScopeRuntime:
        if self._runtime.closed:
            raise SchedulerClosed("the scope has been closed; nothing can be scheduled in it any more")
        return self._runtime

    def _decorator(
        self, trigger: Any, id: str | None, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None,
        jitter: Any, max_runs: int | None, options: Any,
    ) -> Callable[[F], F]:  # fmt: skip
        self._running()
        declare: Callable[[F], F] = super()._decorator(trigger, id, args, kwargs, jitter, max_runs, options)

        def begin(func: F) -> F:
            before = set(self._registry.schedules)
            declare(func)
            self._ready(self._registry.get(func))
            for name in set(self._registry.schedules) - before:
                self._begin(self._registry.schedules[name])
            return func

        return begin

    def _begin(self, declared: Declared) -> None:
        """Begin a schedule at once: a decorator cannot await, and the store in memory need not be awaited."""
        worker = self._runtime.main
        record = worker.reconciler.new_schedule(declared, worker.timeline.now(), by_code=False)
        worker.agenda.follow([self._runtime.store.put(record, 0)])
        worker.agenda.notify()

    async def add_schedule(
        self, job: Callable[..., Any] | str, trigger: Trigger, *, id: str | None = None,
        args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None,
        jitter: float | timedelta | None = None, paused: bool = False, replace: bool = False,
        tags: Sequence[str] = (), max_runs: int | None = None,
    ) -> Schedule:  # fmt: skip
        """Bind a trigger to any function until the block ends; see ``Scheduler.add_schedule``."""
        found = self._job_for(job, self._here())
        return await super().add_schedule(
            found.name, trigger, id=id, args=args, kwargs=kwargs, jitter=jitter, paused=paused,
            replace=replace, tags=tags, max_runs=max_runs,
        )  # fmt: skip

    def _job_for(self, func: Any, running: Running) -> Job:
        job = super()._job_for(func, running)
        self._ready(job)
        return job

    def _ready(self, job: Job) -> None:
        if job.executor not in self._runtime.environment.capacity.free:
            raise ConfigurationError(
                f"job {job.name!r}: executor {job.executor!r} was not open when the scheduler was started; "
                f"give it to Scheduler(executors={{{job.executor!r}: …}})"
            )
        self._runtime.jobs.learn(job)

    def __repr__(self) -> str:
        state = "closed" if self._runtime.closed else "open"
        return f"<Scope {state}, {len(self._registry.schedules)} schedules>"


class _ScopeRegistry(Registry):
    """The jobs of a scope. A job of the scheduler is found as well, and then becomes one of the scope."""

    def __init__(self, host: Registry) -> None:
        super().__init__(host.executors, host.carried, host.defaults)
        self._host = host

    def find(self, func: Callable[..., Any] | str) -> Job | None:
        found = super().find(func)
        if found is None and (found := self._host.find(func)) is not None and found.name not in self.jobs:
            self._keep(found, False)
        return found


class ScopeRuntime:
    """The running parts of a scope: a separate worker, store and jobs, in the scheduler's environment.

    Args:
        host: the scheduler's running parts.
        registry: the scope's jobs.

    """

    def __init__(self, host: Runtime, registry: Registry) -> None:
        self._host = host
        self._over = False
        self.environment = host.environment
        self.thread = host.thread
        self.from_thread = host.from_thread
        self.store = MemoryStore(_BOUNDS)
        self.jobs = Runnables(host.executors, host.environment, durable=False)
        self.main = Worker(self.store, host.environment, registry, self.jobs, self._draining)

    @property
    def closed(self) -> bool:
        """Whether the block has ended, or the scheduler has."""
        return self._over or self.environment.waiters.closed

    def _draining(self) -> bool:
        return self._over or self._host.shutdown.draining()

    async def local(self) -> Worker:
        """Return the worker of ``each_instance`` jobs, which is the scope's worker."""
        return self.main

    async def open(self) -> None:
        """Begin to fire and to run."""
        await self.main.open()
        self._host.scopes.add(self.main)
        self.main.begin()

    async def close(self, cancel: Callable[[int], Awaitable[object]]) -> None:
        """Cancel the pending and running runs, and wait until they have ended.

        Args:
            cancel: cancels a run by its number.

        """
        worker = self.main
        try:
            if not self.closed:
                self._over = True
                live = RunQuery(states=("pending", "running"), limit=EVERYTHING)
                for run in await self.store.runs(live):
                    await cancel(run.id)
                await worker.runner.idle()
        finally:
            self._over = True
            worker.close()
            self._host.scopes.discard(worker)


@asynccontextmanager
async def open_scope(host: Runtime, registry: Registry, timezone: tzinfo) -> AsyncIterator[Scope]:
    """Open a scope within a running scheduler."""
    scope = Scope(host, registry, timezone)
    control = RunControl(scope._runtime.main, host.environment.waiters, scope._registry)
    await scope._runtime.open()
    try:
        yield scope
    finally:
        with anyio.CancelScope(shield=True):
            await scope._runtime.close(lambda run_id: control.cancel(run_id, _WHY))
