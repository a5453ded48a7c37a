"""W7: what the requests of the host app feel of the jobs beside them: the 99th percentile under uvicorn.

A client in a process of its own sends requests at a steady rate. A request's time counts from the moment at
which it was due, so a request that had to wait for the one before it counts that wait, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import Any

from tests.benchmarks._bench import ROOT, Figure, Metrics, Scenario, Size
from tests.benchmarks._measure import aps3, moment

SPIN = 0.2
_SETTLED = 1.6
"""Seconds until everything is set up and the first jobs have run; fewer where less is measured."""

Beside = AbstractAsyncContextManager[Any]


def spin() -> None:
    """Be a job that uses 200 ms of CPU."""
    began = time.thread_time()
    while time.thread_time() - began < SPIN:
        pass


async def nothing() -> None:
    """Be a job that does nothing."""


@contextlib.asynccontextmanager
async def _alone() -> AsyncIterator[None]:
    yield


def _ours(
    jobs: int, func: Callable[[], object], executor: str = "loop", apart: float = 0
) -> Callable[[], Beside]:
    def beside() -> Beside:
        from asyncsched import Interval, Scheduler

        scheduler = Scheduler()
        first = time.time() + 1
        for number in range(jobs):
            every_second = Interval(seconds=1, start=moment(first + number * apart))
            scheduler.job(every_second, name=f"job-{number}", id=f"job-{number}", executor=executor)(
                _copy(func)
            )
        return scheduler

    return beside


def _copy(func: Any) -> Any:
    if not asyncio.iscoroutinefunction(func):
        return func

    async def copy() -> None:
        await func()

    return copy


@contextlib.asynccontextmanager
async def _apscheduler() -> AsyncIterator[None]:
    scheduler = aps3()
    first = moment(time.time() + 1)
    for number in range(1000):
        scheduler.add_job(
            _copy(nothing), "interval", seconds=1, id=str(number), next_run_time=first, start_date=first
        )
    scheduler.start()
    yield
    scheduler.shutdown(wait=False)


@contextlib.asynccontextmanager
async def _plain_thread() -> AsyncIterator[None]:
    async def each_second() -> None:
        while True:
            await asyncio.sleep(1)
            loop.run_in_executor(threads, spin)

    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(4) as threads:
        task = asyncio.create_task(each_second())
        yield
        task.cancel()
        threads.shutdown(cancel_futures=True)  # on a busy machine more may wait than will ever run


def _serving(beside: Callable[[], Beside]) -> Callable[[Size], Metrics]:
    """Return what measures the requests of an app that has something beside them."""

    def measure(size: Size) -> Metrics:
        import uvicorn
        from starlette.applications import Starlette
        from starlette.requests import Request
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route

        async def hello(request: Request) -> PlainTextResponse:
            return PlainTextResponse("hello")

        @contextlib.asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[None]:
            async with beside():
                yield

        async def main() -> Metrics:
            app = Starlette(routes=[Route("/", hello)], lifespan=lifespan)
            server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", loop="asyncio"))
            serving = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            command = [sys.executable, "-m", "tests.benchmarks._client", str(port), str(size.n), str(size.seconds), str(min(_SETTLED, size.seconds))]  # fmt: skip
            client = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
            said, _ = await client.communicate()
            server.should_exit = True
            await serving
            metrics: Metrics = json.loads(said)
            return metrics

        return asyncio.run(main())

    return measure


def _p99(row: str, what: str, system: str, over: str, goal: float | None = None, beyond: float | None = None) -> Figure:  # fmt: skip
    return Figure(row, f"HTTP p99 {what}", "p99_ms", goal, beyond, (over, "p99_ms"), system, "ms")


SCENARIOS = (
    Scenario(
        "host-jobs",
        "400 requests a second to an app beside 1,000 intervals of 1 s, all due in the same moment or each apart",
        {
            "none": _serving(_alone),
            "asyncsched": _serving(_ours(1000, nothing)),
            "spread": _serving(_ours(1000, nothing, apart=1e-3)),
            "aps3": _serving(_apscheduler),
        },
        (
            _p99("7a", "with 1,000 jobs/s over none", "asyncsched", "none", 1.3, 1.1),
            _p99("7a", "with them spread over the second, over none", "spread", "none", 1.3, 1.1),
            _p99("", "the same, APScheduler 3", "aps3", "none"),
        ),
        Size(400, 3), Size(400, 3), Size(100, 0.1),
    ),
    Scenario(
        "host-cpu",
        "400 requests a second to an app beside a job of 200 ms CPU each second",
        {
            "none": _serving(_alone),
            "process": _serving(_ours(1, spin, "process")),
            "thread": _serving(_ours(1, spin, "thread")),
            "plain-thread": _serving(_plain_thread),
        },
        (
            _p99("7b", "with a CPU job in a process over none", "process", "none", 1.5),
            _p99("7b", "with it in a thread over a plain thread", "thread", "plain-thread", 0.3),
            _p99("", "a plain thread over none", "plain-thread", "none"),
        ),
        Size(400, 3), Size(400, 3), Size(100, 0.1),
    ),
)  # fmt: skip
