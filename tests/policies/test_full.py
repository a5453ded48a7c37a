"""At most so many at once, and the rest left out: ``Limit(…, full="skip")``; and a backlog that grows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from asyncsched import ConfigurationError, Limit, RunCancelled, Scheduler
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


async def test_runs_above_a_limit_that_skips_are_left_out_with_their_reason(
    place: str | None, virtual_clock: VirtualClock
) -> None:
    scheduler = Scheduler(place, clock=virtual_clock, shutdown_timeout=1)
    virtual_clock.set_wall(T0)
    running = most = 0

    @scheduler.interval(minutes=1, start=T0, overlap="allow", max_running=Limit(3, full="skip"))
    async def slow() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await anyio.sleep(600)
        finally:
            running -= 1

    async with scheduler:
        await virtual_clock.advance(3600 - 30)
        assert most == 3
        assert await scheduler.runs(state="pending") == []
        skipped = await scheduler.runs(state="cancelled")
        assert {run.why for run in skipped} == {"over_limit"}
        begun = await scheduler.runs(state=("running", "succeeded"))
        assert len(begun) + len(skipped) == 60
        assert 15 <= len(begun) <= 18
        found = await scheduler.explain("slow", T0 + timedelta(minutes=5))
        assert found.verdict == "over_limit"
        assert "before it began" in found.text
        assert await scheduler.dead_letters() == []


async def test_a_one_off_above_the_limit_says_so_and_values_have_their_own(
    place: str | None, virtual_clock: VirtualClock
) -> None:
    scheduler = Scheduler(place, clock=virtual_clock, shutdown_timeout=1)

    @scheduler.job(max_running=Limit(1, by="user", full="skip"))
    async def work(user: str) -> str:
        await anyio.sleep(10)
        return user

    async with scheduler:
        first = await scheduler.schedule_once(work, "ann")
        await virtual_clock.advance(1)
        second, other = await scheduler.schedule_once(work, "ann"), await scheduler.schedule_once(work, "bob")
        await virtual_clock.advance(1)
        assert (await second.status()).why == "over_limit"
        assert (await other.status()).state == "running"
        await virtual_clock.advance(20)
        assert (await first.result(), await other.result()) == ("ann", "bob")
        with pytest.raises(RunCancelled, match="over_limit"):
            await second.result()
        third = await scheduler.schedule_once(work, "ann")
        await virtual_clock.advance(20)
        assert await third.result() == "ann"


async def test_a_backlog_that_grows_is_named_once(
    place: str | None, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = Scheduler(place, clock=virtual_clock, shutdown_timeout=1)

    @scheduler.interval(seconds=10, overlap="allow", max_running=1)
    async def slow() -> None:
        await anyio.sleep(60)

    @scheduler.interval(seconds=10, overlap="allow", max_running=1)
    async def quick() -> None: ...

    async with scheduler:
        await virtual_clock.advance(1200)
        (line,) = [line for line in caplog.messages if "they come faster than they end" in line]
        assert line.startswith("schedule 'slow': a run has waited ")
        assert 'Limit(…, full="skip")' in line


def test_what_other_schedulers_call_it_is_told() -> None:
    scheduler = Scheduler()
    with pytest.raises(ConfigurationError, match=r"max_running=Limit\(3, full=\"skip\"\)"):
        scheduler.interval(seconds=1, max_instances=3)  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="Limit: full"):
        Limit(3, full="drop")  # type: ignore[arg-type]
