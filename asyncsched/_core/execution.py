"""The parts around a run: the clock, the policies that wrap it, the executor, and the observers.

:mod:`asyncsched.abc` is the page that has all seams.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self, runtime_checkable

from asyncsched._core.context import CurrentRun
from asyncsched._core.instants import Instant

if TYPE_CHECKING:
    from random import Random

    from asyncsched._core.events import Event
    from asyncsched._core.records import RunRecord


@runtime_checkable
class Clock(Protocol):
    """The only source of time. ``SystemClock`` is the machine's; ``asyncsched.testing`` has a virtual clock."""

    def wall(self) -> Instant:
        """Return the wall time in microseconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Return the event loop's time in seconds."""
        ...

    def hold(self) -> AbstractContextManager[None]:
        """Return a context for work outside the loop: virtual time waits for its end."""
        ...


@runtime_checkable
class DrivenClock(Clock, Protocol):
    """A clock that a program drives, as a test does: it reports its steps, so none has to be detected."""

    random: Random | None
    """Draws the ids of runs, so that a history is repeatable; ``None``: the machine's random numbers."""

    def on_step(self, call: Callable[[], None]) -> Callable[[], None]:
        """Call ``call`` whenever the wall clock was moved; return a function that ends that."""
        ...

    def on_jump(self, call: Callable[[float], None]) -> Callable[[], None]:
        """Call ``call`` with the loop's time whenever time passes; return a function that ends that."""
        ...


class Call(Protocol):
    """One attempt of a run: a policy wraps it, and the innermost call is the executor's."""

    def __call__(self, run: CurrentRun, /) -> Awaitable[Any]: ...


@runtime_checkable
class Policy(Protocol):
    """Wraps the execution of every attempt. The first of a list is the outermost."""

    def wrap(self, call: Call, /) -> Call:
        """Return a call that adds this policy around ``call``."""
        ...


class Observer(Protocol):
    """Receives every event. A plain call must not block; an ``async`` one gets a bounded queue."""

    def __call__(self, event: Event, /) -> object:
        """Receive ``event``. Its return value is ignored; its exception is logged."""
        ...


@runtime_checkable
class SelectiveObserver(Observer, Protocol):
    """An observer of some kinds of events. An event that no observer wants is not even made."""

    wants: type[Event] | tuple[type[Event], ...]


@runtime_checkable
class RecordObserver(Observer, Protocol):
    """An observer that hears events of runs in the engine's own words, so that no view of the run is made for it.

    All other events come by its plain call, as ``wants`` says.
    """

    def hear(self, kind: type[Event], run: RunRecord, at: Instant, /) -> object:
        """Receive what an event of this ``kind`` would say. A plain call, which must not block.

        The record is the ledger's, and goes on changing: it is read within the call, and never changed.
        """
        ...


@runtime_checkable
class QueuedObserver(Observer, Protocol):
    """An async observer that says which events are worth a place in its queue, and has the number of lost ones."""

    lost: int
    """The scheduler counts here the events that found the queue full."""

    def accepts(self, event: Event, /) -> bool:
        """Return whether the observer will do anything with ``event``. A plain call, which must not block."""
        ...


@runtime_checkable
class Carried(Protocol):
    """What travels with a run: a ``ContextVar``, or an object at the top level of a module that acts as one."""

    @property
    def name(self) -> str:
        """The name under which the value is kept with the run."""
        ...

    def get(self) -> Any:
        """Return the value in the present context; raise ``LookupError`` if there is none."""
        ...

    def set(self, value: Any, /) -> object:
        """Set the value in the present context, which is that of an attempt."""
        ...


@runtime_checkable
class CarryingObserver(Observer, Protocol):
    """An observer that has values travel with every run, beside those that the jobs name by ``carry``."""

    carries: Sequence[Carried]


