"""``max_runs`` ends a schedule after so many runs of its own slots."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from asyncsched import ConfigurationError, Interval, Misfire, Scheduler, SchedulerStateError
from asyncsched.events import ScheduleEnded
from asyncsched.testing import VirtualClock
from tests.each_store import POSTGRES, SQLITE, sqlite_file

pytestmark = pytest.mark.anyio

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DURABLE = [SQLITE, POSTGRES]

Make = Callable[..., Scheduler]


def at(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


@pytest.fixture(params=[None, *DURABLE])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """The URL of each store."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_dsn"))
    return f"sqlite:///{sqlite_file(tmp_path)}" if request.param else None


@pytest.fixture
def make(place: str | None, virtual_clock: VirtualClock) -> Make:
    """Makes schedulers over one store, each with the job ``tick``, which is due every minute."""
    virtual_clock.set_wall(T0)

    def make(max_runs: int | None = 3, observers: Any = (), **options: Any) -> Scheduler:
        scheduler = Scheduler(place, clock=virtual_clock, observers=observers)

        @scheduler.interval(minutes=1, start=at(1), max_runs=max_runs, **options)
        async def tick() -> None: ...

        return scheduler

    return make


async def slots(scheduler: Scheduler, schedule: str = "tick") -> list[float]:
    """Return the minutes of the schedule's own runs, oldest first."""
    found = [run for run in await scheduler.runs(schedule=schedule) if run.origin == "schedule"]
    return sorted((run.scheduled_for - T0) / timedelta(minutes=1) for run in found)


