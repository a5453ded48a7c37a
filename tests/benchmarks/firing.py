"""W8: what one firing asks of a database: statements and transactions, where one job is due each second."""

from __future__ import annotations

import asyncio
import os
import tempfile

from tests.benchmarks._bench import DSN, Figure, Metrics, Scenario, Size
from tests.benchmarks._measure import postgres_statements, sqlite_statements


async def _per_firing(url: str, firings: int, seen: list[str]) -> Metrics:
    """Count from the middle between two firings on, so that each is counted with all that follows from it."""
    from asyncsched import Scheduler

    fired = asyncio.Semaphore(0)
    scheduler = Scheduler(url)

    @scheduler.interval(seconds=1)
    async def tick() -> None:
        fired.release()

    async with scheduler:
        await fired.acquire()
        await asyncio.sleep(0.5)
        before = len(seen)
        for _ in range(firings):
            await fired.acquire()
        await asyncio.sleep(0.5)
        asked = seen[before:]
    return {"statements": len(asked) / firings, "transactions": asked.count("COMMIT") / firings}


def sqlite(size: Size) -> Metrics:
    """Count what SQLite executes."""
    with sqlite_statements() as seen, tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_per_firing(f"sqlite:///{folder}/jobs.db", size.n, seen))


def postgres(size: Size) -> Metrics:
    """Count what PostgreSQL is asked."""
    with postgres_statements() as seen:
        return asyncio.run(_per_firing(os.environ[DSN], size.n, seen))


SCENARIOS = (
    Scenario(
        "firing",
        "one job each second: what the store is asked for each firing, beats and polls included (PRAGMA data_version not)",
        {"sqlite": sqlite, "postgres": postgres},
        tuple(
            figure
            for store, name in (("SQLite", "sqlite"), ("PostgreSQL", "postgres"))
            for figure in (
                Figure("", f"{store}: statements a firing", "statements", system=name),
                Figure("", f"{store}: transactions a firing (its claim and its record)", "transactions", 2, system=name),
            )
        ),
        Size(15), Size(10), Size(1), rounds=1, postgres=True, together=True,
    ),
)  # fmt: skip
