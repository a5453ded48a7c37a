"""W3: what one ``await schedule_once(+1 h)`` costs, empty and full, and the memory of what waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from heapq import heappush

from tests.benchmarks._bench import Figure, Measure, Metrics, Scenario, Size
from tests.benchmarks._measure import aps3, moment
from tests.benchmarks._workloads import calls, nothing
from tests.benchmarks.peers import aps4, docket, saq

_MEASURES = (
    Measure("time of a call, p50, nothing pending", "p50_us", "µs"), Measure("time of a call, p50, full", "full_us", "µs"),
    Measure("CPU of a call", "cpu_us", "µs"), Measure("memory per pending run", "bytes", "B"),
)  # fmt: skip


def ours(size: Size) -> Metrics:
    """Measure this library."""
    from asyncsched import Scheduler

    async def main() -> Metrics:
        scheduler = Scheduler()
        scheduler.job()(nothing)
        async with scheduler:
            return await calls(lambda: scheduler.schedule_once(nothing, delay=3600), size.n)

    return asyncio.run(main())


def apscheduler(size: Size) -> Metrics:
    """Measure APScheduler 3. Its list is sorted, so a full one is filled with what comes in order."""

    async def main() -> Metrics:
        scheduler = aps3()
        scheduler.start()
        hour = timedelta(hours=1)

        async def call() -> None:
            scheduler.add_job(nothing, "date", run_date=moment(time.time()) + hour)

        metrics = await calls(call, min(size.n, 20_000))
        scheduler.shutdown(wait=False)
        return metrics

    return asyncio.run(main())


def heap(size: Size) -> Metrics:
    """Measure the floor: an entry in a heap."""

    async def main() -> Metrics:
        entries: list[tuple[float, int, Callable[[], Awaitable[None]]]] = []

        async def call() -> None:
            heappush(entries, (time.monotonic() + 3600, len(entries), nothing))

        return await calls(call, size.n)

    return asyncio.run(main())


SCENARIOS = (
    Scenario(
        "enqueue",
        "one call at a time that schedules once in an hour, 0 and 200,000 pending (aps3 and aps4: 20,000; over Redis: 5,000)",
        {
            "asyncsched": ours, "aps3": apscheduler, "heap": heap, "aps4": aps4.once, "saq": saq.once, "docket": docket.once,
        },
        (
            Figure("3a", "schedule_once p50 over aps3", "p50_us", 0.20, 0.10, ("aps3", "p50_us"), unit="µs"),
            Figure("3b", "p50 at 200k pending over p50 at 0", "full_us", 1.3, 1.1, ("asyncsched", "p50_us"), unit="µs"),
            Figure("3c", "memory per pending run over aps3", "bytes", 0.65, None, ("aps3", "bytes"), unit="B"),
            Figure("3c", "memory per pending run", "bytes", 500, 370, unit="B"),
        ),
        Size(200_000), Size(50_000), Size(500), floor="heap", redis="memory", measures=_MEASURES,
    ),
    Scenario(
        "enqueue1m",
        "one `await schedule_once(job, delay=3600)` at a time into memory, 0 and 1,000,000 pending",
        {"asyncsched": ours},
        (
            Figure("3b", "p50 at 1M pending over p50 at 0", "full_us", 1.3, 1.1, ("asyncsched", "p50_us"), unit="µs"),
            Figure("3c", "memory per pending run at 1M", "bytes", 500, 370, unit="B"),
        ),
        Size(1_000_000), Size(100_000), Size(500), rounds=1, measures=_MEASURES,
    ),
)  # fmt: skip
