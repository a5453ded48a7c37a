"""Seeing the future: what is going to run, with notes where the clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from asyncsched import AnyOf, ConfigurationError, Cron, Interval, Scheduler, TriggerError
from asyncsched.testing import VirtualClock
from asyncsched.views import Coming

pytestmark = pytest.mark.anyio

T0 = datetime(2026, 3, 28, 12, tzinfo=UTC)
SPRING = datetime(2026, 3, 29, 1, tzinfo=UTC)  # 02:00 → 03:00 in Paris


@pytest.fixture
def scheduler(virtual_clock: VirtualClock) -> Scheduler:
    virtual_clock.set_wall(T0)
    scheduler = Scheduler(clock=virtual_clock)

    @scheduler.job()
    async def work() -> None: ...

    return scheduler


async def test_the_coming_slots_stand_in_order_with_what_the_clock_does(scheduler: Scheduler) -> None:
    async with scheduler:
        await scheduler.add_schedule("work", Cron("30 2 * * *", timezone="Europe/Paris"), id="nightly")
        await scheduler.add_schedule("work", Cron("0 0 * * *"), id="daily")
        assert await scheduler.timeline(T0, T0 + timedelta(days=2)) == [
            Coming(datetime(2026, 3, 29, 0, tzinfo=UTC), "daily", "work"),
            Coming(SPRING, "nightly", "work", "02:30 does not exist on 29 March, runs at 03:00"),
            Coming(datetime(2026, 3, 30, 0, tzinfo=UTC), "daily", "work"),
            Coming(datetime(2026, 3, 30, 0, 30, tzinfo=UTC), "nightly", "work"),
        ]


async def test_a_time_that_comes_twice_is_noted_too(scheduler: Scheduler) -> None:
    async with scheduler:
        await scheduler.add_schedule("work", Cron("30 2 * * *", timezone="Europe/Paris"), id="nightly")
        (coming,) = await scheduler.timeline(
            datetime(2026, 10, 25, tzinfo=UTC), datetime(2026, 10, 25, 12, tzinfo=UTC)
        )
    assert coming.note == "02:30 happens twice on 25 October, runs at the first"


async def test_what_does_not_run_at_all_is_said_at_the_next_slot(scheduler: Scheduler) -> None:
    async with scheduler:
        await scheduler.add_schedule("work", Cron("15 * * * *", timezone="Europe/Paris"), id="hourly")
        found = await scheduler.timeline(SPRING - timedelta(hours=1), SPRING + timedelta(hours=1))
    assert [(one.at, one.note) for one in found] == [
        (SPRING - timedelta(minutes=45), ""),
        (SPRING + timedelta(minutes=15), "02:15 does not exist on 29 March, does not run"),
    ]


async def test_notes_come_through_combinations(scheduler: Scheduler) -> None:
    nightly = Cron("30 2 * * *", timezone="Europe/Paris")
    async with scheduler:
        await scheduler.add_schedule("work", AnyOf(nightly, Interval(hours=10, start=T0)), id="any")
        await scheduler.add_schedule("work", nightly.except_(SPRING.date()), id="except")
        found = await scheduler.timeline(T0, T0 + timedelta(days=1))
    assert [(one.schedule, one.at, one.note) for one in found] == [
        ("any", T0, ""),
        ("any", T0 + timedelta(hours=10), ""),
        ("any", SPRING, "02:30 does not exist on 29 March, runs at 03:00"),
        ("any", T0 + timedelta(hours=20), ""),
    ]


async def test_both_ends_belong_to_it_and_paused_schedules_do_not(scheduler: Scheduler) -> None:
    async with scheduler:
        await scheduler.add_schedule("work", Interval(hours=1), id="hourly")
        await scheduler.add_schedule("work", Interval(hours=1), id="paused", paused=True)
        found = await scheduler.timeline(T0 + timedelta(hours=1), T0 + timedelta(hours=3))
    assert [(one.schedule, one.at.hour) for one in found] == [("hourly", 13), ("hourly", 14), ("hourly", 15)]


async def test_the_earliest_are_kept_up_to_the_limit(scheduler: Scheduler) -> None:
    async with scheduler:
        await scheduler.add_schedule("work", Interval(seconds=1), id="often")
        await scheduler.add_schedule("work", Interval(minutes=1), id="seldom")
        found = await scheduler.timeline(T0, T0 + timedelta(days=10_000), limit=61)
        assert len(await scheduler.timeline(T0, T0 + timedelta(days=10_000))) == 1000
    assert [one.schedule for one in found] == ["often"] * 60 + ["seldom"]


async def test_a_stretch_that_makes_no_sense_is_refused(scheduler: Scheduler) -> None:
    async with scheduler:
        with pytest.raises(ConfigurationError, match="timeline: end lies before start"):
            await scheduler.timeline(T0, T0 - timedelta(seconds=1))
        with pytest.raises(ConfigurationError, match="start is a naive datetime"):
            await scheduler.timeline(datetime(2026, 1, 1), T0)
        with pytest.raises(ConfigurationError, match="limit must be a whole number"):
            await scheduler.timeline(T0, T0, limit=0)


async def test_what_the_timeline_says_is_what_happens(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        await scheduler.add_schedule("work", Cron("*/20 1-4 * * *", timezone="Europe/Paris"), id="cron")
        await scheduler.add_schedule("work", Interval(hours=1, minutes=7), id="interval")
        told = await scheduler.timeline(T0, T0 + timedelta(days=3))
        await virtual_clock.advance(timedelta(days=3))
        ran = [(run.scheduled_for, run.schedule) for run in await scheduler.runs(limit=1000)]
    assert sorted(ran, key=lambda one: (one[0], one[1] or "")) == [(one.at, one.schedule) for one in told]


class Fragile:
    """Hourly, until it breaks."""

    broken_from = datetime.max.replace(tzinfo=UTC)

    def next(self, after: datetime) -> datetime:
        if after >= self.broken_from:
            raise ValueError("no calendar")
        return after.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)

    def describe(self) -> str:
        raise OSError


async def test_a_trigger_that_raises_shows_its_fault_and_hides_no_others(
    scheduler: Scheduler, caplog: pytest.LogCaptureFixture
) -> None:
    fragile = Fragile()
    async with scheduler:
        await scheduler.add_schedule("work", fragile, id="fragile")
        await scheduler.add_schedule("work", Interval(hours=1), id="hourly")
        fragile.broken_from = T0 + timedelta(hours=1)
        found = await scheduler.timeline(T0 + timedelta(minutes=1), T0 + timedelta(hours=2))
        fragile.broken_from = T0 - timedelta(days=1)
        (alone, *others) = await scheduler.timeline(T0 + timedelta(minutes=1), T0 + timedelta(hours=2))
    fault = "its trigger failed: ValueError: no calendar"
    assert found == [
        Coming(T0 + timedelta(hours=1), "fragile", "work"),
        Coming(T0 + timedelta(hours=1), "fragile", "work", fault=fault),
        Coming(T0 + timedelta(hours=1), "hourly", "work"),
        Coming(T0 + timedelta(hours=2), "hourly", "work"),
    ]
    assert alone == Coming(T0 + timedelta(minutes=1), "fragile", "work", fault=fault)
    assert [one.schedule for one in others] == ["hourly", "hourly"]
    assert "timeline: schedule 'fragile': its trigger failed" in caplog.text


async def test_who_asks_for_a_schedule_whose_trigger_raises_is_told_so(scheduler: Scheduler) -> None:
    fragile = Fragile()
    failed = "schedule 'fragile': its trigger failed: ValueError: no calendar"
    async with scheduler:
        await scheduler.add_schedule("work", fragile, id="fragile", paused=True)
        fragile.broken_from = T0 - timedelta(days=1)
        with pytest.raises(TriggerError, match=failed):
            await scheduler.explain("fragile", T0 + timedelta(hours=1))
        with pytest.raises(TriggerError, match=failed):
            await scheduler.backfill("fragile", T0 - timedelta(hours=1), T0)
        with pytest.raises(TriggerError, match=failed):
            await scheduler.resume("fragile")
        (listed,) = await scheduler.schedules()
        assert listed.describe == "Fragile whose description failed: OSError"
        # Another trigger is how it is put right.
        await scheduler.reschedule("fragile", Interval(hours=1))
        await scheduler.resume("fragile")
        assert [one.schedule for one in await scheduler.timeline(T0, T0 + timedelta(hours=1))] == ["fragile"]
