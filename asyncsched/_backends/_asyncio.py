"""The backend for asyncio, uvloop included: tasks, sleeping, and a way in for threads and processes."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from contextvars import Context
from functools import partial
from types import TracebackType
from typing import Any

import anyio.lowlevel

from asyncsched._backends.base import TURNS, Backend, Future, Main, Sleeper, Task

logger = logging.getLogger("asyncsched.scheduler")

_AT_ONCE: Any = {"eager_start": True} if sys.version_info >= (3, 12) else {}
_Task: Callable[..., asyncio.Task[Any]] = asyncio.Task
_EagerTask: Callable[..., asyncio.Task[Any]] = partial(asyncio.Task, **_AT_ONCE) if _AT_ONCE else asyncio.Task

_STUBBORN = 0.1
"""Seconds that cancelled tasks get to end when the backend is closed."""


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
            await asyncio.sleep(0)  # a task that is cancelled before its first step never runs its coroutine
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
            # The effect of loop.create_task, in two thirds of its time.
            task = (_Task if apart else _EagerTask)(own, loop=self._loop, name=name, context=context)
        else:
            task = self._loop.create_task(own, name=name, context=context)
        if not task.done():
            self._tasks[number] = task
        return task

    async def _own(self, number: int, main: Main) -> None:
        # A callback at a task's end takes one more turn of the loop: 1.1 µs for each run. This frame
        # takes 0.3.
        try:
            await main
        except KeyboardInterrupt as stop:
            # Raised by the loop, it ends the loop. Raised here, it would end the code that spawned this task.
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

    async def pause(self, turns: int = TURNS) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)


def _raise(error: BaseException) -> None:
    raise error


def _main_of(task: asyncio.Task[None]) -> str:
    """Return the name of the coroutine function that the task was spawned for."""
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


class _AsyncioPort:
    def __init__(self, token: anyio.lowlevel.EventLoopToken, loop: asyncio.AbstractEventLoop) -> None:
        self.token = token
        self._loop = loop
        # The loop's methods themselves: a wrapper around each would add nothing but a call.
        self.time: Callable[[], float] = loop.time
        self.future: Callable[[], Future] = loop.create_future
        self.call_soon: Callable[[Callable[[], object]], object] = loop.call_soon_threadsafe
        self.call_next: Callable[[Callable[[], object]], object] = loop.call_soon
        self.call_at: Callable[[float, Callable[[], object]], Task] = loop.call_at
        self.watch: Callable[[int, Callable[[], object]], object] = loop.add_reader

    def unwatch(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        self._loop.remove_writer(fd)

    def drain(self, fd: int, step: Callable[[], bool]) -> None:
        def writable() -> None:
            if step():
                self._loop.remove_writer(fd)

        self._loop.add_writer(fd, writable)
