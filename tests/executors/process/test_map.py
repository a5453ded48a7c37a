"""``Scheduler.map`` over processes: short calls in batches, each item's failure its own, and the worker's death too."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsched import ConfigurationError, RunCancelled, Scheduler, current_run
from asyncsched.abc import Executor
from asyncsched.executors import ItemFailed, MapFailed, ProcessExecutor
from asyncsched.executors.process import WorkerDied
from tests.executors import jobs, mapped
from tests.executors.failures import ApiError
from tests.executors.helpers import begun
from tests.leftovers import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]


def scheduler_of(processes: int) -> Scheduler:
    return scheduler_with(process=ProcessExecutor(processes))


def scheduler_with(**executors: Executor) -> Scheduler:
    # Without a watchdog, whose thread the scheduler would join in the loop.
    return Scheduler(executors=executors, shutdown_timeout=0, stall_threshold=None)


async def test_many_short_calls_go_to_a_worker_together_and_results_keep_their_order() -> None:
    # No job names the executor at the start, so it is opened by the loop.
    async with scheduler_with() as scheduler:
        squares = [value async for value in scheduler.map(mapped.square, range(3000), executor="process")]
        pids = {
            value async for value in scheduler.map(mapped.pid_for, range(300), executor="process", limit=1)
        }
    assert squares == [number * number for number in range(3000)]
    assert len(pids) == 1


async def test_an_item_that_kills_its_worker_fails_alone_and_nothing_is_called_twice(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    found = []
    async with scheduler_of(1) as scheduler:
        with pytest.raises(MapFailed) as told:
            async for value in scheduler.map(
                mapped.die_at, [(n, 57, str(calls)) for n in range(200)], executor="process"
            ):
                found.append(value)
    assert found == [n for n in range(200) if n != 57]
    assert calls.read_text().split() == [str(n) for n in range(200)]
    (failed,) = told.value.exceptions
    assert isinstance(failed, ItemFailed)
    assert (failed.index, type(failed.__cause__)) == (57, WorkerDied)
    assert "item 57 of map over 'die_at' failed" in str(failed)


async def test_an_item_that_cannot_be_sent_or_read_there_fails_alone() -> None:
    items = [1, 2, (n for n in "generator"), mapped.Unreadable(), 5]
    async with scheduler_of(1) as scheduler:
        found = [
            value
            async for value in scheduler.map(
                mapped.echo, items, executor="process", on_error="yield", batch=5
            )
        ]
    assert (found[:2], found[4]) == ([1, 2], 5)
    for index, words in ((2, "argument 'value' of job 'echo' cannot be sent"), (3, "not here")):
        failed = found[index]
        assert isinstance(failed, ItemFailed)
        assert str(failed).startswith(f"item {index} of map over 'echo' failed: ")
        assert words in str(failed)


async def test_a_result_that_cannot_be_sent_back_and_an_exception_of_the_jobs_own_keep_what_they_are() -> (
    None
):
    async with scheduler_of(1) as scheduler:
        found = [
            value
            async for value in scheduler.map(
                mapped.odd_ones, range(3), executor="process", on_error="yield", batch=3
            )
        ]
    causes = [one.__cause__ for one in found if isinstance(one, ItemFailed)]
    assert found[0] == 0
    assert isinstance(causes[0], ConfigurationError)
    assert "returned a generator that cannot be sent back" in str(causes[0])
    assert isinstance(causes[1], ApiError)
    assert causes[1].status == 404


async def test_a_function_that_no_worker_can_load_ends_the_loop_at_once() -> None:
    async with scheduler_of(1) as scheduler:
        with pytest.raises(ConfigurationError, match="could not be loaded in a worker process"):
            async for _ in scheduler.map(mapped.Unreadable().method, range(100_000), executor="process"):
                pass


async def test_so_does_an_initializer_that_fails() -> None:
    executor = ProcessExecutor(1, initializer=jobs.fail_to_initialize, name="own")
    async with scheduler_with(own=executor) as scheduler:
        with pytest.raises(ConfigurationError, match="initializer of process executor 'own' failed"):
            async for _ in scheduler.map(mapped.square, range(100_000), executor="own"):
                pass


async def test_leaving_early_ends_the_calls_of_an_endless_iterable(tmp_path: Path) -> None:
    async with scheduler_of(2) as scheduler:
        async with scheduler.map(mapped.square, iter(int, 1), executor="process", ordered=False) as results:
            async for value in results:
                assert value == 0
                break


async def test_cancelling_the_run_around_it_kills_the_workers(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    scheduler = scheduler_of(1)

    @scheduler.job()
    async def nightly() -> None:
        async for _ in scheduler.map(mapped.hang, [str(marker)] * 3, executor="process"):
            pass

    async with scheduler:
        handle = await scheduler.schedule_once(nightly)
        await begun(marker)
        await handle.cancel()
        with pytest.raises(RunCancelled):
            await handle.result()
        assert eventually(lambda: not Path(f"/proc/{marker.read_text()}").exists())


async def test_a_worker_killed_from_outside_costs_its_item(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    found: list[Any] = []

    async def consume() -> None:
        items = [str(marker)] * 3
        async for value in scheduler.map(mapped.hang_once, items, executor="process", on_error="yield"):
            found.append(value)

    async with scheduler_of(1) as scheduler, anyio.create_task_group() as group:
        group.start_soon(consume)
        await begun(marker)
        os.kill(int(marker.read_text()), signal.SIGKILL)
    assert isinstance(found[0], ItemFailed)
    assert "SIGKILL" in str(found[0])
    assert found[1:] == [1, 1]


async def test_the_calls_belong_to_the_run_around_them() -> None:
    scheduler = scheduler_of(1)

    @scheduler.job()
    async def nightly() -> tuple[str, list[str]]:
        seen = [id async for id in scheduler.map(mapped.run_for, range(3), executor="process")]
        return current_run().id, seen

    async with scheduler:
        own, seen = await (await scheduler.schedule_once(nightly)).result()
    assert seen == [own] * 3
