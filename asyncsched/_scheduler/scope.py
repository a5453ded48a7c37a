"""Schedules and one-offs that end with a block: pushes for as long as a websocket lives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
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
from asyncsched._engine.reconcile import new_schedule
from asyncsched._engine.runtime import Runtime
from asyncsched._engine.worker import Worker
from asyncsched._scheduler.decorators import Declarations
from asyncsched._scheduler.enqueue import Enqueue
from asyncsched._scheduler.queries import EVERYTHING
from asyncsched._scheduler.registry import Registry
from asyncsched._scheduler.schedules import Operations
from asyncsched.stores.memory.store import MemoryStore

F = TypeVar("F", bound=Callable[..., Any])

_BOUNDS = Bounds(age=HOUR, count=100, size=4 * 1024 * 1024)
"""There may be a scope for each of many connections: of their pasts, little is kept."""

_WHY = "scope"


class Scope(Declarations, Enqueue, Operations):
    """A scheduler in the small, from ``async with scheduler.scope() as scope``.

    It has the calls of the scheduler: the decorators ``interval``, ``cron`` and ``job``, which begin
    at once, ``schedule_once``, ``add_schedule``, ``pause``, ``runs`` and so on. Everything is kept in
    memory, whatever the scheduler's store; any function will do, and one that is declared with the
    scheduler keeps its options, its limits counting within the scope. When the block is left, what
    is pending or running is cancelled and awaited. A job's failure does not end the block.
    """

    _registry: _ScopeRegistry
    _strict = False

    def __init__(self, host: Runtime, timezone: tzinfo) -> None:
        super().__init__(host.executors, timezone)  # type: ignore[arg-type]  # the scheduler's own dict
        # Set here and never again, so a narrower type than the base's is sound.
        self._registry = _ScopeRegistry(host.registry)  # pyright: ignore[reportIncompatibleVariableOverride]
        self._runtime = ScopeRuntime(host, self._registry)

    def _running(self) -> Runtime:
        if self._runtime.over or self._runtime.bus.closed:
            raise SchedulerClosed("the scope has been closed; nothing can be scheduled in it any more")
        return self._runtime

    def _decorator(
        self, trigger: Any, id: str | None, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None,
        jitter: Any, options: Any,
    ) -> Callable[[F], F]:  # fmt: skip
        self._running()
        declare: Callable[[F], F] = super()._decorator(trigger, id, args, kwargs, jitter, options)

        def begin(func: F) -> F:
            before = set(self._registry.schedules)
            declare(func)
            self._ready(self._registry.get(func))
            for name in set(self._registry.schedules) - before:
                self._begin(self._registry.schedules[name])
            return func

        return begin

    def _begin(self, declared: Declared) -> None:
        """Take up a schedule at once: a decorator cannot await, and this store need not be awaited."""
        worker = self._runtime.main
        record = new_schedule(declared, self._runtime.store, worker.timeline.now(), by_code=False)
        worker.engine.follow([self._runtime.store.put(record, 0)])
        worker.engine.notify()

    async def add_schedule(
        self, job: Callable[..., Any] | str, trigger: Trigger, *, id: str | None = None,
        args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None,
        jitter: float | timedelta | None = None, paused: bool = False, replace: bool = False,
    ) -> Schedule:  # fmt: skip
        """Bind a trigger to any function until the block ends; see ``Scheduler.add_schedule``."""
        found = self._job_for(job, self._running())
        self._registry.in_use(found.name)  # for as long as the scope lives
        return await super().add_schedule(
            found.name,
            trigger,
            id=id,
            args=args,
            kwargs=kwargs,
            jitter=jitter,
            paused=paused,
            replace=replace,
        )

    def _job_for(self, func: Any, runtime: Runtime) -> Job:
        job = super()._job_for(func, runtime)
        self._ready(job)
        return job

    def _ready(self, job: Job) -> None:
        if job.executor not in self._runtime.capacity.free:
            raise ConfigurationError(
                f"job {job.name!r}: executor {job.executor!r} was not open when the scheduler was started; "
                f"give it to Scheduler(executors={{{job.executor!r}: …}})"
            )
        self._runtime.learn(job)

    def __repr__(self) -> str:
        state = "closed" if self._runtime.over or self._runtime.bus.closed else "open"
        return f"<Scope {state}, {len(self._registry.schedules)} schedules>"


class _ScopeRegistry(Registry):
    """A scope's own jobs; those of the scheduler are found as well, and become its own by that."""

    def __init__(self, host: Registry) -> None:
        super().__init__(host.executors)
        self._host = host

    def find(self, func: Callable[..., Any] | str) -> Job | None:
        found = super().find(func)
        if found is None and (found := self._host.find(func)) is not None and found.name not in self.jobs:
            self._keep(found, False)
        return found


class ScopeRuntime(Runtime):
    """A machine within another: its loop, clock, observers and seats, but a store and jobs of its own."""

    def __init__(self, host: Runtime, registry: Registry) -> None:
        self.__dict__.update(host.__dict__)
        self.host = host
        self.over = False
        self.strict = False
        self.registry = registry
        self.runnables = {}
        self.store = MemoryStore(_BOUNDS)
        self.main = Worker(self, self.store)
        self._local = self.main

    def is_draining(self) -> bool:
        """Whether nothing more is to be begun: the block has ended, or the scheduler ends."""
        return self.over or self.host.is_draining()

    async def enter(self) -> None:
        """Begin to fire and to run."""
        await self.main.open()
        self.host.scopes.add(self.main)
        if self.works:
            self.main.begin()

    async def leave(self) -> None:
        """Cancel what is pending or running, and wait until it has ended."""
        self.over = True
        worker = self.main
        try:
            if not self.bus.closed:
                for run in await worker.store.runs(RunQuery(states=("pending", "running"), limit=EVERYTHING)):
                    await worker.control.cancel(run.id, _WHY)
                await worker.runner.idle()
        finally:
            worker.engine.close()
            self.capacity.forget(worker.engine.notify)
            self.host.scopes.discard(worker)


@asynccontextmanager
async def open_scope(host: Runtime, timezone: tzinfo) -> AsyncIterator[Scope]:
    """Open a scope within a running machine."""
    scope = Scope(host, timezone)
    await scope._runtime.enter()
    try:
        yield scope
    finally:
        with anyio.CancelScope(shield=True):
            await scope._runtime.leave()
