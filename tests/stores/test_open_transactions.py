"""A transaction of the user's that stays open holds up others, and is told of."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from asyncsched import Scheduler, current_run
from asyncsched.stores.sqlite import SqliteStore
from tests.each_store import POSTGRES, SQLITE
from tests.waiting import soon

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_time,  # a transaction is open in the machine's time
    pytest.mark.blocking_ok,  # and made by a connection of the test's own
]

STORE = {"lease": 0.6, "beat": 0.2, "poll": 0.1, "timeout": 60}
OPEN = "has been open for"


@pytest.fixture(params=[SQLITE, POSTGRES])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Callable[[], Any]]:
    """Return a store, and what connects to its database as the user does."""
    if request.param == "sqlite":
        path = tmp_path / "jobs.db"
        return SqliteStore(path, **STORE), lambda: closing(sqlite3.connect(path))
    psycopg = pytest.importorskip("psycopg")
    from asyncsched.stores.postgres import PostgresStore

    dsn = request.getfixturevalue("shared_dsn")
    return PostgresStore(dsn, **STORE), lambda: closing(psycopg.connect(dsn))


def greeting(store: Any) -> Scheduler:
    scheduler = Scheduler(store, stall_threshold=None)

    @scheduler.job()
    async def greet(name: str) -> str:
        return f"hello {name}"

    return scheduler


async def test_one_in_which_a_run_was_scheduled_is_told_of(
    database: tuple[Any, Callable[[], Any]], caplog: pytest.LogCaptureFixture
) -> None:
    store, connect = database
    async with greeting(store) as scheduler:
        with connect() as connection:
            handle = await scheduler.schedule_once("greet", "ann", connection=connection)
            await soon(lambda: OPEN in caplog.text)
            connection.commit()
        assert f"schedule_once(connection=…) added run {handle.id} of job 'greet' {OPEN}" in caplog.text
        assert await handle.result(60) == "hello ann"


async def test_one_in_which_a_job_wrote_its_success_is_told_of(
    database: tuple[Any, Callable[[], Any]], caplog: pytest.LogCaptureFixture
) -> None:
    store, connect = database
    scheduler = greeting(store)

    @scheduler.job()
    async def import_all() -> None:
        with connect() as connection:
            current_run().complete_in(connection)
            await soon(lambda: OPEN in caplog.text)
            connection.commit()

    async with scheduler:
        run = await (await scheduler.schedule_once(import_all)).wait()
    assert run.state == "succeeded"
    assert f"complete_in() ended run {run.id} of job 'import_all' {OPEN}" in caplog.text


@pytest.mark.parametrize("end", ["commit", "rollback", "leave"])
async def test_one_that_ended_in_time_is_not(
    database: tuple[Any, Callable[[], Any]], caplog: pytest.LogCaptureFixture, end: str
) -> None:
    store, connect = database
    async with greeting(store) as scheduler:
        with connect() as connection:
            await scheduler.schedule_once("greet", "ann", connection=connection)
            if end != "leave":
                getattr(connection, end)()
                connection.execute("select 1")  # the connection is in use for something else by then
                await soon(lambda: not store._transactions._begun)
        await soon(lambda: not store._transactions._begun)
        assert await (await scheduler.schedule_once("greet", "ben")).result(60) == "hello ben"
    assert OPEN not in caplog.text
