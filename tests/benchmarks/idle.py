"""W8: how often an idle process is woken by its scheduler, and how often an idle scheduler asks its store."""

from __future__ import annotations

import asyncio
import os
import resource
import tempfile
from datetime import UTC, datetime, timedelta

from tests.benchmarks._bench import DSN, Figure, Metrics, Scenario, Size
from tests.benchmarks._measure import Cpu, aps3, postgres_statements, sqlite_statements


async def nothing() -> None:
    """Be the job of tomorrow."""


async def _wakeups(seconds: float) -> Metrics:
    await asyncio.sleep(2)  # what was set up has settled
    before, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw, Cpu()
    await asyncio.sleep(seconds)
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before
    # The end of the sleep above is one switch of ours.
    return {"wakeups": max(0, switches - 1) * 60 / seconds, "cpu_ms": cpu.spent() * 1e3}


def ours(size: Size) -> Metrics:
    """Measure this library: voluntary context switches of all its threads."""
    from asyncsched import Scheduler

    async def main() -> Metrics:
        scheduler = Scheduler()
        scheduler.cron("@yearly")(nothing)
        async with scheduler:
            return await _wakeups(size.seconds)

    return asyncio.run(main())


def apscheduler(size: Size) -> Metrics:
    """Measure APScheduler 3."""

    async def main() -> Metrics:
        scheduler = aps3()
        scheduler.add_job(nothing, "date", run_date=datetime.now(UTC) + timedelta(days=1))
        scheduler.start()
        metrics = await _wakeups(size.seconds)
        scheduler.shutdown(wait=False)
        return metrics

    return asyncio.run(main())


async def _statements(url: str, seconds: float, seen: list[str]) -> Metrics:
    from asyncsched import Scheduler

    scheduler = Scheduler(url)
    scheduler.cron("@yearly")(nothing)
    async with scheduler:
        await asyncio.sleep(2)
        before = len(seen)
        await asyncio.sleep(seconds)
        return {"statements": (len(seen) - before) * 60 / seconds}


def sqlite(size: Size) -> Metrics:
    """Count what SQLite executes."""
    with sqlite_statements() as seen, tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_statements(f"sqlite:///{folder}/jobs.db", size.seconds, seen))


def postgres(size: Size) -> Metrics:
    """Count what PostgreSQL is asked."""
    with postgres_statements() as seen:
        return asyncio.run(_statements(os.environ[DSN], size.seconds, seen))


SCENARIOS = (
    Scenario(
        "idle",
        "one schedule that is not due for long: voluntary context switches of the process, per minute",
        {"asyncsched": ours, "aps3": apscheduler},
        (Figure("8b", "wake-ups per minute", "wakeups", 3),),
        Size(0, 60), Size(0, 31), Size(0, 0.5), rounds=1,
    ),
    Scenario(
        "idle-sqlite",
        "SQLite, one schedule that is not due for long: statements per minute, PRAGMA data_version not counted",
        {"asyncsched": sqlite},
        (Figure("8b", "SQLite, idle: statements per minute", "statements", 75),),
        Size(0, 60), Size(0, 31), Size(0, 0.5), rounds=1,
    ),
    Scenario(
        "idle-postgres",
        "PostgreSQL, one schedule that is not due for long: statements per minute",
        {"asyncsched": postgres},
        (Figure("8b", "PostgreSQL, idle: statements per minute", "statements", 75),),
        Size(0, 60), Size(0, 31), Size(0, 0.5), rounds=1, postgres=True,
    ),
)  # fmt: skip
