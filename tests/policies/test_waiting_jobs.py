"""Jobs that wait for jobs of the same executor: a waiting one lends its place."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import anyio
import anyio.from_thread
import pytest

from asyncsched import Once, Scheduler
from asyncsched._engine import capacity
from asyncsched.executors import LoopExecutor, ThreadExecutor

pytestmark = pytest.mark.anyio

Make = Callable[..., Scheduler]


async def test_thread_jobs_that_wait_for_thread_jobs_do_not_hang(make_scheduler: Make) -> None:
    threads = ThreadExecutor(4)
    scheduler = make_scheduler(executors={"thread": threads})

    @scheduler.job()
    def inner(number: int) -> int:
        return number * number

    @scheduler.job()
    def outer(number: int) -> int:
        handle = scheduler.schedule_once_sync(inner, number)
        return anyio.from_thread.run(handle.result)

    async with scheduler:
        handles = await scheduler.schedule_many([Once(outer, (number,)) for number in range(12)])
        assert [await handle.result(timeout=60) for handle in handles] == [n * n for n in range(12)]
        # Again: four at once, and no more.
        places = scheduler._running().environment.capacity
        free = [places.free["thread"]]
        handles = await scheduler.schedule_many([Once(inner, (number,)) for number in range(12)])
        for handle in handles:
            await handle.result()
            free.append(places.free["thread"])
        assert min(free) >= 0
    # No place is left over or missing. A run's outcome is told before its attempt gives its place back.
    assert places.free["thread"] == 4
    assert threads.threads == 0


async def test_coroutine_jobs_that_wait_for_others_do_not_hang(make_scheduler: Make) -> None:
    scheduler = make_scheduler(executors={"loop": LoopExecutor(2)})

    @scheduler.job()
    async def down(depth: int) -> int:
        if not depth:
            return 0
        many = await scheduler.schedule_many([Once(down, (depth - 1,)), Once(down, (depth - 1,))])
        found: list[int] = []

        async def wait(number: int) -> None:
            found.append(await many[number].result())

        async with anyio.create_task_group() as group:
            group.start_soon(wait, 0)
            group.start_soon(wait, 1)
        return 1 + max(found)

    async with scheduler:
        assert await (await scheduler.schedule_once(down, 4)).result(timeout=600) == 4
        places = scheduler._running().environment.capacity
    assert places.free["loop"] == 2


async def test_a_waiting_job_that_is_cancelled_gives_its_place_back_once(make_scheduler: Make) -> None:
    scheduler = make_scheduler(executors={"loop": LoopExecutor(2)})
    waits = anyio.Event()

    @scheduler.job()
    async def inner() -> None:
        await anyio.sleep_forever()

    @scheduler.job()
    async def outer() -> None:
        handle = await scheduler.schedule_once(inner)
        waits.set()
        await handle.wait()

    async with scheduler:
        handle = await scheduler.schedule_once(outer)
        await waits.wait()
        await anyio.wait_all_tasks_blocked()
        await handle.cancel()
        await handle.wait()
        for run in await scheduler.runs(state="running"):
            await scheduler.handle(run.id).cancel()
            await scheduler.handle(run.id).wait()
        places = scheduler._running().environment.capacity
    assert places.free["loop"] == 2


async def test_beyond_the_bound_the_log_says_who_waits_for_whom(
    make_scheduler: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(capacity, "MOST_LENT", 1)
    scheduler = make_scheduler(executors={"loop": LoopExecutor(2)})
    made: dict[str, Any] = {}

    @scheduler.job()
    async def inner() -> None: ...

    @scheduler.job()
    async def outer(name: str) -> None:
        made[name] = await scheduler.schedule_once(inner, delay=60)
        await made[name].wait()

    with caplog.at_level(logging.ERROR):
        async with scheduler:
            handles = await scheduler.schedule_many([Once(outer, ("a",)), Once(outer, ("b",))])
            for handle in handles:
                await handle.wait(timeout=600)
    told = [line for line in caplog.messages if "and so many runs in executor 'loop' wait" in line]
    assert len(told) == 1
    assert any(f"for run {handle.id}" in told[0] for handle in made.values())
