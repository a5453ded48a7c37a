"""What the tests of executors share: runs to be in, and attempts that end as the scheduler ends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import copy_context
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel

from asyncsched._core.context import CurrentRun, _current
from tests.waiting import soon

_ids = count(1)


class Link:
    """Keeps what a job tells its scheduler."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.asked = False

    def began(self) -> None:
        self.told.append(("began",))

    def progress(self, done: float, total: float | None, message: str) -> None:
        self.told.append(("progress", done, total, message))

    def extend(self, micros: int) -> None:
        self.told.append(("extend", micros))

    def cancelled(self) -> bool:
        return self.asked

    def complete_in(self, connection: Any) -> Any:
        raise NotImplementedError


def new_run(job: str = "job", key: str | None = None) -> CurrentRun:
    return CurrentRun(next(_ids), job, 1_700_000_000_000_000, 2, key, Link())


async def begun(marker: Path) -> None:
    """Wait until a job has written something into its marker."""
    await soon(lambda: marker.exists() and bool(marker.read_text()))


async def call(executor: Any, func: Callable[..., Any], *args: Any, job: str = "job", **kwargs: Any) -> Any:
    """Run ``func`` as the scheduler does: in a context of its own whose current run is set."""
    run = new_run(job)
    _current.set(run)
    return await executor.run(run, func, args, kwargs)


class Attempt:
    """A task that is cancelled natively: edge-triggered on asyncio, by its scope on trio."""

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self._done = anyio.Event()
        self._task: asyncio.Task[None] | None = None
        self._scope: anyio.CancelScope | None = None

    @property
    def over(self) -> bool:
        return self._done.is_set()

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        elif self._scope is not None:
            self._scope.cancel()

    async def ended(self) -> Attempt:
        await self._done.wait()
        return self

    async def _serve(self, coroutine: Awaitable[Any]) -> None:
        try:
            self.value = await coroutine
        except BaseException as error:
            self.error = error
            if self._scope is not None and isinstance(error, anyio.get_cancelled_exc_class()):
                raise
        finally:
            self._done.set()

    async def _serve_in_scope(self, coroutine: Awaitable[Any]) -> None:
        with anyio.CancelScope() as self._scope:
            await self._serve(coroutine)


@asynccontextmanager
async def attempts() -> AsyncIterator[Callable[[Awaitable[Any]], Attempt]]:
    """Yield a function that starts an attempt; all are awaited at the end."""
    started: list[Attempt] = []
    on_asyncio = isinstance(anyio.lowlevel.current_token().native_token, asyncio.AbstractEventLoop)
    async with anyio.create_task_group() as group:

        def start(coroutine: Awaitable[Any]) -> Attempt:
            attempt = Attempt()
            if on_asyncio:
                attempt._task = asyncio.create_task(attempt._serve(coroutine), context=copy_context())
            else:
                group.start_soon(attempt._serve_in_scope, coroutine)
            started.append(attempt)
            return attempt

        yield start
        for attempt in started:
            await attempt.ended()


class Holding:
    """A clock that counts how often it was held, and how often let go."""

    def __init__(self) -> None:
        self.held = 0
        self.times = 0

    def wall(self) -> int:
        return 0

    def monotonic(self) -> float:
        return anyio.current_time()

    @contextmanager
    def hold(self) -> Iterator[None]:
        self.held += 1
        self.times += 1
        yield
        self.held -= 1
