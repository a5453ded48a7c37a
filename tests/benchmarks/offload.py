"""What it costs to hand a call to a thread and to a process, beside the standard library's executors.

``python -m tests.benchmarks.offload``: CPU time per call in this process and its workers, all threads
together, both sides in turn in one run, medians of five. Only the ratios mean anything.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from asyncsched._context import CurrentRun
from asyncsched.executors import ProcessExecutor, ThreadExecutor

ROUNDS = 5
RUN = CurrentRun(1, "noop", 0, 1, None, None)  # type: ignore[arg-type]

Once = Callable[[], Awaitable[Any]]


def noop() -> None:
    return None


def spin(seconds: float) -> float:
    """Use CPU for so many seconds; return how many it were."""
    begin = time.process_time()
    while (used := time.process_time() - begin) < seconds:
        pass
    return used


def cpu() -> float:
    """Return the CPU seconds of this process and its children, from the scheduler's own accounts."""
    used = 0
    for pid in [os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))]:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            used += int((thread / "schedstat").read_text().split()[0])
    return used / 1e9


async def lanes(count: int, once: Once, calls: int) -> None:
    """Make ``calls`` calls, ``count`` of them under way at a time."""
    left = calls

    async def lane() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await once()

    await asyncio.gather(*(lane() for _ in range(count)))


async def compare(title: str, sides: dict[str, Once], count: int, calls: int) -> dict[str, float]:
    """Print and return the CPU microseconds per call of both sides; the first is the yardstick."""
    costs: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, once in sides.items():
            await lanes(count, once, max(50, calls // 20))
            begin = cpu()
            await lanes(count, once, calls)
            costs[name].append((cpu() - begin) / calls * 1e6)
    result = {name: median(values) for name, values in costs.items()}
    yardstick, ours = result.values()
    figures = ", ".join(f"{name} {value:.1f} µs" for name, value in result.items())
    print(f"{title}, {count} at a time: {figures}; ratio {ours / yardstick:.2f}", flush=True)
    return result


async def threads(count: int, capacity: int, calls: int) -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(capacity) as pool:
        async with ThreadExecutor(capacity) as executor:
            sides: dict[str, Once] = {
                "run_in_executor": lambda: loop.run_in_executor(pool, noop),
                "ThreadExecutor": lambda: executor.run(RUN, noop, (), {}),
            }
            await compare(f"thread no-op, {capacity} threads", sides, count, calls)


async def processes(
    count: int, calls: int, func: Callable[..., Any] = noop, *args: Any, title: str = "process no-op"
) -> dict[str, float]:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        async with ProcessExecutor(2) as executor:
            sides: dict[str, Once] = {
                "ProcessPoolExecutor": lambda: asyncio.wrap_future(pool.submit(func, *args)),
                "ProcessExecutor": lambda: executor.run(RUN, func, args, {}),
            }
            return await compare(f"{title}, 2 workers", sides, count, calls)


async def main() -> None:
    for count in (1, 6, 64):
        await threads(count, 6, 10_000)
    for count in (1, 2, 64):
        await processes(count, 2_000)
    costs = await processes(2, 500, spin, 0.001, title="process job of 1 ms CPU")
    for name, cost in costs.items():
        print(f"  useful CPU of {name}: {1000 / cost:.3f}")


if __name__ == "__main__":
    print(sys.version.split()[0], os.cpu_count(), "CPUs")
    asyncio.run(main())
