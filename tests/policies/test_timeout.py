"""How an attempt that takes too long ends, on the loop; threads and processes have their own tests."""

from __future__ import annotations

import logging
from datetime import timedelta

import anyio
import pytest

from asyncsched import Retry, RunTimedOut, Scheduler, current_run
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio


async def test_an_attempt_ends_at_its_timeout(scheduler: Scheduler, virtual_clock: VirtualClock) -> None:
    @scheduler.job(timeout=5)
    async def hangs() -> None:
        await anyio.sleep_forever()

    async with scheduler:
        began = virtual_clock.now()
        handle = await scheduler.schedule_once(hangs)
        with pytest.raises(RunTimedOut, match="5 s"):
            await handle.result()
        assert virtual_clock.now() - began == timedelta(seconds=5)
        run = await handle.status()
    assert (run.state, run.error_type) == ("timed_out", "TimeoutError")
    assert "anyio.sleep_forever()" in run.traceback or run.traceback


async def test_the_job_can_catch_its_end_and_clean_up(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    cleaned: list[bool] = []

    @scheduler.job(timeout=5)
    async def tidy() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2)
            cleaned.append(current_run().cancelled)

    async with scheduler:
        run = await (await scheduler.schedule_once(tidy)).wait()
    assert cleaned == [True]
    assert run.state == "timed_out"
    assert run.finished_at is not None and run.started_at is not None
    assert run.finished_at - run.started_at == timedelta(seconds=7)


async def test_a_timeout_is_retried_like_a_failure_and_counts_for_each_attempt(scheduler: Scheduler) -> None:
    @scheduler.job(timeout=5, retry=Retry(attempts=3, delay=0, on=TimeoutError))
    async def slow_at_first() -> int:
        if current_run().attempt < 3:
            await anyio.sleep(6)
        await anyio.sleep(4)
        return current_run().attempt

    async with scheduler:
        handle = await scheduler.schedule_once(slow_at_first)
        assert await handle.result() == 3
        run = await handle.status()
    assert [attempt.state for attempt in run.attempts] == ["timed_out", "timed_out", "succeeded"]


async def test_a_job_can_extend_its_timeout(scheduler: Scheduler) -> None:
    @scheduler.job(timeout=5)
    async def longer(by: float) -> str:
        await anyio.sleep(4)
        current_run().extend_timeout(by)
        await anyio.sleep(4)
        return "done"

    async with scheduler:
        enough = await scheduler.schedule_once(longer, 3.5)
        little = await scheduler.schedule_once(longer, 2)
        assert await enough.result() == "done"
        assert (await little.wait()).state == "timed_out"


async def test_a_wrong_extension_is_refused_in_words_and_changes_nothing(scheduler: Scheduler) -> None:
    @scheduler.job(timeout=5)
    async def wrong() -> str:
        try:
            current_run().extend_timeout(-1)
        except ValueError as error:
            return str(error)
        return "taken"

    async with scheduler:
        assert "job 'wrong': extend_timeout" in await (await scheduler.schedule_once(wrong)).result()


async def test_a_job_that_swallows_cancellation_is_reported_and_its_seat_is_freed(
    scheduler: Scheduler, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    freed: list[str] = []

    @scheduler.interval(seconds=10, timeout=3, max_running=1)
    async def stubborn() -> None:
        freed.append("begun")
        with anyio.CancelScope(shield=True):
            try:
                await anyio.sleep(60)
            except BaseException:
                await anyio.sleep(60)

    async with scheduler:
        with caplog.at_level(logging.ERROR, "asyncsched.job"):
            await virtual_clock.advance(19)
            (run,) = await scheduler.runs()
            assert (run.state, run.why) == ("timed_out", "")
            assert run.finished_at is not None and run.started_at is not None
            assert run.finished_at - run.started_at == timedelta(seconds=3 + 5)
            await virtual_clock.advance(2)
        assert len(freed) == 2  # a hung run never stops its schedule
        reported = [r for r in caplog.records if "swallows cancellation" in r.message]
        assert reported and "'stubborn'" in reported[0].message
        assert reported[0].run_id == run.id  # type: ignore[attr-defined]
        await scheduler.pause("stubborn")
        await virtual_clock.advance(200)  # what was left to itself ends before the test does


async def test_what_an_abandoned_attempt_still_says_is_nobodys(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.job(timeout=1)
    async def stubborn() -> str:
        with anyio.CancelScope(shield=True):
            for second in range(20):
                try:
                    await anyio.sleep(1)
                except BaseException:
                    await anyio.sleep(1)
                current_run().progress(second)
        return "too late"

    async with scheduler:
        handle = await scheduler.schedule_once(stubborn)
        run = await handle.wait()
        said = run.progress
        await virtual_clock.advance(30)
        later = await handle.status()
    assert later.state == "timed_out"
    assert later.progress == said
    assert later.result is None


async def test_a_value_returned_after_the_timeout_is_too_late(scheduler: Scheduler) -> None:
    @scheduler.job(timeout=1)
    async def late() -> str:
        try:
            await anyio.sleep(10)
        except BaseException:
            return "as if nothing had been"
        return "never"

    async with scheduler:
        assert (await (await scheduler.schedule_once(late)).wait()).state == "timed_out"