class ExecutorTraits(NamedTuple):
    """The traits of a kind of executor that the scheduler must know; the defaults are right for most."""

    in_loop: bool = False
    """Functions run in the event loop and can block it: they are watched."""
    cancellable: bool = True
    """Cancelling a run ends its function, too; otherwise ``overlap="replace"`` is refused."""
    elsewhere: bool = False
    """Functions run where this process's context variables are not: they are sent along."""
    announces: bool = False
    """``run`` calls ``tell_began(run)`` when the function itself begins, and its timeout counts from then.

    An executor announces the begin if a start-up comes first, as that of a new process, which may take
    longer than the timeout.
    """
    kills: bool = False
    """``run`` ends a cancelled function for certain, and returns when nothing of it goes on."""
    batches: bool = False
    """``run_each`` calls a function with many items in one go, for less than as many calls of ``run`` would cost."""


class Answer(NamedTuple):
    """The end of a call elsewhere: its value, or the exception that it raised.

    ``unknown`` is set where an engine knows no such task, because it was never given to it or its data is gone.
    """

    value: Any = None
    error: BaseException | None = None
    unknown: bool = False


class Batch(NamedTuple):
    """What a batch of calls took: seconds in all, and bytes sent for one item, 0 where nothing is sent."""

    seconds: float
    size: int = 0


@runtime_checkable
class Executor(Protocol):
    """Where functions run. Entered by the scheduler at start and left at its end.

    A class that inherits from this one writes ``capacity`` and ``run``; the rest has a default.
    """

    capacity: int
    """The number of attempts that may run at once; runs beyond it stay pending."""
    traits: ExecutorTraits = ExecutorTraits()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:  # fmt: skip
        return None

    def use_clock(self, clock: Clock) -> None:
        """Take the scheduler's clock, before the start. An executor holds it during work outside the loop."""
        return

    def check(self, func: Callable[..., Any], job: str) -> None:
        """Raise ``ConfigurationError`` at declaration if ``func`` cannot run here."""
        return

    @property
    def held(self) -> Mapping[str, str]:
        """The jobs of which no run may begin here now, each with the reason, worded as what the run waits for."""
        return {}

    def lend(self, places: int) -> None:
        """Let so many more attempts be under way, or fewer again: that many attempts wait here for other runs.

        Called in the loop's thread. Without it, runs that wait for runs of the same executor could wait for ever.
        """
        return

    def run(
        self, run: CurrentRun, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Awaitable[Any]:
        """Call the function and return its value, or raise its exception.

        Cancelling this call ends the attempt as far as this kind of executor can.
        """
        ...

    async def run_each(
        self, run: CurrentRun, func: Callable[..., Any], items: Sequence[Any], take: Callable[[Answer], None]
    ) -> Batch:
        """Call the function with each item, and give ``take`` the answers in order.

        An executor with ``batches`` in its traits has a quicker way than this one, which is given one item at a
        time. There, items at the end without an answer were not begun, and an error says that the function cannot
        be called at all.
        """
        for item in items:
            try:
                answer = Answer(await self.run(run, func, (item,), {}))
            except Exception as error:
                answer = Answer(error=error)
            take(answer)
        return Batch(0.0)


class TaskEngine(Protocol):
    """An engine that runs functions elsewhere, for ``asyncsched.executors.handoff.HandoffExecutor``.

    One thread makes all calls but ``check`` and ``page``, one after another, so they may block. A task's id is given
    by the caller: the run's id, with the number of the attempt from the second one on. A call that fails with one
    of ``away`` is made again.
    """

    name: str
    away: tuple[type[BaseException], ...]
    """The exceptions that say that the engine cannot be reached now."""

    def open(self) -> None:
        """Connect, if that is needed. Called before the first task is given, until it succeeds."""
        ...

    def close(self) -> None:
        """Disconnect."""
        ...

    def check(self, func: Callable[..., Any], job: str) -> None:
        """Raise ``ConfigurationError`` at declaration if the engine cannot run ``func``."""
        ...

    def submit(
        self, id: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Give the engine a task, which it must not retry by itself."""
        ...

    def poll(self, ids: Sequence[str]) -> Mapping[str, Answer]:
        """Return the answers of those tasks that have ended or are unknown."""
        ...

    def cancel(self, id: str) -> None:
        """End a task, a running one included, as far as the engine can."""
        ...

    def forget(self, id: str) -> None:
        """Delete what the engine still keeps of an ended task. Called minutes after its end."""
        ...

    def page(self, id: str) -> str:
        """Return the address of the task's page in the engine, or ``""``. Called in the event loop: it must not block."""
        ...
