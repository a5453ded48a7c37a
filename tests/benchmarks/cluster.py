"""W6: four processes over one PostgreSQL run one-offs that are all ready.

``python -m tests.benchmarks.cluster <system> <url>`` is one of the processes: it says when it is
ready, begins when it is told to, and says what it has done when it is told to end.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from typing import Any

from tests.benchmarks import _queues as queues
from tests.benchmarks._bench import DSN, ROOT, Figure, Measure, Metrics, Scenario, Size
from tests.benchmarks._measure import Cpu
from tests.benchmarks._queues import Queue

PROCESSES = 4

_QUEUES = {
    "asyncsched": queues.OURS,
    "pgqueuer": queues.PGQUEUER,
    "pgqueuer-100": queues.PGQUEUER_100,
    "procrastinate": queues.PROCRASTINATE,
    # APScheduler 3 is not here: its FAQ says that processes must not share a job store.
    "aps4": queues.APS4_SHARED,
}
_SLOW = {"asyncsched": 1, "pgqueuer": 2, "pgqueuer-100": 2, "procrastinate": 20, "aps4": 40}
"""By how much less the slow ones do, whose rate is the same."""


class Process:
    """One of the four, seen from the one that counts."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def heard(self) -> str:
        """Return its next line."""
        assert self._child.stdout is not None
        return self._child.stdout.readline()

    def tell(self) -> None:
        """Have it go on: to begin, then to end."""
        assert self._child.stdin is not None
        self._child.stdin.write("\n")
        self._child.stdin.flush()

    def kill(self) -> None:
        """End it as a crash does."""
        self._child.send_signal(signal.SIGKILL)
        self._child.wait()

    def end(self) -> list[Any]:
        """Return what it has done."""
        self.tell()
        result: list[Any] = json.loads(self.heard())
        self._child.wait()
        return result


async def told() -> None:
    """Wait for the next word of the process that counts."""
    await asyncio.to_thread(sys.stdin.readline)


def _drain(system: str, size: Size) -> Metrics:
    queue, url = _QUEUES[system], os.environ[DSN]
    n = size.n // _SLOW[system]

    async def fill() -> None:
        if queue.setup is not None:
            await queue.setup(url)
        async with queue.putting(url) as put:
            await queues.enqueue(put, n)

    queues.loop_of(system)(fill())
    left = queues.counter(url, queue.left)
    processes = [Process("cluster", system, url) for _ in range(PROCESSES)]
    for process in processes:
        process.heard()
    began = time.perf_counter()
    for process in processes:
        process.tell()
    deadline = began + 120
    while left() and time.perf_counter() < deadline:
        time.sleep(0.01)
    took = time.perf_counter() - began
    ended = [process.end() for process in processes]
    done = [number for one in ended for number in one[:-1]]
    return {
        "rate": n / took,
        "cpu_us": sum(one[-1] for one in ended) / n * 1e6,
        "duplicates": len(done) - len(set(done)),
        "lost": n - len(set(done)),
    }


async def _work(queue: Queue, url: str) -> list[Any]:
    async with queue.putting(url):
        pass  # all is imported, and connecting has been tried
    print("ready", flush=True)
    await told()
    cpu = Cpu()
    async with queue.working(url):
        await told()
    return [*queues.done, cpu.spent()]


def main(system: str, url: str) -> None:
    """Be one of the processes."""
    print(json.dumps(queues.loop_of(system)(_work(_QUEUES[system], url))), flush=True)


SCENARIOS = (
    Scenario(
        "cluster",
        "PostgreSQL: four processes run what is ready",
        {system: partial(_drain, system) for system in _QUEUES},
        (
            Figure("6a", "4 processes: jobs/s over pgqueuer", "rate", 3, 5, ("pgqueuer", "rate"), at_least=True),
            Figure("", "4 processes: jobs/s over pgqueuer, 100 at once", "rate", over=("pgqueuer-100", "rate"), at_least=True),
            Figure("", "4 processes: jobs/s over procrastinate", "rate", over=("procrastinate", "rate"), at_least=True),
            Figure("6a", "4 processes: duplicates", "duplicates", 0),
            Figure("6a", "4 processes: lost", "lost", 0),
        ),
        Size(20_000), Size(5_000), Size(200), postgres=True,
        measures=(
            Measure("4 processes, jobs/s", "rate"), Measure("CPU per job of all four", "cpu_us", "µs"),
            Measure("duplicates", "duplicates"), Measure("lost within 120 s", "lost"),
        ),
    ),
)  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
