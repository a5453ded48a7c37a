"""W2: one-offs that are all due at the same moment: the last start, and how long the loop is held."""

from __future__ import annotations

import asyncio
import time
from heapq import heappop, heappush

from tests.benchmarks._bench import Figure, Measure, Metrics, Scenario, Size
from tests.benchmarks._measure import aps3, moment
from tests.benchmarks._workloads import Burst
from tests.benchmarks.peers import aps4, docket, saq


def _lead(n: int) -> float:
    return 1.0 + n * 150e-6  # room to schedule them all before they are due


def ours(size: Size) -> Metrics:
    """Measure this library."""
    from asyncsched import Once, Scheduler

    async def main() -> Metrics:
        async with Scheduler() as scheduler:
            burst = Burst(size.n, time.time() + _lead(size.n), time.time)
            at = moment(burst.due)
            for _ in range(size.n // 500):
                await scheduler.schedule_many([Once(burst.job, at=at)] * 500)
                await asyncio.sleep(0)
            return await burst.metrics()

    return asyncio.run(main())


def apscheduler(size: Size) -> Metrics:
    """Measure APScheduler 3, its misfire grace lifted: by default it loses what starts a second late."""

    async def main() -> Metrics:
        scheduler = aps3(job_defaults={"misfire_grace_time": None})
        scheduler.start(paused=True)
        burst = Burst(size.n, time.time() + _lead(size.n), time.time)
        for _ in range(size.n):
            scheduler.add_job(burst.job, "date", run_date=moment(burst.due))
        scheduler.resume()
        try:
            return await burst.metrics()
        finally:
            scheduler.shutdown(wait=False)

    return asyncio.run(main())


def heap(size: Size) -> Metrics:
    """Measure the floor: one heap, one timer, a task for each job, all in one callback."""

    async def main() -> Metrics:
        loop = asyncio.get_running_loop()
        burst = Burst(size.n, loop.time() + 1, loop.time)
        entries: list[tuple[float, int]] = []
        for number in range(size.n):
            heappush(entries, (burst.due, number))

        def fire() -> None:
            while entries and entries[0][0] <= loop.time():
                heappop(entries)
                loop.create_task(burst.job())  # noqa: RUF006  # nothing kept: the floor

        loop.call_at(burst.due, fire)
        return await burst.metrics()

    return asyncio.run(main())


SYSTEMS = {"asyncsched": ours, "aps3": apscheduler, "heap": heap}

SCENARIOS = (
    Scenario(
        "burst",
        "10,000 one-offs due at the same moment",
        SYSTEMS | {"aps4": aps4.burst, "saq": saq.burst, "docket": docket.burst},
        (
            Figure("2a", "10k burst: last start over aps3", "last_ms", 0.60, 0.30, ("aps3", "last_ms"), unit="ms"),
            Figure("2a", "10k burst: longest hold of the loop", "hold_ms", 10, 5, unit="ms"),
            Figure("2a", "the same less what Python's garbage collector took", "own_hold_ms", 10, 5, unit="ms"),
            Figure("", "10k burst: longest hold over aps3", "hold_ms", over=("aps3", "hold_ms"), unit="ms"),
            Figure("", "10k burst: CPU per run over aps3", "cpu_us", over=("aps3", "cpu_us"), unit="µs"),
            Figure("2b", "10k burst: lost", "lost", 0),
        ),
        Size(10_000), Size(10_000), Size(500), floor="heap", redis="memory",
        measures=(
            Measure("last start after the moment", "last_ms", "ms"), Measure("longest hold of the loop, CPU", "hold_ms", "ms"),
            Measure("CPU per run", "cpu_us", "µs"), Measure("not run after 60 s", "lost"),
        ),
    ),
    Scenario(
        "burst100k",
        "100,000 one-offs due at the same moment",
        {"asyncsched": ours, "heap": heap},
        (
            Figure("2b", "100k burst: lost at default settings", "lost", 0),
            Figure("2b", "100k burst: last start over heap", "last_ms", None, 1.0, ("heap", "last_ms"), unit="ms"),
            Figure("2a", "100k burst: longest hold of the loop", "hold_ms", 10, 5, unit="ms"),
            Figure("2a", "the same less what Python's garbage collector took", "own_hold_ms", 10, 5, unit="ms"),
        ),
        Size(100_000), Size(50_000), Size(500), floor="heap",
        measures=(
            Measure("last start after the moment", "last_ms", "ms"), Measure("CPU per run", "cpu_us", "µs"),
            Measure("not run after 60 s", "lost"),
        ),
    ),
)  # fmt: skip
