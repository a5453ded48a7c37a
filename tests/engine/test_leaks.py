"""After a scheduler's end no task, thread, process, file or socket of it is left, whatever was in flight."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections import Counter
from typing import NamedTuple

import anyio
import psutil
import pytest

from asyncsched import Scheduler, current_run
from tests.waiting import PATIENCE

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_time,  # threads and processes end in the machine's own time
    pytest.mark.blocking_ok,  # counting what there is reads /proc
]


class Left(NamedTuple):
    """What this process has at one moment, but for what the backends keep for a while and end when they like."""

    tasks: int
    threads: Counter[str]
    processes: int
    files: int
    sockets: int


def left() -> Left:
    gc.collect()
    process = psutil.Process()
    names = Counter(thread.name.rstrip("0123456789") for thread in threading.enumerate())
    for kept in ("Trio thread ", "AnyIO worker thread"):
        del names[kept]
    children, sockets = process.children(recursive=True), process.net_connections("all")
    return Left(tasks(), names, len(children), process.num_fds(), len(sockets))


async def at_first() -> Left:
    """Return what there is, once the threads that were abandoned before have ended."""
    with anyio.fail_after(PATIENCE):
        while any(thread.name.startswith("asyncsched") for thread in threading.enumerate()):
            await anyio.sleep(0.01)
    return left()


def tasks() -> int:
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return int(trio.lowlevel.current_statistics().tasks_living)
    return len(asyncio.all_tasks())


async def sleep_for_ever() -> None:
    await anyio.sleep_forever()


def wait_in_thread() -> None:
    while not current_run().cancelled:
        time.sleep(0.01)


def wait_in_process() -> None:
    time.sleep(60)


def busy_scheduler() -> Scheduler:
    async def hear(event: object) -> None: ...

    scheduler = Scheduler(shutdown_timeout=0.05, observers=[hear], stall_threshold=0.5)
    scheduler.job()(sleep_for_ever)
    scheduler.job(timeout=30)(wait_in_thread)
    scheduler.job(executor="process")(wait_in_process)

    @scheduler.interval(seconds=0.02)
    async def tick() -> None:
        await anyio.sleep(0.01)

    @scheduler.interval(seconds=0.02, each_instance=True)
    def tock() -> None: ...

    return scheduler


async def cycle(scheduler: Scheduler, *, in_flight: bool = True) -> None:
    async with scheduler:
        if not in_flight:
            return
        for job in (sleep_for_ever, wait_in_thread, wait_in_process):
            for _ in range(2):
                await scheduler.schedule_once(job)
        with anyio.fail_after(PATIENCE):
            while len(await scheduler.runs(state="running")) < 6:
                await anyio.sleep(0.01)


async def more_than(before: Left) -> dict[str, object]:
    """Return what there is more than before, once the abandoned threads had a moment to notice.

    There may be less: a thread of an earlier test's server, say, ends meanwhile.
    """
    more: dict[str, object] = {}
    with anyio.move_on_after(20):
        while more := _surplus(left(), before):
            await anyio.sleep(0.05)
    return more


def _surplus(now: Left, before: Left) -> dict[str, object]:
    counts = {
        name: count
        for name in ("tasks", "processes", "files", "sockets")
        if (count := getattr(now, name) - getattr(before, name)) > 0
    }
    threads = now.threads - before.threads
    return {**counts, **({"threads": threads} if threads else {})}


async def test_start_and_stop_over_and_over_leave_nothing_behind() -> None:
    scheduler, others = busy_scheduler(), left().processes  # a database server of other tests, perhaps
    await cycle(scheduler)  # what the first one imports and opens once for all is no leak
    before = await at_first()
    for _ in range(3):
        await cycle(scheduler)
    assert await more_than(before) == {}
    after = left()
    assert after.processes <= others
    assert not [name for name in after.threads if name.startswith("asyncsched")]


async def test_an_idle_life_leaves_nothing_behind() -> None:
    await cycle(busy_scheduler(), in_flight=False)
    before = await at_first()
    for _ in range(20):
        await cycle(busy_scheduler(), in_flight=False)
    assert await more_than(before) == {}


async def test_a_cancelled_life_leaves_nothing_behind() -> None:
    scheduler = busy_scheduler()
    await cycle(scheduler)
    before = await at_first()
    for _ in range(3):
        with anyio.CancelScope() as scope:
            async with scheduler:
                for job in (sleep_for_ever, wait_in_thread, wait_in_process):
                    await scheduler.schedule_once(job)
                await anyio.sleep(0.2)
                scope.cancel()
                await anyio.sleep(1)
    assert await more_than(before) == {}


async def test_a_start_that_failed_leaves_nothing_behind() -> None:
    async def fail() -> None:
        scheduler = busy_scheduler()

        class Never:
            def next(self, after: object) -> None:
                return None

        scheduler.job(Never(), name="never")(sleep_for_ever.__call__)
        with pytest.raises(ValueError, match="never fires"):
            async with scheduler:
                pass

    await fail()
    before = await at_first()
    for _ in range(3):
        await fail()
    assert await more_than(before) == {}


async def test_the_counting_sees_a_process_job_and_its_task() -> None:
    scheduler = busy_scheduler()
    before = left()
    async with scheduler:
        handle = await scheduler.schedule_once(wait_in_process)
        with anyio.fail_after(PATIENCE):
            while left().processes == before.processes:
                await anyio.sleep(0.01)
        assert left().tasks > before.tasks
        await handle.cancel()
