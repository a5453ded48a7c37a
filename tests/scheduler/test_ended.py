"""A schedule whose trigger has no further due time says so."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from asyncsched import At, Interval, Scheduler
from asyncsched.events import ScheduleEnded
from asyncsched.testing import VirtualClock
from tests.each_store import POSTGRES, SQLITE, sqlite_file

pytestmark = pytest.mark.anyio

T0 = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(params=[None, SQLITE, POSTGRES])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """The URL of each store."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_dsn"))
    return f"sqlite:///{sqlite_file(tmp_path)}" if request.param else None


async def test_the_last_slot_ends_a_schedule(
    place: str | None, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    heard: list[ScheduleEnded] = []

    def hear(event: Any) -> None:
        heard.append(event)

    hear.wants = ScheduleEnded  # type: ignore[attr-defined]
    scheduler = Scheduler(place, clock=virtual_clock, observers=[hear])

    @scheduler.job()
    async def work() -> None: ...

    virtual_clock.set_wall(T0)
    async with scheduler:
        await scheduler.add_schedule(work, At(T0 + timedelta(minutes=1)), id="once")
        await scheduler.add_schedule(work, Interval(minutes=1, end=T0 + timedelta(minutes=3)), id="thrice")
        await scheduler.add_schedule(work, Interval(minutes=1), id="ever")
        assert not any(one.ended for one in await scheduler.schedules())
        await virtual_clock.advance(70)
        assert [one.id for one in await scheduler.schedules() if one.ended] == ["once"]
        await virtual_clock.advance(600)
        assert [one.id for one in await scheduler.schedules() if one.ended] == ["once", "thrice"]
        assert (await scheduler.schedule("once")).next_due is None
        again = await scheduler.reschedule("once", Interval(hours=1))
        assert not again.ended
    assert [(one.schedule, one.job) for one in heard] == [("once", "work"), ("thrice", "work")]
    assert [line for line in caplog.messages if "has ended" in line] == [
        f"schedule {id!r} has ended: its trigger has no further due time; the schedule is kept"
        for id in ("once", "thrice")
    ]


async def test_a_resume_after_the_last_slot_ends_a_schedule(
    place: str | None, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scheduler = Scheduler(place, clock=virtual_clock)

    @scheduler.job()
    async def work() -> None: ...

    virtual_clock.set_wall(T0)
    async with scheduler:
        await scheduler.add_schedule(work, At(T0 + timedelta(minutes=1)), id="once", paused=True)
        await virtual_clock.advance(120)
        assert not (await scheduler.schedule("once")).ended
        await scheduler.resume("once")
        assert (await scheduler.schedule("once")).ended
    assert [line for line in caplog.messages if "'once' has ended" in line]
