"""W8: a start with very many schedules, of which two in five have a cron text of their own."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from tests.benchmarks._bench import DSN, Figure, Measure, Metrics, Scenario, Size
from tests.benchmarks._measure import Cpu

_FEW, _MANY = 5_000, 50_000


async def remind(user: int) -> None:
    """Be the job of all schedules."""


def _scheduler(url: str | None) -> Any:
    from asyncsched import Scheduler

    scheduler = Scheduler(url)
    scheduler.job()(remind)
    return scheduler


def _text(number: int, count: int) -> str:
    text = number % max(1, count * 2 // 5)
    return f"{text % 60} {text // 60 % 24} {text // 1440 % 28 + 1} * *"


async def _start(url: str) -> Metrics:
    scheduler = _scheduler(url)
    cpu, began = Cpu(), time.perf_counter()
    async with scheduler:
        metrics = {"start_cpu": cpu.spent(), "start": time.perf_counter() - began}
        cpu = Cpu()
        await scheduler.schedule("remind-1")
        metrics["one_ms"] = cpu.spent() * 1e3
    return metrics


def _filled(url: str, count: int, write: Callable[[Sequence[Any], list[Sequence[Any]]], None]) -> Metrics:
    """Add one schedule, have its row copied, and measure a start over the copies."""
    from asyncsched import Cron

    async def add_one() -> None:
        async with _scheduler(url) as scheduler:
            await scheduler.add_schedule(remind, Cron("30 12 1 1 *"), id="remind-0", args=(0,))

    def copies(names: Sequence[str], row: Sequence[Any]) -> list[Sequence[Any]]:
        found = []
        for number in range(1, count):
            values = dict(zip(names, row, strict=True))
            values["id"] = f"remind-{number}"
            values["spec"] = values["spec"].replace("30 12 1 1 *", _text(number, count))
            found.append(tuple(values.values()))
        return found

    asyncio.run(add_one())
    write(copies)
    return asyncio.run(_start(url))


def sqlite(size: Size) -> Metrics:
    """Start over SQLite."""
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/jobs.db"

        def write(copies: Any) -> None:
            with closing(sqlite3.connect(file)) as connection, connection:
                cursor = connection.execute("SELECT * FROM asyncsched_schedules")
                rows = copies([column[0] for column in cursor.description], cursor.fetchone())
                marks = ", ".join("?" for _ in cursor.description)
                connection.executemany(f"INSERT INTO asyncsched_schedules VALUES ({marks})", rows)

        return _filled(f"sqlite:///{file}", size.n, write)


def postgres(size: Size) -> Metrics:
    """Start over PostgreSQL."""
    import psycopg

    url = os.environ[DSN]

    def write(copies: Any) -> None:
        with psycopg.connect(url) as connection:
            cursor = connection.execute("SELECT * FROM asyncsched_schedules")
            rows = copies([column[0] for column in cursor.description or ()], cursor.fetchone())
            with cursor.copy("COPY asyncsched_schedules FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)

    return _filled(url, size.n, write)


def memory(size: Size) -> Metrics:
    """Start in memory, which keeps nothing: the schedules are added anew, and their texts parsed."""
    from asyncsched import Cron

    async def main() -> Metrics:
        Cron("0 0 1 1 *")  # the import of croniter is no start
        scheduler, cpu, began = _scheduler(None), Cpu(), time.perf_counter()
        async with scheduler:
            await scheduler.add_schedules(
                [
                    {
                        "job": remind,
                        "trigger": Cron(_text(number, size.n)),
                        "id": f"remind-{number}",
                        "args": (number,),
                    }
                    for number in range(size.n)
                ]
            )
            metrics = {"start_cpu": cpu.spent(), "start": time.perf_counter() - began}
            cpu = Cpu()
            await scheduler.schedule("remind-1")
            return metrics | {"one_ms": cpu.spent() * 1e3}

    return asyncio.run(main())


def declared(size: Size) -> Metrics:
    """Start in memory with a function and an interval for each schedule, as the decorators declare them."""
    from asyncsched import Scheduler

    async def main() -> Metrics:
        cpu, began, scheduler = Cpu(), time.perf_counter(), Scheduler()
        for number in range(size.n):

            @scheduler.interval(seconds=3600 + number, name=f"job-{number}")
            async def job() -> None: ...

        async with scheduler:
            metrics = {"start_cpu": cpu.spent(), "start": time.perf_counter() - began}
            cpu = Cpu()
            await scheduler.schedule("job-1")
            return metrics | {"one_ms": cpu.spent() * 1e3}

    return asyncio.run(main())


def texts(size: Size) -> Metrics:
    """Parse different texts, and add schedules with them in memory."""
    from asyncsched import Cron

    async def main() -> Metrics:
        Cron("0 0 1 1 *")  # the import of croniter is no parsing
        cpu = Cpu()
        triggers = [Cron(f"{n % 60} {n // 60 % 24} {n // 1440 % 28 + 1} * *") for n in range(size.n)]
        metrics = {"parse_us": cpu.spent() / size.n * 1e6}
        async with _scheduler(None) as scheduler:
            cpu = Cpu()
            await scheduler.add_schedules(
                [
                    {"job": remind, "trigger": one, "id": str(n), "args": (n,)}
                    for n, one in enumerate(triggers)
                ]
            )
            metrics["add_us"] = cpu.spent() / size.n * 1e6
        return metrics

    return asyncio.run(main())


def _scenario(name: str, what: str, count: int, system: Callable[[Size], Metrics], **more: Any) -> Scenario:
    return Scenario(
        name, f"{what}, {count:,} schedules with {count * 2 // 5:,} cron texts: a start in a fresh process",
        {"asyncsched": system},
        (
            Figure("", f"{what}, {count:,} schedules: CPU of a start, s", "start_cpu", 2.0),
            Figure("", f"{what}, {count:,} schedules: time of a start, s", "start"),
            Figure("", f"{what}, {count:,} schedules: CPU of schedule(id), ms", "one_ms"),
        ),
        Size(count), Size(count), Size(100), rounds=3, **more,
        measures=(
            Measure(f"{what}: CPU of a start", "start_cpu", "s"), Measure(f"{what}: time of a start", "start", "s"),
            Measure(f"{what}: CPU of `schedule(id)`", "one_ms", "ms"),
        ),
    )  # fmt: skip


SCENARIOS = (
    _scenario("starting-memory", "memory", _MANY, memory),
    _scenario("starting-declared", "declared", _MANY, declared),
    _scenario("starting-sqlite-5k", "SQLite", _FEW, sqlite),
    _scenario("starting-sqlite", "SQLite", _MANY, sqlite),
    _scenario("starting-postgres-5k", "PostgreSQL", _FEW, postgres, postgres=True),
    _scenario("starting-postgres", "PostgreSQL", _MANY, postgres, postgres=True),
    Scenario(
        "texts",
        "20,000 different cron texts: parsed, and added as schedules in memory",
        {"asyncsched": texts},
        (
            Figure("", "one cron text: CPU of its parsing, µs", "parse_us", 50),
            Figure("", "add_schedules in memory: CPU per schedule, µs", "add_us"),
        ),
        Size(20_000), Size(20_000), Size(100), rounds=3,
    ),
)  # fmt: skip
