"""Hand-off as users see it, over an engine that the test drives: the same call, handle, history and rules."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsched import ConfigurationError, Retry, RunFailed, Scheduler
from asyncsched.executors.handoff import EngineUnavailable, HandoffExecutor, TaskLost
from asyncsched.executors.handoff import courier as courier_module
from asyncsched.stores.sqlite import SqliteStore
from tests.each_store import sqlite_file
from tests.executors.handoff.elsewhere import Elsewhere
from tests.waiting import soon

# An engine is in the real world, and the watchdog of a scheduler there ends by a short join.
pytestmark = [pytest.mark.anyio, pytest.mark.real_time, pytest.mark.blocking_ok]

Make = Callable[..., Scheduler]


@pytest.fixture
def engine() -> Elsewhere:
    return Elsewhere()


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, engine: Elsewhere, tmp_path: Path) -> Make:
    """Return what makes a scheduler over one and the same ledger, if that lasts, and the one engine."""

    file = sqlite_file(tmp_path)

    def new(**options: Any) -> Scheduler:
        store = None if request.param == "memory" else SqliteStore(file, poll=0.05)
        executor = HandoffExecutor(engine, **options)
        scheduler = Scheduler(store, executors={"elsewhere": executor}, shutdown_timeout=0)
        scheduler.job(executor="elsewhere", retry=Retry(2, delay=0, on=OSError))(divide)
        scheduler.job(executor="elsewhere", timeout=0.2)(hang)
        return scheduler

    return new


lasting = pytest.mark.parametrize("make", ["sqlite"], indirect=True)


def divide(a: int, b: int) -> float:
    if not b:
        raise OSError("the divisor is away")
    return a / b


def hang() -> None: ...


async def test_a_result_comes_back_and_the_run_has_the_engines_id(make: Make, engine: Elsewhere) -> None:
    async with make() as scheduler:
        handle = await scheduler.schedule_once(divide, 6, 4)
        await soon(lambda: engine.submitted)
        assert engine.submitted == [handle.id]
        assert (await handle.status()).reference == f"{handle.id} http://engine/{handle.id}"
        engine.end()
        assert await handle.result() == 1.5
        run = await handle.status()
        assert (run.state, run.reference) == ("succeeded", f"{handle.id} http://engine/{handle.id}")


async def test_an_exception_keeps_its_type_and_each_attempt_is_a_new_task(
    make: Make, engine: Elsewhere
) -> None:
    async with make() as scheduler:
        handle = await scheduler.schedule_once(divide, 1, 0)
        await soon(lambda: engine.submitted)
        engine.end()
        await soon(lambda: len(engine.submitted) == 2)
        engine.end()
        with pytest.raises(RunFailed, match="the divisor is away"):
            await handle.result()
        assert engine.submitted == [handle.id, f"{handle.id}-2"]
        run = await handle.status()
        assert [(one.number, one.error_type) for one in run.attempts] == [(1, "OSError"), (2, "OSError")]


async def test_a_cancel_ends_the_task_there(make: Make, engine: Elsewhere) -> None:
    async with make() as scheduler:
        handle = await scheduler.schedule_once(divide, 1, 1)
        await soon(lambda: engine.submitted)
        assert await handle.cancel()
        await soon(lambda: engine.cancelled == [handle.id])
        assert (await handle.status()).state == "cancelled"


async def test_a_timeout_ends_the_task_there(make: Make, engine: Elsewhere) -> None:
    async with make() as scheduler:
        handle = await scheduler.schedule_once(hang)
        run = await handle.wait()
        assert run.state == "timed_out"
        await soon(lambda: engine.cancelled == [handle.id])


async def test_a_task_that_is_cancelled_while_it_is_handed_over_is_ended_there(
    make: Make, engine: Elsewhere
) -> None:
    began, go_on = threading.Event(), threading.Event()

    def slowly() -> None:
        began.set()
        assert go_on.wait(30)

    engine.at_submit = slowly
    async with make() as scheduler:
        handle = await scheduler.schedule_once(divide, 1, 1)
        await soon(began.is_set)
        await handle.cancel()
        go_on.set()
        await soon(lambda: engine.cancelled == [handle.id])


async def test_a_thousand_tasks_are_asked_for_together(make: Make, engine: Elsewhere) -> None:
    async with make() as scheduler:
        handles = [await scheduler.schedule_once(divide, number, 1) for number in range(1000)]
        await soon(lambda: len(engine.submitted) == 1000)
        before = engine.polls
        for number in range(1000):
            engine.end(number)
        assert sum([await handle.result() for handle in handles]) == sum(range(1000))
        assert engine.polls - before < 20


# ── an engine that is away ───────────────────────────────────────────────────────────────────────


async def test_an_engine_that_is_down_at_the_start_gets_the_tasks_later(
    make: Make, engine: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "asyncsched.executors")
    engine.is_away.set()
    async with make() as scheduler:
        handle = await scheduler.schedule_once(divide, 6, 4)
        await soon(lambda: "its engine cannot be reached" in caplog.text)
        await anyio.sleep(0.2)
        assert (await handle.status()).state == "running"
        engine.is_away.clear()
        await soon(lambda: engine.submitted)
        engine.end()
        assert await handle.result() == 1.5
    told = [record for record in caplog.records if record.name == "asyncsched.executors"]
    assert [record.levelno for record in told] == [logging.WARNING, logging.INFO]


async def test_an_engine_that_goes_away_meanwhile_loses_nothing(make: Make, engine: Elsewhere) -> None:
    async with make() as scheduler:
        handle = await scheduler.schedule_once(divide, 6, 4)
        await soon(lambda: engine.submitted)
        engine.is_away.set()
        engine.end()
        await anyio.sleep(0.2)
        engine.is_away.clear()
        assert await handle.result() == 1.5
        assert engine.submitted == [handle.id]


async def test_an_engine_that_stays_away_fails_what_it_never_got(make: Make, engine: Elsewhere) -> None:
    engine.is_away.set()
    async with make(patience=0.1) as scheduler:
        run = await (await scheduler.schedule_once(divide, 1, 1)).wait()
        assert run.state == "failed"
        assert run.error_type == f"{EngineUnavailable.__module__}.EngineUnavailable"
        assert "elsewhere could not be reached for 0.1 s: ConnectionError: nobody listens" in run.message


async def test_a_task_that_the_engine_no_longer_knows_is_told_as_lost(make: Make, engine: Elsewhere) -> None:
    async with make() as scheduler:
        handle = await scheduler.schedule_once(divide, 1, 1)
        await soon(lambda: engine.submitted)
        engine.lose()
        run = await handle.wait()
        assert run.state == "failed"
        assert run.error_type == f"{TaskLost.__module__}.TaskLost"
        assert "no longer knows task" in run.message


async def test_what_the_engine_cannot_take_fails_its_own_run_alone(make: Make, engine: Elsewhere) -> None:
    def refuse() -> None:
        engine.at_submit = lambda: None
        raise TypeError("cannot be sent")

    engine.at_submit = refuse
    async with make() as scheduler:
        # Which of the two is handed over first is trio's choice, so either may be the refused one.
        handles = [await scheduler.schedule_once(divide, number, 2) for number in (6, 6)]
        await soon(lambda: engine.submitted)
        engine.end()
        outcomes = [await handle.wait() for handle in handles]
    assert sorted(outcome.state for outcome in outcomes) == ["failed", "succeeded"]
    assert {outcome.message for outcome in outcomes} == {"cannot be sent", ""}


# ── a process that goes ──────────────────────────────────────────────────────────────────────────


@lasting
async def test_a_shutdown_leaves_the_task_and_the_next_instance_takes_the_wait_up(
    make: Make, engine: Elsewhere
) -> None:
    async with make() as first:
        handle = await first.schedule_once(divide, 6, 4)
        await soon(lambda: engine.submitted)
    assert engine.cancelled == []
    engine.end()  # while no instance is there
    async with make() as second:
        run = await second.handle(handle.id).wait()
        assert (run.state, run.result, run.attempt) == ("succeeded", 1.5, 1)
    assert engine.submitted == [handle.id]


@lasting
async def test_what_was_not_handed_over_before_a_shutdown_is_handed_over_once(
    make: Make, engine: Elsewhere
) -> None:
    engine.is_away.set()
    async with make() as first:
        handle = await first.schedule_once(divide, 6, 4)
        await soon(lambda: _referenced(first))
    engine.is_away.clear()
    assert engine.submitted == []
    async with make() as second:
        await soon(lambda: engine.submitted)
        engine.end()
        assert await second.handle(handle.id).result() == 1.5
    assert engine.submitted == [handle.id]


def _referenced(scheduler: Scheduler) -> bool:
    attempts = scheduler._runtime.main.runner.running.values()  # type: ignore[union-attr]
    return any(attempt.run.reference for attempt in attempts)


@pytest.mark.parametrize("make", ["memory"], indirect=True)
async def test_in_memory_a_shutdown_cancels_the_task_for_nobody_would_take_it_up(
    make: Make, engine: Elsewhere
) -> None:
    async with make() as scheduler:
        handle = await scheduler.schedule_once(divide, 1, 1)
        await soon(lambda: engine.submitted)
    assert engine.cancelled == [handle.id]


async def test_an_outcome_is_deleted_there_when_the_store_surely_has_it(
    make: Make, engine: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier_module, "FORGET_AFTER", 0.0)
    async with make() as scheduler:
        first = await scheduler.schedule_once(divide, 1, 1)
        await soon(lambda: engine.submitted)
        engine.end()
        await first.wait()
        await scheduler.schedule_once(divide, 1, 1)
        await soon(lambda: engine.forgotten == [first.id])


def half(a: int) -> float:
    return divide(a, 2)


async def test_a_parallel_loop_gives_the_engine_a_task_for_each_item_and_cancels_what_is_left(
    make: Make, engine: Elsewhere
) -> None:
    found: list[float] = []

    async def consume() -> None:
        async for value in scheduler.map(half, range(100), executor="elsewhere", limit=3):
            found.append(value)

    async with make() as scheduler:
        async with anyio.create_task_group() as group:
            group.start_soon(consume)
            await soon(lambda: len(engine.submitted) == 3)
            for number in range(3):
                engine.end(number)
            await soon(lambda: len(found) == 3 and len(engine.submitted) == 6)
            group.cancel_scope.cancel()
        await soon(lambda: len(engine.cancelled) == 3)
    assert found == [0.0, 0.5, 1.0]
    assert len(set(engine.submitted)) == 6
    assert set(engine.cancelled) == set(engine.submitted[3:])


@pytest.mark.parametrize(
    "engine_name, package", [("celery", "celery"), ("dask", "distributed"), ("rq", "rq"), ("huey", "huey")]
)
def test_an_engine_whose_package_is_missing_says_which_extra_it_needs(
    engine_name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"asyncsched.executors.handoff.{engine_name}"
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(ConfigurationError, match=rf"needs .*: pip install 'asyncsched\[{engine_name}\]'"):
        importlib.import_module(module)
