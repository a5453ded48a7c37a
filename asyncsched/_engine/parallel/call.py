"""One call of a parallel loop: a task with an item or a batch of them, and what ``current_run()`` is in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import anyio

from asyncsched._core.context import CurrentRun, _current
from asyncsched._core.errors import SchedulerStateError
from asyncsched._core.interrupts import interrupt_in
from asyncsched.abc import Answer, Batch

if TYPE_CHECKING:
    from asyncsched._backends.base import Task
    from asyncsched.abc import Executor


class Target(NamedTuple):
    """What is called: the function, its name or its job's, and the executor with its name."""

    func: Callable[[Any], Any]
    name: str
    executor: Executor
    place: str


class LoopOptions(NamedTuple):
    """The options of ``Scheduler.map``, checked; ``total`` is the number of items if it is known."""

    limit: int
    ordered: bool
    on_error: str
    batch: int | None
    progress: bool
    total: int | None


class Owner(Protocol):
    """The part of a loop that its calls use."""

    id: int
    target: Target
    options: LoopOptions
    stopped: bool

    def current(self, first: int) -> CurrentRun:
        """Return what ``current_run()`` is in a call."""
        ...

    def torn_down(self) -> bool:
        """Return whether the event loop of the current task ends."""
        ...

    def stop(self, why: BaseException | None = None) -> None:
        """Begin no other call, and cancel those under way."""
        ...

    def arrived(self, index: int, item: Any, answer: Answer) -> None:
        """Keep an item's result, or its failure."""
        ...

    def call_ended(
        self, call: Call, cost: Batch | None, answered: int, left: list[tuple[int, list[Any]]]
    ) -> None:
        """Free a call's place, and give its items without an answer to later calls."""
        ...


class Call:
    """One call under way.

    Args:
        loop: the loop that it is a part of.
        first: the index of its first item.
        items: its items.

    """

    __slots__ = ("_answered", "_begun", "_first", "_items", "_loop", "task")

    def __init__(self, loop: Owner, first: int, items: list[Any]) -> None:
        self._loop = loop
        self._first = first
        self._items = items
        self._answered = 0
        self._begun = False
        self.task: Task | None = None

    def cancel(self) -> None:
        """Cancel the call; one whose task has not made its first step makes no other."""
        if self._begun and self.task is not None:
            self.task.cancel()

    async def main(self) -> None:
        """Make the call, and give the items without an answer back."""
        loop, cost = self._loop, None
        self._begun = True
        try:
            if not loop.stopped:
                cost = await self._call(loop)
        except BaseException as error:
            self._take_error(loop, error)
            if (interrupt := interrupt_in(error)) is not None:
                raise interrupt from None
        finally:
            left = self._items[self._answered :]
            loop.call_ended(
                self, cost, self._answered, [(self._first + self._answered, left)] if left else []
            )

    async def _call(self, loop: Owner) -> Batch:
        current, target = loop.current(self._first), loop.target
        _current.set(current)
        return await target.executor.run_each(current, target.func, self._items, self._take)

    def _take_error(self, loop: Owner, error: BaseException) -> None:
        if isinstance(error, anyio.get_cancelled_exc_class()) and loop.torn_down():
            loop.stop()
        elif loop.target.executor.traits.batches:
            loop.stop(error)  # no item can be called
        else:
            self._take(Answer(error=error))

    def _take(self, answer: Answer) -> None:
        index = self._answered
        self._answered += 1
        if not self._loop.stopped:
            self._loop.arrived(self._first + index, self._items[index], answer)


class ItemLink:
    """The link of ``current_run()`` in a call of a parallel loop."""

    def __init__(self, loop: Owner, outer: CurrentRun | None, index: int) -> None:
        self._loop = loop
        self._outer = outer
        self._index = index

    def began(self) -> None:
        """Do nothing: a call has no timeout."""

    def progress(self, done: float, total: float | None, message: str) -> None:
        """Pass the report on, unless the progress of the run is that of the loop."""
        if self._outer is not None and not self._loop.options.progress:
            self._outer._link.progress(done, total, message)

    def extend(self, micros: int) -> None:
        """Extend the timeout of the run around the loop."""
        if self._outer is not None:
            self._outer._link.extend(micros)

    def cancelled(self) -> bool:
        return self._loop.stopped or (self._outer is not None and self._outer.cancelled)

    def complete_in(self, connection: Any) -> Any:
        raise SchedulerStateError(
            "complete_in() ends a run, and a call of a parallel loop is only a part of one; call it after the loop"
        )

    def reference(self) -> str | None:
        return None

    async def refer(self, reference: str) -> None:
        """Keep nothing: a loop does not outlive its process."""

    def task_id(self) -> str:
        return f"{self._loop.id:032x}-{self._index}"

    def goes_on(self) -> bool:
        return False
