"""The thread executor: plain functions, in a pool of daemon threads."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from contextvars import copy_context
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from anyio.lowlevel import cancel_shielded_checkpoint

from asyncsched._backends.base import Future, Port
from asyncsched._backends.clock import SystemClock
from asyncsched._backends.current import current_port
from asyncsched._backends.from_thread import Bridge
from asyncsched._core.arguments.functions import refuse_unless_sync, returned_awaitable
from asyncsched._core.context import CurrentRun
from asyncsched._core.errors import ConfigurationError, SchedulerClosed, SchedulerStateError
from asyncsched.abc import Answer, Batch, Executor, ExecutorTraits
from asyncsched.executors.abandoned import AbandonedThreads
from asyncsched.executors.batches import call_each, is_awaitable
from asyncsched.executors.switch_interval import switch_interval as shared_interval

if TYPE_CHECKING:
    from asyncsched.abc import Clock

logger = logging.getLogger("asyncsched.executors")


class _Call:
    """One attempt on its way through a thread."""

    __slots__ = ("args", "context", "error", "func", "future", "job", "kwargs", "result")

    def __init__(
        self,
        job: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        future: Future,
    ) -> None:
        self.job = job
        self.func = func
        self.args = args
        self.kwargs = kwargs
        self.future = future
        self.context = copy_context()
        self.result: Any = None
        self.error: BaseException | None = None


class _WorkerThread(threading.Thread):
    """A daemon thread that takes calls until the pool ends it, or until it is abandoned."""

    def __init__(self, pool: ThreadExecutor, name: str, bridge: Bridge) -> None:
        super().__init__(name=name, daemon=True)
        self.pool = pool
        self.bridge = bridge

    def run(self) -> None:
        self.bridge.enter()
        pool = self.pool
        take = pool._queue.get
        waiting, running, answer = pool._waiting, pool._running, pool._answer
        while (call := take()) is not None:
            # Taking a call out of a dict is atomic, so only one of thread and loop gets it.
            running[call] = self
            if waiting.pop(call, None) is None:
                del running[call]
                continue  # cancelled while it was waiting
            try:
                call.result = call.context.run(call.func, *call.args, **call.kwargs)
            except BaseException as error:
                call.error = error
            if running.pop(call, None) is None:
                return  # abandoned
            answer(call)
            del call  # an idle thread keeps nothing alive
        pool._workers.discard(self)
        with suppress(IndexError):  # at the end of the pool no place is counted as leaving
            pool._leaving.pop()


class ThreadExecutor(Executor):
    """Runs plain functions in a pool of daemon threads, apart from the threads of anyio and asyncio.

    A thread cannot be killed. Cancelling a run that has begun abandons its thread: the run ends at
    once and its place is free, while the function goes on until it returns. A long function checks
    ``current_run().cancelled`` (or call ``anyio.from_thread.check_cancelled()``) now and then.

    The function runs in a copy of its run's context, so ``current_run()`` and context variables
    work, and so do ``anyio.from_thread.run`` and ``run_sync``.

    Args:
        capacity: how many attempts may be under way at once.
        name: the executor's name in messages, and in the names of its threads.
        switch_interval: seconds after which a busy thread makes way for the event loop while jobs are
            running here (``sys.setswitchinterval``); ``None`` leaves the interpreter's setting alone.
        abandoned_limit: with so many abandoned threads, no run is begun of a job that has one, until one of them
            returns; ``capacity`` if not given.

    """

    traits = ExecutorTraits(cancellable=False, batches=True)

    def __init__(
        self,
        capacity: int = min(32, (os.cpu_count() or 1) + 4),
        *,
        name: str = "thread",
        switch_interval: float | None = 0.0005,
        abandoned_limit: int | None = None,
    ) -> None:
        if capacity < 1:
            raise ConfigurationError(f"capacity must be at least 1, not {capacity}")
        if abandoned_limit is not None and abandoned_limit < 1:
            raise ConfigurationError(f"abandoned_limit must be at least 1, not {abandoned_limit}")
        self.capacity = capacity
        self.name = name
        self._clock: Clock = SystemClock()
        self._switch_interval = switch_interval
        self._port: Port | None = None
        self._workers: set[_WorkerThread] = set()
        self._abandoned = AbandonedThreads(name, capacity if abandoned_limit is None else abandoned_limit)
        self._started = 0
        self._busy = 0
        self._lent = 0
        self._leaving: deque[None] = deque()  # one for each thread that was told to end and has not yet
        self._waiting: dict[_Call, bool] = {}
        self._running: dict[_Call, _WorkerThread] = {}
        self._queue: SimpleQueue[_Call | None] = SimpleQueue()
        self._answers: deque[_Call] = deque()
        self._woken = False
        self._hold: AbstractContextManager[None] | None = None

    def use_clock(self, clock: Clock) -> None:
        """Hold ``clock`` from now on while work goes on in threads."""
        self._clock = clock

    @property
    def busy(self) -> int:
        """How many attempts are under way or waiting for a thread."""
        return self._busy

    @property
    def threads(self) -> int:
        """How many threads the pool has, idle ones included and abandoned ones not."""
        return len(self._workers)

    @property
    def abandoned(self) -> int:
        """How many threads still run a function whose run has ended."""
        return len(self._abandoned)

    @property
    def held(self) -> Mapping[str, str]:
        """The jobs of which no run may begin now, each with the reason: too many of their threads are abandoned."""
        return self._abandoned.held()

    def lend(self, places: int) -> None:
        """Let so many more threads be there, or fewer again."""
        self._lent += places
        if places > 0 and self._waiting and self._port is not None:
            self._grow(self._port, 0)
        elif places < 0 and len(self._workers) - len(self._leaving) > self.capacity + self._lent:
            self._leaving.append(None)
            self._queue.put(None)  # the next idle thread ends

    def check(self, func: Callable[..., Any], job: str) -> None:
        """Refuse coroutine functions and generator functions.

        Raises:
            ConfigurationError: it names the job and says what to do.

        """
        refuse_unless_sync(func, job, "thread")

    async def __aenter__(self) -> Self:
        if self._port is not None:
            raise SchedulerStateError(f"thread executor {self.name!r} has been started already")
        self._port = current_port()
        self._queue = SimpleQueue()
        self._woken = False
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self._port = None
        for call in [*self._waiting, *self._running]:  # none, unless a run has not ended yet
            call.error = SchedulerClosed(f"job {call.job!r} was ended: its executor was closed")
            self._give_up(call)
            if not call.future.done():
                call.future.set_result(None)
        workers, self._workers = self._workers, set()
        for _ in workers:
            self._queue.put(None)
        while any(worker.is_alive() for worker in workers):
            await cancel_shielded_checkpoint()  # the threads are idle, and end within microseconds
        self._collect()  # calls that ended meanwhile found no loop to tell
        if left := self.abandoned:
            logger.warning(
                "thread executor %r leaves %d thread%s behind that cannot be killed: %s",
                self.name,
                left,
                "" if left == 1 else "s",
                self._abandoned.names(),
            )

    async def run(
        self, run: CurrentRun, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call ``func`` in a thread; return its value, or raise its exception.

        Raises:
            ConfigurationError: it returned a coroutine.
            SchedulerClosed: the executor is not open.

        """
        port = self._port
        if port is None:
            raise SchedulerClosed(f"thread executor {self.name!r} is not open")
        self._grow(port, 1)
        future = port.future()
        call = _Call(run.job, func, args, kwargs, future)
        self._busy += 1
        if self._hold is None:
            self._hold_clock()
        self._waiting[call] = True
        self._queue.put(call)
        try:
            await future
        except BaseException:
            self._give_up(call)
            raise
        finally:
            self._busy -= 1
            if not self._busy:
                self._release_clock()
        if call.error is not None:
            try:
                raise call.error
            finally:
                del call, future  # the traceback refers to this frame
        if is_awaitable(call.result):
            raise returned_awaitable(run.job, call.result)
        return call.result

    async def run_each(
        self, run: CurrentRun, func: Callable[..., Any], items: Sequence[Any], take: Callable[[Answer], None]
    ) -> Batch:
        """Call ``func`` with each item in one thread, and answer in order; see ``Executor.run_each``."""
        answers: list[Answer] = []
        seconds = await self.run(run, call_each, (run, func, items, answers), {})
        for answer in answers:
            take(answer)
        return Batch(seconds)

    def _grow(self, port: Port, more: int) -> None:
        """Start a thread if there is work for it, with ``more`` calls to come."""
        workers = self._workers
        staying = len(workers) - len(self._leaving)
        if staying >= self.capacity + self._lent or staying >= len(self._waiting) + len(self._running) + more:
            return
        self._started += 1
        worker = _WorkerThread(self, f"asyncsched-{self.name}-{self._started}", Bridge(port.token))
        try:
            worker.start()
        except RuntimeError:  # the system cannot start another thread
            if not workers:
                raise
        else:
            workers.add(worker)

    def _answer(self, call: _Call) -> None:
        """Hand a finished call to the loop. Called by threads; one wake-up serves all that are ready."""
        self._answers.append(call)
        if not self._woken:
            self._woken = True
            port = self._port
            if port is not None:
                try:
                    port.call_soon(self._collect)
                except RuntimeError:
                    return  # the loop is closed, and the task that waited has ended with it

    def _collect(self) -> None:
        # First the flag, then the calls: a call that comes in between only wakes the loop once more.
        self._woken = False
        answers = self._answers
        while answers:
            future = answers.popleft().future
            if not future.done():
                future.set_result(None)

    def _give_up(self, call: _Call) -> None:
        """Give up a cancelled call: take it out of the queue, or abandon its thread if it has begun."""
        if self._waiting.pop(call, None) is not None:
            return
        worker = self._running.pop(call, None)
        if worker is None:
            return  # the function has just returned
        worker.bridge.cancel(getattr(call.future, "raise_cancel", None))
        self._workers.discard(worker)
        if self._port is not None:
            self._grow(self._port, 0)  # a new thread takes over the calls that wait
        self._abandoned.add(worker, call.job)

    def _hold_clock(self) -> None:
        self._hold = self._clock.hold()
        self._hold.__enter__()
        if self._switch_interval is not None:
            shared_interval.enter(self._switch_interval)

    def _release_clock(self) -> None:
        hold, self._hold = self._hold, None
        if hold is not None:
            if self._switch_interval is not None:
                shared_interval.leave(self._switch_interval)
            hold.__exit__(None, None, None)

    def __repr__(self) -> str:
        return f"<ThreadExecutor {self.name!r} capacity {self.capacity}, {self._busy} busy>"
