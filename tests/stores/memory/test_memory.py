"""What memory alone allows, and that nothing in it grows."""

from __future__ import annotations

import functools
import gc
import logging
from collections.abc import Iterator
from copy import copy
from datetime import datetime, timedelta
from typing import Any

import anyio
import pytest

from asyncsched import (
    ConfigurationError,
    Interval,
    Limit,
    RateLimit,
    Retry,
    Scheduler,
    Snooze,
    UnknownSchedule,
    current_run,
)
from asyncsched._core.ids import RunIds, moment_of
from asyncsched._core.instants import HOUR
from asyncsched._core.records import RunRecord
from asyncsched._core.rules.retention import ATTEMPTS_KEPT, Bounds
from asyncsched.stores.memory import MemoryStore
from asyncsched.stores.memory.run_queue import RunQueue, take_out
from asyncsched.testing import VirtualClock
from tests.policies.test_model import residue

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.ERROR)  # thousands of failures that are meant
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def scheduler(virtual_clock: VirtualClock) -> Scheduler:
    return Scheduler(clock=virtual_clock)


def sizes(scheduler: Scheduler) -> dict[str, int]:
    """Return how many entries every collection of a scheduler in memory has."""
    runtime: Any = scheduler._runtime
    store, agenda = runtime.main.store, runtime.main.agenda
    history = store._history
    return {
        "runs": len(store._runs),
        "entries": len(store._entries),
        "slots": sum(len(entry.slots) for entry in store._entries.values()),
        "live": sum(len(entry.live) for entry in store._entries.values()),
        "stretches": sum(len(entry.stretches) for entry in store._entries.values()),
        "keys": len(store._keys),
        "parked": sum(map(len, store._waiting._parked.values())),
        "ready": sum(len(queue._line) + len(queue._heap) for queue in store._waiting._ready.values()),
        "later": sum(len(queue._line) + len(queue._heap) for queue in store._waiting._later.values()),
        "limits": len(store._waiting.limiter),
        "waiting": sum(
            len(place.waiting._line) + len(place.waiting._heap)
            for place in store._waiting.limiter._places.values()
        ),
        "history": len(history),
        "recent": len(history._recent),
        "due": sum(map(len, agenda.heaps)),
        "schedules": len(agenda.schedules),
        "attempts": len(runtime.main.runner.running),
        "timers": len(runtime.main.timers._heap),
        "progress": len(runtime.main.runner.progressed.__self__._changed),
        "waiters": len(runtime.environment.waiters._events),
        "errors": len(runtime.environment.waiters._errors),
        "jobs": len(runtime.registry.jobs),
        "runnables": len(runtime.jobs),
    }


async def test_any_function_may_be_scheduled_once(scheduler: Scheduler) -> None:
    async def never_declared(text: str) -> str:
        return text.upper()

    async with scheduler:
        handles = [
            await scheduler.schedule_once(never_declared, "a"),
            await scheduler.schedule_once(lambda: "B"),
            await scheduler.schedule_once(functools.partial(never_declared, "c")),
            await scheduler.schedule_once("d".upper),
        ]
        assert [await handle.result() for handle in handles] == ["A", "B", "C", "D"]
        assert [(await handle.status()).job for handle in handles] == [
            "never_declared", "lambda", "never_declared-2", "upper",
        ]  # fmt: skip
        assert (await (await scheduler.schedule_once(never_declared, "e")).wait()).job == "never_declared"


async def test_arguments_and_results_are_passed_by_reference(scheduler: Scheduler) -> None:
    thing = object()

    async def same(given: object) -> object:
        return given

    async with scheduler:
        assert await (await scheduler.schedule_once(same, thing)).result() is thing


async def test_functions_made_for_each_request_do_not_fill_the_memory(scheduler: Scheduler) -> None:
    def for_request(number: int) -> Any:
        async def work() -> int:
            if number == 2499:
                raise ValueError(number)
            return number

        return work

    async with scheduler:
        waiting = [await scheduler.schedule_once(for_request(-1), delay=3600) for _ in range(50)]
        for number in range(2500):
            handle = await scheduler.schedule_once(for_request(number))
            await handle.wait()
        counted = sizes(scheduler)
        assert counted["jobs"] <= 1051 and counted["runnables"] <= 1051
        (again,) = await scheduler.requeue(handle.id)  # the last ones can still be run again
        assert (await again.wait()).message == "2499"
        assert await waiting[0].result() == -1


