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
    traits = ExecutorTraits(elsewhere=True, announces=True, batches=True)

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
        self._initializer = None if initializer is None else (initializer, initargs)
        self._packed_initializer: tuple[bool, bytes] | None = None
        self._warm = warm
        self._max_tasks = max_tasks_per_worker
        self._grace = kill_grace
        self._clock: Clock = SystemClock()
        self._port: Port | None = None
        self._workers, self._dying = set[WorkerProcess](), set[WorkerProcess]()
        self._idle: list[WorkerProcess] = []
        self._waiting: deque[Future] = deque()
        self._busy = self._places_taken = 0

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
        calls.check(func, job, calls.main_file() is not None)

    async def __aenter__(self) -> Self:
        if self._port is not None:
            raise SchedulerStateError(f"process executor {self.name!r} has been started already")
        if child.loading_main:
            raise SchedulerStateError(
                "the main file was run again in a worker process and starts a scheduler there; "
                'put the code that starts it under if __name__ == "__main__":'
            )
        if self._initializer is not None:
            try:
                self._packed_initializer = calls.pack_call(*self._initializer)
            except Exception as error:
                raise ConfigurationError(
                    f"the initializer of process executor {self.name!r} cannot be sent to a worker process: {error}"
                ) from error
        # Instances of the main file's classes come back under the module name that a worker gives them.
        sys.modules.setdefault("__mp_main__", sys.modules["__main__"])
        self._port = current_port()
        for _ in range(min(self._warm, self.capacity)):
            self._idle.append(self._start())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self._port = None
        while self._idle:
            self._idle[0].stop()
        for worker in list(self._workers):
            worker.kill()  # none, unless a run has not ended yet; those that wait for its place follow it
        cancelled = None
        with self._clock.hold():
            while self._dying:
                cancelled = await next(iter(self._dying)).finished() or cancelled
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
        kind, answer = await self._run(run, calls.pack(run, func, args, kwargs))
        return calls.unpack(run.job, kind, answer)

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
            take(calls.answer_of(run.job, kind, body))

        cost = Batch(0.0)
        try:
            if packed:
                kind, answer = await self._run(
                    run, calls.pack(run, child.call_each, (func, packed), {}), on_item
                )
                cost = Batch(calls.unpack(run.job, kind, answer), max(map(len, packed)))
        except WorkerDied as died:
            take(Answer(error=died))
        else:
            if unsendable is not None and answered == len(packed):
                take(Answer(error=unsendable))
        return cost

    async def _run(
        self, run: CurrentRun, message: Any, on_item: Callable[[int, bytes], object] | None = None
    ) -> tuple[int, bytes]:
        """Give a call to a worker when there is a place; return the kind and the body of the answer."""
        self._opened()
        self._busy += 1
        try:
            with self._clock.hold():
                if self._places_taken < self.capacity:
                    self._places_taken += 1
                else:
                    await self._wait_for_place()
                try:
                    return await self._attempt(run, message, on_item)
                finally:
                    self._give_place()
        finally:
            self._busy -= 1

    async def _attempt(
        self, run: CurrentRun, message: Any, on_item: Callable[[int, bytes], object] | None
    ) -> tuple[int, bytes]:
        worker = self._idle.pop() if self._idle else self._start()
        reply = worker.begin(run, message, on_item)
        try:
            answer: tuple[int, bytes] | WorkerDied = await reply
        except GeneratorExit:
            worker.kill()  # the loop is being torn down: nothing can be awaited any more
            raise
        except BaseException:
            if not reply.done() or reply.cancelled() or not worker.alive:
                worker.kill()
                await worker.finished()
            else:
                self._release(worker)  # the function had just returned
            raise
        if isinstance(answer, WorkerDied):
            raise answer
        if answer[0] == NOT_STARTED:
            worker.stop()
        else:
            self._release(worker)
        return answer

    async def _wait_for_place(self) -> None:
        """Wait until another run gives its place."""
        # anyio's semaphore would do, and cost a tenth of a call more.
        waiter = self._opened().future()
        self._waiting.append(waiter)
        try:
            await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                self._give_place()
            raise

    def _give_place(self) -> None:
        """Give the place of a run that has ended to the first that waits."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._places_taken -= 1

    def _start(self) -> WorkerProcess:
        known = list(logging.root.manager.loggerDict.items())
        levels = {name: one.level for name, one in known if isinstance(one, logging.Logger) and one.level}
        settings = {
            "name": self.name,
            "argv": sys.argv,
            "levels": {"": logging.root.level, **levels},
            "disabled": logging.root.manager.disable,
            "main": calls.main_file(),
            "initializer": self._packed_initializer,
        }
        worker = WorkerProcess(self._opened(), self._grace, settings, self._changed)
        self._workers.add(worker)
        return worker

    def _opened(self) -> Port:
        if self._port is None:
            raise SchedulerClosed(f"process executor {self.name!r} is not open")
        return self._port

    def _release(self, worker: WorkerProcess) -> None:
        """Keep a worker that has done its run for another."""
        if self._port is None or (self._max_tasks is not None and worker.runs >= self._max_tasks):
            worker.stop()
        elif worker.alive:
            self._idle.append(worker)

    def _changed(self, worker: WorkerProcess) -> None:
        """Give a worker that begins to die no more runs, and forget one that has ended."""
        self._workers.discard(worker)
        self._idle[:] = [one for one in self._idle if one is not worker]
        (self._dying.discard if worker.over.is_set() else self._dying.add)(worker)

    def __repr__(self) -> str:
        return (
            f"<ProcessExecutor {self.name!r} capacity {self.capacity}, "
            f"{len(self._workers)} workers, {self._busy} busy>"
        )
