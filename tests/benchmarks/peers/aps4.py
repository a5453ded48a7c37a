"""APScheduler 4, a pre-release: https://apscheduler.readthedocs.io/en/master/userguide.html.

``AsyncScheduler`` over its memory store. "Limiting the number of concurrently executing instances of a job" and
``max_concurrent_jobs`` are raised to the number of jobs, because 100 at once, the default, leave ticks out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from tests.benchmarks._bench import Metrics, Size
from tests.benchmarks._measure import Cpu, moment
from tests.benchmarks._workloads import Burst, Ticks, calls, copy, nothing, wakeups

BATCH = 500


def _run(size: Size, go: Callable[[Any], Awaitable[Metrics]]) -> Metrics:
    from apscheduler import AsyncScheduler

    async def main() -> Metrics:
        async with AsyncScheduler(max_concurrent_jobs=max(100, size.n, BATCH)) as scheduler:
            await scheduler.start_in_background()
            metrics = await go(scheduler)
            await scheduler.stop()
        return metrics

    return asyncio.run(main())


def intervals(size: Size) -> Metrics:
    """Run a job of its own for each interval."""

    async def go(scheduler: Any) -> Metrics:
        from apscheduler.triggers.interval import IntervalTrigger

        ticks = Ticks(size, time.time, lead=1 + size.n * 2e-3)
        for number in range(size.n):
            await scheduler.configure_task(f"job-{number}", func=copy(ticks.job))
            trigger = IntervalTrigger(seconds=1, start_time=moment(ticks.start))
            await scheduler.add_schedule(f"job-{number}", trigger, id=f"job-{number}")
        return await ticks.metrics()

    return _run(size, go)


def burst(size: Size) -> Metrics:
    """Schedule all for the same moment."""

    async def go(scheduler: Any) -> Metrics:
        from apscheduler.triggers.date import DateTrigger

        due = Burst(size.n, time.time() + 1 + size.n * 1e-3, time.time)
        await scheduler.configure_task("job", func=due.job, max_running_jobs=size.n)
        for _ in range(size.n):
            await scheduler.add_schedule("job", DateTrigger(moment(due.due)))
        return await due.metrics()

    return _run(size, go)


def once(size: Size) -> Metrics:
    """Time one ``add_schedule`` after the other."""

    async def go(scheduler: Any) -> Metrics:
        from apscheduler.triggers.date import DateTrigger

        await scheduler.configure_task("job", func=nothing)
        hour = timedelta(hours=1)

        def call() -> Awaitable[object]:
            added: Awaitable[object] = scheduler.add_schedule("job", DateTrigger(moment(time.time()) + hour))
            return added

        return await calls(call, min(size.n, 20_000))

    return _run(size, go)


def noop(size: Size) -> Metrics:
    """Run jobs in batches, each until all of it are done."""

    async def go(scheduler: Any) -> Metrics:
        done, left = asyncio.Event(), 0

        async def counted() -> None:
            nonlocal left
            left -= 1
            if not left:
                done.set()

        await scheduler.configure_task("job", func=counted, max_running_jobs=BATCH)

        async def some(n: int) -> None:
            nonlocal left
            for _ in range(n // BATCH):
                left = BATCH
                for _ in range(BATCH):
                    await scheduler.add_job("job")
                await done.wait()
                done.clear()

        await some(BATCH)
        cpu, began = Cpu(), time.perf_counter()
        n = max(BATCH, size.n // 4)  # its rate is the same
        await some(n)
        return {"cpu_us": cpu.spent() / n * 1e6, "wall_us": (time.perf_counter() - began) / n * 1e6}

    return _run(size, go)


def idle(size: Size) -> Metrics:
    """Wait for a schedule of tomorrow."""

    async def go(scheduler: Any) -> Metrics:
        from apscheduler.triggers.date import DateTrigger

        await scheduler.configure_task("job", func=nothing)
        await scheduler.add_schedule("job", DateTrigger(moment(time.time()) + timedelta(days=1)))
        return await wakeups(size.seconds)

    return _run(size, go)
