"""A running scheduler for fixtures that are set up and torn down in different tasks, as pytest-asyncio does it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncsched._scheduler.scheduler import Scheduler


@asynccontextmanager
async def running(scheduler: Scheduler) -> AsyncIterator[Scheduler]:
    """Start a scheduler, and close it at the end of the block, whichever task leaves it.

    A scheduler is entered and left in one task. On asyncio that task is made here, so that an async fixture of
    pytest-asyncio may hold the block open; on trio the block is that of the scheduler itself.

    Example:
        >>> @pytest_asyncio.fixture
        ... async def jobs(virtual_clock):
        ...     with scheduler.override(store=None, clock=virtual_clock):
        ...         async with running(scheduler):
        ...             yield scheduler

    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # trio
        async with scheduler:
            yield scheduler
        return
    started, over = loop.create_future(), asyncio.Event()

    async def live() -> None:
        async with scheduler:
            started.set_result(None)
            await over.wait()

    task = loop.create_task(live(), name="asyncsched.testing.running")
    await asyncio.wait((started, task), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task  # raises what the start raised
    try:
        yield scheduler
    finally:
        over.set()
        await task
