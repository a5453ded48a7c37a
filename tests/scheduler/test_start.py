"""What a scheduler says when it has started: one line of what it is, and a warning of what cannot be meant."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from asyncsched import Interval, Scheduler, UnknownRun
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio

SAID = "this is one of 4 worker processes"


async def nothing() -> None: ...


async def test_one_line_says_store_role_instance_and_schedules(
    virtual_clock: VirtualClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scheduler = Scheduler(f"sqlite:///{tmp_path}/jobs.db", clock=virtual_clock, role="run")
    scheduler.interval(seconds=10)(nothing)
    async with scheduler:
        await scheduler.add_schedule("nothing", Interval(seconds=60), id="more")
        (me,) = await scheduler.instances()
        (line,) = [one for one in caplog.messages if "has started" in one]
        for word in (
            f"<SqliteStore '{tmp_path}/jobs.db' namespace 'default'>",
            "role run",
            me.id,
            me.host,
            f"pid {me.pid}",
        ):
            assert word in line
        assert line.endswith(", 1 schedule")
    memory = Scheduler(clock=virtual_clock)
    memory.interval(seconds=10)(nothing)
    memory.interval(seconds=10, each_instance=True, name="here")(lambda: None)
    async with memory:
        pass
    line = [one for one in caplog.messages if "has started" in one][-1]
    assert "store MemoryStore, role both" in line
    assert f"pid {os.getpid()}), 1 schedule, 1 more in this process alone" in line


async def test_memory_in_several_worker_processes_is_warned_of(
    virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    async with Scheduler(clock=virtual_clock) as scheduler:
        (said,) = [one for one in caplog.messages if SAID in one]
        assert 'Scheduler("sqlite:///jobs.db")' in said
        with pytest.raises(UnknownRun, match="it is in another process's memory"):
            await scheduler.run("1" * 32)


@pytest.mark.parametrize("number", ["1", "", "many"])
async def test_one_worker_process_is_not(
    virtual_clock: VirtualClock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    number: str,
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", number)
    async with Scheduler(clock=virtual_clock):
        assert not caplog.records


async def test_a_store_each_instance_and_a_scheduler_that_is_off_are_not_warned_of(
    virtual_clock: VirtualClock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    local = Scheduler(clock=virtual_clock)
    local.interval(seconds=10, each_instance=True)(nothing)
    shared = Scheduler(f"sqlite:///{tmp_path}/jobs.db", clock=virtual_clock)
    for scheduler in (local, shared, Scheduler(clock=virtual_clock, role="off")):
        async with scheduler:
            assert not caplog.records
