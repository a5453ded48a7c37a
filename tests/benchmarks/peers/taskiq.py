"""taskiq without a broker of its own: https://taskiq-python.github.io/guide/scheduling-tasks.html.

Its ``InMemoryBroker`` runs tasks in the application's event loop; schedules are labels of the tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from tests.benchmarks._bench import Metrics, Size
from tests.benchmarks._measure import Cpu
from tests.benchmarks._workloads import Job, Ticks, copy, nothing, wakeups

BATCH = 500


@contextlib.asynccontextmanager
async def _scheduler(jobs: int, make: Callable[[], Job], schedule: dict[str, Any]) -> AsyncIterator[None]:
    from taskiq import InMemoryBroker, TaskiqScheduler
    from taskiq.api import run_scheduler_task
    from taskiq.schedule_sources import LabelScheduleSource

    broker = InMemoryBroker()
    for number in range(jobs):
        broker.register_task(make(), task_name=f"job-{number}", schedule=[schedule])
    scheduler = TaskiqScheduler(broker, sources=[LabelScheduleSource(broker)])
    task = asyncio.create_task(run_scheduler_task(scheduler, run_startup=True))
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await broker.shutdown()


def intervals(size: Size) -> Metrics:
    """Run a task of its own for each interval; its seconds are those of the clock."""

    async def main() -> Metrics:
        ticks = Ticks(size, time.time, whole=True)
        async with _scheduler(size.n, lambda: copy(ticks.job), {"interval": 1}):
            return await ticks.metrics()

    return asyncio.run(main())


def noop(size: Size) -> Metrics:
    """Run tasks in batches, each until all of it are done."""
    from taskiq import InMemoryBroker

    async def main() -> Metrics:
        broker = InMemoryBroker()
        task: Any = broker.register_task(nothing, task_name="job")
        await broker.startup()

        async def some(n: int) -> None:
            for _ in range(n // BATCH):
                for _ in range(BATCH):
                    await task.kiq()
                await broker.wait_all()

        await some(BATCH)
        cpu, began = Cpu(), time.perf_counter()
        await some(size.n)
        spent, took = cpu.spent(), time.perf_counter() - began
        await broker.shutdown()
        return {"cpu_us": spent / size.n * 1e6, "wall_us": took / size.n * 1e6}

    return asyncio.run(main())


def idle(size: Size) -> Metrics:
    """Wait for the new year."""

    async def main() -> Metrics:
        async with _scheduler(1, lambda: nothing, {"cron": "0 0 1 1 *"}):
            return await wakeups(size.seconds)

    return asyncio.run(main())
