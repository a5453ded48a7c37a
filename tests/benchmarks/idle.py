"""W8: how often an idle process is woken by its scheduler, and how often an idle scheduler asks its store."""

from __future__ import annotations

import asyncio
import os
import tempfile
from datetime import UTC, datetime, timedelta

from tests.benchmarks._bench import DSN, Figure, Measure, Metrics, Scenario, Size
from tests.benchmarks._measure import aps3, postgres_statements, sqlite_statements
from tests.benchmarks._workloads import nothing, settle, wakeups
from tests.benchmarks.peers import aiocron, aps4, docket, saq, taskiq


def ours(size: Size) -> Metrics:
    """Measure this library: voluntary context switches of all its threads."""
    from asyncsched import Scheduler

    async def main() -> Metrics:
        scheduler = Scheduler()
        scheduler.cron("@yearly")(nothing)
        async with scheduler:
            return await wakeups(size.seconds)

    return asyncio.run(main())


def apscheduler(size: Size) -> Metrics:
    """Measure APScheduler 3."""

    async def main() -> Metrics:
        scheduler = aps3()
        scheduler.add_job(nothing, "date", run_date=datetime.now(UTC) + timedelta(days=1))
        scheduler.start()
        metrics = await wakeups(size.seconds)
        scheduler.shutdown(wait=False)
        return metrics

    return asyncio.run(main())


async def _idle(url: str, seconds: float, seen: list[str] | None = None) -> Metrics:
    """Wait with a store: statements are counted in one process, and wake-ups in another that is left alone."""
    from asyncsched import Scheduler

    scheduler = Scheduler(url)
    scheduler.cron("@yearly")(nothing)
    async with scheduler:
        if seen is None:
            return await wakeups(seconds)
        await settle(seconds)
        before = len(seen)
        await asyncio.sleep(seconds)
        return {"statements": (len(seen) - before) * 60 / seconds}


def sqlite(size: Size) -> Metrics:
    """Count the wake-ups with SQLite."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_idle(f"sqlite:///{folder}/jobs.db", size.seconds))


def sqlite_asked(size: Size) -> Metrics:
    """Count what SQLite executes."""
    with sqlite_statements() as seen, tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_idle(f"sqlite:///{folder}/jobs.db", size.seconds, seen))


def postgres(size: Size) -> Metrics:
    """Count the wake-ups with PostgreSQL."""
    return asyncio.run(_idle(os.environ[DSN], size.seconds))


def postgres_asked(size: Size) -> Metrics:
    """Count what PostgreSQL is asked."""
    with postgres_statements() as seen:
        return asyncio.run(_idle(os.environ[DSN], size.seconds, seen))


_STORES = {
    "sqlite": sqlite,
    "sqlite-asked": sqlite_asked,
    "postgres": postgres,
    "postgres-asked": postgres_asked,
}

SCENARIOS = (
    Scenario(
        "idle",
        "one schedule that is not due for long, a minute, all at the same time: voluntary context switches of all "
        "threads, and what the store is asked (PRAGMA data_version not counted)",
        {
            "asyncsched": ours, "aps3": apscheduler, "aps4": aps4.idle, "aiocron": aiocron.idle, "taskiq": taskiq.idle,
            "saq": saq.idle, "docket": docket.idle, **_STORES,
        },
        (
            Figure("8b", "memory, idle: wake-ups per minute", "wakeups", 3),
            Figure("8b", "SQLite, idle: statements per minute", "statements", 75, system="sqlite-asked"),
            Figure("8b", "PostgreSQL, idle: statements per minute", "statements", 75, system="postgres-asked"),
        ),
        Size(0, 60), Size(0, 31), Size(0, 0.5), rounds=1, redis="memory", postgres=True, together=True,
        measures=(
            Measure("memory, wake-ups per minute", "wakeups"), Measure("memory, CPU per minute", "cpu_ms", "ms"),
            *(
                measure
                for store, name in (("SQLite", "sqlite"), ("PostgreSQL", "postgres"))
                for measure in (
                    Measure(f"{store}, statements per minute", "statements", "", f"{name}-asked"),
                    Measure(f"{store}, wake-ups per minute", "wakeups", "", name),
                    Measure(f"{store}, CPU per minute", "cpu_ms", "ms", name),
                )
            ),
        ),
    ),
)  # fmt: skip
