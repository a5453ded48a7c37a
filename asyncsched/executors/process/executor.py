"""The pool of worker processes, and the executor that users construct."""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from asyncsched._backends.base import Future, Port
from asyncsched._backends.clock import SystemClock
from asyncsched._backends.current import current_port
from asyncsched._core.errors import ConfigurationError, SchedulerClosed, SchedulerStateError
from asyncsched.abc import Answer, Batch, Clock, Executor, ExecutorTraits
from asyncsched.executors.process import calls, child
from asyncsched.executors.process.errors import RemoteError as RemoteError
from asyncsched.executors.process.errors import RemoteTraceback as RemoteTraceback
from asyncsched.executors.process.errors import WorkerDied as WorkerDied
from asyncsched.executors.process.link import NOT_STARTED
from asyncsched.executors.process.worker import WorkerProcess

if TYPE_CHECKING:
    from asyncsched._core.context import CurrentRun


class ProcessExecutor(Executor):
    """Runs plain functions in worker processes.

    Cancelling a run kills its worker: SIGTERM, so that ``finally`` blocks run, and SIGKILL after
    ``kill_grace``. A worker that dies costs its current run, and that run only. Workers are started
    when they are needed, kept, and end with this process however it ends. Child processes of a job end
    with its worker, unless they leave its process group.

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
    traits = ExecutorTraits(elsewhere=True, announces=True, kills=True, batches=True)

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
        try:
            self._initializer = initializer and calls.pack_call(initializer, initargs)
        except Exception as error:
            what = f"the initializer of process executor {name!r} cannot be sent to a worker process"
            raise ConfigurationError(f"{what}: {error}") from error
        self._warm = warm
        self._max_tasks = max_tasks_per_worker
        self._grace = kill_grace
        self._clock: Clock = SystemClock()
        self._port: Port | None = None
        self._workers = set[WorkerProcess]()  # dying ones included
        # A place that is free has its last worker, if that is alive; those are at the right end.
        self._places = deque[WorkerProcess | None]([None] * capacity)
        self._waiting = deque[Future]()

    def use_clock(self, clock: Clock) -> None:
        """Hold ``clock`` from now on while work goes on in processes."""
        self._clock = clock

    @property
    def busy(self) -> int:
        """How many attempts are under way or waiting for a worker."""
        return self.capacity - len(self._places) + len(self._waiting)

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers, idle ones included and dying ones not."""
        return sorted(worker.pid for worker in self._workers if worker.alive)

    def check(self, func: Callable[..., Any], job: str) -> None:
        """Refuse a function that no worker process could call.

        Raises:
            ConfigurationError: it names the job and says what to do.

        """
        calls.check(func, job, calls.main_file() is not None)

    async def __aenter__(self) -> Self:
        if self._port is not None:
            raise SchedulerStateError(f"process executor {self.name!r} has been started already")
        child.refuse_in_worker()
        # Instances of the main file's classes come back under the module name that a worker gives them.
        sys.modules.setdefault("__mp_main__", sys.modules["__main__"])
        self._port = current_port()
        for _ in range(min(self._warm, len(self._places))):
            self._places.popleft()
            self._places.append(self._start())
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
            worker.end()  # a run that has not ended yet fails, and those that wait for its place
        cancelled = None
        with self._clock.hold():
            while self._workers:
                cancelled = await next(iter(self._workers)).finished() or cancelled
        if cancelled is not None:
            raise cancelled

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
        return await self._run(run, calls.pack(run, func, args, kwargs))

    async def run_each(
        self, run: CurrentRun, func: Callable[..., Any], items: Sequence[Any], take: Callable[[Answer], None]
    ) -> Batch:
        """Call ``func`` with each item in one worker, and answer in order; see ``Executor.run_each``.

        The item that a worker dies at is answered with ``WorkerDied``; those after it were not begun.
        """
        packed, unsendable = calls.pack_items(run.job, func, items)
        answered = 0

        def on_item(kind: int, body: bytes) -> None:
            nonlocal answered
            answered += 1
            try:
                answer = Answer(calls.unpack(run.job, kind, body))
            except BaseException as error:  # whatever the function has raised
                answer = Answer(error=error)
            take(answer)

        seconds = 0.0
        try:
            if packed:
                message = calls.pack(run, child.call_each, (func, packed), {})
                seconds = await self._run(run, message, on_item)
        except WorkerDied as died:
            take(Answer(error=died))
        else:
            if unsendable is not None and answered == len(packed):
                take(Answer(error=unsendable))
        return Batch(seconds, max(map(len, packed), default=0))

    async def _run(
        self, run: CurrentRun, message: Any, on_item: Callable[[int, bytes], object] | None = None
    ) -> Any:
        """Give a call to a worker when there is a place; return its value, or raise its error."""
        self._opened()
        with self._clock.hold():
            worker = self._places.pop() if self._places else await self._wait_for_place()
            try:
                if worker is None or not worker.alive:
                    worker = self._start()
                kind, body = await worker.call(run, message, on_item)
                if kind == NOT_STARTED or worker.runs == self._max_tasks or self._port is None:
                    worker.end()
            finally:
                self._give_place(worker)
        return calls.unpack(run.job, kind, body)

    async def _wait_for_place(self) -> WorkerProcess | None:
        # anyio's semaphore would do for counting, and cost a tenth of a call more.
        waiter = self._opened().future()
        self._waiting.append(waiter)
        try:
            worker: WorkerProcess | None = await waiter
        except BaseException:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif not waiter.cancelled():  # it was given a place in the turn in which its task was cancelled
                self._give_place(waiter.result())
            raise
        return worker

    def _give_place(self, worker: WorkerProcess | None) -> None:
        """Give the place of a run that has ended, and its worker, to the first that waits."""
        while self._waiting:
            if not (waiter := self._waiting.popleft()).done():
                waiter.set_result(worker)
                return
        if worker is not None and worker.alive:
            self._places.append(worker)
        else:
            self._places.appendleft(None)

    def _start(self) -> WorkerProcess:
        known = list(logging.root.manager.loggerDict.items())
        levels = {name: one.level for name, one in known if isinstance(one, logging.Logger) and one.level}
        settings = {
            "name": self.name,
            "argv": sys.argv,
            "levels": {"": logging.root.level, **levels},
            "disabled": logging.root.manager.disable,
            "main": calls.main_file(),
            "initializer": self._initializer,
        }
        worker = WorkerProcess(self._opened(), self._grace, settings, self._workers.discard)
        self._workers.add(worker)
        return worker

    def _opened(self) -> Port:
        if self._port is None:
            raise SchedulerClosed(f"process executor {self.name!r} is not open")
        return self._port

    def __repr__(self) -> str:
        return (
            f"<ProcessExecutor {self.name!r} capacity {self.capacity}, "
            f"{len(self.workers)} workers, {self.busy} busy>"
        )
