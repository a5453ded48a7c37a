"""W4: no-op jobs from the call to the recorded outcome, beside bare tasks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.benchmarks._bench import Figure, Measure, Metrics, Scenario, Size
from tests.benchmarks._measure import Cpu, aps3, moment
from tests.benchmarks._workloads import nothing
from tests.benchmarks.peers import aps4, taskiq

_BATCH = 500


async def suspends() -> None:
    """Be a job that waits once, for nothing, by the loop's own means."""
    await asyncio.sleep(0)


async def trio_suspends() -> None:
    """Be the same on trio."""
    import trio

    await trio.lowlevel.checkpoint()


async def _cpu(n: int, go: Callable[[int], Awaitable[None]]) -> Metrics:
    await go(_BATCH)
    cpu, began = Cpu(), time.perf_counter()
    await go(n)
    return {"cpu_us": cpu.spent() / n * 1e6, "wall_us": (time.perf_counter() - began) / n * 1e6}


def _run(backend: str, main: Callable[[], Awaitable[Metrics]]) -> Metrics:
    import anyio

    return anyio.run(main, backend=backend)


def _tracing() -> list[Any]:
    """Return the observer for traces in an app that has set no provider, so that no span is recorded."""
    from asyncsched.observers.tracing import Tracing

    return [Tracing()]


def _metrics() -> list[Any]:
    from prometheus_client import CollectorRegistry

    from asyncsched.observers.metrics import PrometheusMetrics

    return [PrometheusMetrics(CollectorRegistry())]


def _ours(
    job: Any, backend: str, many: bool, observers: Callable[[], list[Any]] = list
) -> Callable[[Size], Metrics]:
    def measure(size: Size) -> Metrics:
        from asyncsched import Once, Scheduler

        async def main() -> Metrics:
            scheduler = Scheduler(observers=observers())
            scheduler.job()(job)

            async def go(n: int) -> None:
                for _ in range(n // _BATCH):
                    if many:
                        handles = await scheduler.schedule_many([Once(job)] * _BATCH)
                    else:
                        handles = [await scheduler.schedule_once(job) for _ in range(_BATCH)]
                    await handles[-1].wait()

            async with scheduler:
                return await _cpu(n=size.n, go=go)

        return _run(backend, main)

    return measure


def _create_task(job: Any) -> Callable[[Size], Metrics]:
    def measure(size: Size) -> Metrics:
        async def main() -> Metrics:
            async def go(n: int) -> None:
                for _ in range(n // _BATCH):
                    await asyncio.wait([asyncio.create_task(job()) for _ in range(_BATCH)])

            return await _cpu(size.n, go)

        return _run("asyncio", main)

    return measure


def _start_soon(job: Any, backend: str) -> Callable[[Size], Metrics]:
    def measure(size: Size) -> Metrics:
        import anyio

        async def main() -> Metrics:
            async def go(n: int) -> None:
                for _ in range(n // _BATCH):
                    async with anyio.create_task_group() as group:
                        for _ in range(_BATCH):
                            group.start_soon(job)

            return await _cpu(size.n, go)

        return _run(backend, main)

    return measure


def _apscheduler(job: Any) -> Callable[[Size], Metrics]:
    def measure(size: Size) -> Metrics:
        async def main() -> Metrics:
            scheduler = aps3(job_defaults={"misfire_grace_time": None})
            scheduler.start()
            done, left = asyncio.Event(), 0

            async def counted() -> None:
                nonlocal left
                await job()
                left -= 1
                if not left:
                    done.set()

            async def go(n: int) -> None:
                nonlocal left
                for _ in range(n // _BATCH):
                    left = _BATCH
                    for _ in range(_BATCH):
                        scheduler.add_job(counted, "date", run_date=moment(0))
                    await done.wait()
                    done.clear()

            metrics = await _cpu(size.n, go)
            scheduler.shutdown(wait=False)
            return metrics

        return _run("asyncio", main)

    return measure


SCENARIOS = (
    Scenario(
        "noop",
        "20,000 no-op jobs in batches of 500, from schedule_once to the recorded outcome, CPU",
        {
            "asyncsched": _ours(nothing, "asyncio", many=False),
            "many": _ours(nothing, "asyncio", many=True),
            "traced": _ours(nothing, "asyncio", many=False, observers=_tracing),
            "measured": _ours(nothing, "asyncio", many=False, observers=_metrics),
            "create_task": _create_task(nothing),
            "start_soon": _start_soon(nothing, "asyncio"),
            "aps3": _apscheduler(nothing),
            "aps4": aps4.noop,
            "taskiq": taskiq.noop,
        },
        (
            Figure("4a", "no-op, schedule_many, over create_task", "cpu_us", 2.0, 1.2, ("create_task", "cpu_us"), "many", "µs"),
            Figure("4a", "no-op, schedule_once, over create_task", "cpu_us", 2.0, 1.2, ("create_task", "cpu_us"), unit="µs"),
            Figure("", "no-op, with traces that nobody takes, over without", "cpu_us", over=("asyncsched", "cpu_us"), system="traced", unit="µs"),
            Figure("", "no-op, with Prometheus metrics, over without", "cpu_us", over=("asyncsched", "cpu_us"), system="measured", unit="µs"),
            Figure("", "no-op, schedule_once, over aps3", "cpu_us", over=("aps3", "cpu_us"), unit="µs"),
        ),
        Size(20_000), Size(10_000), Size(500), floor="create_task",
        measures=(
            Measure("schedule_once, CPU per job", "cpu_us", "µs"), Measure("schedule_once, time per job", "wall_us", "µs"),
            Measure("schedule_many, CPU per job", "cpu_us", "µs", "many"),
        ),
    ),
    Scenario(
        "suspend",
        "20,000 jobs that suspend once, in batches of 500, from the call to the recorded outcome, CPU",
        {
            "asyncsched": _ours(suspends, "asyncio", many=True),
            "start_soon": _start_soon(suspends, "asyncio"),
            "trio": _ours(trio_suspends, "trio", many=True),
            "trio_start_soon": _start_soon(trio_suspends, "trio"),
        },
        (
            Figure("4b", "suspends once, asyncio, over start_soon", "cpu_us", 0.50, 0.35, ("start_soon", "cpu_us"), unit="µs"),
            Figure("4b", "suspends once, trio, over start_soon", "cpu_us", 0.50, 0.35, ("trio_start_soon", "cpu_us"), "trio", "µs"),
        ),
        Size(20_000), Size(10_000), Size(500),
        measures=(
            Measure("asyncio, CPU per job", "cpu_us", "µs"),
            Measure("asyncio, time per job", "wall_us", "µs"),
            Measure("trio, CPU per job", "cpu_us", "µs", "trio", "trio_start_soon"),
        ),
    ),
)  # fmt: skip
