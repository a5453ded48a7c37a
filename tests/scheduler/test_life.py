"""A scheduler's life: started once, used while it is open, left where it was entered."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from asyncsched import ConfigurationError, Scheduler, SchedulerClosed, SchedulerStateError, StoreUnavailable
from asyncsched.executors import ThreadExecutor
from asyncsched.stores.memory import MemoryStore
from asyncsched.testing import VirtualClock
from tests.waiting import soon

pytestmark = pytest.mark.anyio


@pytest.fixture
def scheduler(virtual_clock: VirtualClock) -> Scheduler:
    return Scheduler(clock=virtual_clock)


async def nothing() -> None:
    pass


# ── before and after ─────────────────────────────────────────────────────────────────────────


async def test_use_before_the_start_says_how_to_start(scheduler: Scheduler) -> None:
    with pytest.raises(SchedulerStateError, match=r"has not been started; put lifespan=scheduler.lifespan"):
        await scheduler.schedule_once(nothing)


async def test_use_after_the_end_says_that_it_is_closed(scheduler: Scheduler) -> None:
    async with scheduler:
        pass
    with pytest.raises(SchedulerClosed, match="has been closed"):
        await scheduler.schedule_once(nothing)


async def test_started_twice_says_what_to_do_and_harms_nothing(scheduler: Scheduler) -> None:
    async with scheduler:
        with pytest.raises(SchedulerStateError, match=r"started already.*make a second Scheduler"):
            async with scheduler:
                pass
        await (await scheduler.schedule_once(nothing)).result()


async def test_a_closed_scheduler_starts_again_with_its_declarations(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    ticks: list[int] = []

    @scheduler.interval(seconds=10)
    async def tick() -> None:
        ticks.append(len(ticks))

    for _ in range(3):
        async with scheduler:
            await virtual_clock.advance(11)
    assert ticks == [0, 1, 2]


async def test_a_declaration_while_it_runs_says_what_to_use(scheduler: Scheduler) -> None:
    async with scheduler:
        with pytest.raises(SchedulerStateError, match="add_schedule"):
            scheduler.interval(seconds=1)(nothing)


async def test_the_representation_tells_its_state(scheduler: Scheduler) -> None:
    assert "not started" in repr(scheduler)
    async with scheduler:
        assert "running" in repr(scheduler)
    assert "closed" in repr(scheduler)


# ── failing starts ───────────────────────────────────────────────────────────────────────────


async def test_a_trigger_that_never_fires_fails_the_start_and_leaves_nothing(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    class Never:
        def next(self, after: object) -> None:
            return None

    scheduler.job(Never(), name="job")(nothing)
    for _ in range(2):  # what was opened was closed again: the second try fails the same way
        with pytest.raises(ConfigurationError, match=r"'job'.*never fires"):
            async with scheduler:
                pass


async def test_an_executor_that_cannot_start_fails_the_start(virtual_clock: VirtualClock) -> None:
    class Broken(ThreadExecutor):
        async def __aenter__(self) -> Any:
            raise OSError("no threads today")

    scheduler = Scheduler(executors={"broken": Broken()}, clock=virtual_clock)
    with pytest.raises(OSError, match="no threads today"):
        async with scheduler:
            pass
    with pytest.raises(SchedulerStateError, match="not been started"):
        scheduler.drain()


async def test_an_unknown_role_in_the_environment_fails_the_start(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCSCHED_ROLE", "boss")
    with pytest.raises(ConfigurationError, match=r"ASYNCSCHED_ROLE.*'boss'"):
        async with scheduler:
            pass


# ── roles ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("role", ["off", "submit"])
async def test_a_role_that_runs_nothing_still_answers(role: Any, virtual_clock: VirtualClock) -> None:
    scheduler = Scheduler(role=role, clock=virtual_clock)

    @scheduler.interval(seconds=1)
    async def tick() -> None:
        raise AssertionError("it must not run")

    async with scheduler:
        handle = await scheduler.schedule_once(tick)
        await virtual_clock.advance(60)
        assert (await handle.status()).state == "pending"
        assert [one.id for one in await scheduler.schedules()] == ["tick"]


# ── tasks ────────────────────────────────────────────────────────────────────────────────────


async def test_left_in_another_task_says_so_and_how(scheduler: Scheduler, anyio_backend_name: str) -> None:
    await scheduler.__aenter__()

    async def leave() -> None:
        with pytest.raises(SchedulerStateError, match=r"another task.*`async with scheduler:`"):
            await scheduler.__aexit__(None, None, None)

    async with anyio.create_task_group() as group:
        group.start_soon(leave)
    if anyio_backend_name == "trio":  # whose nursery can be left by its own task only
        await scheduler.__aexit__(None, None, None)
    with pytest.raises(SchedulerClosed):
        scheduler.drain()


async def test_two_runs_share_neither_a_task_nor_a_context(scheduler: Scheduler) -> None:
    variable: ContextVar[str] = ContextVar("variable")
    seen: list[tuple[int, str | None]] = []

    @scheduler.job()
    async def look(text: str) -> None:
        seen.append((anyio.get_current_task().id, variable.get(None)))
        variable.set(text)
        await anyio.sleep(1)

    async with scheduler:
        handles = [await scheduler.schedule_once(look, text) for text in "abc"]
        for handle in handles:
            await handle.result()
    assert len({task for task, _ in seen}) == 3
    assert [found for _, found in seen] == [None] * 3


# ── what must not be noticed ─────────────────────────────────────────────────────────────────


async def test_failing_jobs_and_observers_are_noticed_by_nobody_else(
    virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: object) -> None:
        raise RuntimeError("a broken observer")

    async def broken_too(event: object) -> None:
        raise RuntimeError("a broken async observer")

    ticks: list[int] = []
    scheduler = Scheduler(observers=[broken, broken_too], clock=virtual_clock)

    @scheduler.interval(seconds=1)
    async def fails() -> None:
        raise SystemExit("a job that wants to end it all")

    @scheduler.interval(seconds=1)
    async def tick() -> None:
        ticks.append(1)

    async with scheduler:
        await virtual_clock.advance(5.5)
        assert len(await scheduler.runs(job="fails", state="failed")) == 5
    assert len(ticks) == 5
    assert "a broken observer" in caplog.text
    assert "a broken async observer" in caplog.text


@pytest.mark.parametrize("error", [StoreUnavailable("away"), RuntimeError("a bug")])
async def test_what_came_due_while_the_store_failed_is_fired_afterwards(
    virtual_clock: VirtualClock, error: Exception
) -> None:
    class Store(MemoryStore):
        away = False

        async def claim(self, claim: Any, now: Any) -> Any:
            if self.away:
                raise error
            return await super().claim(claim, now)

    store, ticks = Store(), []
    scheduler = Scheduler(store, clock=virtual_clock)

    @scheduler.interval(seconds=10)
    async def tick() -> None:
        ticks.append(1)

    async with scheduler:
        await virtual_clock.advance(15)
        store.away = True
        await virtual_clock.advance(50)
        assert len(ticks) == 1
        store.away = False
        await virtual_clock.advance(30)
        assert len(ticks) == 1 + 4  # the latest of those owed, and the grid from there on


async def test_a_cancelled_caller_leaves_its_one_off_alone(scheduler: Scheduler) -> None:
    ended: list[str] = []

    async def work() -> None:
        await anyio.sleep(5)
        ended.append("work")

    async with scheduler:
        with anyio.move_on_after(1) as scope:
            await (await scheduler.schedule_once(work)).result()
        assert scope.cancelled_caught
        await anyio.sleep(5)
    assert ended == ["work"]


# ── other threads ────────────────────────────────────────────────────────────────────────────


async def test_another_thread_schedules_and_gets_a_handle(scheduler: Scheduler) -> None:
    async def double(number: int) -> int:
        return number * 2

    async with scheduler:
        handle = await anyio.to_thread.run_sync(scheduler.schedule_once_sync, double, 21)
        assert await handle.result() == 42


async def test_another_threads_context_variables_are_carried(scheduler: Scheduler) -> None:
    request_id: ContextVar[str] = ContextVar("request_id", default="none")

    @scheduler.job(carry=[request_id])
    async def tell() -> str:
        return request_id.get()

    request_id.set("r-17")
    async with scheduler:
        handle = await anyio.to_thread.run_sync(scheduler.schedule_once_sync, tell)
        assert await handle.result() == "r-17"


async def test_an_error_reaches_the_other_thread(scheduler: Scheduler) -> None:
    async with scheduler:
        with pytest.raises(TypeError, match="does not take these arguments"):
            await anyio.to_thread.run_sync(scheduler.schedule_once_sync, nothing, 1)


async def test_the_sync_call_in_the_loops_thread_says_what_to_use(scheduler: Scheduler) -> None:
    async with scheduler:
        with pytest.raises(SchedulerStateError, match=r"use await scheduler.schedule_once"):
            scheduler.schedule_once_sync(nothing)


async def test_another_thread_hears_that_the_scheduler_was_closed_meanwhile(scheduler: Scheduler) -> None:
    async with scheduler:
        runtime = scheduler._running()
    with pytest.raises(SchedulerClosed, match="closed before it could answer"):
        await anyio.to_thread.run_sync(runtime.from_thread, nothing)


# ── idle ─────────────────────────────────────────────────────────────────────────────────────


class PlainClock:
    """Virtual time by a clock that, as the machine's, tells nobody of its steps."""

    def __init__(self, clock: VirtualClock) -> None:
        self.wall, self.monotonic, self.hold = clock.wall, clock.monotonic, clock.hold


