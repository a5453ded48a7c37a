"""Runs in the user's own transaction: there exactly if it commits."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from asyncsched import KeyConflict, Retry, Scheduler, SchedulerStateError, UnknownRun, current_run
from asyncsched._core.errors import ArgumentError
from asyncsched.stores.sql.drivers import in_style
from asyncsched.testing import VirtualClock

pytestmark = [pytest.mark.anyio, pytest.mark.blocking_ok]  # the user's own connection blocks, as documented


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


@pytest.fixture
def connection(file: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("CREATE TABLE users (name TEXT)")
    yield connection
    connection.close()


@pytest.fixture
def ran() -> list[str]:
    return []


@pytest.fixture
def scheduler(file: Path, virtual_clock: VirtualClock, ran: list[str]) -> Scheduler:
    scheduler = Scheduler(f"sqlite:///{file}", clock=virtual_clock)

    @scheduler.job()
    async def greet(name: str) -> str:
        ran.append(name)
        return f"hello {name}"

    return scheduler


@pytest.mark.hangs
async def test_the_run_exists_if_the_transaction_commits(
    scheduler: Scheduler, connection: sqlite3.Connection, ran: list[str]
) -> None:
    async with scheduler:
        connection.execute("BEGIN")
        connection.execute("INSERT INTO users VALUES ('ann')")
        handle = await scheduler.schedule_once("greet", "ann", connection=connection)
        with pytest.raises(UnknownRun, match="has not committed"):
            await handle.result()
        await anyio.sleep(1)
        assert not ran
        connection.execute("COMMIT")
        assert await handle.result(2) == "hello ann"


async def test_it_does_not_exist_if_it_rolls_back(
    scheduler: Scheduler, connection: sqlite3.Connection, ran: list[str]
) -> None:
    async with scheduler:
        connection.execute("BEGIN")
        handle = await scheduler.schedule_once("greet", "ann", connection=connection)
        connection.execute("ROLLBACK")
        await anyio.sleep(60)
        assert await scheduler.runs() == []
        for ask in (handle.status, handle.result, handle.wait, handle.cancel):
            with pytest.raises(UnknownRun, match="has not committed"):
                await ask()
        with pytest.raises(UnknownRun, match="has not committed"):
            await handle.reschedule(delay=1)


@pytest.mark.parametrize("rows", [None, sqlite3.Row, lambda cursor, row: {"row": row}])
async def test_a_key_given_twice_in_one_transaction_is_one_run(
    scheduler: Scheduler, connection: sqlite3.Connection, rows: Any
) -> None:
    connection.row_factory = rows
    async with scheduler:
        connection.execute("BEGIN")
        first = await scheduler.schedule_once("greet", "ann", key="k", connection=connection)
        again = await scheduler.schedule_once("greet", "ann", key="k", connection=connection.cursor())
        assert (first.created, again.created, again.id) == (True, False, first.id)
        with pytest.raises(UnknownRun, match="has not committed"):
            await again.result()
        with pytest.raises(KeyConflict, match="other arguments"):
            await scheduler.schedule_once("greet", "ben", key="k", connection=connection)
        connection.execute("COMMIT")
        assert await again.result(2) == "hello ann"


async def test_a_statement_is_executed_by_whomever(
    scheduler: Scheduler, connection: sqlite3.Connection
) -> None:
    async with scheduler:
        sql, parameters = scheduler.statement("greet", "ben")
        for _ in range(2):
            connection.execute(sql, parameters)
        await anyio.sleep(1)
        (run,) = await scheduler.runs()
        assert (run.state, run.result) == ("succeeded", "hello ben")


async def test_a_sqlalchemy_session_carries_it(
    scheduler: Scheduler, connection: sqlite3.Connection, file: Path
) -> None:
    engine = create_engine(f"sqlite:///{file}")
    async with scheduler:
        with Session(engine) as session, session.begin():
            handle = await scheduler.schedule_once("greet", "cid", connection=session)
        assert await handle.result(2) == "hello cid"
        with engine.connect() as plain:
            await scheduler.schedule_once("greet", "dan", key="k", connection=plain)
            assert not (await scheduler.schedule_once("greet", "dan", key="k", connection=plain)).created
            plain.rollback()
        assert len(await scheduler.runs()) == 1
    engine.dispose()


async def test_a_key_is_respected(scheduler: Scheduler, connection: sqlite3.Connection) -> None:
    async with scheduler:
        first = await scheduler.schedule_once("greet", "ann", key="k", delay=60)
        again = await scheduler.schedule_once("greet", "ann", key="k", connection=connection)
        assert (again.id, again.created) == (first.id, False)
        with pytest.raises(KeyConflict):
            await scheduler.schedule_once("greet", "ben", key="k", connection=connection)
        assert await first.result(70)
        assert (await scheduler.schedule_once("greet", "ben", key="k", connection=connection)).created


async def test_what_is_no_connection_is_refused_in_words(scheduler: Scheduler) -> None:
    async with scheduler:
        with pytest.raises(ArgumentError, match="give a connection of sqlite3"):
            await scheduler.schedule_once("greet", "ann", connection=object())
        engine = create_engine("sqlite://")
        for maker in (engine, create_async_engine("sqlite+aiosqlite://"), sessionmaker(engine)):
            with pytest.raises(
                ArgumentError, match=r"makes connections.*with engine\.begin\(\) as connection"
            ):
                await scheduler.schedule_once("greet", "ann", connection=maker)
        with pytest.raises(ArgumentError, match="replace=True and connection="):
            await scheduler.schedule_once("greet", "ann", key="k", replace=True, connection=object())


async def test_memory_has_no_transactions(virtual_clock: VirtualClock) -> None:
    async with Scheduler(clock=virtual_clock) as scheduler:
        with pytest.raises(SchedulerStateError, match="in memory"):
            await scheduler.schedule_once(print, connection=object())
        with pytest.raises(SchedulerStateError, match="in memory"):
            scheduler.statement(print)


async def test_a_jobs_success_and_its_own_work_are_one_transaction(
    scheduler: Scheduler, connection: sqlite3.Connection
) -> None:
    @scheduler.job(retry=Retry(2, delay=0))
    async def import_user(name: str, commits: bool) -> str:
        connection.execute("BEGIN")
        connection.execute("INSERT INTO users VALUES (?)", (name,))
        current_run().complete_in(connection)
        connection.execute("COMMIT" if commits else "ROLLBACK")
        if current_run().attempt == 1:
            raise RuntimeError("something after the transaction")
        return name

    async with scheduler:
        done = await (await scheduler.schedule_once("import_user", "ann", True)).wait()
        assert (done.state, done.attempt) == ("succeeded", 1)
        undone = await (await scheduler.schedule_once("import_user", "ben", False)).wait()
        assert (undone.state, undone.attempt) == ("succeeded", 2)
    assert connection.execute("SELECT name FROM users").fetchall() == [("ann",)]


async def test_a_thread_completes_as_well(scheduler: Scheduler, file: Path) -> None:
    @scheduler.job()
    def work() -> str:
        with closing(sqlite3.connect(file)) as connection, connection:
            current_run().complete_in(connection)
        raise RuntimeError("something after the transaction")

    async with scheduler:
        done = await (await scheduler.schedule_once("work")).wait()
        assert done.state == "succeeded"


@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")  # which is what it is about
async def test_what_a_failed_job_left_open_is_in_nobodys_way(
    scheduler: Scheduler, file: Path, connection: sqlite3.Connection
) -> None:
    @scheduler.job()
    async def leaves_it_open() -> None:
        connection = sqlite3.connect(file)
        connection.execute("INSERT INTO users VALUES ('ann')")
        raise ValueError("oops")

    async with scheduler:
        left = await (await scheduler.schedule_once("leaves_it_open")).wait()
        assert left.state == "failed"


async def test_only_the_holder_completes(scheduler: Scheduler, connection: sqlite3.Connection) -> None:
    errors: list[str] = []

    @scheduler.job()
    async def slow() -> None:
        await anyio.sleep(1)
        connection.execute("BEGIN")
        try:
            current_run().complete_in(connection)
        except SchedulerStateError as error:
            errors.append(str(error))
        connection.execute("ROLLBACK")

    async with scheduler:
        await scheduler.schedule_once("slow")
        await anyio.sleep(0.5)
        connection.execute("UPDATE asyncsched_runs SET holder = 7")
        await anyio.sleep(1)
    assert "no longer held" in errors[0]


async def test_a_crash_after_the_commit_does_not_begin_it_again(
    scheduler: Scheduler, connection: sqlite3.Connection
) -> None:
    @scheduler.job(retry=Retry(5))
    async def slow() -> None:
        current_run().complete_in(connection)
        await anyio.sleep(3600)

    async with scheduler:
        handle = await scheduler.schedule_once("slow")
        await anyio.sleep(1)
        assert await scheduler._runtime.main.membership.members()  # type: ignore[union-attr]
        line = scheduler._runtime.main  # type: ignore[union-attr]
        (me,) = await line.membership.members()  # type: ignore[union-attr]
        store = line.store
        assert await store.declare_dead(me.incarnation, me.beat, line.timeline.now()) == {"succeeded": 1}  # type: ignore[attr-defined]
        assert (await handle.wait()).state == "succeeded"


def test_parameters_are_marked_as_the_driver_wants_them() -> None:
    styles = {"qmark": "(?, ?)", "format": "(%s, %s)", "pyformat": "(%s, %s)", "numeric_dollar": "($1, $2)"}
    assert {style: in_style("(?, ?)", style) for style in styles} == styles


async def test_a_job_schedules_itself_under_its_own_key_in_the_transaction_that_completes_it(
    scheduler: Scheduler, connection: sqlite3.Connection
) -> None:
    @scheduler.job()
    async def follow(left: int) -> None:
        connection.execute("BEGIN")
        following = await scheduler.schedule_once(follow, left - 1, key="k", delay=60, connection=connection)
        current_run().complete_in(connection)
        connection.execute("COMMIT" if left else "ROLLBACK")
        assert following.created

    async with scheduler:
        await scheduler.schedule_once(follow, 1, key="k")
        await anyio.sleep(90)
        second, first = await scheduler.runs(job="follow")
        assert (first.state, second.state, second.args) == ("succeeded", "succeeded", (0,))
        new = await scheduler.schedule_once(follow, 0, key="k", delay=60)
        assert new.created  # the second rolled back what it had scheduled, and ended with its key
