"""A day of 100 runs a second in virtual time: whether memory stays flat. Some ten minutes on one core."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable

from tests.benchmarks._bench import Figure, Metrics, Scenario, Size

JOBS, HERTZ = 10, 10
_FULL = 20
"""Minutes after which the history is full."""


def ours(size: Size) -> Metrics:
    """Measure this library."""
    from asyncsched.testing import VirtualClock

    clock = VirtualClock()

    async def main() -> Metrics:
        return await _soak(clock.advance, clock, size.n)

    metrics: Metrics = clock.run(main)
    return metrics


async def _soak(advance: Callable[[float], Awaitable[object]], clock: object, minutes: int) -> Metrics:
    import psutil

    from asyncsched import Scheduler
    from tests.stores.memory.test_memory import sizes

    scheduler = Scheduler(clock=clock)  # type: ignore[arg-type]
    done = 0

    def declare(number: int) -> None:
        @scheduler.interval(seconds=1 / HERTZ, name=f"tick-{number}")
        async def tick() -> int:
            nonlocal done
            done += 1
            return done

    for number in range(JOBS):
        declare(number)
    resident: list[int] = []
    entries: list[int] = []
    async with scheduler:
        for _ in range(minutes):
            await advance(60)
            gc.collect()
            resident.append(psutil.Process().memory_info().rss)
            entries.append(sum(sizes(scheduler).values()))
    full = min(_FULL, minutes - 1)
    return {
        "runs": done / (minutes * 60 * JOBS * HERTZ),
        "memory": resident[-1] / resident[full],
        "entries": entries[-1] - entries[full],
    }


SCENARIOS = (
    Scenario(
        "soak",
        "100 runs a second for a day of virtual time",
        {"asyncsched": ours},
        (
            Figure("", "a day's soak: runs of those due", "runs", 1, at_least=True),
            Figure("", "the same: memory at the end over when the history was full", "memory", 1.1),
            Figure("", "the same: entries of all collections that came in between", "entries", 1000),
        ),
        Size(24 * 60), Size(60), Size(2), rounds=1, timeout=3600, long=True,
    ),
)  # fmt: skip
