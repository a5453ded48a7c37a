"""Runs in the user's own transaction on PostgreSQL: there exactly if it commits."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import anyio
import pytest

psycopg = pytest.importorskip("psycopg")

from psycopg.rows import dict_row
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from asyncsched import KeyConflict, Scheduler, SchedulerStateError, StoreUnavailable, UnknownRun, current_run
from asyncsched._core.errors import ArgumentError
from asyncsched.testing import VirtualClock
from tests.postgres import Server

pytestmark = [pytest.mark.anyio, pytest.mark.blocking_ok]  # the user's own connection may block


@pytest.fixture
def scheduler(shared_dsn: str, pg_server: Server, pg_shared: str, virtual_clock: VirtualClock) -> Scheduler:
    pg_server.run("drop table if exists users", "create table users (name text)", database=pg_shared)
    scheduler = Scheduler(shared_dsn, clock=virtual_clock)

    @scheduler.job()
    async def greet(name: str) -> str:
        return f"hello {name}"

    return scheduler


@pytest.fixture
def alchemy(shared_dsn: str) -> str:
    return shared_dsn.replace("postgresql:", "postgresql+psycopg:")


def only_asyncio(anyio_backend: Any) -> None:
    if "trio" in str(anyio_backend):
        pytest.skip("the asynchronous drivers run on asyncio alone")


async def test_the_run_exists_if_the_transaction_commits(scheduler: Scheduler, shared_dsn: str) -> None:
    async with scheduler:
        with psycopg.connect(shared_dsn) as connection:
            connection.execute("insert into users values ('ann')")
            handle = await scheduler.schedule_once("greet", "ann", connection=connection)
            await anyio.sleep(5)
            assert await scheduler.runs() == []
            connection.commit()
            assert await handle.result(2) == "hello ann"


async def test_it_does_not_exist_if_it_rolls_back(scheduler: Scheduler, shared_dsn: str) -> None:
    async with scheduler:
        with psycopg.connect(shared_dsn) as connection:
            handle = await scheduler.schedule_once("greet", "ann", connection=connection)
            for ask in (handle.status, handle.result, handle.cancel):
                with pytest.raises(UnknownRun, match="has not committed"):
                    await ask()
            connection.rollback()
        await anyio.sleep(60)
        assert await scheduler.runs() == []
        with pytest.raises(UnknownRun, match="has not committed"):
            await handle.result()


@pytest.mark.parametrize("kind", [psycopg.Cursor, psycopg.ClientCursor, psycopg.RawCursor])
async def test_neither_its_cursors_nor_its_rows_matter(
    scheduler: Scheduler, shared_dsn: str, kind: Any
) -> None:
    async with scheduler:
        with psycopg.connect(shared_dsn, cursor_factory=kind, row_factory=dict_row) as connection:
            first = await scheduler.schedule_once("greet", "ann", key="k", connection=connection)
            again = await scheduler.schedule_once("greet", "ann", key="k", connection=connection.cursor())
            assert (again.id, again.created) == (first.id, False)
            with pytest.raises(KeyConflict, match="other arguments"):
                await scheduler.schedule_once("greet", "ben", key="k", connection=connection)
        assert await again.result(2) == "hello ann"


async def test_an_asynchronous_connection_carries_it(
    scheduler: Scheduler, shared_dsn: str, anyio_backend: Any
) -> None:
    only_asyncio(anyio_backend)
    async with scheduler:
        async with await psycopg.AsyncConnection.connect(shared_dsn) as connection:
            handle = await scheduler.schedule_once("greet", "ann", key="k", connection=connection)
            assert not (await scheduler.schedule_once("greet", "ann", key="k", connection=connection)).created
            assert await scheduler.runs() == []
        assert await handle.result(2) == "hello ann"


async def test_a_sqlalchemy_session_carries_it(scheduler: Scheduler, alchemy: str) -> None:
    engine = create_engine(alchemy)
    async with scheduler:
        with Session(engine) as session, session.begin():
            session.execute(text("insert into users values ('cid')"))
            handle = await scheduler.schedule_once("greet", "cid", connection=session)
        assert await handle.result(2) == "hello cid"
        with Session(engine) as session:
            await scheduler.schedule_once("greet", "dan", connection=session)
        assert len(await scheduler.runs()) == 1
    engine.dispose()


async def test_an_asynchronous_sqlalchemy_session_carries_it(
    scheduler: Scheduler, alchemy: str, anyio_backend: Any
) -> None:
    only_asyncio(anyio_backend)
    engine = create_async_engine(alchemy)
    async with scheduler:
        async with AsyncSession(engine) as session, session.begin():
            handle = await scheduler.schedule_once("greet", "cid", key="k", connection=session)
            assert not (await scheduler.schedule_once("greet", "cid", key="k", connection=session)).created
        assert await handle.result(2) == "hello cid"
    await engine.dispose()


async def test_a_statement_is_executed_by_whomever(scheduler: Scheduler, shared_dsn: str) -> None:
    async with scheduler:
        sql, parameters = scheduler.statement("greet", "ben")
        with psycopg.connect(shared_dsn) as connection:
            for _ in range(2):
                connection.execute(sql, parameters)
        await anyio.sleep(3)
        (run,) = await scheduler.runs()
        assert (run.state, run.result) == ("succeeded", "hello ben")


async def test_a_key_is_respected(scheduler: Scheduler, shared_dsn: str) -> None:
    async with scheduler:
        with psycopg.connect(shared_dsn, autocommit=True) as connection:
            first = await scheduler.schedule_once("greet", "ann", key="k", delay=60)
            again = await scheduler.schedule_once("greet", "ann", key="k", connection=connection)
            assert (again.id, again.created) == (first.id, False)
            with pytest.raises(KeyConflict):
                await scheduler.schedule_once("greet", "ben", key="k", connection=connection)


@pytest.mark.real_time  # a lock is waited for in the machine's time
async def test_whoever_waits_for_a_key_in_an_open_transaction_waits_alone(shared_dsn: str) -> None:
    from asyncsched.stores.postgres import PostgresStore

    scheduler = Scheduler(PostgresStore(shared_dsn, timeout=1))

    @scheduler.job()
    async def greet(name: str) -> str:
        return f"hello {name}"

    async with scheduler:
        with psycopg.connect(shared_dsn) as connection:
            await scheduler.schedule_once("greet", "ann", key="k", connection=connection)
            with pytest.raises(StoreUnavailable):
                await scheduler.schedule_once("greet", "ann", key="k")
            assert await (await scheduler.schedule_once("greet", "ben")).result(5) == "hello ben"


async def test_a_connection_of_another_kind_is_refused_in_words(scheduler: Scheduler) -> None:
    async with scheduler:
        with closing(sqlite3.connect(":memory:")) as connection:
            with pytest.raises(ArgumentError, match="give a connection of psycopg"):
                await scheduler.schedule_once("greet", "ann", connection=connection)


async def test_a_jobs_success_and_its_own_work_are_one_transaction(
    scheduler: Scheduler, shared_dsn: str
) -> None:
    @scheduler.job()
    async def import_user(name: str, commits: bool) -> str:
        with psycopg.connect(shared_dsn) as connection:
            connection.execute("insert into users values (%s)", (name,))
            current_run().complete_in(connection)
            if not commits:
                connection.rollback()
                raise RuntimeError("undone")
        raise RuntimeError("something after the transaction")

    async with scheduler:
        done = await (await scheduler.schedule_once("import_user", "ann", True)).wait()
        assert done.state == "succeeded"
        undone = await (await scheduler.schedule_once("import_user", "ben", False)).wait()
        assert undone.state == "failed"
    with psycopg.connect(shared_dsn) as connection:
        assert connection.execute("select name from users").fetchall() == [("ann",)]


async def test_only_the_holder_completes(scheduler: Scheduler, shared_dsn: str) -> None:
    errors: list[str] = []

    @scheduler.job()
    async def slow() -> None:
        await anyio.sleep(1)
        with psycopg.connect(shared_dsn) as connection:
            try:
                current_run().complete_in(connection)
            except SchedulerStateError as error:
                errors.append(str(error))
            connection.rollback()

    async with scheduler:
        await scheduler.schedule_once("slow")
        await anyio.sleep(0.5)
        with psycopg.connect(shared_dsn) as connection:
            connection.execute("update asyncsched_runs set holder = 7")
        await anyio.sleep(1)
    assert "no longer held" in errors[0]


async def test_a_job_schedules_itself_under_its_own_key_in_the_transaction_that_completes_it(
    scheduler: Scheduler, shared_dsn: str
) -> None:
    @scheduler.job()
    async def follow(left: int) -> None:
        with psycopg.connect(shared_dsn) as connection:
            following = await scheduler.schedule_once(
                follow, left - 1, key="k", delay=60, connection=connection
            )
            current_run().complete_in(connection)
            assert following.created
            if not left:
                connection.rollback()

    async with scheduler:
        await scheduler.schedule_once(follow, 1, key="k")
        await anyio.sleep(90)
        second, first = await scheduler.runs(job="follow")
        assert (first.state, second.state, second.args) == ("succeeded", "succeeded", (0,))
        new = await scheduler.schedule_once(follow, 0, key="k", delay=60)
        assert new.created  # the second rolled back what it had scheduled, and ended with its key
