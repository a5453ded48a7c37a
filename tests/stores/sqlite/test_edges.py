"""A SQLite store at the edges of the world: what cannot be opened, read, written, or had in time."""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsched import Interval, Scheduler, stores
from asyncsched._core.errors import ConfigurationError, SchemaError, StoreError, StoreUnavailable
from asyncsched._core.requests import RunQuery
from asyncsched.stores.factory import open_store
from asyncsched.stores.sql.statements import load, migrations
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.stores.sqlite.file import check_place, path_of
from asyncsched.stores.sqlite.store import statements
from asyncsched.testing import VirtualClock
from asyncsched.testing.conformance import Stage
from tests.stores.conftest import is_taken
from tests.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.blocking_ok]  # the tests themselves edit files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def stage(file: Path, virtual_clock: VirtualClock) -> Stage:
    return Stage(lambda: SqliteStore(file), virtual_clock)


@pytest.fixture
def edit(file: Path) -> Iterator[Callable[..., Any]]:
    """Return a stranger's connection to the file."""
    opened: list[sqlite3.Connection] = []

    def execute(sql: str, *params: Any) -> Any:
        if not opened:
            opened.append(sqlite3.connect(file, isolation_level=None, timeout=5))
        return opened[0].execute(sql, params).fetchall()

    yield execute
    for connection in opened:
        connection.close()


# ── addresses ────────────────────────────────────────────────────────────────────────────────────


