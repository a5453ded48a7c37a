"""The pool of worker processes, and the executor that users construct."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from anyio import get_cancelled_exc_class

from asyncsched._backends.base import Future, Port
from asyncsched._backends.clock import SystemClock
from asyncsched._backends.current import current_port
from asyncsched._core.errors import ConfigurationError, SchedulerClosed, SchedulerStateError
from asyncsched.abc import Clock, Executor, ExecutorTraits
from asyncsched.executors.process.bootstrap import hello, main_file
from asyncsched.executors.process.calls import RemoteError as RemoteError
from asyncsched.executors.process.calls import WorkerDied as WorkerDied
from asyncsched.executors.process.calls import check, pack, pack_call, unpack
from asyncsched.executors.process.worker import DIED, WorkerProcess

if TYPE_CHECKING:
    from asyncsched._core.context import CurrentRun


class ProcessExecutor(Executor):
    """Runs plain functions in worker processes.

    Cancelling a run kills its worker: SIGTERM, so that ``finally`` blocks run, and SIGKILL after
    ``kill_grace``. A worker that dies costs its current run, and that run only. Workers are started
    when they are needed, kept, and end with this process however it ends.

    Functions, arguments and results travel as pickles. A function must be importable; with
    cloudpickle installed, lambdas and local functions may be used as well. A script that defines
    jobs itself guards its start with ``if __name__ == "__main__":``, since workers import it.

    The output of a job becomes lines of the logger ``asyncsched.job``; its log records are logged here.

    Args:
        capacity: how many attempts may be under way at once, each in a separate worker.
        initializer: called once in each worker before its first run.
        initargs: the arguments of ``initializer``.
        warm: how many workers are started ahead of the first run.
        max_tasks_per_worker: the number of runs after which a worker is replaced.
        kill_grace: seconds between SIGTERM and SIGKILL.
        name: the executor's name in messages.

    """

    # A new worker has to start and to import the job's module first, which may take longer than the job.
    # A timeout that counted this time would kill one new worker after another.
    traits = ExecutorTraits(elsewhere=True, announces=True)

    def __init__(
        self,
        capacity: int = os.cpu_count() or 1,
        *,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        warm: int = 0,
        max_tasks_per_worker: int | None = None,
        kill_grace: float = 0.2,
        name: str = "process",
    ) -> None:
        for what, value, least in (
            ("capacity", capacity, 1),
            ("warm", warm, 0),
            ("max_tasks_per_worker", max_tasks_per_worker, 1),
            ("kill_grace", kill_grace, 0),
        ):
            if value is not None and value < least:
                raise ConfigurationError(f"{what} must be at least {least}, not {value}")
        self.capacity = capacity
        self.name = name
        self._initializer = initializer
        self._initargs = initargs
        self._set_up: tuple[bool, bytes] | None = None
        self._warm = min(warm, capacity)
        self._max_tasks = max_tasks_per_worker
        self._grace = kill_grace
        self._clock: Clock = SystemClock()
        self._port: Port | None = None
        self._workers: set[WorkerProcess] = set()
        self._dying: set[WorkerProcess] = set()
        self._idle: list[WorkerProcess] = []
        self._waiting: deque[Future] = deque()
        self._busy = 0
        self._hold: AbstractContextManager[None] | None = None

    def use_clock(self, clock: Clock) -> None:
        """Hold ``clock`` from now on while work goes on in processes."""
        self._clock = clock

    @property
    def busy(self) -> int:
        """How many attempts are under way or waiting for a worker."""
        return self._busy

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers, idle ones included and dying ones not."""
        return sorted(worker.pid for worker in self._workers)

    def check(self, func: Callable[..., Any], job: str) -> None:
        """Refuse a function that no worker process could call.

        Raises:
            ConfigurationError: it names the job and says what to do.

        """
        check(func, job, main_file() is not None)

    async def __aenter__(self) -> Self:
        if self._port is not None:
            raise SchedulerStateError(f"process executor {self.name!r} has been started already")
        if _runs_main_again():
            raise SchedulerStateError(
                "the main file was run again in a worker process and starts a scheduler there; "
                'put the code that starts it under if __name__ == "__main__":'
            )
        self._set_up = None
        if self._initializer is not None:
            try:
                self._set_up = pack_call(self._initializer, self._initargs)
            except Exception as error:
                raise ConfigurationError(
                    f"the initializer of process executor {self.name!r} cannot be sent to a worker process: {error}"
                ) from error
        # Instances of the main file's classes come back under the module name that a worker gives them.
        sys.modules.setdefault("__mp_main__", sys.modules["__main__"])
        self._port = port = current_port()
        for _ in range(self._warm):
            self._idle.append(self._start(port))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self._port = None
        for worker in list(self._workers):
            if worker in self._idle:
                worker.stop()
            else:
                worker.kill()  # none, unless a run has not ended yet
        while self._waiting:
            self._hand(None)
        with self._clock.hold():
            await self._finished()

    async def run(
        self, run: CurrentRun, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call ``func`` in a worker process; return its value, or raise its exception.

        Raises:
            ArgumentError: an argument cannot be sent; the text names it.
            ConfigurationError: the function or its value cannot be sent.
            RemoteError: the function raised an exception that cannot be sent.
            WorkerDied: the process ended while the function ran.

        """
        body = pack(run, func, args, kwargs)
        self._busy += 1
        if self._hold is None:
            self._hold = self._clock.hold()
            self._hold.__enter__()
        try:
            worker = self._idle.pop() if self._idle else await self._worker()
            kind, answer = await self._attempt(worker, run, body)
        finally:
            self._busy -= 1
            if not self._busy and self._hold is not None:
                hold, self._hold = self._hold, None
                hold.__exit__(None, None, None)
        if kind == DIED:
            if (reason := worker.not_started) is not None:
                raise ConfigurationError(
                    f"the initializer of process executor {self.name!r} failed: {type(reason).__name__}: {reason}"
                ) from reason
            raise worker.died()
        return unpack(run.job, kind, answer)

    async def _attempt(self, worker: WorkerProcess, run: CurrentRun, body: bytes) -> tuple[int, bytes]:
        reply = worker.begin(run, body)
        try:
            kind, answer = await reply
        except GeneratorExit:
            worker.kill()  # the loop is being torn down: nothing can be awaited any more
            raise
        except BaseException:
            if reply.done() and not reply.cancelled() and worker.alive:
                self._release(worker)  # the function had just returned
            else:
                worker.kill()
                with suppress(get_cancelled_exc_class()):  # the cancellation under way is raised below
                    await worker.finished()
            raise
        if worker.alive:
            self._release(worker)
        return kind, answer

    async def _worker(self) -> WorkerProcess:
        """Return an idle worker, a new one, or the next that is released."""
        while True:
            port = self._port
            if port is None:
                raise SchedulerClosed(f"process executor {self.name!r} is not open")
            if self._idle:
                return self._idle.pop()
            if len(self._workers) < self.capacity:
                return self._start(port)
            waiter = port.future()
            self._waiting.append(waiter)
            try:
                worker: WorkerProcess | None = await waiter
            except BaseException:
                if waiter.done() and not waiter.cancelled():
                    self._pass_on(waiter.result())
                else:
                    with suppress(ValueError):
                        self._waiting.remove(waiter)
                raise
            if worker is not None and worker.alive:  # it may have died since it was handed over
                return worker

    def _start(self, port: Port) -> WorkerProcess:
        worker = WorkerProcess(port, self._grace, self._gone, self._dying.discard)
        try:
            worker.start(hello(self._set_up))
        except BaseException:
            self._hand(None)
            raise
        self._workers.add(worker)
        return worker

    def _release(self, worker: WorkerProcess) -> None:
        """Hand a worker that has done its run to the first waiting attempt, or keep it idle."""
        if self._port is None or (self._max_tasks is not None and worker.runs >= self._max_tasks):
            worker.stop()
            return
        if not self._hand(worker):
            self._idle.append(worker)

    def _pass_on(self, worker: WorkerProcess | None) -> None:
        if worker is None:
            self._hand(None)
        elif worker.alive:
            self._release(worker)

    def _hand(self, worker: WorkerProcess | None) -> bool:
        """Wake the first waiting attempt, with a worker, or with ``None`` to let it start one."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(worker)
                return True
        return False

    def _gone(self, worker: WorkerProcess) -> None:
        """Remove a worker from the pool as soon as it begins to die, so that another may take its place."""
        self._workers.discard(worker)
        self._dying.add(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        self._hand(None)

    async def _finished(self) -> None:
        cancelled: BaseException | None = None
        while self._dying:
            worker = next(iter(self._dying))
            try:
                await worker.finished()
            except get_cancelled_exc_class() as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def __repr__(self) -> str:
        return (
            f"<ProcessExecutor {self.name!r} capacity {self.capacity}, "
            f"{len(self._workers)} workers, {self._busy} busy>"
        )


def _runs_main_again() -> bool:
    worker = sys.modules.get("asyncsched.executors.process.child")
    return bool(getattr(worker, "loading_main", False))
