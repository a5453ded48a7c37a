"""A run as a native task of the backend, with its own context; owned, cancelled, awaited.

anyio's ``TaskGroup.start_soon`` costs as much as everything else a firing does together, so a run
is a bare asyncio task, or a child of a bare trio nursery. Nothing else in the package touches a
backend's own API for tasks and sleeping.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from types import TracebackType
from typing import Any, Protocol

import anyio.lowlevel

logger = logging.getLogger("asyncsched.scheduler")

Main = Coroutine[Any, Any, None]


class Task(Protocol):
    """A running coroutine that can be asked to end."""

    def cancel(self) -> object:
        """Ask it to end. On asyncio once, on trio at every later checkpoint too."""
        ...


class Backend(Protocol):
    """What is needed of an event loop: tasks, sleeping, and a way in from other threads."""

    leaves_anywhere: bool
    """Whether it can be left in another task than it was entered in."""

    time: Callable[[], float]
    """The event loop's time in seconds."""

    async def __aenter__(self) -> Backend: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    async def join(self, timeout: float) -> int:
        """Wait until the spawned tasks have ended, or ``timeout`` seconds; return how many have not."""
        ...

    def spawn(self, main: Main, context: Context, name: str | None = None, *, apart: bool = False) -> Task:
        """Begin ``main``, which must not raise, as a task of its own in ``context``.

        Where the event loop can begin a task at once, ``main`` has run to its first wait, or to its
        end, when this returns. What stands ``apart`` begins when those that run in this turn of the
        loop have run, and no cancel scope around the scheduler reaches it.
        """
        ...

    def torn_down(self) -> bool:
        """Whether a cancellation that reached the current task came from outside, as the loop's end.

        Otherwise the task's own code raised it. The task can go on with its own affairs afterwards.
        """
        ...

    def sleeper(self) -> Sleeper:
        """Return a sleeper for one task to wait with."""
        ...

    def call_soon_threadsafe(self, call: Callable[[], object]) -> None:
        """Have ``call`` called in the loop; from any thread."""
        ...

    async def pause(self) -> None:
        """Let everything else that is ready run once."""
        ...


class Sleeper(Protocol):
    """One task's sleep until a moment, or until woken."""

    async def until(self, deadline: float) -> None:
        """Sleep until the loop's time ``deadline``, or until :meth:`wake`; may return early."""
        ...

    def wake(self) -> None:
        """End the sleep, or the next one if nobody sleeps. From the loop's own thread."""
        ...


class Future(Protocol):
    """One task parks on it; anybody in the loop's thread wakes it with a value."""

    def done(self) -> bool: ...

    def set_result(self, result: Any, /) -> None: ...

    def result(self) -> Any: ...

    def cancelled(self) -> bool: ...

    def __await__(self) -> Generator[Any, Any, Any]: ...


class Port(Protocol):
    """The event loop, as far as threads and processes need it. All but ``call_soon`` only from its own thread."""

    token: anyio.lowlevel.EventLoopToken

    def future(self) -> Future:
        """Return a future that one task may await, once."""
        ...

    def call_soon(self, callback: Callable[[], object], /) -> object:
        """Call ``callback`` in the loop, from any thread. Raises ``RuntimeError`` if the loop is over."""
        ...

    def call_next(self, callback: Callable[[], object], /) -> object:
        """Call ``callback`` when those that run in this turn of the loop have run."""
        ...

    def call_at(self, when: float, callback: Callable[[], object], /) -> object:
        """Call ``callback`` at the loop's time ``when``."""
        ...

    def watch(self, fd: int, callback: Callable[[], object], /) -> object:
        """Call ``callback`` whenever ``fd`` is readable, until ``unwatch``."""
        ...

    def unwatch(self, fd: int) -> None:
        """Stop watching ``fd``, for reading and writing; must be called before it is closed."""
        ...

    def drain(self, fd: int, step: Callable[[], bool]) -> None:
        """Call ``step`` whenever ``fd`` is writable, until it returns True."""
        ...
