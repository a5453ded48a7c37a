"""W5: durable one-offs in a database: 64 writers, one writer, and running all of them to their outcome."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median

from tests.benchmarks import _queues as queues
from tests.benchmarks._bench import DSN, Figure, Measure, Metrics, Scenario, Size
from tests.benchmarks._measure import Cpu
from tests.benchmarks._queues import Queue

_SLOW = {
    "pgqueuer": 2, "pgqueuer-100": 2, "raw": 5, "aps3": 10, "huey": 10, "procrastinate": 10, "saq": 10, "aps4": 20,
    "docket": 20,
}  # fmt: skip
"""By how much less the slow ones do, whose rate is the same."""


def _measure(system: str, queue: Queue, size: Size) -> Metrics:
    n = max(queues.AT_ONCE, size.n // _SLOW.get(system, 1))

    async def main(url: str) -> Metrics:
        if queue.setup is not None:
            await queue.setup(url)
        async with queue.putting(url) as put:
            cpu = Cpu()
            enqueue = await queues.enqueue(put, n)
            put_us = cpu.spent() / n * 1e6
        cpu = Cpu()
        run = await queues.run_all(queue, url, n)
        return {"enqueue": enqueue, "run": run, "put_us": put_us, "run_us": cpu.spent() / n * 1e6}

    with tempfile.TemporaryDirectory() as folder:
        url = os.environ.get(DSN) or f"sqlite:///{folder}/jobs.db"
        metrics: Metrics = queues.loop_of(system)(main(url))
        return metrics


def _systems(by_name: dict[str, Queue]) -> dict[str, Callable[[Size], Metrics]]:
    return {name: partial(_measure, name, queue) for name, queue in by_name.items()}


def _one_writer(size: Size) -> Metrics:
    """Measure one awaiting writer beside a bare insert and a bare hop to a thread, by turns in one process."""

    async def main(folder: str) -> Metrics:
        raw = queues.lite(f"{folder}/raw.db")
        loop, pool = asyncio.get_running_loop(), ThreadPoolExecutor(1)
        await queues.RAW_SQLITE.setup(f"sqlite:///{folder}/raw.db")  # type: ignore[misc]
        async with (
            queues.RAW_SQLITE.putting(f"sqlite:///{folder}/raw.db") as bare,
            queues.OURS.putting(f"sqlite:///{folder}/ours.db") as put,
        ):
            sides = {"ours": put, "raw": bare, "hop": lambda number: loop.run_in_executor(pool, int)}
            turns: dict[str, list[float]] = {name: [] for name in sides}
            for turn in range(size.n // _TURN):
                for name, side in sides.items():
                    began = time.perf_counter()
                    for number in range(turn * _TURN, (turn + 1) * _TURN):
                        await side(number)
                    turns[name].append((time.perf_counter() - began) / _TURN * 1e6)
        raw.close()
        pool.shutdown()
        cost = {name: median(values) for name, values in turns.items()}
        return {**cost, "hops": (cost["ours"] - cost["raw"]) / cost["hop"]}

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(main(folder))


_TURN = 20


def _beside(metric: str, what: str, peers: tuple[str, ...]) -> tuple[Figure, ...]:
    return tuple(
        Figure("", f"{what} over {name}", metric, over=(name, metric), at_least=True) for name in peers
    )


_MEASURES = (
    Measure("64 writers, durable enqueue/s", "enqueue"), Measure("run to the recorded end, jobs/s", "run"),
    Measure("client's CPU per enqueue", "put_us", "µs"), Measure("client's CPU per run", "run_us", "µs"),
)  # fmt: skip

SCENARIOS = (
    Scenario(
        "sqlite",
        "SQLite, synchronous=FULL: 64 writers put one-offs, each waiting until its own is durable; then all are run",
        _systems({"asyncsched": queues.OURS, "raw": queues.RAW_SQLITE, "aps3": queues.APS3, "aps4": queues.APS4, "huey": queues.HUEY}),
        (
            Figure("5a", "SQLite, durable enqueue/s over raw", "enqueue", 8, 15, ("raw", "enqueue"), at_least=True),
            *_beside("enqueue", "SQLite, durable enqueue/s", ("aps3", "aps4", "huey")),
            Figure("5b", "SQLite, run to succeeded/s over raw", "run", 10, 40, ("raw", "run"), at_least=True),
            *_beside("run", "SQLite, run to succeeded/s", ("aps3", "aps4", "huey")),
        ),
        Size(20_000), Size(5_000), Size(200), floor="raw", measures=_MEASURES,
    ),
    Scenario(
        "sqlite-one",
        "SQLite, synchronous=FULL: one writer that waits for each, beside a bare insert and a bare thread hop",
        {"asyncsched": _one_writer},
        (
            Figure("5a", "one writer: time per call", "ours", unit="µs"),
            Figure("", "the same, bare insert with its commit", "raw", unit="µs"),
            Figure("", "the same, bare thread hop", "hop", unit="µs"),
            Figure("5a", "one writer: what it takes more than raw, in hops", "hops", 1.5, 1.2),
        ),
        Size(2_000), Size(1_000), Size(40),
        measures=(
            Measure("one writer that waits for each, time per call", "ours", "µs"),
            Measure("a bare insert with its commit", "raw", "µs"), Measure("a bare hop to a thread and back", "hop", "µs"),
        ),
    ),
    Scenario(
        "postgres",
        "PostgreSQL: 64 writers put one-offs, each waiting until its own is durable; then all are run",
        _systems({
            "asyncsched": queues.OURS, "raw": queues.RAW_POSTGRES, "pgqueuer": queues.PGQUEUER,
            "pgqueuer-100": queues.PGQUEUER_100, "procrastinate": queues.PROCRASTINATE, "aps3": queues.APS3,
            "aps4": queues.APS4,
        }),
        (
            Figure("5c", "PostgreSQL, durable enqueue/s over raw", "enqueue", 5, 10, ("raw", "enqueue"), at_least=True),
            *_beside("enqueue", "PostgreSQL, durable enqueue/s", ("pgqueuer", "procrastinate", "aps3", "aps4")),
            Figure("5c", "PostgreSQL, run/s over pgqueuer", "run", 2.5, 6, ("pgqueuer", "run"), at_least=True),
            *_beside("run", "PostgreSQL, run/s", ("pgqueuer-100", "raw", "procrastinate", "aps3", "aps4")),
        ),
        Size(20_000), Size(5_000), Size(200), postgres=True, floor="raw", measures=_MEASURES,
    ),
    Scenario(
        "redis",
        "Redis with `appendfsync always`, the same; ours on SQLite, which is as durable",
        _systems({"asyncsched": queues.OURS, "saq": queues.SAQ, "docket": queues.DOCKET}),
        (
            *_beside("enqueue", "SQLite beside Redis, durable enqueue/s", ("saq", "docket")),
            *_beside("run", "SQLite beside Redis, run/s", ("saq", "docket")),
        ),
        Size(20_000), Size(5_000), Size(200), rounds=2, redis="durable", group="W5", measures=_MEASURES,
    ),
)  # fmt: skip