def test_the_url_names_a_relative_or_an_absolute_path() -> None:
    assert path_of("sqlite:///jobs.db") == Path("jobs.db")
    assert path_of("sqlite:////var/jobs.db") == Path("/var/jobs.db")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://jobs.db", "three or four slashes"),
        ("sqlite:///", "three or four slashes"),
        ("sqlite:///:memory:", "leave store out"),
        ("mysql://host/db", "'mysql' is not known"),
        ("jobs.db", "is no URL"),
        ("sqlite+aiosqlite:///jobs.db", "write sqlite:// in place of"),
    ],
)
def test_other_urls_are_refused_in_words(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        open_store(url, "default")


def test_a_network_path_is_refused(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/sda / ext4 rw 0 0\nserver:/x /mnt/share nfs4 rw 0 0\n")
    check_place(tmp_path / "jobs.db", str(mounts))
    with pytest.raises(StoreError, match="network file system"):
        check_place(Path("/mnt/share/jobs.db"), str(mounts))


# ── opening ──────────────────────────────────────────────────────────────────────────────────────


async def refused(file: Path, clock: VirtualClock, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        async with Scheduler(f"sqlite:///{file}", clock=clock, store_timeout=0.2):
            pass


async def test_a_missing_folder_is_named(tmp_path: Path, virtual_clock: VirtualClock) -> None:
    await refused(tmp_path / "nowhere" / "jobs.db", virtual_clock, StoreUnavailable, "no folder")


async def test_a_file_that_is_no_database_is_refused(file: Path, virtual_clock: VirtualClock) -> None:
    file.write_bytes(b"this is a letter to a friend" * 100)
    await refused(file, virtual_clock, SchemaError, "no SQLite database")


async def test_it_lives_beside_the_applications_own_tables(stage: Stage, edit: Callable[..., Any]) -> None:
    edit("CREATE TABLE users (name TEXT)")
    async with stage:
        await stage.add(stage.run())
    assert edit("SELECT count(*) FROM asyncsched_runs") == [(1,)]


async def test_a_file_that_is_locked_at_start_is_waited_for_and_then_named(
    stage: Stage, file: Path, virtual_clock: VirtualClock, edit: Callable[..., Any]
) -> None:
    async with stage:
        pass
    edit("DELETE FROM asyncsched_ledger")  # so that there is something to write at start
    edit("BEGIN IMMEDIATE")
    await refused(file, virtual_clock, StoreUnavailable, r"this process \(\w+\) holds its lock")


# ── while it runs ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.hangs
async def test_a_stranger_who_holds_the_lock_is_waited_for(
    stage: Stage, edit: Callable[..., Any], virtual_clock: VirtualClock
) -> None:
    async with stage:
        edit("BEGIN IMMEDIATE")
        async with anyio.create_task_group() as group:
            group.start_soon(stage.add, stage.run())
            await anyio.sleep(1)
            edit("COMMIT")
        assert len(await stage.store.runs(RunQuery())) == 1
        assert stage.store.trouble == ""


@pytest.mark.hangs
async def test_who_waits_too_long_is_told_why_and_it_recovers_without_a_restart(
    file: Path, virtual_clock: VirtualClock, edit: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with Stage(lambda: SqliteStore(file, timeout=1.5), virtual_clock) as stage:
        edit("BEGIN IMMEDIATE")
        with pytest.raises(
            StoreUnavailable, match=r"no answer within 1\.5 s .*this process \(\w+\) holds its lock"
        ):
            await stage.add(stage.run())
        assert "holds its lock" in stage.store.trouble
        edit("COMMIT")
        await stage.add(run := stage.run())
        assert await stage.state(run) == "pending"
        assert stage.store.trouble == ""
    assert "cannot be written to" in caplog.text
    assert "can be written to again" in caplog.text


async def test_a_file_that_was_removed_is_missed_and_it_recovers_when_it_is_back(
    stage: Stage, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    aside = file.with_name("aside.db")
    async with stage:
        await stage.add(first := stage.run())
        file.rename(aside)
        for said in ("was removed or replaced while it was in use", "put it back, or restart"):
            with pytest.raises(StoreUnavailable, match=said):
                await stage.add(stage.run())
        with pytest.raises(StoreUnavailable, match="put it back, or restart"):
            await stage.state(first)
        assert "was removed" in stage.store.trouble
        assert not file.exists()  # no second ledger beside the one that may come back
        aside.rename(file)
        await stage.add(run := stage.run())
        assert [await stage.state(one) for one in (first, run)] == ["pending", "pending"]
        assert stage.store.trouble == ""
    assert "the store cannot be written to" in caplog.text
    assert "can be written to again" in caplog.text


async def test_who_uses_a_file_that_was_replaced_joins_those_of_the_new_one(
    file: Path, virtual_clock: VirtualClock
) -> None:
    def made(**options: float) -> Scheduler:
        scheduler = Scheduler(SqliteStore(file, **options), clock=virtual_clock)

        @scheduler.job()
        async def greet(name: str) -> str:
            return f"hello {name}"

        return scheduler

    async with made(poll=60) as first:  # the caller's request is the first to meet the new file
        await (await first.schedule_once("greet", "ann")).result(5)
        await virtual_clock.settle()
        for part in ("", "-wal", "-shm"):
            Path(f"{file}{part}").unlink()
        async with made() as second:
            with pytest.raises(StoreUnavailable, match="was removed or replaced"):
                await first.schedule_once("greet", "ben")
            run = await first.schedule_once("greet", "cid")
            assert await second.handle(run.id).result(5) == "hello cid"
            await anyio.sleep(20)
            assert len(await second.instances()) == 2
            assert first.health().ok


async def test_a_full_disk_is_named_and_reading_goes_on(stage: Stage) -> None:
    async with stage:
        await stage.add(run := stage.run())
        pages = await stage.store._call(lambda session: session.execute("PRAGMA page_count").fetchone()[0])

        def limit(session: Any) -> None:
            session.execute(f"PRAGMA max_page_count = {pages}")

        await stage.store._call(limit)
        with pytest.raises(StoreUnavailable, match="the disk is full"):
            await stage.add(*(stage.run(arguments='"' + "x" * 5000 + '"') for _ in range(20)))
        assert await stage.state(run) == "pending"
        await stage.store._call(lambda session: session.execute("PRAGMA max_page_count = 1000000") and None)
        await stage.add(stage.run())


async def test_a_run_that_was_edited_into_nonsense_is_left_out_and_the_others_go_on(
    stage: Stage, edit: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with stage:
        await stage.add(bad := stage.run(), good := stage.run())
        edit("UPDATE asyncsched_runs SET tags = 'no json' WHERE id = ?", f"{bad.id:032x}")
        assert [run.id for run in (await stage.claim()).runs] == [good.id]
        assert (await stage.claim()).runs == []
        assert [run.id for run in await stage.store.runs(RunQuery())] == [good.id]
    assert f"{bad.id:032x}" in caplog.text
    assert caplog.text.count("is left out") == 1


async def test_a_schedule_that_was_edited_into_nonsense_is_left_out(
    stage: Stage, edit: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with stage:
        await stage.schedule("good")
        await stage.schedule("bad")
        edit("UPDATE asyncsched_schedules SET spec = '{\"cron\": 7}' WHERE id = 'bad'")
        assert [record.id for record in await stage.store.schedules()] == ["good"]
    assert "schedule bad is left out" in caplog.text


# ── group commit ─────────────────────────────────────────────────────────────────────────────────


async def test_whatever_waits_is_written_in_one_transaction(stage: Stage) -> None:
    async with stage:
        said: list[str] = []
        await stage.store._call(lambda session: session._connection.set_trace_callback(said.append))
        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(stage.add, stage.run())
        await stage.store._call(lambda session: session._connection.set_trace_callback(None))
        assert len(await stage.store.runs(RunQuery())) == 100
    assert said.count("COMMIT") < 10


async def test_one_items_error_is_that_callers_alone(stage: Stage) -> None:
    errors: list[str] = []
    async with stage:

        async def add(**more: Any) -> None:
            try:
                await stage.add(stage.run(**more))
            except Exception as error:
                errors.append(type(error).__name__)

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(lambda bad: add(priority="x") if bad else add(), number == 7)
        assert len(await stage.store.runs(RunQuery())) == 19
    assert len(errors) == 1


@pytest.mark.hangs
async def test_cancelled_before_the_thread_took_it_nothing_happened(
    stage: Stage, edit: Callable[..., Any]
) -> None:
    async with stage:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await stage.add(stage.run())
        assert scope.cancelled_caught
        edit("BEGIN IMMEDIATE")
        async with anyio.create_task_group() as group:
            group.start_soon(stage.add, first := stage.run())  # the thread has this one in its hands
            await anyio.to_thread.run_sync(until, lambda: is_taken(stage))
            with anyio.move_on_after(0.1):
                await stage.add(stage.run())
            edit("COMMIT")
        assert [run.id for run in await stage.store.runs(RunQuery())] == [first.id]


@pytest.mark.hangs
async def test_cancelled_afterwards_the_answer_is_waited_for(stage: Stage, edit: Callable[..., Any]) -> None:
    async with stage:
        edit("BEGIN IMMEDIATE")
        ended: list[bool] = []

        async def add() -> None:
            with scope:
                await stage.add(stage.run())
            ended.append(True)

        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope()
            group.start_soon(add)
            await anyio.sleep(0)
            await anyio.to_thread.run_sync(until, lambda: is_taken(stage))
            scope.cancel()
            await anyio.sleep(0.4)
            assert not ended
            edit("COMMIT")
        assert len(await stage.store.runs(RunQuery())) == 1


# ── what is shown ────────────────────────────────────────────────────────────────────────────────


async def test_a_schedules_arguments_are_shown_as_they_were_given(
    file: Path, virtual_clock: VirtualClock
) -> None:
    scheduler = Scheduler(f"sqlite:///{file}", clock=virtual_clock)

    @scheduler.interval(seconds=60, kwargs={"site": "a.org"})
    async def check(site: str, deep: bool = False) -> None: ...

    async with scheduler:
        await scheduler.add_schedule(check, Interval(seconds=5), id="bare", args=("b.org",))
        shown = [await scheduler.schedule(id) for id in ("check", "bare")]
        calls = [inspect.signature(check).bind(*one.args, **one.kwargs).arguments for one in shown]
        assert calls == [{"site": "a.org"}, {"site": "b.org"}]


# ── SQL in files ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_every_statement_has_a_name_of_its_own_and_a_description(dialect: str) -> None:
    folder = Path(stores.__file__).parent
    files = [*(folder / "sql/common").glob("[a-z]*.sql"), *(folder / dialect / "sql").glob("[a-z]*.sql")]
    lines = [line for file in files for line in file.read_text().splitlines()]
    heads = [number for number, line in enumerate(lines) if line.startswith("-- name: ")]
    assert len(heads) == len(load(dialect)) > 40
    assert all(lines[number + 1].startswith("-- ") for number in heads)
    numbers = [step.number for step in migrations(dialect)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_dialects_have_the_same_statements() -> None:
    assert load("sqlite").keys() <= load("postgres").keys()


def test_a_script_is_cut_into_its_statements() -> None:
    script = "-- one; two\nCREATE TABLE a (\n    x -- not here;\n);\n\nCREATE INDEX b ON a (x);\n"
    assert len(list(statements(script))) == 2
