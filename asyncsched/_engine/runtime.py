"""What runs while a scheduler is open: opened in order, closed in reverse, nothing left behind."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack
from contextvars import copy_context
from threading import get_ident
from typing import Any, TypeVar

import anyio

from asyncsched._backends.base import Backend
from asyncsched._backends.clock import SystemClock
from asyncsched._backends.current import current_backend
from asyncsched._core.errors import SchedulerClosed
from asyncsched._core.events import LoopStalled, SchedulerStarted, SchedulerStopped
from asyncsched._core.ids import RunIds
from asyncsched._core.instants import to_datetime
from asyncsched._core.jobs import Job
from asyncsched._engine.capacity import Capacity
from asyncsched._engine.event_bus import EventBus
from asyncsched._engine.pipeline import Runnable, make_runnable
from asyncsched._engine.runner import run_in
from asyncsched._engine.server import Server
from asyncsched._engine.watchdog import StallWatcher
from asyncsched._engine.worker import Worker, WorkerRunControl
from asyncsched._scheduler.registry import Registry
from asyncsched.abc import Clock, DrivenClock, Executor, Store

T = TypeVar("T")

logger = logging.getLogger("asyncsched.scheduler")

_LAST_CHANCE = 0.4
"""Seconds that cancelled attempts have at shutdown to clean up, beyond ``shutdown_timeout``."""

_LAST_WORDS = 0.2
"""Seconds that records and observers have after that. Both leave the process its second to end in."""

_POLL = 0.1
"""Seconds between two looks, while closing, at whether the server was told to end at once."""


class Runtime:
    """The running parts of one scheduler."""

    def __init__(
        self,
        registry: Registry,
        executors: Mapping[str, Executor],
        store: Store,
        clock: Clock | None,
        observers: Sequence[Any],
        works: bool,
        server: Server,
        stall_threshold: float | None,
        strict: bool = False,
        role: str = "both",
    ) -> None:
        registry.restart()
        self.role = role
        self.strict = strict  # memory sends arguments and results through JSON, as a durable store would
        self.registry = registry
        self.executors = executors
        self.backend: Backend = current_backend()
        self.clock = clock or SystemClock(self.backend.time)
        self.thread = get_ident()
        self.context = copy_context()
        self.bus = EventBus(observers, self.clock.monotonic)
        self.capacity = Capacity(executors)
        self.ids = RunIds(clock.random if isinstance(clock, DrivenClock) else None)
        self.runnables: dict[str, Runnable] = {}
        self.works = works
        self._server = server
        # A stall is a matter of the machine's own time: virtual time stands still meanwhile.
        watched = works and stall_threshold is not None and clock is None
        self.watcher = StallWatcher(
            stall_threshold or 1, enabled=watched, on_stall=self.stalled, run_in=run_in
        )
        self._draining = False
        self._forced = False
        self._patience: anyio.CancelScope | None = None
        self._stack = AsyncExitStack()
        self.main = Worker(self, store)
        self._local: Worker | None = None
        self.scopes: set[Worker] = set()  # of the scopes that are open
        for job in registry.jobs.values():
            self.learn(job)

    def is_draining(self) -> bool:
        """Whether nothing more is to be begun: we were told, or the server is going down."""
        if not self._draining and self._server.leaving():
            logger.info("the server is going down: no more runs are begun")
            self._draining = True
        return self._draining

    def learn(self, job: Job) -> None:
        """Make a job ready to run: its policies around its executor."""
        known = self.runnables.get(job.name)
        if known is not None and known.job is job:
            return
        self.runnables[job.name] = runnable = make_runnable(job, self.executors[job.executor])
        if runnable.in_loop:
            self.watcher.register(job.func, job.name)
        if (self.main.store.durable or self.strict) and not job.each_instance:
            job.signature.prepare()

    def unlearn(self, name: str) -> None:
        """Forget a job that nobody declared and no run needs."""
        self.runnables.pop(name, None)

    # ── a life ───────────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        """Open everything in order; what was opened is closed again if something fails."""
        await self.backend.__aenter__()
        try:
            if self.works:
                for executor in dict.fromkeys(self.executors.values()):
                    executor.use_clock(self.clock)
                    await self._stack.enter_async_context(executor)
            await self.main.open()
            self._stack.push_async_callback(self.main.store.close)
            await self._declare()
            self.bus.start(self.backend)
            if self.main.membership is not None:
                self.main.membership.begin()
            self.watcher.start()
            self._stack.callback(self.watcher.stop)
            if self.works:
                self.main.begin()
                self._hook_into_server()
        except BaseException as error:
            self._stop_workers()
            self.bus.stop()
            with anyio.CancelScope(shield=True):
                await self._stack.aclose()
            await self.backend.__aexit__(None, None, None)
            raise error
        if self.bus.wants(SchedulerStarted):
            at = to_datetime(self.main.timeline.now().wall)
            self.bus.emit(SchedulerStarted(at, len(self.main.engine.schedules)))

    async def _declare(self) -> None:
        declared = self.registry.schedules.values()
        await self.main.declare(one for one in declared if not one.job.each_instance)
        local = [one for one in declared if one.job.each_instance]
        if local and self.works:
            await (await self.local()).declare(local)

    async def local(self) -> Worker:
        """Return the line for what only this instance knows; it is always in memory."""
        if self._local is None:
            from asyncsched.stores.memory.store import MemoryStore

            self._local = Worker(self, MemoryStore())
            await self._local.open()
            if self.works:
                self._local.begin()
        return self._local

    @property
    def workers(self) -> list[Worker]:
        """All lines that are open."""
        own = [self.main] if self._local is None else [self.main, self._local]
        return own + list(self.scopes)

    def drain(self) -> None:
        """Begin nothing more; what runs goes on."""
        self._draining = True

    def force(self) -> None:
        """Wait no longer for what runs: when closing, cancel it at once."""
        self._forced = True
        if self._patience is not None:
            self._patience.cancel()

    def _hook_into_server(self) -> None:
        """Be called by a server that is forced to end; it can be asked as soon as it has started."""
        if self._server.seen and not self._server.at_end(self._end_attempts):
            self.main.timers.at(self.clock.monotonic() + _POLL, self._hook_into_server)

    async def close(self, patience: float) -> None:
        """Stop claiming, wait ``patience`` seconds, cancel, release, and leave nothing behind.

        A cancellation meanwhile ends the patience, and is raised in the end.
        """
        self.drain()
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
            await self.backend.__aexit__(None, None, None)
        if cancelled is not None:
            raise cancelled

    async def _let_finish(self, patience: float) -> None:
        """Wait until nothing runs, for ``patience`` seconds, or until there is hurry."""
        monotonic = self.clock.monotonic
        end = monotonic() + patience
        while any(worker.runner.running for worker in self.workers):
            left = end - monotonic()
            if left <= 0 or self._forced or self._server.forced():
                return
            with anyio.move_on_after(min(left, _POLL) if self._server.seen else left) as self._patience:
                for worker in self.workers:
                    await worker.runner.idle()
        # What the store has not taken yet is tried again for as long as there is time.
        await self._recorded(lambda: monotonic() < end and not self._forced and not self._server.forced())

    async def _recorded(self, time_left: Callable[[], bool]) -> None:
        """Wait until the store has taken how the attempts ended. It tells nobody, so this looks."""
        while any(worker.runner.recorder.unrecorded for worker in self.workers) and time_left():  # noqa: ASYNC110
            await anyio.sleep(_POLL / 10)

    async def _end_attempts(self) -> None:
        """Cancel what runs, and see it recorded. What a claim brings that is on its way is let go of in the end."""
        self.drain()
        for worker in self.workers:
            worker.engine.close()
            for attempt in list(worker.runner.running.values()):
                attempt.cancel("shutdown")
        with anyio.move_on_after(_LAST_CHANCE):
            for worker in self.workers:
                await worker.runner.idle()
        for worker in self.workers:
            for attempt in list(worker.runner.running.values()):
                worker.runner.give_up(attempt)
        end = self.clock.monotonic() + _LAST_WORDS
        await self._recorded(lambda: self.clock.monotonic() < end)

    async def _shut(self) -> None:
        """Tell those who listen, and close what was opened."""
        self._stop_workers()
        unfinished = await self._unfinished()
        if self.bus.wants(SchedulerStopped):
            at = to_datetime(self.main.timeline.now().wall)
            self.bus.emit(SchedulerStopped(at, unfinished))
        self.bus.stop()
        await self.backend.join(_LAST_WORDS)
        try:
            await self.main.leave()
        finally:
            await self._stack.aclose()

    def _stop_workers(self) -> None:
        for worker in self.workers:
            worker.engine.close()
            worker.runner.recorder.last_call()
            if worker.membership is not None:
                worker.membership.close()

    async def _unfinished(self) -> int:
        if self.main.store.durable:
            return 0
        from asyncsched._core.requests import RunQuery

        pending = await self.main.store.runs(RunQuery(states=("pending",), limit=1_000_000))
        if pending:
            logger.warning(
                "%d runs were pending at shutdown and are gone with the memory they were kept in: %s",
                len(pending), ", ".join(sorted({run.job for run in pending})[:8]),
            )  # fmt: skip
        return len(pending)

    # ── the way in from other threads ────────────────────────────────────────────────────────

    def from_thread(self, call: Callable[[], Awaitable[T]]) -> T:
        """Have the call made in the loop, in the caller's context, and wait for its answer.

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
            if self.bus.closed:
                future.set_exception(closed)
            else:
                self.backend.spawn(answer(), context)

        try:
            self.backend.call_soon_threadsafe(begin)
        except RuntimeError:  # the loop is over
            raise closed from None
        return future.result()

    # ── the desk that handles turn to ────────────────────────────────────────────────────────

    def control(self, worker: Worker) -> WorkerRunControl:
        """Return what a handle of a run on this line needs."""
        return worker.control

    def stalled(self, job: str | None, run_id: str | None, milliseconds: float, stack: str) -> None:
        """Hear that something blocked the loop."""
        if self.bus.wants(LoopStalled):
            at = to_datetime(self.main.timeline.now().wall)
            self.bus.emit(LoopStalled(at, job, run_id, milliseconds, stack))