async def test_an_idle_scheduler_wakes_three_times_a_minute_at_most(virtual_clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=PlainClock(virtual_clock))
    looked: list[float] = []

    @scheduler.cron("0 0 1 1 *")
    async def yearly() -> None: ...

    async with scheduler:
        worker = scheduler._running().main
        turn, call_due = worker.engine.turn, worker.timers._call_due
        worker.engine.turn = lambda: (looked.append(0), turn())[1]  # type: ignore[method-assign]
        worker.timers._call_due = lambda now: (looked.append(now), call_due(now))[1]  # type: ignore[method-assign]
        await virtual_clock.advance(600)
    assert 10 <= len(looked) <= 30


# ── stalls ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.real_time  # a blocked loop is a matter of the machine's own time
@pytest.mark.blocking_ok
async def test_a_coroutine_that_blocks_the_loop_is_named_with_milliseconds_and_stack(
    caplog: pytest.LogCaptureFixture,
) -> None:
    import time

    from asyncsched.events import LoopStalled

    heard: list[LoopStalled] = []

    def hear(event: LoopStalled) -> None:
        heard.append(event)

    hear.wants = LoopStalled  # type: ignore[attr-defined]
    scheduler = Scheduler(observers=[hear], stall_threshold=0.05)

    @scheduler.job()
    async def blocks() -> None:
        time.sleep(0.6)

    with caplog.at_level(logging.WARNING, "asyncsched.stall"):
        async with scheduler:
            handle = await scheduler.schedule_once(blocks)
            await handle.result()
            await soon(lambda: heard)
    assert heard[0].job == "blocks"
    assert heard[0].run_id == handle.id
    assert heard[0].milliseconds >= 200
    assert "time.sleep(0.6)" in heard[0].stack
    assert "job 'blocks'" in caplog.text
    assert "blocked the event loop for" in caplog.text


# ── a server that is going down ──────────────────────────────────────────────────────────────


class FakeUvicorn:
    """Has what is looked at of uvicorn's server."""

    def __init__(self) -> None:
        self.started = self.should_exit = self.force_exit = False
        self.servers: list[Any] = []

    def handle_exit(self, number: int, frame: Any) -> None:
        raise AssertionError("no signal comes")


@pytest.fixture
def uvicorn() -> Iterator[FakeUvicorn]:
    server = FakeUvicorn()
    found = signal.signal(signal.SIGTERM, server.handle_exit)
    yield server
    signal.signal(signal.SIGTERM, found)


async def test_nothing_is_begun_once_uvicorn_goes_down(
    uvicorn: FakeUvicorn, scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    ticks: list[int] = []

    @scheduler.interval(seconds=1)
    async def tick() -> None:
        ticks.append(1)

    async with scheduler:
        await virtual_clock.advance(2.5)
        uvicorn.should_exit = True
        await virtual_clock.advance(10)
    assert len(ticks) == 2


async def test_without_a_server_the_signals_are_left_alone(scheduler: Scheduler) -> None:
    found = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    async with scheduler:
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == found
