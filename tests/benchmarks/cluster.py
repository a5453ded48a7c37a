"""W6: four processes over one PostgreSQL: one-offs that are all ready, and jobs every second.

``python -m tests.benchmarks.cluster <role> <argument> ...`` is one of the processes: it says
when it is ready, begins when it is told to, and says what it has done when it is told to end.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks import _queues as queues
from tests.benchmarks._bench import DSN, ROOT, Figure, Metrics, Scenario, Size
from tests.benchmarks._measure import moment
from tests.benchmarks._queues import Queue

_PROCESSES, _JOBS = 4, 20
_LEASE_GAP = 16.0
"""Seconds after a crash within which what the dead process held may stand still."""

_QUEUES = {
    "asyncsched": queues.OURS,
    "pgqueuer": queues.PGQUEUER,
    "pgqueuer-100": queues.PGQUEUER_100,
    "procrastinate": queues.PROCRASTINATE,
}
_SLOW = {"asyncsched": 1, "pgqueuer": 2, "pgqueuer-100": 2, "procrastinate": 20}
"""By how much less the slow ones do, whose rate is the same."""


class Process:
    """One of the four, seen from the one that counts."""

    def __init__(self, *arguments: str) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.cluster", *arguments],
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


async def _told() -> None:
    await asyncio.to_thread(sys.stdin.readline)


# ── one-offs that are all ready ──────────────────────────────────────────────────────────────────


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
    processes = [Process("work", system, url) for _ in range(_PROCESSES)]
    for process in processes:
        process.heard()
    began = time.perf_counter()
    for process in processes:
        process.tell()
    deadline = began + 120
    while left() and time.perf_counter() < deadline:
        time.sleep(0.01)
    took = time.perf_counter() - began
    done = [number for process in processes for number in process.end()]
    return {"rate": n / took, "duplicates": len(done) - len(set(done)), "lost": n - len(set(done))}


async def _work(queue: Queue, url: str) -> list[Any]:
    async with queue.putting(url):
        pass  # all is imported, and connecting has been tried
    print("ready", flush=True)
    await _told()
    async with queue.working(url):
        await _told()
    return queues.done


# ── jobs every second ────────────────────────────────────────────────────────────────────────────


def _tick(size: Size) -> Metrics:
    with tempfile.TemporaryDirectory() as folder:
        log = f"{folder}/log"  # not in memory: one of them is killed
        processes = [Process("tick", os.environ[DSN], log) for _ in range(_PROCESSES)]
        for process in processes:
            process.heard()
        start = int(time.time()) + 2  # all are up
        _sleep_until(start + size.n + 0.003)  # in the middle of a tick's firings
        processes.pop().kill()
        killed, end = time.time(), int(start + size.n + size.seconds)
        _sleep_until(end + 1)
        for process in processes:
            process.end()
        seen = [tuple(map(float, line.split())) for line in Path(log).read_text().splitlines()]
    fired = Counter((job, slot) for job, slot, _ in seen if start <= slot < end)
    due = {(float(job), float(slot)) for job in range(_JOBS) for slot in range(start, end)}
    missed = due - fired.keys()
    return {
        "duplicates": sum(times - 1 for times in fired.values()),
        "missed": sum(not killed - 1 < slot < killed + _LEASE_GAP for _, slot in missed),
        "gap": sum(killed - 1 < slot < killed + _LEASE_GAP for _, slot in missed),
        "p50_ms": median(at - slot for _, slot, at in seen) * 1e3,
    }


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))


async def _ticking(url: str, path: str) -> list[Any]:
    from asyncsched import Scheduler, current_run

    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    scheduler = Scheduler(url)

    def declare(number: int) -> None:
        @scheduler.interval(seconds=1, start=moment(0), name=f"job{number}")
        async def tick() -> None:
            slot = current_run().scheduled_for.timestamp()
            os.write(log, f"{number} {slot} {time.time()}\n".encode())

    for number in range(_JOBS):
        declare(number)
    async with scheduler:
        print("ready", flush=True)
        await _told()
    return []


def main(role: str, *arguments: str) -> None:
    """Be one of the processes."""
    if role == "work":
        system, url = arguments
        done = queues.loop_of(system)(_work(_QUEUES[system], url))
    else:
        url, path = arguments
        done = asyncio.run(_ticking(url, path))
    print(json.dumps(done), flush=True)


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
    ),
    Scenario(
        "periodic",
        "PostgreSQL: four processes with 20 jobs every second, one of them killed -9 in the middle of a tick",
        {"asyncsched": _tick},
        (
            Figure("6b", "20 periodic jobs: duplicates", "duplicates", 0),
            Figure("6b", "20 periodic jobs: ticks missed beyond the lease gap", "missed", 0),
            Figure("", "ticks missed within the lease gap, of what the dead process held", "gap"),
            Figure("6b", "20 periodic jobs: p50 after the tick", "p50_ms", 10, unit="ms"),
        ),
        Size(5, 22), Size(3, 18), Size(1, 1), postgres=True,
    ),
)  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
