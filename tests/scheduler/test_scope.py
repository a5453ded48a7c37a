"""A scope's schedules and one-offs end with its block."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncsched import (
    ConfigurationError,
    Interval,
    Retry,
    RunCancelled,
    Scheduler,
    SchedulerClosed,
    SchedulerStateError,
    current_run,
)
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def scheduler(virtual_clock: VirtualClock) -> Scheduler:
    return Scheduler(clock=virtual_clock)


async def test_what_a_scope_schedules_ends_with_its_block(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    sent: list[float] = []
    async with scheduler:
        async with scheduler.scope() as scope:

            @scope.interval(seconds=1)
            async def push() -> None:
                sent.append(virtual_clock.monotonic())

            running = await scope.schedule_once(anyio.sleep, 100)
            pending = await scope.schedule_once(anyio.sleep, 100, delay=50)
            await virtual_clock.advance(3.5)
        await virtual_clock.advance(10)
        assert sent == [1, 2, 3]
        assert [(await handle.status()).why for handle in (running, pending)] == ["scope", "scope"]
        with pytest.raises(RunCancelled):
            await running.result()
        assert await scheduler.runs() == [] and await scheduler.schedules() == []
        assert scheduler._runtime is not None and not scheduler._runtime.scopes
        assert len(scheduler._runtime.environment.capacity._subscribers) == 1


async def test_any_callable_will_do(scheduler: Scheduler, virtual_clock: VirtualClock) -> None:
    seen: list[str] = []
    async with scheduler, scheduler.scope() as scope:
        await scope.add_schedule(lambda: seen.append("lambda in a thread"), Interval(seconds=2), id="a")
        await scope.add_schedule(seen.append, Interval(seconds=3), id="b", args=("bound method",))
        result = await scope.schedule_once(lambda: 42)
        assert await result.result() == 42
        await virtual_clock.advance(3.5)
        assert {schedule.id for schedule in await scope.schedules()} == {"a", "b"}
    assert seen == ["lambda in a thread", "bound method"]


async def test_the_scopes_decorators_take_the_jobs_options(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    tries: list[int] = []
    async with scheduler, scheduler.scope() as scope:

        @scope.cron("* * * * *", retry=Retry(attempts=2, delay=1), id="minutely")
        async def flaky() -> None:
            tries.append(current_run().attempt)
            raise ValueError

        @scope.job(max_running=1)
        async def one_at_a_time() -> None:
            await anyio.sleep(10)

        first, second = [await scope.schedule_once(one_at_a_time) for _ in range(2)]
        await virtual_clock.advance(5)
        assert [(await handle.status()).state for handle in (first, second)] == ["running", "pending"]
        await virtual_clock.advance(60)
    assert tries[:2] == [1, 2]


async def test_a_declared_job_keeps_its_options_in_a_scope(scheduler: Scheduler) -> None:
    @scheduler.job(retry=Retry(attempts=3, delay=0))
    async def declared() -> int:
        if current_run().attempt < 3:
            raise ValueError
        return current_run().attempt

    async with scheduler, scheduler.scope() as scope:
        assert await (await scope.schedule_once(declared)).result() == 3
        assert await (await scope.schedule_once("declared")).result() == 3
        assert await scheduler.runs() == []


async def test_a_jobs_failure_does_not_end_the_block(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async def broken() -> None:
        raise RuntimeError("no")

    async with scheduler, scheduler.scope() as scope:
        handle = await scope.schedule_once(broken)
        assert (await handle.wait()).state == "failed"
        assert await (await scope.schedule_once(lambda: "still here")).result() == "still here"


async def test_a_block_that_raises_or_is_cancelled_takes_its_schedules_along(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    cleaned: list[str] = []

    async def tidy(name: str) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cleaned.append(name)

    async with scheduler:
        with suppress(KeyError):
            async with scheduler.scope() as scope:
                await scope.schedule_once(tidy, "raised")
                await virtual_clock.advance(1)
                raise KeyError
        with anyio.move_on_after(5):
            async with scheduler.scope() as scope:
                await scope.schedule_once(tidy, "cancelled")
                await anyio.sleep_forever()
        assert cleaned == ["raised", "cancelled"]
        assert scheduler._runtime is not None and not scheduler._runtime.scopes


async def test_after_the_block_its_calls_say_that_it_is_closed(scheduler: Scheduler) -> None:
    async with scheduler:
        async with scheduler.scope() as scope:
            assert "open" in repr(scope)
        assert "closed" in repr(scope)
        for call in (lambda: scope.schedule_once(anyio.sleep, 1), scope.runs, scope.schedules):
            with pytest.raises(SchedulerClosed, match="the scope has been closed"):
                await call()
        with pytest.raises(SchedulerClosed):
            scope.interval(seconds=1)(anyio.sleep)


async def test_a_scope_outside_a_running_scheduler_says_so(scheduler: Scheduler) -> None:
    with pytest.raises(SchedulerStateError, match="has not been started"):
        scheduler.scope()


async def test_shutdown_ends_what_an_open_scope_runs(virtual_clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=virtual_clock, shutdown_timeout=2)
    async with scheduler:
        block = scheduler.scope()
        scope = await block.__aenter__()
        handle = await scope.schedule_once(anyio.sleep, 3600)
        await virtual_clock.advance(1)
    assert virtual_clock.monotonic() == pytest.approx(3)
    run = await handle.status()
    assert (run.state, run.why) == ("cancelled", "shutdown")
    with pytest.raises(SchedulerClosed, match="the scope has been closed"):
        await scope.schedule_once(anyio.sleep, 1)
    await block.__aexit__(None, None, None)


async def test_scopes_are_apart_from_each_other(scheduler: Scheduler, virtual_clock: VirtualClock) -> None:
    counts: dict[str, int] = {"a": 0, "b": 0}
    async with scheduler, scheduler.scope() as one:
        async with scheduler.scope() as two:
            for name, scope in (("a", one), ("b", two)):

                async def push(name: str = name) -> None:
                    counts[name] += 1

                scope.interval(seconds=1, id="push")(push)
            await virtual_clock.advance(2.5)
        await virtual_clock.advance(2)
        await one.pause("push")
        await virtual_clock.advance(5)
    assert counts == {"a": 4, "b": 2}


async def test_an_executor_that_was_not_open_at_the_start_is_refused_in_words(scheduler: Scheduler) -> None:
    async with scheduler, scheduler.scope() as scope:
        with pytest.raises(ConfigurationError, match="job 'heavy': executor 'process' was not open"):

            @scope.interval(seconds=1, executor="process")
            def heavy() -> None: ...


async def test_a_thousand_scopes_leave_nothing_behind(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        runtime: Any = scheduler._runtime
        tasks_before = len(getattr(runtime.environment.backend, "_tasks", ()))
        for _ in range(1000):
            async with scheduler.scope() as scope:
                scope.interval(seconds=1)(anyio.lowlevel.checkpoint)
                await scope.schedule_once(lambda: None, delay=100)
        await virtual_clock.advance(0)
        assert not runtime.scopes and len(runtime.environment.capacity._subscribers) == 1
        assert len(getattr(runtime.environment.backend, "_tasks", ())) == tasks_before
        assert runtime.environment.waiters.waited_for == []
