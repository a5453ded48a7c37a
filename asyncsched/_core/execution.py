"""What stands around a run: the clock, the policies that wrap it, the executor, and the observers.

:mod:`asyncsched.abc` is the page that has all seams.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from random import Random
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

from asyncsched._core.context import CurrentRun
from asyncsched._core.events import Event
from asyncsched._core.instants import Instant


@runtime_checkable
class Clock(Protocol):
    """The one door to time. ``SystemClock`` is the machine's; ``asyncsched.testing`` has a virtual one."""

    def wall(self) -> Instant:
        """Return the wall time in microseconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Return the event loop's time in seconds."""
        ...

    def hold(self) -> AbstractContextManager[None]:
        """Return a context in which work goes on outside the loop: virtual time must wait for it."""
        ...


@runtime_checkable
class DrivenClock(Clock, Protocol):
    """A clock that somebody drives, as a test does: nobody has to look whether it was stepped."""

    random: Random | None
    """Draws the ids of runs, so that a history is repeatable; ``None``: the machine's own lots."""

    def on_step(self, call: Callable[[], None]) -> Callable[[], None]:
        """Have ``call`` called whenever the wall clock was moved; return what takes that back."""
        ...


class Call(Protocol):
    """One attempt of a run: what a policy wraps, and what is left inside is the executor's."""

    def __call__(self, run: CurrentRun, /) -> Awaitable[Any]: ...


@runtime_checkable
class Policy(Protocol):
    """Wraps the execution of every attempt. The first of a list is the outermost."""

    def wrap(self, call: Call, /) -> Call:
        """Return a call that does what this policy adds around ``call``."""
        ...


class Observer(Protocol):
    """Hears every event. A plain call must not block; an ``async`` one gets a bounded queue."""

    def __call__(self, event: Event, /) -> object:
        """Hear of ``event``. What it returns is ignored; what it raises is logged."""
        ...


@runtime_checkable
class SelectiveObserver(Observer, Protocol):
    """An observer that hears some kinds of events. Those that nobody hears are not even made."""

    wants: type[Event] | tuple[type[Event], ...]


class ExecutorTraits(NamedTuple):
    """What the scheduler has to know of a kind of executor; the defaults are right for most."""

    in_loop: bool = False
    """Functions run in the event loop and can block it: they are watched."""
    cancellable: bool = True
    """Cancelling a run ends its function, too; otherwise ``overlap="replace"`` is refused."""
    elsewhere: bool = False
    """Functions run where this process's context variables are not: they are sent along."""
    announces: bool = False
    """``run`` calls ``tell_began(run)`` when the function itself begins, and its timeout counts from then.

    For what has to start up first, as a new process has, which may take longer than the timeout.
    """


@runtime_checkable
class Executor(Protocol):
    """Where functions run. Entered by the scheduler at start and left at its end.

    A class that inherits from this one writes ``capacity`` and ``run``; the rest has a default.
    """

    capacity: int
    """How many attempts may run at once; what exceeds it stays pending."""
    traits: ExecutorTraits = ExecutorTraits()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:  # fmt: skip
        return None

    def use_clock(self, clock: Clock) -> None:
        """Take the scheduler's clock, before the start. What works outside the loop holds it meanwhile."""
        return

    def check(self, func: Callable[..., Any], job: str) -> None:
        """Raise ``ConfigurationError`` at declaration if ``func`` cannot run here."""
        return

    def run(
        self, run: CurrentRun, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Awaitable[Any]:
        """Call the function and return its value, or raise what it raised.

        Cancelling this call ends the attempt as far as this kind of executor can.
        """
        ...
