"""What the way through this library adds to a task of an engine elsewhere: from the call to its result.

The engine is the real one with its own workers. In each child both ways take turns.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks._bench import Figure, Measure, Metrics, Scenario, Size
from tests.benchmarks._measure import Cpu

_LANES = 50
_ONE, _MANY = "one at a time, call to result", f"{_LANES} at a time, CPU of the app per task"
_NO_REDIS = "apt-get install redis-server"


def _celery(engine: Any) -> Callable[[int], Any]:
    return lambda number: engine.functions.add.delay(number, 1).get()


def _rq(engine: Any) -> Callable[[int], Any]:
    import redis
    import rq

    queue = rq.Queue(connection=redis.Redis.from_url(engine.where))

    def own(number: int) -> Any:
        job = queue.enqueue(engine.functions.add, number, 1)
        return job.latest_result(timeout=30).return_value

    return own


def _dask(engine: Any) -> Callable[[int], Any]:
    from distributed import Client

    client = Client(engine.where, set_as_default=False)
    return lambda number: client.submit(engine.functions.add, number, 1, pure=False).result()


def _measured(name: str, client: Callable[[Any], Callable[[int], Any]]) -> Callable[[Size], Metrics]:
    def measure(size: Size) -> Metrics:
        from tests.executors.handoff.services import ENGINES

        with tempfile.TemporaryDirectory() as folder:
            engine = ENGINES[name](Path(folder))
            try:
                return asyncio.run(_both(engine, client(engine), size.n))
            finally:
                engine.kill()

    return measure


async def _both(engine: Any, own: Callable[[int], Any], n: int) -> Metrics:
    from asyncsched import Scheduler

    scheduler = Scheduler(executors={"engine": engine.new_executor()})
    scheduler.job(executor="engine", name="add")(engine.functions.add)
    taken: dict[str, list[float]] = {"ours": [], "own": []}
    cpu = {"ours": 0.0, "own": 0.0}

    async def ours(number: int) -> Any:
        return await (await scheduler.schedule_once("add", number, 1)).result()

    async def theirs(number: int) -> Any:
        return await asyncio.to_thread(own, number)

    ways: dict[str, Callable[[int], Awaitable[Any]]] = {"ours": ours, "own": theirs}
    async with scheduler:
        for number in range(n // 10):
            for way, call in ways.items():
                began = time.perf_counter()
                assert await call(number) == number + 1
                taken[way].append((time.perf_counter() - began) * 1e3)
        for way, call in ways.items():
            spent = Cpu()
            await _in_lanes(call, n)
            cpu[way] = spent.spent() / n * 1e6
    metrics = {f"{way}_ms": median(one) for way, one in taken.items()}
    return metrics | {f"{way}_us": one for way, one in cpu.items()}


async def _in_lanes(call: Callable[[int], Awaitable[Any]], n: int) -> None:
    async def lane(first: int) -> None:
        for number in range(first, n, _LANES):
            await call(number)

    await asyncio.gather(*map(lane, range(_LANES)))


def _figures(name: str) -> tuple[Figure, ...]:
    return (
        Figure("", f"{name}, {_ONE}", "ours_ms", over=(name, "own_ms"), system=name, unit="ms"),
        Figure("", f"{name}, {_MANY}", "ours_us", over=(name, "own_us"), system=name, unit="µs"),
    )


def _measures(name: str) -> tuple[Measure, ...]:
    return (
        Measure(f"{name}, {_ONE}", "ours_ms", "ms", name, of_floor="own_ms"),
        Measure(f"{name}, {_MANY}", "ours_us", "µs", name, of_floor="own_us"),
    )


def _scenario(
    name: str, client: Callable[[Any], Callable[[int], Any]], n: int = 250, redis: bool = True
) -> Scenario:
    return Scenario(
        f"handoff-{name}", f"tasks of {name} through schedule_once, beside the engine's own client",
        {name: _measured(name, client)}, _figures(name), Size(n), Size(n), Size(50), rounds=1,
        missing=_NO_REDIS if redis and not shutil.which("redis-server") else None, group="W4", measures=_measures(name),
    )  # fmt: skip


SCENARIOS = (
    _scenario("celery", _celery),
    _scenario("rq", _rq, 100),  # its worker makes a process for each task
    _scenario("dask", _dask, redis=False),
)
