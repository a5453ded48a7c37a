"""What happens to a slot while an earlier run of its schedule is live."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import anyio
import pytest

from asyncsched import ConfigurationError, Misfire, Retry, Run, Scheduler, SchedulerStateError, current_run
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio

Make = Callable[..., Scheduler]


def seconds(moment: datetime | None, began: datetime) -> float:
    assert moment is not None
    return (moment - began).total_seconds()


async def table(scheduler: Scheduler, began: datetime) -> list[tuple[float, float, str]]:
    """Return slot, start and state of every run that began, in the order of the slots."""
    runs = [run for run in await scheduler.runs(limit=1000) if run.started_at is not None]
    return sorted((seconds(r.scheduled_for, began), seconds(r.started_at, began), r.state) for r in runs)


async def verdicts(scheduler: Scheduler, began: datetime, *slots: int) -> list[str]:
    return [(await scheduler.explain("job", began + timedelta(seconds=slot))).verdict for slot in slots]


async def test_skip_is_the_default_and_records_the_slot(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(seconds=10)
    async def job() -> None:
        await anyio.sleep(25)

    async with scheduler:
        began = virtual_clock.now()
        await virtual_clock.advance(66)
        assert await table(scheduler, began) == [(10, 10, "succeeded"), (40, 40, "succeeded")]
        assert await verdicts(scheduler, began, 10, 20, 30, 40, 50, 60) == [
            "ran", "overlap", "overlap", "ran", "overlap", "overlap",
        ]  # fmt: skip


async def test_queue_one_keeps_the_one_that_waits_and_records_the_newer(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(seconds=10, overlap="queue_one")
    async def job() -> None:
        await anyio.sleep(35)

    async with scheduler:
        began = virtual_clock.now()
        await virtual_clock.advance(55)
        assert await table(scheduler, began) == [(10, 10, "succeeded"), (20, 45, "running")]
        assert await verdicts(scheduler, began, 20, 30, 40, 50) == ["ran", "overlap", "overlap", "pending"]
        waiting = await scheduler.runs(state="pending")
        assert [(run.waiting_for, run.ready_at) for run in waiting] == [("overlap", None)]


async def test_queue_all_runs_them_one_after_the_other_in_order(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(seconds=10, overlap="queue_all")
    async def job() -> None:
        await anyio.sleep(15)

    async with scheduler:
        began = virtual_clock.now()
        await virtual_clock.advance(41)
        await scheduler.pause("job")  # what is queued waits as well
        await virtual_clock.advance(60)
        await scheduler.resume("job")
        await virtual_clock.advance(0.5)
        begun = await table(scheduler, began)
    assert [slot for slot, _, _ in begun] == [10, 20, 30, 40]
    assert [start for _, start, _ in begun] == pytest.approx([10, 25, 40, 101], abs=0.1)


async def test_queue_all_lets_a_hundred_wait_at_most(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(seconds=1, overlap="queue_all")
    async def job() -> None:
        await anyio.sleep(500)

    async with scheduler:
        began = virtual_clock.now()
        await virtual_clock.advance(120.5)
        assert len(await scheduler.runs(state="pending", limit=1000)) == 100
        assert await verdicts(scheduler, began, 101, 102, 120) == ["pending", "overlap", "overlap"]


async def test_replace_cancels_the_running_one_and_begins_after_its_recorded_end(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(seconds=10, overlap="replace")
    async def job() -> None:
        try:
            await anyio.sleep(100)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(3)

    async with scheduler:
        began = virtual_clock.now()
        await virtual_clock.advance(34)
        assert await table(scheduler, began) == [
            (10, 10, "cancelled"), (20, 23, "cancelled"), (30, 33, "running"),
        ]  # fmt: skip
        replaced = await scheduler.runs(state="cancelled")
    assert {run.why for run in replaced} == {"replaced"}


async def test_replace_ends_what_waits_for_a_retry_at_once(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(seconds=10, overlap="replace", retry=Retry(attempts=2, delay=60, jitter="none"))
    async def job() -> None:
        raise ValueError

    async with scheduler:
        began = virtual_clock.now()
        await virtual_clock.advance(21)
        assert await table(scheduler, began) == [(10, 10, "cancelled"), (20, 20, "pending")]


async def test_replace_is_refused_for_threads(scheduler: Scheduler) -> None:
    with pytest.raises(ConfigurationError, match=r"job 'job': overlap=\"replace\".*thread"):

        @scheduler.interval(seconds=10, overlap="replace")
        def job() -> None: ...


async def test_allow_lets_them_run_side_by_side(scheduler: Scheduler, virtual_clock: VirtualClock) -> None:
    @scheduler.interval(seconds=10, overlap="allow")
    async def job() -> None:
        await anyio.sleep(25)

    async with scheduler:
        began = virtual_clock.now()
        await virtual_clock.advance(31)
        assert await table(scheduler, began) == [
            (10, 10, "running"),
            (20, 20, "running"),
            (30, 30, "running"),
        ]


async def test_waiting_for_a_limit_is_being_live(scheduler: Scheduler, virtual_clock: VirtualClock) -> None:
    @scheduler.interval(seconds=10, max_running=1)
    async def job(name: str = "schedule") -> None:
        await anyio.sleep(25)

    async with scheduler:
        began = virtual_clock.now()
        await virtual_clock.advance(5)
        await scheduler.schedule_once(job, "by hand")  # holds the only place until 30
        await virtual_clock.advance(30)
        assert await verdicts(scheduler, began, 10, 20, 30) == ["ran", "overlap", "overlap"]


async def test_runs_by_hand_pass_overlap_by_unless_asked(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(seconds=10)
    async def job() -> str:
        await anyio.sleep(3)
        return current_run().id

    async with scheduler:
        await virtual_clock.advance(11)
        with pytest.raises(SchedulerStateError, match="'job' has a live run"):
            await scheduler.run_now("job", respect_overlap=True)
        by_hand = await scheduler.run_now("job")
        assert (await by_hand.status()).origin == "manual"
        await virtual_clock.advance(8)
        # A run by hand is none of the schedule's own: it is not live for the slot at 20.
        again = await scheduler.run_now("job", respect_overlap=True)
        await virtual_clock.advance(2)
        assert len(await scheduler.runs(job="job", origin="schedule")) == 2
        assert (await again.wait()).state == "succeeded"


async def test_slots_that_are_caught_up_run_behind_one_another_and_hold_nobody_up(
    make_scheduler: Make, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler()

    @scheduler.cron("* * * * *", misfire=Misfire(catch_up="all"), overlap="allow")
    async def job() -> None:
        await anyio.sleep(70)

    async with scheduler:
        began = virtual_clock.now()
        await virtual_clock.advance(61)
        virtual_clock.suspend(175)  # the slots at 120 and 180 are owed at once when the machine wakes up
        await virtual_clock.advance(300)
        caught_up: list[Run] = [
            run for run in await scheduler.runs(limit=100) if seconds(run.scheduled_for, began) in (120, 180)
        ]
    starts = sorted(seconds(run.started_at, began) for run in caught_up)
    assert len(starts) == 2
    assert starts[1] - starts[0] >= 70


async def test_a_slot_has_at_most_one_run_of_its_own(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.cron("* * * * *")
    async def job() -> None: ...

    async with scheduler:
        await virtual_clock.advance(150)
        virtual_clock.step(-90)
        await virtual_clock.advance(150)
        await scheduler.run_now("job")
        await scheduler.backfill("job", virtual_clock.now() - timedelta(hours=1), virtual_clock.now())
        await virtual_clock.advance(1)
        own = [run.scheduled_for for run in await scheduler.runs(origin="schedule", limit=1000)]
    assert len(own) == len(set(own)) > 2
