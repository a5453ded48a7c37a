"""Slots that were not met in time, through the whole scheduler: blocked, suspended, down or paused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from asyncsched import ConfigurationError, Interval, Misfire, Run, Scheduler
from asyncsched.events import SlotsSkipped
from asyncsched.testing import VirtualClock, history

pytestmark = pytest.mark.anyio

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(**since: float) -> datetime:
    return T0 + timedelta(**since)


def make(clock: VirtualClock, misfire: Misfire, **options: Any) -> tuple[Scheduler, list[SlotsSkipped]]:
    """Return a scheduler with one job every minute, and the list of what it says it skipped."""
    skipped: list[SlotsSkipped] = []

    def hear(event: SlotsSkipped) -> None:
        skipped.append(event)

    hear.wants = SlotsSkipped  # type: ignore[attr-defined]
    scheduler = Scheduler(clock=clock, observers=[hear])

    @scheduler.interval(minutes=1, misfire=misfire, **options)
    async def tick() -> None: ...

    return scheduler, skipped


async def ran(scheduler: Scheduler) -> list[Run]:
    return list(reversed([run for run in await scheduler.runs(limit=10_000) if run.started_at]))


async def test_latest_runs_the_newest_and_writes_one_stretch(virtual_clock: VirtualClock) -> None:
    scheduler, skipped = make(virtual_clock, Misfire())
    async with scheduler:
        await virtual_clock.advance(90)
        virtual_clock.block(timedelta(minutes=10))
        await virtual_clock.advance(60)
        assert await history(scheduler) == [
            ("tick", at(minutes=1), "succeeded"),
            ("tick", at(minutes=2), "9 missed"),
            ("tick", at(minutes=11), "succeeded"),
            ("tick", at(minutes=12), "succeeded"),
        ]
        assert [run.late for run in await ran(scheduler)] == [timedelta(), timedelta(seconds=30), timedelta()]
    (event,) = skipped
    assert (event.schedule, event.first, event.last, event.count, event.exact, event.reason) == (
        "tick", at(minutes=2), at(minutes=10), 9, True, "missed",
    )  # fmt: skip


async def test_all_runs_each_slot_behind_the_one_before_oldest_first(virtual_clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=virtual_clock)
    order: list[tuple[str, float]] = []

    @scheduler.interval(minutes=1, misfire=Misfire("all", limit=3))
    async def tick() -> None:
        order.append(("begin", (virtual_clock.now() - T0).total_seconds()))
        await anyio.sleep(5)
        order.append(("end", (virtual_clock.now() - T0).total_seconds()))

    async with scheduler:
        virtual_clock.block(10 * 60 + 1)
        await virtual_clock.advance(30)
        assert [(run.scheduled_for, run.late) for run in await ran(scheduler)] == [
            (at(minutes=minute), at(seconds=601 + 5 * k) - at(minutes=minute))
            for k, minute in enumerate((8, 9, 10))
        ]
        assert (await history(scheduler))[0] == ("tick", at(minutes=1), "7 missed")
    assert order == [
        ("begin", 601), ("end", 606), ("begin", 606), ("end", 611), ("begin", 611), ("end", 616),
    ]  # fmt: skip


async def test_all_without_a_bound_loses_nothing_up_to_its_limit(virtual_clock: VirtualClock) -> None:
    scheduler, skipped = make(virtual_clock, Misfire("all"))
    async with scheduler:
        virtual_clock.block(timedelta(minutes=100))
        await virtual_clock.advance(1)
        assert [run.scheduled_for for run in await ran(scheduler)] == [at(minutes=m) for m in range(1, 101)]
    assert skipped == []


@pytest.mark.parametrize("late, outcomes", [(60, ["4 missed", "succeeded"]), (61, ["5 missed"])])
async def test_none_runs_the_newest_only_within_a_minute(
    virtual_clock: VirtualClock, late: float, outcomes: list[str]
) -> None:
    scheduler = Scheduler(clock=virtual_clock)

    @scheduler.interval(minutes=10, misfire=Misfire("none"))
    async def tick() -> None: ...

    async with scheduler:
        virtual_clock.block(50 * 60 + late)
        await virtual_clock.advance(0)
        assert [one.outcome for one in await history(scheduler)] == outcomes


@pytest.mark.parametrize(
    "misfire, minutes",
    [
        (Misfire("latest", grace=20), []),
        (Misfire("latest", grace=timedelta(seconds=30)), [10]),
        (Misfire("all", grace=100), [9, 10]),
        (Misfire("all", grace=100, limit=1), [10]),
        (Misfire("none", grace=0), []),
    ],
)
async def test_a_given_grace_bounds_them_all(
    virtual_clock: VirtualClock, misfire: Misfire, minutes: list[int]
) -> None:
    scheduler, skipped = make(virtual_clock, misfire)
    async with scheduler:
        virtual_clock.block(10 * 60 + 30)
        await virtual_clock.advance(1)
        assert [run.scheduled_for for run in await ran(scheduler)] == [
            at(minutes=minute) for minute in minutes
        ]
    assert sum(event.count for event in skipped) == 10 - len(minutes)


async def test_more_than_a_thousand_lost_slots_are_counted_at_once_or_said_to_be_more(
    virtual_clock: VirtualClock,
) -> None:
    scheduler, skipped = make(virtual_clock, Misfire())

    @scheduler.cron("* * * * *")
    async def cron() -> None: ...

    async with scheduler:
        virtual_clock.block(timedelta(days=30))
        await virtual_clock.advance(0)
    counts = {event.schedule: (event.count, event.exact) for event in skipped}
    assert counts == {"tick": (30 * 1440 - 1, True), "cron": (1000, False)}


async def test_outages_that_follow_one_another_are_one_record_each(virtual_clock: VirtualClock) -> None:
    scheduler, _ = make(virtual_clock, Misfire("none", grace=0))
    async with scheduler:
        for _ in range(3):
            virtual_clock.block(70)
            await virtual_clock.advance(0)
        assert await history(scheduler) == [("tick", at(minutes=1), "3 missed")]
        await virtual_clock.advance(100)
        virtual_clock.block(70)
        await virtual_clock.advance(0)
        assert await history(scheduler) == [
            ("tick", at(minutes=1), "3 missed"),
            ("tick", at(minutes=4), "succeeded"),
            ("tick", at(minutes=5), "succeeded"),
            ("tick", at(minutes=6), "missed"),
        ]


async def test_a_suspended_cron_schedule_owes_what_the_wall_clock_passed(virtual_clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=virtual_clock)

    @scheduler.cron("0 * * * *", misfire=Misfire("all", limit=2))
    async def hourly() -> None: ...

    async with scheduler:
        await virtual_clock.advance(60)
        virtual_clock.suspend(timedelta(hours=10))
        await virtual_clock.advance(30)
        assert await history(scheduler) == [
            ("hourly", T0, "succeeded"),
            ("hourly", at(hours=1), "8 missed"),
            ("hourly", at(hours=9), "succeeded"),
            ("hourly", at(hours=10), "succeeded"),
        ]


async def test_a_pause_is_no_misfire_and_is_not_caught_up(virtual_clock: VirtualClock) -> None:
    scheduler, _ = make(virtual_clock, Misfire("all"))
    async with scheduler:
        await virtual_clock.advance(90)
        await scheduler.pause("tick")
        await virtual_clock.advance(600)
        await scheduler.resume("tick")
        await virtual_clock.advance(60)
        assert await history(scheduler) == [
            ("tick", at(minutes=1), "succeeded"),
            ("tick", at(minutes=2), "10 paused"),
            ("tick", at(minutes=12), "succeeded"),
        ]


async def test_a_one_off_is_never_missed(virtual_clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=virtual_clock)

    @scheduler.job(misfire=Misfire("none", grace=0))
    async def once() -> None: ...

    async with scheduler:
        handle = await scheduler.schedule_once(once, delay=10)
        virtual_clock.block(timedelta(days=400))
        run = await handle.wait()
    assert (run.state, run.late) == ("succeeded", timedelta(days=400) - timedelta(seconds=10))


async def test_jittered_slots_are_caught_up_by_their_slots(virtual_clock: VirtualClock) -> None:
    scheduler, skipped = make(virtual_clock, Misfire(), jitter=59)
    async with scheduler:
        virtual_clock.block(timedelta(minutes=10, seconds=59.999999))
        await virtual_clock.advance(0)
        assert [run.scheduled_for for run in await ran(scheduler)] == [at(minutes=10)]
    assert [(event.first, event.last) for event in skipped] == [(at(minutes=1), at(minutes=9))]


async def test_a_trigger_that_raises_stops_nobody_else(
    virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler, _ = make(virtual_clock, Misfire())
    broken = [False]

    class Fragile(Interval):
        __slots__ = ()

        def next_instant(self, after: int) -> int | None:
            if broken[0]:
                raise OSError("no calendar")
            return super().next_instant(after)

        def anchored(self, at: int) -> Fragile:
            return self

    start = at(seconds=30)

    @scheduler.job(Fragile(minutes=1, start=start))
    async def fragile() -> None: ...

    async with scheduler:
        await virtual_clock.advance(95)
        broken[0] = True
        await virtual_clock.advance(120)
        virtual_clock.step(5)
        await virtual_clock.advance(1)
        broken[0] = False
        await virtual_clock.advance(60)
        assert await history(scheduler, "fragile") == [
            ("fragile", at(seconds=30), "succeeded"),
            ("fragile", at(seconds=90), "succeeded"),
            ("fragile", at(seconds=150), "missed"),
            ("fragile", at(seconds=210), "succeeded"),
            ("fragile", at(seconds=270), "succeeded"),
        ]
        assert [one.outcome for one in await history(scheduler, "tick")] == ["succeeded"] * 4
    assert "schedule 'fragile': its trigger failed; it is called again in 30 s" in caplog.text


@pytest.mark.parametrize(
    "options, words",
    [
        ({"catch_up": "newest"}, "Misfire: catch_up must be one of 'latest', 'all', 'none', not 'newest'"),
        ({"catch_up": None}, "Misfire: catch_up must be one of"),
        ({"catch_up": []}, "Misfire: catch_up must be one of"),
        ({"grace": -1}, "Misfire: grace must not be negative"),
        ({"grace": True}, "Misfire: grace must be a number of seconds or a timedelta, not True"),
        ({"grace": float("nan")}, "Misfire: grace must be finite"),
        ({"grace": timedelta.max}, "Misfire: grace is longer than 100 years"),
        ({"limit": 0}, "Misfire: limit must be a whole number from 1 to 10000, not 0"),
        ({"limit": True}, "Misfire: limit must be a whole number"),
        ({"limit": 1.5}, "Misfire: limit must be a whole number"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Misfire(**options)


def test_a_job_takes_a_misfire_and_nothing_else() -> None:
    with pytest.raises(
        ConfigurationError, match=r"job 'tick': misfire must be a Misfire\(...\), not 'latest'"
    ):

        @Scheduler().interval(seconds=1, misfire="latest")  # type: ignore[arg-type]
        async def tick() -> None: ...
