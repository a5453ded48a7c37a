"""The main job, told one idea at a time. Read it as a tutorial."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from asyncsched import At, Cron, Interval, RunFailed, Scheduler, current_run
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def scheduler(virtual_clock: VirtualClock) -> Scheduler:
    return Scheduler(clock=virtual_clock)


async def test_an_interval_fires_on_its_grid(scheduler: Scheduler, virtual_clock: VirtualClock) -> None:
    fired: list[datetime] = []

    @scheduler.interval(seconds=30)
    async def tick() -> None:
        fired.append(virtual_clock.now())

    began = virtual_clock.now()
    async with scheduler:
        await virtual_clock.advance(95)
    assert fired == [began + timedelta(seconds=s) for s in (30, 60, 90)]


async def test_an_immediate_interval_fires_at_its_anchor_too(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    fired: list[datetime] = []

    @scheduler.interval(seconds=30, immediate=True)
    async def tick() -> None:
        fired.append(virtual_clock.now())

    began = virtual_clock.now()
    async with scheduler:
        await virtual_clock.advance(31)
    assert fired == [began, began + timedelta(seconds=30)]


async def test_a_cron_schedule_follows_the_wall_clock_of_its_zone(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    fired: list[datetime] = []

    @scheduler.cron("0 7 * * *", timezone="Europe/Paris")
    async def digest() -> None:
        fired.append(current_run().scheduled_for)

    async with scheduler:
        await virtual_clock.advance_to(datetime(2026, 1, 3, tzinfo=UTC))
    assert fired == [datetime(2026, 1, day, 6, tzinfo=UTC) for day in (1, 2)]


async def test_schedule_once_gives_a_handle_that_knows_the_result(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.job()
    async def double(number: int) -> int:
        return 2 * number

    async with scheduler:
        handle = await scheduler.schedule_once(double, 21, delay=5)
        assert (await handle.status()).state == "pending"
        before = virtual_clock.now()
        assert await handle.result() == 42
        assert virtual_clock.now() - before == timedelta(seconds=5)


async def test_a_one_off_at_a_moment_runs_then_and_one_in_the_past_runs_now(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async def moment() -> datetime:
        return virtual_clock.now()

    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    async with scheduler:
        then = await scheduler.schedule_once(moment, at=noon)
        past = await scheduler.schedule_once(moment, at=datetime(2020, 1, 1, tzinfo=UTC))
        assert await past.result() == virtual_clock.now()
        assert await then.result() == noon


async def test_a_plain_function_runs_in_a_thread_of_its_own(scheduler: Scheduler) -> None:
    @scheduler.job()
    def where() -> int:
        return threading.get_ident()

    async with scheduler:
        assert await (await scheduler.schedule_once(where)).result() != threading.get_ident()


async def test_cpu_work_runs_in_another_process(scheduler: Scheduler) -> None:
    import os

    scheduler.job(name="pid", executor="process")(os.getpid)
    async with scheduler:
        assert await (await scheduler.schedule_once("pid")).result() != os.getpid()


async def test_a_failing_job_is_recorded_and_hurts_nobody_else(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    ticks = 0

    @scheduler.interval(seconds=1)
    async def tick() -> None:
        nonlocal ticks
        ticks += 1

    @scheduler.interval(seconds=1)
    async def broken() -> None:
        raise ValueError("no")

    async with scheduler:
        await virtual_clock.advance(10)
        failed = await scheduler.runs(job="broken")
    assert ticks == 10
    assert [run.state for run in failed] == ["failed"] * 10
    assert failed[0].error_type == "ValueError"
    assert 'raise ValueError("no")' in failed[0].traceback
    assert "asyncsched/_runner" not in failed[0].traceback


async def test_result_raises_with_the_original_exception_as_its_cause(scheduler: Scheduler) -> None:
    async def broken() -> None:
        raise KeyError("id")

    async with scheduler:
        handle = await scheduler.schedule_once(broken)
        with pytest.raises(RunFailed) as caught:
            await handle.result()
    assert caught.value.error_type == "KeyError"
    assert caught.value.outcome.state == "failed"
    assert isinstance(caught.value.__cause__, KeyError)


async def test_every_run_has_a_task_and_a_context_of_its_own(scheduler: Scheduler) -> None:
    seen: list[tuple[int, str]] = []
    mark: ContextVar[str] = ContextVar("mark", default="clean")

    async def job(number: int) -> None:
        seen.append((anyio.get_current_task().id, mark.get()))
        mark.set(f"dirty {number}")
        await anyio.sleep(1)

    mark.set("the request's")
    async with scheduler:
        mark.set("a later one's")
        handles = [await scheduler.schedule_once(job, number) for number in range(20)]
        for handle in handles:
            await handle.wait()
    assert len({task for task, _ in seen}) == 20
    assert {value for _, value in seen} == {"the request's"}  # as it was when the scheduler started


async def test_a_schedule_is_added_changed_and_removed_while_it_runs(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    seen: list[str] = []

    @scheduler.job()
    async def check(url: str) -> None:
        seen.append(url)

    async with scheduler:
        await scheduler.add_schedule(check, Interval(seconds=10), id="a", args=("a",))
        await scheduler.add_schedule(
            check, At(virtual_clock.now() + timedelta(seconds=15)), id="b", args=("b",)
        )
        await virtual_clock.advance(25)
        assert seen == ["a", "b", "a"]
        await scheduler.reschedule("a", Cron("* * * * *"))
        await virtual_clock.advance(30)
        assert seen == ["a", "b", "a"]
        await virtual_clock.advance(5)
        assert seen == ["a", "b", "a", "a"]
        await scheduler.remove("a")
        await virtual_clock.advance(600)
        assert len(seen) == 4
        assert [schedule.id for schedule in await scheduler.schedules()] == ["b"]


async def test_a_pause_is_one_record_and_is_not_caught_up(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(seconds=10)
    async def tick() -> None: ...

    async with scheduler:
        await virtual_clock.advance(15)
        await scheduler.pause("tick", note="maintenance", by="ada")
        schedule = await scheduler.schedule("tick")
        assert (schedule.paused, schedule.note, schedule.by) == (True, "maintenance", "ada")
        paused_slot = virtual_clock.now() + timedelta(seconds=5)
        await virtual_clock.advance(60)
        await scheduler.resume("tick")
        await virtual_clock.advance(6)
        assert len(await scheduler.runs(job="tick")) == 2
        explanation = await scheduler.explain("tick", paused_slot)
    assert explanation.verdict == "paused"
    assert "one of 6 slots" in explanation.text


async def test_run_now_uses_the_schedules_arguments_and_leaves_its_slots_alone(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(hours=1, args=("daily",))
    async def report(kind: str) -> str:
        return kind

    async with scheduler:
        handle = await scheduler.run_now("report")
        assert await handle.result() == "daily"
        (run,) = await scheduler.runs()
        assert (run.origin, run.schedule) == ("manual", "report")
        await virtual_clock.advance(3600)
        assert [run.origin for run in await scheduler.runs()] == ["schedule", "manual"]


async def test_overlap_skips_by_default_and_says_so(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(seconds=10)
    async def slow() -> None:
        await anyio.sleep(25)

    async with scheduler:
        began = virtual_clock.now()
        await virtual_clock.advance(41)
        runs = await scheduler.runs(job="slow")
        skipped = await scheduler.explain("slow", began + timedelta(seconds=20))
    assert [(run.scheduled_for - began).seconds for run in runs] == [40, 10]
    assert skipped.verdict == "overlap"


async def test_stacked_decorators_give_one_job_several_schedules(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    fired = 0

    @scheduler.interval(seconds=7, id="often")
    @scheduler.interval(seconds=60, timeout=5)
    async def sync() -> None:
        nonlocal fired
        fired += 1

    async with scheduler:
        assert [schedule.id for schedule in await scheduler.schedules()] == ["often", "sync"]
        await virtual_clock.advance(61)
    assert fired == 9


async def test_the_decorated_function_is_returned_untouched(scheduler: Scheduler) -> None:
    async def job() -> str:
        return "called by hand"

    assert scheduler.interval(seconds=1)(job) is job
    assert await job() == "called by hand"
