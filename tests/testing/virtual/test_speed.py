"""A day of minutes and a month of a whole app's schedules pass in no time, with the real scheduler."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from asyncsched import Scheduler
from asyncsched.testing import VirtualClock

SLACK = 6
"""A shared machine is slower by this much at times: it is the order of magnitude that is held here."""


@pytest.fixture(autouse=True)
def no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


def test_24_hours_of_a_job_every_minute_that_sleeps_30_s(backend: str) -> None:
    clock = VirtualClock()
    scheduler = Scheduler(clock=clock)
    ended = 0

    @scheduler.interval(minutes=1)
    async def minutely() -> None:
        nonlocal ended
        await anyio.sleep(30)
        ended += 1

    async def day() -> None:
        async with scheduler:
            await clock.advance(timedelta(hours=24, seconds=30))

    began = time.process_time()
    clock.run(day, backend=backend)
    assert time.process_time() - began < 0.5 * SLACK
    assert ended == 1440


def test_a_month_of_a_realistic_set_of_schedules(backend: str) -> None:
    clock = VirtualClock(datetime(2026, 3, 1, 12, tzinfo=UTC))
    scheduler = Scheduler(clock=clock, timezone="Europe/Paris")

    counts: Counter[str] = Counter()

    def job(name: str, seconds: float) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            await anyio.sleep(seconds)
            counts[name] += 1

        return work

    for expression, name, seconds in (
        ("0 7 * * mon-fri", "digest", 60),
        ("@daily", "cleanup", 300),
        ("*/15 * * * *", "sync", 20),
        ("0 0 L * *", "invoices", 600),
        ("30 2 * * sun", "backup", 1800),
    ):
        scheduler.cron(expression, name=name)(job(name, seconds))
    scheduler.interval(minutes=5, name="refresh")(job("refresh", 2))
    scheduler.interval(hours=1, name="report")(job("report", 30))

    async def month() -> None:
        async with scheduler:
            await clock.advance_to(datetime(2026, 4, 1, 11, 58, tzinfo=UTC))

    began = time.process_time()
    clock.run(month, backend=backend)
    assert time.process_time() - began < 1.5 * SLACK
    assert counts == {
        "digest": 23,
        "cleanup": 31,
        "sync": 31 * 24 * 4,
        "invoices": 1,
        "backup": 4,
        "refresh": 31 * 24 * 12 - 1,
        "report": 31 * 24 - 1,
    }


def test_a_month_of_an_hourly_job_on_sqlite(backend: str, tmp_path: Path) -> None:
    clock = VirtualClock(patience=10)
    scheduler = Scheduler(f"sqlite:///{tmp_path / 'jobs.db'}", clock=clock)
    hours: list[datetime] = []

    @scheduler.interval(hours=1)
    async def hourly() -> None:
        hours.append(clock.now())

    async def month() -> None:
        async with scheduler:
            await clock.advance(timedelta(days=30, seconds=1))

    began = time.process_time()
    clock.run(month, backend=backend)
    assert time.process_time() - began < 5 * SLACK
    assert len(hours) == 720
    assert {hour.minute for hour in hours} == {0}


@pytest.mark.blocking_ok  # the stranger is in the test's own thread
def test_what_a_stranger_writes_into_the_file_is_heard_after_an_idle_day(
    backend: str, tmp_path: Path
) -> None:
    clock = VirtualClock(patience=10)
    path = tmp_path / "jobs.db"
    scheduler = Scheduler(f"sqlite:///{path}", clock=clock)
    ended: list[str] = []

    @scheduler.job()
    async def wait() -> None:
        await anyio.sleep_forever()

    async def day() -> None:
        async with scheduler:
            handle = await scheduler.schedule_once(wait)
            await clock.advance(timedelta(days=1))
            with closing(sqlite3.connect(path)) as stranger, stranger:
                stranger.execute("update asyncsched_runs set cancel_requested = 'by hand'")
                stranger.execute("update asyncsched_ledger set work_version = work_version + 1")
            await clock.advance(1)
            run = await handle.status()
            ended.append(f"{run.state} {run.why}")

    clock.run(day, backend=backend)
    assert ended == ["cancelled by hand"]
