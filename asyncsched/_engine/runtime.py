"""The running parts of a scheduler: opened in order, closed in reverse, with nothing left behind."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack
from contextvars import copy_context
from math import inf
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio

from asyncsched._backends.clock import SystemClock
from asyncsched._backends.current import current_backend
from asyncsched._core.errors import SchedulerClosed, SchedulerStateError
from asyncsched._core.events import LoopStalled, SchedulerStarted, SchedulerStopped
from asyncsched._core.instants import to_datetime
from asyncsched._core.jobs import JobRegistry
from asyncsched._core.models import Run, Schedule
from asyncsched._core.requests import RunQuery
from asyncsched._core.values import compile_methods
from asyncsched._engine.capacity import Capacity
from asyncsched._engine.environment import Environment, Settings
from asyncsched._engine.event_bus import EventBus
from asyncsched._engine.figures import RuntimeFigures
from asyncsched._engine.lines import tell_start, warn_of_processes
from asyncsched._engine.pipeline import Runnables
from asyncsched._engine.runner import run_in
from asyncsched._engine.server import Server
from asyncsched._engine.shutdown import Shutdown
from asyncsched._engine.waiters import Waiters
from asyncsched._engine.watchdog import StallWatcher
from asyncsched._engine.worker import Worker
from asyncsched.abc import Clock, Executor, Store

if TYPE_CHECKING:
    from asyncsched.abc import ClusterStore

T = TypeVar("T")

logger = logging.getLogger("asyncsched.scheduler")

_LAST_CHANCE = 0.4
"""Seconds that cancelled attempts have at shutdown to clean up, beyond ``shutdown_timeout``."""

_LAST_WORDS = 0.2
"""Seconds that records and observers have after that. Together, the two leave the process 0.4 s of its last second."""

_LAST_SECOND = 1.0
"""Seconds after ``shutdown_timeout`` in which the scheduler has closed."""

_LEAVE = 0.4
"""Seconds of it that are left to leave the other instances and to close the store."""

_POLL = 0.01
"""Seconds between two checks, while closing, whether the store has accepted all outcomes."""


def make_environment(
    settings: Settings,
    executors: Mapping[str, Executor],
    clock: Clock | None,
    observers: Sequence[Any],
    stall_threshold: float | None,
) -> Environment:
    """Return the environment of a scheduler that starts in the running event loop.

    Args:
        settings: the scheduler's settings.
        executors: all executors by name.
        clock: the user's clock; ``None`` for the machine's.
        observers: callables that hear events.
        stall_threshold: seconds that a job may block the loop before the log names it; ``None`` for no watchdog.

    """
    backend = current_backend()
    # A stall is a matter of the machine's own time: virtual time stands still meanwhile.
    watched = settings.works and stall_threshold is not None and clock is None
    clock = clock or SystemClock(backend.time)
    bus = EventBus(observers, clock.monotonic)

    def stalled(job: str | None, run_id: str | None, milliseconds: float, stack: str) -> None:
        if bus.wants(LoopStalled):
            bus.emit(LoopStalled(to_datetime(clock.wall()), job, run_id, milliseconds, stack))

    watcher = StallWatcher(stall_threshold or 1, enabled=watched, on_stall=stalled, run_in=run_in)
    return Environment(settings, clock, backend, bus, Waiters(), Capacity(executors), watcher)


class Runtime:
    """The running parts of one scheduler.

    Args:
        store: the ledger.
        environment: the parts that all workers share.
        registry: the declarations of the code.
        executors: all executors by name.
        server: the server that the lifespan runs in.
        strict: whether memory sends arguments and results through JSON, as a durable store would.

    """

    def __init__(
        self,
        store: Store,
        environment: Environment,
        registry: JobRegistry,
        executors: Mapping[str, Executor],
        server: Server,
        strict: bool = False,
    ) -> None:
        self.environment = environment
        self.registry = registry
        self.executors = executors
        self.strict = strict
        self.thread = get_ident()
        self._server = server
        self.shutdown = Shutdown(server)
        self.jobs = Runnables(executors, environment, store.durable or strict)
        for job in registry.jobs.values():
            self.jobs.learn(job)
        self.main = Worker(store, environment, registry, self.jobs, self.shutdown.draining, strict)
        self.scopes: set[Worker] = set()  # of the scopes that are open
        self._local: Worker | None = None
        self._end = inf  # the loop's time at which the scheduler is to have closed
        self._stack = AsyncExitStack()

    @property
    def works(self) -> bool:
        """Whether this scheduler fires schedules and executes runs."""
        return self.environment.settings.works

    @property
    def own_workers(self) -> list[Worker]:
        """The worker of the store, and that of ``each_instance`` jobs, if there are any."""
        return [self.main] if self._local is None else [self.main, self._local]

    @property
    def workers(self) -> list[Worker]:
        """All workers that are open."""
        return self.own_workers + list(self.scopes)

    # ── a life ───────────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        """Open all parts in order; close them again if one of them fails."""
        environment = self.environment
        compile_methods(Run, Schedule)  # not in the first request that asks for them
        await environment.backend.__aenter__()
        try:
            if self.works:
                for executor in dict.fromkeys(self.executors.values()):
                    executor.use_clock(environment.clock)
                    await self._stack.enter_async_context(executor)
            await self.main.open()
            environment.started_at = self.main.timeline.now().wall
            self._stack.push_async_callback(self.main.store.close)
            await self._declare()
            environment.bus.attach(RuntimeFigures(self))
            environment.bus.start(environment.backend)
            environment.watcher.start()
            self._stack.callback(environment.watcher.stop)
            self.main.begin()
        except BaseException as error:
            self._close_workers()
            environment.bus.stop()
            with anyio.CancelScope(shield=True):
                await self._stack.aclose()
            await environment.backend.__aexit__(None, None, None)
            raise error
        self._tell_start(environment.settings.role)
        if environment.bus.wants(SchedulerStarted):
            at = to_datetime(self.main.timeline.now().wall)
            environment.bus.emit(SchedulerStarted(at, len(self.main.agenda.schedules)))

    def _tell_start(self, role: str) -> None:
        main = self.main
        tell_start(main.store, main.engine.holder, len(main.agenda.schedules), self.registry, role)
        warn_of_processes(main.store, self.registry, role, self._server)

    async def _declare(self) -> None:
        declared = self.registry.schedules.values()
        await self.main.declare(one for one in declared if not one.job.each_instance)
        local = [one for one in declared if one.job.each_instance]
        if local and self.works:
            await (await self.local()).declare(local)

    async def local(self) -> Worker:
        """Return the worker of ``each_instance`` jobs, whose schedules and runs stay in this process's memory."""
        if self._local is None:
            environment = self.environment
            self._local = Worker(
                environment.settings.make_local_store(), environment, self.registry, self.jobs,
                self.shutdown.draining, self.strict,
            )  # fmt: skip
            await self._local.open()
            self._local.begin()
        return self._local

    async def opened(self, name: str) -> Executor:
        """Return an executor; open the one for processes now if no job had named it at the start."""
        executor, capacity = self.executors[name], self.environment.capacity
        if not self.works:
            raise SchedulerStateError(
                f"this scheduler has the role {self.environment.settings.role!r} and runs nothing here, so executor "
                f"{name!r} is not open; hand the work to an instance that runs jobs, by schedule_once"
            )
        if name not in capacity.free:
            capacity.learn(name)
            executor.use_clock(self.environment.clock)
            await self._stack.enter_async_context(executor)
        return executor

    async def close(self, patience: float) -> None:
        """Stop claiming, wait ``patience`` seconds for running attempts, cancel the rest, and close all parts.

        A cancellation meanwhile ends the wait, and is raised in the end.
        """
        self.shutdown.drain()
        self._end = self.environment.clock.monotonic() + patience + _LAST_SECOND
        cancelled: BaseException | None = None
        try:
            await self._let_finish(patience)
        except anyio.get_cancelled_exc_class() as error:
            cancelled = error
        try:
            for step in (self._end_attempts, self._shut):
                try:
                    with anyio.CancelScope(shield=True):
                        await step()
                except anyio.get_cancelled_exc_class() as error:  # asyncio's own cancel() minds no shield
                    cancelled = error
        finally:
            await self.environment.backend.__aexit__(None, None, None)
        if cancelled is not None:
            raise cancelled

    async def _let_finish(self, patience: float) -> None:
        """Wait until no attempt runs, for at most ``patience`` seconds, or until the end is forced."""
        monotonic, shutdown = self.environment.clock.monotonic, self.shutdown
        end = monotonic() + patience
        while any(worker.runner.running for worker in self.workers):
            left = end - monotonic()
            if left <= 0 or shutdown.forced:
                return
            with shutdown.wait(left):
                for worker in self.workers:
                    await worker.runner.idle()
        # The recorder goes on trying the outcomes that the store has not accepted, for as long as there is time.
        await self._recorded(lambda: monotonic() < end and not shutdown.forced)

    async def _recorded(self, time_left: Callable[[], bool]) -> None:
        """Wait until all outcomes are recorded. The recorder gives no notice of that, so this polls."""
        while any(worker.recorder.unrecorded for worker in self.workers) and time_left():  # noqa: ASYNC110
            await anyio.sleep(_POLL)

    async def _end_attempts(self) -> None:
        """Cancel the running attempts, and wait for their records. ``leave`` releases runs of a claim under way."""
        self.shutdown.drain()
        self._hurry(_LAST_CHANCE + _LAST_WORDS, _LEAVE)
        for worker in self.workers:
            worker.stop()
            worker.runner.cancel_all("shutdown")
        for loop in list(self.environment.loops):
            loop.stop(SchedulerClosed("the scheduler was closed while a parallel loop was under way"))
        with anyio.move_on_after(_LAST_CHANCE):
            for worker in self.workers:
                await worker.runner.idle()
        for worker in self.workers:
            worker.runner.give_up_all(_LAST_CHANCE)
        end = self.environment.clock.monotonic() + _LAST_WORDS
        await self._recorded(lambda: self.environment.clock.monotonic() < end)

    async def _shut(self) -> None:
        """Tell observers and handles that the scheduler stops, and close what was opened."""
        self._close_workers()
        unfinished = await self._unfinished()
        bus = self.environment.bus
        if bus.wants(SchedulerStopped):
            bus.emit(SchedulerStopped(to_datetime(self.main.timeline.now().wall), unfinished))
        bus.stop()
        self.environment.waiters.close()
        await self.environment.backend.join(_LAST_WORDS)
        self._hurry(_LEAVE / 2, _LEAVE / 2)
        try:
            await self.main.leave()
        finally:
            await self._stack.aclose()

    def _hurry(self, at_least: float, spare: float) -> None:
        """Have the store answer before the end of the last second but ``spare``, whatever the database does."""
        left = self._end - self.environment.clock.monotonic()
        if self.main.store.durable:
            cast("ClusterStore", self.main.store).hurry(max(at_least, left - spare))

    def _close_workers(self) -> None:
        for worker in self.workers:
            worker.close()

    async def _unfinished(self) -> int:
        if self.main.store.durable:
            return 0
        pending = await self.main.store.runs(RunQuery(states=("pending",), limit=1_000_000))
        if pending:
            logger.warning(
                "%d runs were pending at shutdown and are gone with the store in memory: %s",
                len(pending), ", ".join(sorted({run.job for run in pending})[:8]),
            )  # fmt: skip
        return len(pending)

    # ── the way in from other threads ────────────────────────────────────────────────────────

    def from_thread(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make the call in the loop, in the caller's context, and wait for its answer.

        Raises:
            SchedulerClosed: the scheduler was closed meanwhile.

        """
        future: Future[T] = Future()
        context = copy_context()
        closed = SchedulerClosed("the scheduler was closed before it could answer another thread")

        async def answer() -> None:
            try:
                future.set_result(await call())
            except anyio.get_cancelled_exc_class():
                future.set_exception(closed)
                raise
            except BaseException as error:
                future.set_exception(error)

        def begin() -> None:
            if self.environment.waiters.closed:
                future.set_exception(closed)
            else:
                self.environment.backend.spawn(answer(), context)

        try:
            self.environment.backend.call_soon_threadsafe(begin)
        except RuntimeError:  # the loop is over
            raise closed from None
        return future.result()
