"""A run as a native task of the backend, with its own context; owned, cancelled, awaited.

anyio's ``TaskGroup.start_soon`` costs as much as everything else a firing does together, so a run
is a bare asyncio task, or a child of a bare trio nursery. Nothing else in the package touches a
backend's own API for tasks and sleeping.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from contextvars import Context
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import trio

logger = logging.getLogger("asyncsched.scheduler")

Main = Coroutine[Any, Any, None]

_AT_ONCE: Any = {"eager_start": True} if sys.version_info >= (3, 12) else {}

_STUBBORN = 0.1
"""Seconds that tasks have to end when everything else has."""


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


def current_backend() -> Backend:
    """Return the backend of the running event loop."""
    return _AsyncioBackend() if _trio() is None else _TrioBackend()


def current_task_id() -> int:
    """Return a number that identifies the calling task while it lives."""
    trio = _trio()
    return id(asyncio.current_task() if trio is None else trio.current_task())


def _trio() -> Any:
    """Return trio's low level if we are in a task of it. Another thread may be about to import it."""
    trio = sys.modules.get("trio.lowlevel")
    in_trio_task = getattr(trio, "in_trio_task", None)
    return trio if in_trio_task is not None and in_trio_task() else None


class _AsyncioBackend:
    leaves_anywhere = True

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.time = self._loop.time
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._spawned = 0

    async def __aenter__(self) -> Backend:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._tasks:
            await asyncio.sleep(0)  # a task that is cancelled before its first step never awaits its main
        for task in self._tasks.values():
            task.cancel()
        if await self.join(_STUBBORN):
            names = ", ".join(sorted(_main_of(task) for task in self._tasks.values()))
            logger.error("%d tasks do not end although they were cancelled: %s", len(self._tasks), names)

    async def join(self, timeout: float) -> int:
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=timeout)
        return sum(not task.done() for task in self._tasks.values())

    def spawn(self, main: Main, context: Context, name: str | None = None, *, apart: bool = False) -> Task:
        self._spawned = number = self._spawned + 1
        own = self._own(number, main)
        if self._loop.get_task_factory() is None:
            # What loop.create_task comes to, in two thirds of its time.
            task = asyncio.Task(
                own, loop=self._loop, name=name, context=context, **({} if apart else _AT_ONCE)
            )
        else:
            task = self._loop.create_task(own, name=name, context=context)
        if not task.done():
            self._tasks[number] = task
        return task

    async def _own(self, number: int, main: Main) -> None:
        # A callback for the end of a task is a turn through the loop of its own: 1.1 µs for each run,
        # where this frame costs 0.3.
        try:
            await main
        except KeyboardInterrupt as stop:
            # It ends the loop from there, and not whoever began this task at once.
            self._loop.call_soon(_raise, stop)
        finally:
            self._tasks.pop(number, None)

    def torn_down(self) -> bool:
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0

    def sleeper(self) -> Sleeper:
        return _AsyncioSleeper(self._loop)

    def call_soon_threadsafe(self, call: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(call)

    async def pause(self) -> None:
        await asyncio.sleep(0)


def _raise(error: BaseException) -> None:
    raise error


def _main_of(task: asyncio.Task[None]) -> str:
    """Return the name of what the task was spawned for."""
    return str(getattr(getattr(task.get_coro(), "cr_await", None), "__qualname__", task.get_name()))


class _AsyncioSleeper:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] | None = None
        self._woken = False

    async def until(self, deadline: float) -> None:
        if self._woken or deadline <= self._loop.time():
            self._woken = False
            await asyncio.sleep(0)
            return
        self._future = future = self._loop.create_future()
        timer = self._loop.call_at(deadline, self.wake)
        try:
            await future
        finally:
            self._future = None
            timer.cancel()

    def wake(self) -> None:
        if self._future is None:
            self._woken = True
        elif not self._future.done():
            self._future.set_result(None)


class _TrioTask:
    __slots__ = ("_scope",)

    def __init__(self, scope: trio.CancelScope) -> None:
        self._scope = scope

    def cancel(self) -> None:
        self._scope.cancel()


class _TrioBackend:
    leaves_anywhere = False

    def __init__(self) -> None:
        import trio

        self._trio = trio
        self.time = trio.current_time
        self._token = trio.lowlevel.current_trio_token()
        self._manager = trio.open_nursery()
        self._ended: trio.Event | None = None  # made by who waits for it: few do, and runs are many
        self._count = 0

    async def __aenter__(self) -> Backend:
        self._nursery = await self._manager.__aenter__()
        self._start_soon: Any = self._nursery.start_soon
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._nursery.cancel_scope.cancel()
        left = 0
        with self._trio.CancelScope(shield=True):
            left = await self.join(_STUBBORN)
        if left:
            logger.error(
                "%d tasks do not end although they were cancelled, because they shield themselves; trio leaves no "
                "task behind, so the scheduler is closed only when they end",
                left,
            )
        await self._manager.__aexit__(exc_type, exc, traceback)

    async def join(self, timeout: float) -> int:
        with self._trio.move_on_after(timeout):
            while self._count:
                self._ended = self._trio.Event()
                await self._ended.wait()
        return self._count

    def spawn(self, main: Main, context: Context, name: str | None = None, *, apart: bool = False) -> Task:
        scope = self._trio.CancelScope(shield=apart)
        self._count += 1
        context.run(self._start_soon, self._run, scope, main, name=name)
        return _TrioTask(scope)

    async def _run(self, scope: trio.CancelScope, main: Main) -> None:
        try:
            with scope:
                await main
        finally:
            self._count -= 1
            if self._ended is not None and not self._count:
                self._ended.set()

    def torn_down(self) -> bool:
        return True  # trio lets nobody raise Cancelled but a scope that was cancelled

    def sleeper(self) -> Sleeper:
        return _TrioSleeper(self._trio)

    def call_soon_threadsafe(self, call: Callable[[], object]) -> None:
        self._token.run_sync_soon(call)

    async def pause(self) -> None:
        await self._trio.lowlevel.checkpoint()


class _TrioSleeper:
    def __init__(self, trio: Any) -> None:
        self._trio = trio
        self._event = trio.Event()

    async def until(self, deadline: float) -> None:
        with self._trio.move_on_at(deadline):
            await self._event.wait()
        if self._event.is_set():
            self._event = self._trio.Event()

    def wake(self) -> None:
        self._event.set()
