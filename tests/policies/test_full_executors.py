"""Threads that do not return are bounded, and a run that waits for a place says so."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest

from asyncsched import ConfigurationError, Interval, Scheduler, current_run
from asyncsched.executors import LoopExecutor, ThreadExecutor
from tests.each_store import POSTGRES, SQLITE, sqlite_file

pytestmark = pytest.mark.anyio

Make = Callable[..., Scheduler]


@pytest.fixture(params=["memory", SQLITE, POSTGRES])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    if request.param == "memory":
        return None
    if request.param == "sqlite":
        return f"sqlite:///{sqlite_file(tmp_path)}"
    return str(request.getfixturevalue("shared_dsn"))


@pytest.mark.real_time
@pytest.mark.blocking_ok
async def test_a_hung_function_takes_no_thread_after_another_without_end(
    url: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    threads = ThreadExecutor(2, abandoned_limit=3)
    scheduler = Scheduler(url, executors={"thread": threads})
    release = threading.Event()

    @scheduler.job(timeout=0.05)
    def hang() -> str:
        release.wait(60)
        return "returned"

    @scheduler.job()
    def fine() -> str:
        return "fine"

    with caplog.at_level(logging.ERROR):
        async with scheduler:
            try:
                while threads.abandoned < 3:  # on a busy machine a timeout may come before the thread begins
                    run = await (await scheduler.schedule_once(hang)).wait(timeout=30)
                    assert run.state == "timed_out"
                held = await scheduler.schedule_once(hang)
                assert await (await scheduler.schedule_once(fine)).result(timeout=30) == "fine"
                run = await held.status()
                assert (run.state, run.attempt) == ("pending", 0)
                why = "one of 3 threads of executor 'thread' to return, which go on with runs that have ended"
                assert run.waiting_for == f"{why} (job 'hang': 3)"
                assert [one.waiting_for for one in await scheduler.runs(state="pending")] == [run.waiting_for]
                health = scheduler.health()
                assert not health.ok
                assert health.trouble.startswith(f"no run of job 'hang' is begun: it waits for {why}")
                assert threads.abandoned == 3
            finally:
                release.set()
            ended = await held.wait(timeout=30)  # the threads have returned, and it begins
            assert ended.attempt == 1
            assert scheduler.health().ok
    told = [line for line in caplog.messages if "3 threads go on with runs that have ended" in line]
    assert len(told) == 1


async def test_a_run_that_waits_for_a_place_says_so(make_scheduler: Make, virtual_clock: Any) -> None:
    scheduler = make_scheduler(executors={"loop": LoopExecutor(1)})

    @scheduler.job()
    async def long(seconds: float) -> str:
        await anyio.sleep(seconds)
        return current_run().job

    async with scheduler:
        first = await scheduler.schedule_once(long, 100)
        await scheduler.add_schedule(long, Interval(seconds=50), id="often", args=(0,))
        await virtual_clock.advance(60)
        place = "a place in executor 'loop' (1)"
        (waiting,) = await scheduler.runs(state="pending")
        assert waiting.waiting_for == place
        assert (await scheduler.handle(waiting.id).status()).waiting_for == place
        said = await scheduler.explain("often", waiting.scheduled_for)
        assert (said.verdict, said.text) == ("pending", f"it waits for {place}")
        assert scheduler.health().full == (f"runs wait for {place}",)
        assert scheduler.health().ok
        later = await scheduler.schedule_once(long, 0, delay=timedelta(hours=1))
        assert (await later.status()).waiting_for is None  # it waits for its time
        await first.wait()
        await virtual_clock.advance(1)
        assert (await scheduler.handle(waiting.id).wait()).state == "succeeded"
        assert scheduler.health().full == ()


def test_a_bound_of_no_thread_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="abandoned_limit must be at least 1, not 0"):
        ThreadExecutor(2, abandoned_limit=0)
