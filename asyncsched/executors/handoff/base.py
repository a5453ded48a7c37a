"""The executor of every engine elsewhere: it hands the attempt over, and waits for its end.

The order of the steps is what makes a hand-off safe. The reference is kept in the store before the engine gets
the task, so an instance that takes the run up asks the engine by it: a known task is waited for, and an unknown
one was never handed over, and is now.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio

from asyncsched._backends.clock import SystemClock
from asyncsched._backends.current import current_port
from asyncsched._core.context import task_id_of
from asyncsched._core.errors import AsyncSchedError, ConfigurationError, SchedulerClosed, StoreUnavailable
from asyncsched.abc import (
    CurrentRun,
    Executor,
    ExecutorTraits,
    TaskEngine,
    goes_on_elsewhere,
    keep_reference,
    reference_of,
)
from asyncsched.executors.handoff.courier import Courier, Task

if TYPE_CHECKING:
    from asyncsched.abc import Clock


class EngineUnavailable(AsyncSchedError):
    """The engine could not be reached for as long as the executor's ``patience``, so it has no such task."""


class TaskLost(AsyncSchedError):
    """The engine no longer knows a task that it was given: its data was deleted, or has expired."""


class HandoffExecutor(Executor):
    """Runs functions in an engine elsewhere; who calls and who waits see no difference.

    The run has the engine's id for its task as ``reference`` (see :class:`asyncsched.Run`). A cancel or a
    timeout ends the task there. At shutdown, and if this process dies, the task goes on: with a durable store
    the next instance takes the wait up; with a store in memory the task is cancelled at shutdown.

    ``Retry`` and ``TryAgain`` make a new task for each attempt; the engine itself never retries. A job's timeout
    counts from the hand-over, so it includes the time that the task waits there.

    Args:
        engine: the engine.
        capacity: how many attempts may be under way at once.
        name: the executor's name in messages; the engine's name by default.
        patience: seconds for which a hand-over is tried again while the engine cannot be reached.

    Raises:
        ConfigurationError: ``capacity`` or ``patience`` is no positive number.

    """

    traits = ExecutorTraits()

    def __init__(
        self, engine: TaskEngine, capacity: int = 1000, *, name: str = "", patience: float = 60.0
    ) -> None:
        if capacity < 1 or patience <= 0:
            raise ConfigurationError(
                f"{engine.name}: capacity and patience must be positive, not {capacity} and {patience}"
            )
        self.engine = engine
        self.capacity = capacity
        self.name = name or engine.name
        self._patience = patience
        self._clock: Clock = SystemClock()
        self._courier: Courier | None = None

    def use_clock(self, clock: Clock) -> None:
        """Hold ``clock`` from now on while tasks are under way elsewhere."""
        self._clock = clock

    def check(self, func: Callable[..., Any], job: str) -> None:
        """Refuse a function that the engine cannot run.

        Raises:
            ConfigurationError: it names the job and says what to do.

        """
        self.engine.check(func, job)

    @property
    def trouble(self) -> str:
        """Why the engine cannot be reached, in words; ``""`` while it can."""
        return "" if self._courier is None else self._courier.trouble

    async def __aenter__(self) -> Self:
        self._courier = Courier(self.engine, self.name, current_port(), self._patience)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        courier, self._courier = self._courier, None
        if courier is not None:
            await courier.close()

    async def run(
        self, run: CurrentRun, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Hand the call over, or take it up where it was handed over; return its value, or raise its exception.

        Raises:
            EngineUnavailable: the engine could not be reached, and has no such task.
            TaskLost: the engine no longer knows the task.
            SchedulerClosed: the executor is not open.

        """
        kept = reference_of(run)
        id = kept.split()[0] if kept else task_id_of(run)
        if kept is None:
            await self._keep(run, f"{id} {self.engine.page(id)}".rstrip())
        courier = self._courier
        if courier is None:
            raise SchedulerClosed(f"executor {self.name!r} is not open")
        task = Task(id, func, args, kwargs, courier.future(), taken_up=kept is not None)
        with self._clock.hold():
            courier.submit(task)
            try:
                await task.future
            except anyio.get_cancelled_exc_class():
                courier.drop(task, cancel=not goes_on_elsewhere(run))
                raise
        answer = task.answer
        if answer is None:
            raise EngineUnavailable(
                f"job {run.job!r}: {self.name} could not be reached for {self._patience:g} s: {courier.trouble}"
            )
        if answer.unknown:
            raise TaskLost(
                f"job {run.job!r}: {self.name} no longer knows task {id}: its data was deleted or has expired, so its "
                "outcome is not known; a retry makes a new task"
            )
        if answer.error is not None:
            raise answer.error
        return answer.value

    async def _keep(self, run: CurrentRun, reference: str) -> None:
        """Keep the reference, however long the store is away: without it nothing may be handed over."""
        while True:
            try:
                await keep_reference(run, reference)
                return
            except StoreUnavailable:
                await anyio.sleep(1)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} capacity {self.capacity}>"
