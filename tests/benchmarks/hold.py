"""The longest time that the calls of a store hold the event loop, in CPU time of the loop's thread."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import threading
import time
from asyncio.events import Handle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from tests.benchmarks import _queues as queues
from tests.benchmarks._bench import DSN, Figure, Metrics, Scenario, Size


class Holds:
    """How long each callback of the loop took, less what Python's garbage collector did in it."""

    def __init__(self) -> None:
        self._took: list[float] = []
        self._collected = self._since = 0.0
        self._thread = threading.get_ident()

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Time every callback, but for the first and the last, which do the caller's work too."""
        plain = Handle._run

        def timed(handle: Handle) -> Any:
            self._collected, began = 0.0, time.thread_time()
            try:
                return plain(handle)
            finally:
                if Handle._run is timed:
                    self._took.append(time.thread_time() - began - self._collected)

        Handle._run = timed  # type: ignore[method-assign]
        gc.callbacks.append(self._on_collect)
        try:
            await asyncio.sleep(0)
            yield
            await asyncio.sleep(0)
        finally:
            Handle._run = plain  # type: ignore[method-assign]
            gc.callbacks.remove(self._on_collect)

    def _on_collect(self, phase: str, info: dict[str, int]) -> None:
        if threading.get_ident() != self._thread:
            return
        if phase == "start":
            self._since = time.thread_time()
        else:
            self._collected += time.thread_time() - self._since

    def metrics(self, name: str) -> Metrics:
        """Return what was seen since the last call."""
        took, self._took = self._took, []
        return {f"{name}_ms": max(took) * 1e3, f"{name}_over": sum(one > 1e-3 for one in took)}


async def _measure(url: str, n: int) -> Metrics:
    from asyncsched import Once, Scheduler

    holds = Holds()
    scheduler = Scheduler(url, role="submit")
    scheduler.job()(queues.job)
    async with scheduler:
        async with holds.watched():
            await queues.enqueue(lambda number: scheduler.schedule_once(queues.job, number), n)
        metrics = holds.metrics("writers")
        many = [Once(queues.job, (number,), delay=60) for number in range(_MANY)]
        async with holds.watched():
            await scheduler.schedule_many(many)
        metrics |= holds.metrics("many")
        async with holds.watched():
            assert len(await scheduler.runs(limit=_MANY)) > 0
        metrics |= holds.metrics("list")
    working = Scheduler(url)
    working.job()(queues.job)
    async with holds.watched():
        async with working:
            while len(queues.done) < n:
                await asyncio.sleep(0.01)
        metrics |= holds.metrics("running")
    return metrics


_MANY = 1000


def _sqlite(size: Size) -> Metrics:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(f"sqlite:///{folder}/jobs.db", size.n))


def _postgres(size: Size) -> Metrics:
    return asyncio.run(_measure(os.environ[DSN], size.n))


def _figures(store: str) -> tuple[Figure, ...]:
    figure = partial(Figure, unit="ms")
    return (
        Figure("5d", f"{store}, 64 writers: callbacks of the loop over 1 ms", "writers_over", 0),
        figure("", "the longest of them", "writers_ms"),
        Figure("5d", f"{store}, 1,000 one-offs in one call: callbacks over 1 ms", "many_over", 0),
        figure("", "the longest of them", "many_ms"),
        Figure("5d", f"{store}, a list of 1,000 runs: callbacks over 1 ms", "list_over", 0),
        figure("", "the longest of them", "list_ms"),
        Figure(
            "",
            f"{store}, running all: callbacks over 1 ms, the slices in which jobs run included",
            "running_over",
        ),
        figure("", "the longest of them", "running_ms"),
    )


SCENARIOS = (
    Scenario(
        "hold-sqlite", "SQLite: how long callbacks of the event loop take", {"asyncsched": _sqlite},
        _figures("SQLite"), Size(20_000), Size(5_000), Size(200),
    ),
    Scenario(
        "hold-postgres", "PostgreSQL: how long callbacks of the event loop take", {"asyncsched": _postgres},
        _figures("PostgreSQL"), Size(20_000), Size(5_000), Size(200), postgres=True,
    ),
)  # fmt: skip
