"""Schedules by the thousand: added from a list, and paused, resumed and removed by tag or job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsched import ConfigurationError, Cron, ScheduleExists, Scheduler
from asyncsched.stores.sql.operations import instances
from asyncsched.stores.sql.operations import schedules as schedule_rows
from asyncsched.testing import VirtualClock
from asyncsched.triggers.cron import search, text
from tests.each_store import POSTGRES, SQLITE, sqlite_file

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[None, SQLITE, POSTGRES])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """The URL of each store."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_dsn"))
    return f"sqlite:///{sqlite_file(tmp_path)}" if request.param else None


class App:
    """A scheduler with a reminder for users, as an app has it in each of its processes."""

    def __init__(self, place: str | None, clock: VirtualClock) -> None:
        self.scheduler = Scheduler(place, clock=clock)
        self.reminded: list[int] = []

        @self.scheduler.job(tags=["mail"])
        async def remind(user: int) -> None:
            self.reminded.append(user)

        @self.scheduler.job()
        async def other() -> None: ...

    def reminders(self, count: int, **more: Any) -> list[Any]:
        return [
            {
                "job": "remind",
                "trigger": Cron(f"{(n + 1) % 60} {(n + 1) // 60 % 24} * * *"),
                "id": f"remind-{n}",
                "args": (n,),
                **more,
            }
            for n in range(count)
        ]


@pytest.fixture
def app(place: str | None, virtual_clock: VirtualClock) -> App:
    return App(place, virtual_clock)


async def test_many_schedules_are_added_and_handled_by_their_tag(
    app: App, virtual_clock: VirtualClock
) -> None:
    scheduler = app.scheduler
    async with scheduler:
        await scheduler.add_schedule("other", Cron("0 12 * * *"))
        even = [{**one, "tags": ["even"]} if n % 2 == 0 else one for n, one in enumerate(app.reminders(120))]
        added = await scheduler.add_schedules(even)
        assert [one.id for one in added] == [f"remind-{n}" for n in range(120)]
        assert await scheduler.pause_many(tag="even", note="too many") == 60
        assert await scheduler.pause_many(tag="even") == 0
        await virtual_clock.advance(7200)
        assert sorted(set(app.reminded)) == list(range(1, 120, 2))
        (run,) = await scheduler.runs(schedule="remind-1")
        assert run.tags == ("mail",)
        assert await scheduler.resume_many(tag="even") == 60
        assert await scheduler.remove_many(job="remind", tag="even") == 60
        assert await scheduler.remove_many(tag="mail") == 60
        assert [one.id for one in await scheduler.schedules()] == ["other"]


async def test_one_that_is_refused_is_named_and_others_exist(app: App) -> None:
    async with app.scheduler as scheduler:
        await scheduler.add_schedule("remind", Cron("0 12 * * *"), id="remind-3", args=(3,))
        with pytest.raises(ScheduleExists, match="remind-3"):
            await scheduler.add_schedules(app.reminders(5))
        again = await scheduler.add_schedules(app.reminders(5, replace=True))
        assert len(again) == len(await scheduler.schedules()) == 5


@pytest.mark.parametrize(
    "item", ["remind", {"job": "remind"}, {"job": "remind", "trigger": Cron("@daily"), "nme": 1}]
)
async def test_an_item_of_another_form_is_refused_before_any_is_written(
    item: Any, virtual_clock: VirtualClock
) -> None:
    app = App(None, virtual_clock)
    async with app.scheduler as scheduler:
        with pytest.raises(ConfigurationError, match="item 1"):
            await scheduler.add_schedules([*app.reminders(1), item])
        for call in (scheduler.pause_many, scheduler.resume_many, scheduler.remove_many):
            with pytest.raises(ConfigurationError, match="give tag= or job="):
                await call()
        assert await scheduler.schedules() == []


async def test_adding_one_after_another_lets_other_tasks_go_on(app: App) -> None:
    turns, done = 0, False

    async def count() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with app.scheduler as scheduler, anyio.create_task_group() as group:
        group.start_soon(count)
        for one in app.reminders(20):
            await scheduler.add_schedule(**one)
        assert turns >= 19
        done = True


async def test_a_start_reads_no_text_of_a_schedule_and_every_answer_is_a_portion(
    place: str | None, virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place is None:
        pytest.skip("memory keeps triggers, not texts")
    async with App(place, virtual_clock).scheduler as scheduler:
        await scheduler.add_schedules(App(None, virtual_clock).reminders(95))
    for module in (instances, schedule_rows):
        monkeypatch.setattr(module, "PAGE", 10)
    parsed, portions = [], []
    search.wall_times.cache_clear()
    read_fields, readable = text.read_fields, schedule_rows.Session.schedules_of

    def read(words: str) -> Any:
        parsed.append(words)
        return read_fields(words)

    def portion(session: Any, rows: Any) -> Any:
        portions.append(len(rows))
        return readable(session, rows)

    monkeypatch.setattr(search, "read_fields", read)
    monkeypatch.setattr(schedule_rows.Session, "schedules_of", portion)
    app = App(place, virtual_clock)
    async with app.scheduler as scheduler:
        assert len(scheduler._runtime.main.agenda.schedules) == 95
        assert parsed == []
        assert max(portions) == 10
        await virtual_clock.advance(61)
        assert app.reminded == [0]
        assert parsed == ["1 0 * * *"]
        assert (await scheduler.schedule("remind-7")).describe == "at 00:08 every day, UTC"
        assert len(parsed) == 2


async def test_another_instance_follows_changes_in_portions(
    place: str | None, virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place is None:
        pytest.skip("memory belongs to one process")
    monkeypatch.setattr(instances, "PAGE", 10)
    one, two = App(place, virtual_clock), App(place, virtual_clock)
    async with one.scheduler, two.scheduler:
        await one.scheduler.add_schedules(one.reminders(95))
        await one.scheduler.remove("remind-94")
        await virtual_clock.advance(30)
        known = two.scheduler._runtime.main.agenda.schedules
        assert sorted(known) == sorted(f"remind-{n}" for n in range(94))