async def test_a_schedule_ends_after_so_many_runs_and_says_so(
    make: Make, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    heard: list[ScheduleEnded] = []

    def hear(event: Any) -> None:
        heard.append(event)

    hear.wants = ScheduleEnded  # type: ignore[attr-defined]
    async with make(observers=[hear]) as scheduler:
        await virtual_clock.advance(130)
        before = await scheduler.schedule("tick")
        assert (before.max_runs, before.runs_made, before.ended) == (3, 2, False)
        assert [one.at for one in await scheduler.timeline(T0, at(60))] == [at(1), at(2), at(3)]
        assert [one.at for one in await scheduler.timeline(at(3.5), at(60))] == []
        assert await scheduler.due_counts(T0, at(20), timedelta(minutes=10)) == [3, 0]
        await virtual_clock.advance(600)
        after = await scheduler.schedule("tick")
        assert (after.runs_made, after.ended, after.next_due) == (3, True, None)
        assert await slots(scheduler) == [1, 2, 3]
        for later in (at(5), at(50)):
            answer = await scheduler.explain("tick", later)
            assert answer.verdict == "ended"
            assert answer.text == (
                "it gets no run: the schedule has ended, because it has had the 3 runs of its max_runs=3"
            )
        said = [(await scheduler.explain("tick", one)).text for one in (at(1.5), at(3.5), at(50.5))]
        assert ["gets no run: the schedule has ended" in text for text in said] == [False, True, True]
        with pytest.raises(SchedulerStateError, match="larger max_runs"):
            await scheduler.reschedule("tick", Interval(hours=1))
        with pytest.raises(SchedulerStateError, match="no further slot"):
            await scheduler.skip_next("tick")
        await scheduler.pause("tick")
        await scheduler.resume("tick")
        await virtual_clock.advance(120)
        assert await slots(scheduler) == [1, 2, 3]
    assert [(one.schedule, one.job, one.why) for one in heard] == [("tick", "tick", "max_runs")]
    assert [line for line in caplog.messages if "' has ended: " in line and line.startswith("schedule")] == [
        "schedule 'tick' has ended: it has had the 3 runs of its max_runs=3; the schedule is kept"
    ]


async def test_only_slots_that_became_runs_count(make: Make, virtual_clock: VirtualClock) -> None:
    async with make() as scheduler:
        await virtual_clock.advance(70)  # the first run
        await (await scheduler.run_now("tick")).result()
        await scheduler.skip_next("tick")
        await scheduler.pause("tick")
        await virtual_clock.advance(240)
        await scheduler.resume("tick")
        assert await scheduler.backfill("tick", at(3), at(5)) == 3
        await virtual_clock.advance(600)
        assert await slots(scheduler) == [1, 6, 7]
        assert (await scheduler.schedule("tick")).runs_made == 3


async def test_a_catch_up_stops_at_the_last_run(make: Make, virtual_clock: VirtualClock) -> None:
    async with make(misfire=Misfire(catch_up="all")) as scheduler:
        await virtual_clock.advance(70)
        virtual_clock.block(600)
        await virtual_clock.advance(600)
        assert await slots(scheduler) == [1, 2, 3]
        assert (await scheduler.explain("tick", at(4))).verdict == "ended"
        assert (await scheduler.schedule("tick")).last_slot == at(3)


@pytest.mark.parametrize("place", DURABLE, indirect=True)
async def test_the_count_is_one_over_instances_and_restarts(make: Make, virtual_clock: VirtualClock) -> None:
    async with make(max_runs=5), make(max_runs=5):
        await virtual_clock.advance(190)
    async with make(max_runs=5) as scheduler:
        assert (await scheduler.schedule("tick")).runs_made == 3
        await virtual_clock.advance(600)
        assert await slots(scheduler) == [1, 2, 3, 4, 5]
    async with make(max_runs=7, timeout=5) as scheduler:  # the code allows two more
        assert not (await scheduler.schedule("tick")).ended
        await virtual_clock.advance(600)
        assert await slots(scheduler) == [1, 2, 3, 4, 5, 14, 15]
        answer = await scheduler.explain("tick", at(9))
        assert (answer.verdict, answer.text) == (
            "ended",
            "it got no run: the schedule had ended by its max_runs, before it was given more; one of 8 slots "
            "from 2026-01-01 00:06:00+00:00 to 2026-01-01 00:13:00+00:00",
        )


@pytest.mark.parametrize("place", DURABLE, indirect=True)
async def test_instances_that_fire_at_once_end_it_once(
    make: Make, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with make() as first, make() as second, make():
        await virtual_clock.advance(600)
        for scheduler in (first, second):
            assert await slots(scheduler) == [1, 2, 3]
            assert (await scheduler.schedule("tick")).ended
    assert len([line for line in caplog.messages if "has ended" in line]) == 1


async def test_an_added_schedule_has_max_runs_which_replace_keeps_counting(
    place: str | None, virtual_clock: VirtualClock
) -> None:
    virtual_clock.set_wall(T0)
    scheduler = Scheduler(place, clock=virtual_clock)

    @scheduler.job()
    async def work() -> None: ...

    async with scheduler:
        added = await scheduler.add_schedule(work, Interval(minutes=1), id="a", max_runs=2)
        await scheduler.add_schedules(
            [{"job": work, "trigger": Interval(minutes=1), "id": f"b{n}", "max_runs": n} for n in (1, 2)]
        )
        assert (added.max_runs, added.runs_made) == (2, 0)
        await virtual_clock.advance(300)
        assert [(one.id, one.runs_made, one.ended) for one in await scheduler.schedules()] == [
            ("a", 2, True),
            ("b1", 1, True),
            ("b2", 2, True),
        ]
        again = await scheduler.add_schedule(work, Interval(minutes=1), id="a", max_runs=2, replace=True)
        assert again.ended
        more = await scheduler.add_schedule(work, Interval(minutes=1), id="a", max_runs=3, replace=True)
        assert not more.ended
        await virtual_clock.advance(300)
        assert await slots(scheduler, "a") == [1, 2, 6]
        await scheduler.remove("a")
        await scheduler.add_schedule(work, Interval(minutes=1), id="a", max_runs=1)
        await virtual_clock.advance(300)
        assert (await scheduler.schedule("a")).runs_made == 1


async def test_each_trigger_of_a_job_and_a_scope_count_separately(virtual_clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=virtual_clock)
    ran: list[str] = []

    @scheduler.cron("* * * * *", id="often", max_runs=2, args=("often",))
    @scheduler.job(Interval(minutes=2), id="seldom", max_runs=1, args=("seldom",))
    async def work(name: str) -> None:
        ran.append(name)

    async with scheduler, scheduler.scope() as scope:

        @scope.interval(seconds=10, max_runs=1)
        async def push() -> None:
            ran.append("push")

        await virtual_clock.advance(600)
    assert sorted(ran) == ["often", "often", "push", "seldom"]


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "3"])
def test_a_wrong_number_is_refused_where_it_stands(wrong: Any) -> None:
    scheduler = Scheduler()
    with pytest.raises(
        ConfigurationError, match="schedule 'work': max_runs must be a whole number from 1 on"
    ):

        @scheduler.interval(seconds=1, max_runs=wrong)
        async def work() -> None: ...

    with pytest.raises(ConfigurationError, match="belong to a trigger"):
        scheduler.job(max_runs=3)(work_alone)


async def work_alone() -> None: ...
