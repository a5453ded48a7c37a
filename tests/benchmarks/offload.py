"""W4: what it costs to hand a call to a thread and to a process, beside the standard library's executors.

CPU time per call in this process and its workers, all threads together.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.benchmarks._bench import Figure, Metrics, Scenario, Size

THREADS, PROCESSES, LANES = 6, 2, 64
SPIN = 0.001

Once = Callable[[], Awaitable[Any]]


def noop() -> None:
    """Be a call that does nothing."""


def spin() -> None:
    """Be a call that uses a millisecond of CPU."""
    began = time.process_time()
    while time.process_time() - began < SPIN:
        pass


class NoLink:
    """Takes what a run tells its scheduler, where there is none."""

    def began(self) -> None:
        """Hear that the function begins."""


def cpu() -> float:
    """Return the CPU seconds of this process and its children, from the scheduler's own accounts."""
    import psutil

    used = 0
    for pid in [os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))]:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            used += int((thread / "schedstat").read_text().split()[0])
    return used / 1e9


async def cost(once: Once, lanes: int, calls: int) -> float:
    """Return the CPU microseconds per call, ``lanes`` of them under way at a time."""

    async def lane(share: int) -> None:
        for _ in range(share):
            await once()

    async def go(calls: int) -> None:
        await asyncio.gather(*(lane(calls // lanes + 1) for _ in range(lanes)))

    await go(max(50, calls // 20))
    began = cpu()
    await go(calls)
    return (cpu() - began) / (calls // lanes + 1) / lanes * 1e6


def _metrics(thread: float, process: float, busy: float) -> Metrics:
    return {"thread_us": thread, "process_us": process, "useful": SPIN * 1e6 / busy}


def ours(size: Size) -> Metrics:
    """Measure this library's executors."""
    from asyncsched._core.context import CurrentRun
    from asyncsched.executors import ProcessExecutor, ThreadExecutor

    run = CurrentRun(1, "noop", 0, 1, None, NoLink())  # type: ignore[arg-type]

    async def main() -> Metrics:
        async with ThreadExecutor(THREADS) as threads, ProcessExecutor(PROCESSES) as processes:
            return _metrics(
                await cost(lambda: threads.run(run, noop, (), {}), LANES, size.n),
                await cost(lambda: processes.run(run, noop, (), {}), LANES, size.n // 5),
                await cost(lambda: processes.run(run, spin, (), {}), PROCESSES, size.n // 20),
            )

    return asyncio.run(main())


def standard(size: Size) -> Metrics:
    """Measure ``run_in_executor`` and ``ProcessPoolExecutor``."""

    async def main() -> Metrics:
        loop = asyncio.get_running_loop()
        context = multiprocessing.get_context("spawn")
        with ThreadPoolExecutor(THREADS) as threads, ProcessPoolExecutor(PROCESSES, context) as processes:
            return _metrics(
                await cost(lambda: loop.run_in_executor(threads, noop), LANES, size.n),
                await cost(lambda: loop.run_in_executor(processes, noop), LANES, size.n // 5),
                await cost(lambda: loop.run_in_executor(processes, spin), PROCESSES, size.n // 20),
            )

    return asyncio.run(main())


SCENARIOS = (
    Scenario(
        "offload",
        f"no-op calls in {THREADS} threads and {PROCESSES} processes, and calls of 1 ms CPU in processes",
        {"asyncsched": ours, "standard": standard},
        (
            Figure("4c", "thread offload, CPU per no-op", "thread_us", 0.6, 0.2, ("standard", "thread_us"), unit="µs"),
            Figure("4d", "process offload, CPU per no-op", "process_us", 1.0, 0.3, ("standard", "process_us"), unit="µs"),
            Figure("4d", "process offload, useful CPU of 1 ms jobs", "useful", 0.93, 0.975, at_least=True),
            Figure("", "the same, ProcessPoolExecutor", "useful", system="standard"),
        ),
        Size(10_000), Size(5_000), Size(400),
    ),
)  # fmt: skip
