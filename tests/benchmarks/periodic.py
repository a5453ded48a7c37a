"""W6: four processes over one PostgreSQL with 20 jobs every second.

``python -m tests.benchmarks.periodic <system> <url> <log>`` is one of the processes: each firing is a line
of the log, with the number of the job, the second that it is of, and the time.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks import _queues as queues
from tests.benchmarks._bench import DSN, Figure, Measure, Metrics, Scenario, Size
from tests.benchmarks._measure import moment
from tests.benchmarks._workloads import AT_ONCE
from tests.benchmarks.cluster import PROCESSES, Process, told

_JOBS = 20
_LEASE_GAP = 16.0
"""Seconds after a crash within which what the dead process held may stand still."""

Fired = Callable[[int, float], None]
"""Takes the number of a job and the second that its firing is of."""


def _logging(path: str) -> Fired:
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def fired(number: int, slot: float) -> None:
        os.write(log, f"{number} {slot} {time.time()}\n".encode())

    return fired


@asynccontextmanager
async def _ours(url: str, fired: Fired) -> AsyncIterator[None]:
    from asyncsched import Scheduler, current_run

    scheduler = Scheduler(url)

    def declare(number: int) -> None:
        @scheduler.interval(seconds=1, start=moment(0), name=f"job{number}")
        async def tick() -> None:
            fired(number, current_run().scheduled_for.timestamp())

    for number in range(_JOBS):
        declare(number)
    async with scheduler:
        yield


@asynccontextmanager
async def _procrastinate(url: str, fired: Fired) -> AsyncIterator[None]:
    # https://procrastinate.readthedocs.io/en/stable/howto/advanced/cron.html: a sixth column for seconds.
    async with queues.procrastinate(url) as app:

        def declare(number: int) -> None:
            @app.periodic(cron="* * * * * *", periodic_id=str(number))
            @app.task(name=f"job{number}")
            async def tick(timestamp: int) -> None:
                fired(number, timestamp)

        for number in range(_JOBS):
            declare(number)
        task = asyncio.create_task(app.run_worker_async(concurrency=AT_ONCE, install_signal_handlers=False))
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def _pgqueuer(url: str, fired: Fired) -> AsyncIterator[None]:
    # https://pgqueuer.readthedocs.io/en/latest/guides/scheduling/; its parser takes a sixth field for seconds.
    async with queues.pgqueuer(url) as queuer:

        def declare(number: int) -> None:
            @queuer.schedule(f"job{number}", "* * * * * *")
            async def tick(schedule: Any) -> None:
                fired(number, int(time.time()))

        for number in range(_JOBS):
            declare(number)
        task = asyncio.create_task(queuer.run())
        yield
        queuer.shutdown.set()
        await task


_fired: Fired


async def tick_of_aps4(number: int) -> None:
    """Be the job of APScheduler 4, which finds it by its name."""
    _fired(number, int(time.time()))


@asynccontextmanager
async def _aps4(url: str, fired: Fired) -> AsyncIterator[None]:
    global _fired
    from apscheduler import ConflictPolicy
    from apscheduler.triggers.interval import IntervalTrigger

    _fired = fired
    async with queues.aps4(url, shared=True) as scheduler:
        await scheduler.configure_task(tick_of_aps4, max_running_jobs=AT_ONCE)
        for number in range(_JOBS):
            trigger = IntervalTrigger(seconds=1, start_time=moment(ceil(time.time())))
            await scheduler.add_schedule(
                tick_of_aps4, trigger, id=f"job{number}", args=(number,),
                conflict_policy=ConflictPolicy.do_nothing,
            )  # fmt: skip
        await scheduler.start_in_background()
        yield
        await scheduler.stop()


_SYSTEMS: dict[str, Callable[[str, Fired], AbstractAsyncContextManager[None]]] = {
    "asyncsched": _ours,
    "aps4": _aps4,
    "procrastinate": _procrastinate,
    "pgqueuer": _pgqueuer,
}
_SETUP = {"procrastinate": queues.PROCRASTINATE.setup, "pgqueuer": queues.PGQUEUER.setup}


@asynccontextmanager
async def _started(system: str, log: str) -> AsyncIterator[list[Process]]:
    url = os.environ[DSN]
    if setup := _SETUP.get(system):
        await setup(url)
    processes = []
    for _ in range(PROCESSES):
        processes.append(Process("periodic", system, url, log))
        processes[-1].heard()  # one after the other, as a rolling deployment does
    yield processes
    for process in processes:
        process.end()


def _kill(size: Size) -> Metrics:
    """Kill one of the processes in the middle of a tick."""

    async def main() -> Metrics:
        with tempfile.TemporaryDirectory() as folder:
            log = f"{folder}/log"  # not in memory: one of them is killed
            async with _started("asyncsched", log) as processes:
                start = int(time.time()) + 2
                await _until(start + size.n + 0.003)  # in the middle of a tick's firings
                processes.pop().kill()
                killed, end = time.time(), int(start + size.n + size.seconds)
                await _until(end + 1)
            fired, late = _read(log, start, end)
        missed = _due(start, end) - fired.keys()
        return {
            "duplicates": sum(times - 1 for times in fired.values()),
            "missed": sum(not killed - 1 < slot < killed + _LEASE_GAP for _, slot in missed),
            "gap": sum(killed - 1 < slot < killed + _LEASE_GAP for _, slot in missed),
            "p50_ms": median(late) * 1e3,
        }

    return asyncio.run(main())


def _tick(system: str, size: Size) -> Metrics:
    """Let all four run."""

    async def main() -> Metrics:
        with tempfile.TemporaryDirectory() as folder:
            log = f"{folder}/log"
            async with _started(system, log):
                start = int(time.time()) + 2
                await _until(start + size.seconds + 1)
            fired, late = _read(log, start, int(start + size.seconds))
        due = size.seconds * _JOBS
        return {
            "fired": sum(fired.values()) / due,
            "duplicates": sum(times - 1 for times in fired.values()),
            "p50_ms": median(late) * 1e3,
            "p99_ms": sorted(late)[int(len(late) * 0.99)] * 1e3,
        }

    return queues.loop_of(system)(main())  # type: ignore[no-any-return]


def _read(log: str, start: int, end: int) -> tuple[Counter[tuple[float, float]], list[float]]:
    seen = [tuple(map(float, line.split())) for line in Path(log).read_text().splitlines()]
    inside = [(job, slot, at) for job, slot, at in seen if start <= slot < end]
    return Counter((job, slot) for job, slot, _ in inside), [at - slot for _, slot, at in inside]


def _due(start: int, end: int) -> set[tuple[float, float]]:
    return {(float(job), float(slot)) for job in range(_JOBS) for slot in range(start, end)}


async def _until(at: float) -> None:
    await asyncio.sleep(max(0.0, at - time.time()))


async def _ticking(system: str, url: str, path: str) -> None:
    async with _SYSTEMS[system](url, _logging(path)):
        print("ready", flush=True)
        await told()


def main(system: str, url: str, path: str) -> None:
    """Be one of the processes."""
    queues.loop_of(system)(_ticking(system, url, path))
    print(json.dumps([]), flush=True)


SCENARIOS = (
    Scenario(
        "ticks",
        "PostgreSQL: four processes with 20 jobs every second; counted by the second in which each began",
        {system: partial(_tick, system) for system in _SYSTEMS},
        (
            Figure("6b", "four processes: duplicates", "duplicates", 0),
            Figure("6b", "four processes: share of what was due", "fired", 1, at_least=True),
            Figure("6b", "four processes: p50 after the tick", "p50_ms", 10, unit="ms"),
        ),
        Size(0, 3), Size(0, 3), Size(0, 1), postgres=True,
        measures=(
            Measure("fired of what was due", "fired"), Measure("duplicates", "duplicates"),
            Measure("p50 after the tick", "p50_ms", "ms"), Measure("p99 after the tick", "p99_ms", "ms"),
        ),
    ),
    Scenario(
        "periodic",
        "PostgreSQL: four processes with 20 jobs every second, one of them killed -9 in the middle of a tick",
        {"asyncsched": _kill},
        (
            Figure("6b", "20 periodic jobs: duplicates", "duplicates", 0),
            Figure("6b", "20 periodic jobs: ticks missed beyond the lease gap", "missed", 0),
            Figure("", "ticks missed within the lease gap, of what the dead process held", "gap"),
            Figure("6b", "20 periodic jobs: p50 after the tick", "p50_ms", 10, unit="ms"),
        ),
        Size(5, 22), Size(3, 18), Size(1, 1), rounds=1, postgres=True,
    ),
)  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
