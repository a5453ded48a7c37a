"""A server with several worker processes, and a scheduler in memory: each process is for itself, and says so.

Real time, because servers are other processes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from asyncsched import Cron, Scheduler
from tests.servers.conftest import Server
from tests.waiting import until

pytestmark = pytest.mark.real_time

SAID = "this is one of {} worker processes, and each keeps its schedules and runs in its own memory"


@pytest.mark.parametrize("kind", ["uvicorn-asyncio", "gunicorn-uvicorn", "gunicorn-asgi", "hypercorn-trio"])
def test_worker_processes_without_a_store_are_warned_of(kind: str, start: Callable[..., Server]) -> None:
    server = start(kind, "--workers", "2")
    until(lambda: SAID.format(2) in server.output(), server.output)


@pytest.mark.parametrize("kind", ["uvicorn-asyncio", "gunicorn-uvicorn"])
def test_one_worker_is_not(kind: str, start: Callable[..., Server]) -> None:
    server = start(kind, "--workers", "1", WEB_CONCURRENCY="2")
    server.until_logged("tick", times=2)  # the start is over
    assert "worker processes" not in server.output()


def fill(url: str, file: Path, count: int) -> None:
    """Write schedules of 1,440 cron texts: one is added, and its row is copied."""
    scheduler = Scheduler(url, stall_threshold=None)

    @scheduler.job()
    async def remind(user: int) -> None: ...

    async def add_one() -> None:
        async with scheduler:
            await scheduler.add_schedule(remind, Cron("30 12 * * *"), id="remind-0", args=(0,))

    anyio.run(add_one)
    with closing(sqlite3.connect(file)) as connection, connection:
        cursor = connection.execute("SELECT * FROM asyncsched_schedules")
        row = dict(zip([column[0] for column in cursor.description], cursor.fetchone(), strict=True))
        rows = [
            tuple({
                **row, "id": f"remind-{n}", "spec": row["spec"].replace("30 12", f"{n % 60} {n // 60 % 24}")
            }.values())
            for n in range(1, count)
        ]  # fmt: skip
        connection.executemany(f"INSERT INTO asyncsched_schedules VALUES ({', '.join('?' * len(row))})", rows)


def test_four_workers_start_over_a_file_with_5000_schedules_of_1440_cron_texts(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    file = tmp_path / "jobs.db"
    url = f"sqlite:///{file}"
    fill(url, file, 5000)
    server = start("uvicorn-asyncio", "--workers", "4", app="tests.servers.crowded:app", CROWDED_STORE=url)
    until(lambda: len(server.lines()) >= 4, server.output)
    assert [line.split()[0] for line in server.lines()] == ["5000"] * 4, server.output()
    assert "StoreUnavailable" not in server.output()
