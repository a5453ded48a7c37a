"""saq over Redis: https://saq-py.readthedocs.io/en/latest/getting_started.html, ``Queue.from_url`` and a ``Worker``.

Its workers run ten jobs at once unless told otherwise; here as many as the others. What is scheduled is looked at
each second, the default and the least, because the look is locked for a whole number of seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from math import ceil
from typing import Any

from tests.benchmarks._bench import REDIS, Metrics, Size
from tests.benchmarks._workloads import AT_ONCE, Burst, Ticks, calls, wakeups


@contextlib.asynccontextmanager
async def _queue() -> AsyncIterator[Any]:
    from saq import Queue

    queue = Queue.from_url(os.environ[REDIS])
    yield queue
    await queue.disconnect()


@contextlib.asynccontextmanager
async def _worker(
    queue: Any, functions: list[Any], cron_jobs: list[Any] | None = None
) -> AsyncIterator[None]:
    from saq import Worker

    worker = Worker(queue, functions=functions, cron_jobs=cron_jobs, concurrency=AT_ONCE)
    task = asyncio.create_task(worker.start())
    yield
    worker.event.set()
    await task


def intervals(size: Size) -> Metrics:
    """Run a job of its own for each expression; its seconds are those of the clock."""
    from saq import CronJob

    def named(ticks: Ticks, number: int) -> Any:
        async def job(context: Any) -> None:
            await ticks.job()

        job.__qualname__ = f"job_{number}"
        return job

    async def main() -> Metrics:
        ticks = Ticks(size, time.time, lead=3, whole=True)
        jobs = [CronJob(named(ticks, number), cron="* * * * * *") for number in range(size.n)]
        async with _queue() as queue, _worker(queue, [], jobs):
            return await ticks.metrics()

    return asyncio.run(main())


def burst(size: Size) -> Metrics:
    """Schedule all for the same second: it knows whole ones."""

    async def main() -> Metrics:
        due = Burst(size.n, float(ceil(time.time() + 2 + size.n * 0.4e-3)), time.time)

        async def job(context: Any) -> None:
            await due.job()

        async with _queue() as queue, _worker(queue, [("job", job)]):
            for _ in range(0, size.n, AT_ONCE):
                await asyncio.gather(*(queue.enqueue("job", scheduled=int(due.due)) for _ in range(AT_ONCE)))
            due.n = -(-size.n // AT_ONCE) * AT_ONCE
            return await due.metrics()

    return asyncio.run(main())


def once(size: Size) -> Metrics:
    """Time one ``enqueue`` with a moment after the other."""

    async def main() -> Metrics:
        async with _queue() as queue:
            return await calls(
                lambda: queue.enqueue("job", scheduled=int(time.time()) + 3600), min(size.n, 5_000)
            )

    return asyncio.run(main())


def idle(size: Size) -> Metrics:
    """Wait for the new year."""
    from saq import CronJob

    async def job(context: Any) -> None:
        """Be the job of next year."""

    async def main() -> Metrics:
        async with _queue() as queue, _worker(queue, [], [CronJob(job, cron="0 0 1 1 *")]):
            return await wakeups(size.seconds)

    return asyncio.run(main())


@contextlib.asynccontextmanager
async def putting(url: str) -> AsyncIterator[Any]:
    """Yield what puts one job into the queue."""
    async with _queue() as queue:

        async def put(number: int) -> None:
            await queue.enqueue("job", number=number)

        yield put


@contextlib.asynccontextmanager
async def working(url: str) -> AsyncIterator[None]:
    """Run jobs as long as it is open."""
    from tests.benchmarks._queues import job

    async def run(context: Any, *, number: int) -> None:
        await job(number)

    async with _queue() as queue, _worker(queue, [("job", run)]):
        yield