async def test_an_each_instance_job_runs_in_memory_and_is_in_no_list(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    ticks: list[datetime] = []

    @scheduler.interval(seconds=10, each_instance=True)
    async def refresh_cache() -> None:
        ticks.append(virtual_clock.now())

    async with scheduler:
        await virtual_clock.advance(35)
        by_hand = await scheduler.schedule_once(refresh_cache)
        assert (await by_hand.wait()).state == "succeeded"
        assert len(ticks) == 4
        assert await scheduler.schedules() == [] and await scheduler.runs() == []
        for call in (scheduler.run_now, scheduler.pause, scheduler.schedule):
            with pytest.raises(UnknownSchedule):
                await call("nobody")
        with pytest.raises(UnknownSchedule, match="each_instance: every instance keeps its own"):
            await scheduler.schedule("refresh_cache")
        with pytest.raises(ConfigurationError, match="'refresh_cache' is each_instance"):
            await scheduler.add_schedule(refresh_cache, Interval(seconds=5), id="more")


async def test_a_job_that_snoozes_for_ever_keeps_a_bounded_past(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async def never() -> None:
        raise Snooze(1)

    async with scheduler:
        handle = await scheduler.schedule_once(never)
        await virtual_clock.advance(300)
        run = await handle.status()
    assert len(run.attempts) == ATTEMPTS_KEPT
    assert run.attempts[0].started_at == run.due
    assert run.attempts[-1].finished_at > virtual_clock.now() - timedelta(seconds=2)


async def test_schedules_that_come_and_go_leave_nothing(
    virtual_clock: VirtualClock,
) -> None:
    scheduler = Scheduler(MemoryStore(Bounds(count=100)), clock=virtual_clock)

    @scheduler.job()
    async def check(url: str) -> None:
        await anyio.sleep(1.5)

    async with scheduler:
        for number in range(300):
            id = f"check-{number}"
            await scheduler.add_schedule(check, Interval(seconds=1), id=id, args=(id,))
            await virtual_clock.advance(3.2)
            if number % 3 == 0:
                await scheduler.pause(id)
            await scheduler.remove(id)
        await virtual_clock.advance(3600)
        counted = sizes(scheduler)
    assert {name: size for name, size in counted.items() if size} == {
        "runs": counted["history"], "slots": counted["slots"], "entries": counted["entries"],
        "history": counted["history"], "jobs": 1, "runnables": 1,
    }  # fmt: skip
    assert counted["runs"] <= 100 and counted["slots"] <= 100 and counted["entries"] <= 100


async def test_a_million_values_of_a_limit_do_not_stay(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.job(max_running=Limit(1, by="user"), rate_limit=RateLimit("1/s", by="user"))
    async def job(user: int) -> None: ...

    async with scheduler:
        for user in range(8000):
            await scheduler.schedule_once(job, user)
            if not user % 100:
                await virtual_clock.advance(2)
        await virtual_clock.advance(2)
        assert sizes(scheduler)["limits"] <= 2100


async def test_work_cancelled_long_before_its_time_does_not_wait_for_it_in_the_queues(
    scheduler: Scheduler,
) -> None:
    async with scheduler:
        for _ in range(3000):
            handle = await scheduler.schedule_once(anyio.sleep, 1, delay=86400 * 365)
            await handle.cancel()
        assert sizes(scheduler)["later"] <= 200


async def test_a_virtual_day_leaves_every_collection_as_large_as_after_its_first_hour(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day in small: 24 'hours' of half a minute, ten runs a second; the full figure is benchmarks/soak."""
    monkeypatch.setattr("asyncsched.stores.memory.history._SWEEP", 20)
    scheduler = Scheduler(MemoryStore(Bounds(age=HOUR // 120, count=300, size=10**8)), clock=virtual_clock)

    @scheduler.interval(seconds=0.2, overlap="queue_one")
    async def steady() -> str:
        await anyio.sleep(0.1)
        return "x" * 100

    @scheduler.interval(seconds=1, retry=Retry(attempts=2, delay=0.5))
    async def flaky() -> None:
        if current_run().attempt == 1:
            raise ValueError

    @scheduler.interval(seconds=3)
    async def slow() -> None:
        await anyio.sleep(7)

    @scheduler.job(max_running=Limit(2, by="user"), rate_limit=RateLimit("5/s", by="user"), timeout=5)
    async def once(user: int, takes: float) -> int:
        current_run().progress(1)
        await anyio.sleep(takes)
        return user

    async with scheduler:
        hours: list[dict[str, int]] = []
        for hour in range(24):
            for second in range(30):
                number = hour * 30 + second
                await scheduler.schedule_once(
                    once, number % 50, 0.3, key=f"k{number % 100}", key_ttl=5, replace=True
                )
                await scheduler.schedule_once(once, number % 7, 4 if second % 15 == 0 else 0.1)
                if second == 10:
                    await scheduler.pause("steady")
                if second == 13:
                    await scheduler.resume("steady")
                await virtual_clock.advance(1)
            hours.append(sizes(scheduler))
        for id in ("steady", "flaky", "slow"):
            await scheduler.pause(id)
        for job in ("steady", "flaky", "slow", "once"):
            await scheduler.cancel_many(job=job)
        await virtual_clock.advance(60)
        store: Any = scheduler._runtime.main.store  # type: ignore[union-attr]
        left = residue(store)
    assert left == {}
    early, late = hours[1], hours[-1]
    # Skipped stretches are records with a bound of their own, which is a thousand for each schedule.
    assert late.pop("stretches") <= 3 * 1000
    assert {name: (early[name], size) for name, size in late.items() if size > 1.1 * early[name] + 16} == {}
    assert late["runs"] <= 300 + 2 * (3 * 20 + 3 + 100)  # in order; spared: last of each schedule, for keys


async def test_a_run_leaves_no_circle_to_the_garbage_collector(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async def waits() -> None:
        current_run().progress(1)
        await anyio.sleep(1)

    async with scheduler:
        for watched in (False, True):  # the first time, what is made once is made
            gc.collect()
            gc.disable()
            try:
                for _ in range(20):
                    await scheduler.schedule_once(waits)
                await virtual_clock.advance(5)
                gc.set_debug(gc.DEBUG_SAVEALL)
                gc.collect()
            finally:
                gc.set_debug(0)
                gc.enable()
            found = {type(one).__name__ for one in gc.garbage}
            gc.garbage.clear()
            if watched:
                assert not found & {"RunningAttempt", "CurrentRun", "RunRecord", "Task", "RunHandle"}


async def test_the_task_of_a_run_is_named_after_its_job(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    names = []

    async def digest() -> None:
        names.append(anyio.get_current_task().name)

    async with scheduler:
        await scheduler.schedule_once(digest)
        await virtual_clock.advance(1)
    assert names == ["digest"]


def test_a_copy_of_a_run_has_rare_fields_of_its_own() -> None:
    run = RunRecord(1 << 80, "job", 5, key="k")
    twin = copy(run)
    twin.waits_for = "overlap"
    assert (run.waits_for, twin.waits_for, twin.key, twin.due) == (None, "overlap", "k", 5)


def test_a_run_as_usual_has_no_rare_fields() -> None:
    run = RunRecord(1 << 80, "job", 5)
    run.error, run.cancel_requested, run.permits = None, None, ()
    assert run.rare is None
    run.cancel_requested = "cancelled"
    run.cancel_requested = None
    assert run.cancel_requested is None and run.error is None and run.attempts is None


def test_an_id_tells_when_it_was_made() -> None:
    ids = RunIds()
    for now in (1_700_000_000_123_456, 1_700_000_000_123_457, 1_700_000_000_999_999):
        first, second = ids.next(now), ids.next(now)
        assert first < second and moment_of(first) == moment_of(second) == now
        assert RunRecord(first, "job", now).created_at == now


def test_a_run_that_comes_back_to_its_queue_by_the_same_number_is_in_it_once() -> None:
    queue = RunQueue()
    runs = [RunRecord(number, "job", 5) for number in range(1, 201)]
    for run in runs:
        queue.push(5, run)
    for run in runs[:150]:
        take_out(run)
        queue.push(5, run)
    for run in runs[150:]:
        take_out(run)
    found = []
    while (taken := queue.pop()) is not None:
        found.append(taken.id)
    assert found == list(range(1, 151)) and len(queue) == 0
