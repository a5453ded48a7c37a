"""A run as a native task of the backend, with a context to itself: spawned, cancelled, awaited.

anyio's ``TaskGroup.start_soon`` costs as much as everything else a firing does together, so a run
is a bare asyncio task, or a child of a bare trio nursery. Outside this folder the scheduler
touches no backend's native API for tasks and sleeping.
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

TURNS = 3
"""The turns of the loop between two portions of long work: in so many a server reads, answers and writes a request, which
otherwise waits for a portion in each of them."""


class Task(Protocol):
    """A running coroutine that can be cancelled."""

    def cancel(self) -> object:
        """Cancel the task: on asyncio once, on trio at every later checkpoint too."""
        ...


class Backend(Protocol):
    """The event loop as the engine needs it: tasks, sleeping, and a way in from other threads."""

    leaves_anywhere: bool
    """Whether the backend can be left in another task than the one that entered it."""

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
        """Begin ``main``, which must not raise, as a new task in ``context``.

        Where the event loop can begin a task at once, ``main`` has run to its first wait, or to its
        end, when this returns. A task that stands ``apart`` begins after the callbacks of this turn of
        the loop, and no cancel scope around the scheduler reaches it.
        """
        ...

    def torn_down(self) -> bool:
        """Return whether a cancellation that reached the current task came from outside, as at the loop's end.

        Otherwise the job's code in the task raised it, and the task can go on afterwards.
        """
        ...

    def sleeper(self) -> Sleeper:
        """Return a sleeper for one task to wait with."""
        ...

    def call_soon_threadsafe(self, call: Callable[[], object]) -> None:
        """Call ``call`` in the loop's thread, soon; from any thread."""
        ...

    async def pause(self, turns: int = TURNS) -> None:
        """Let everything else that is ready run, and what that makes ready, for some turns of the loop."""
        ...


class Sleeper(Protocol):
    """One task's sleep until a moment, or until woken."""

    async def until(self, deadline: float) -> None:
        """Sleep until the loop's time ``deadline``, or until :meth:`wake`; may return early."""
        ...

    def wake(self) -> None:
        """End the sleep, or the next one if no task sleeps now. From the loop's thread only."""
        ...


class Future(Protocol):
    """A value for one waiting task; any code in the loop's thread may set it."""

    def done(self) -> bool: ...

    def set_result(self, result: Any, /) -> None: ...

    def result(self) -> Any: ...

    def cancelled(self) -> bool: ...

    def __await__(self) -> Generator[Any, Any, Any]: ...


class Port(Protocol):
    """The event loop as threads and processes need it. All but ``call_soon`` from the loop's thread only."""

    token: anyio.lowlevel.EventLoopToken

    def time(self) -> float:
        """Return the loop's time in seconds, also in a callback."""
        ...

    def future(self) -> Future:
        """Return a future that one task may await, once."""
        ...

    def call_soon(self, callback: Callable[[], object], /) -> object:
        """Call ``callback`` in the loop, from any thread. Raises ``RuntimeError`` if the loop is over."""
        ...

    def call_next(self, callback: Callable[[], object], /) -> object:
        """Call ``callback`` after the callbacks of this turn of the loop."""
        ...

    def call_at(self, when: float, callback: Callable[[], object], /) -> Task:
        """Call ``callback`` at the loop's time ``when``, unless it is cancelled before."""
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
