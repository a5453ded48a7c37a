"""docket over Redis: https://docket.lol, "Docket in Production".

The worker has that page's intervals (looks each 100 ms, moves what is due each 250 ms), as many connections as jobs
at once, as it advises, and runs as many at once as the others. It has no grid of whole seconds but ``Cron``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from tests.benchmarks._bench import REDIS, Metrics, Size
from tests.benchmarks._measure import moment
from tests.benchmarks._workloads import AT_ONCE, Burst, Ticks, calls, nothing, wakeups


@contextlib.asynccontextmanager
async def _docket(**functions: Any) -> AsyncIterator[Any]:
    from docket import Docket

    async with Docket(name="bench", url=f"{os.environ[REDIS]}?max_connections={2 * AT_ONCE}") as docket:
        for name, function in functions.items():
            docket.register(function, names=[name])
        yield docket


@contextlib.asynccontextmanager
async def _worker(docket: Any) -> AsyncIterator[None]:
    from docket import Worker

    quick = timedelta(milliseconds=100)
    async with Worker(docket, concurrency=AT_ONCE, minimum_check_interval=quick) as worker:
        task = asyncio.create_task(worker.run_forever())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def intervals(size: Size) -> Metrics:
    """Run a task of its own for each expression; its seconds are those of the clock."""
    from docket import Cron

    def named(ticks: Ticks, number: int) -> Any:
        async def job(cron: Cron = Cron("* * * * * *")) -> None:  # noqa: B008  # as it is documented
            await ticks.job()

        job.__name__ = f"job_{number}"
        return job

    async def main() -> Metrics:
        ticks = Ticks(size, time.time, lead=4, whole=True)
        jobs = [named(ticks, number) for number in range(size.n)]
        async with _docket(**{job.__name__: job for job in jobs}) as docket, _worker(docket):
            return await ticks.metrics()

    return asyncio.run(main())


def burst(size: Size) -> Metrics:
    """Schedule all for the same moment."""

    async def main() -> Metrics:
        due = Burst(size.n, time.time() + 2 + size.n * 1e-3, time.time)
        async with _docket(job=due.job) as docket, _worker(docket):
            at = moment(due.due)
            for _ in range(0, size.n, AT_ONCE):
                await asyncio.gather(*(docket.add("job", when=at)() for _ in range(AT_ONCE)))
            due.n = -(-size.n // AT_ONCE) * AT_ONCE
            return await due.metrics()

    return asyncio.run(main())


def once(size: Size) -> Metrics:
    """Time one ``add`` with a moment after the other."""

    async def main() -> Metrics:
        async with _docket(job=nothing) as docket:
            hour = timedelta(hours=1)
            return await calls(
                lambda: docket.add("job", when=moment(time.time()) + hour)(), min(size.n, 5_000)
            )

    return asyncio.run(main())


def idle(size: Size) -> Metrics:
    """Wait for a task of tomorrow."""

    async def main() -> Metrics:
        async with _docket(job=nothing) as docket, _worker(docket):
            await docket.add("job", when=moment(time.time()) + timedelta(days=1))()
            return await wakeups(size.seconds)

    return asyncio.run(main())


@contextlib.asynccontextmanager
async def putting(url: str) -> AsyncIterator[Any]:
    """Yield what puts one task into the docket."""
    from tests.benchmarks._queues import job

    async with _docket(job=job) as docket:

        async def put(number: int) -> None:
            await docket.add("job")(number)

        yield put


@contextlib.asynccontextmanager
async def working(url: str) -> AsyncIterator[None]:
    """Run tasks as long as it is open."""
    from tests.benchmarks._queues import job

    async with _docket(job=job) as docket, _worker(docket):
        yield
