"""aiocron: https://pypi.org/project/aiocron: ``crontab`` with seconds, in the application's own event loop."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from tests.benchmarks._bench import Metrics, Size
from tests.benchmarks._workloads import Ticks, copy, nothing, wakeups


def intervals(size: Size) -> Metrics:
    """Run a job of its own for each expression; its seconds are those of the clock."""
    import aiocron

    async def main() -> Metrics:
        loop = asyncio.get_running_loop()
        ticks = Ticks(size, time.time, whole=True)
        held: list[Any] = [
            aiocron.crontab("* * * * * *", func=copy(ticks.job), loop=loop) for _ in range(size.n)
        ]
        metrics = await ticks.metrics()
        for cron in held:
            cron.stop()
        return metrics

    return asyncio.run(main())


def idle(size: Size) -> Metrics:
    """Wait for the new year."""
    import aiocron

    async def main() -> Metrics:
        cron = aiocron.crontab("0 0 1 1 *", func=nothing, loop=asyncio.get_running_loop())
        metrics = await wakeups(size.seconds)
        cron.stop()
        return metrics

    return asyncio.run(main())
