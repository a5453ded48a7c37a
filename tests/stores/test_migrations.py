"""The tables' versions, over both databases: planned, printed, applied under a lock, refused, rolled back."""

from __future__ import annotations

import importlib.util
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from asyncsched import ConfigurationError, SchemaError, StoreError, StoreUnavailable
from asyncsched._core.requests import RunQuery
from asyncsched.stores.factory import open_store
from asyncsched.stores.migrations import Migration, plan, sql
from asyncsched.stores.sql import schema
from asyncsched.stores.sql import statements as queries
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.testing import VirtualClock
from asyncsched.testing.conformance import Stage
from tests.each_store import POSTGRES, SQLITE
from tests.postgres import LOCKED_ROLE, Server

pytestmark = [pytest.mark.anyio, pytest.mark.blocking_ok]  # the tests themselves make and edit tables

ROWS = Path(__file__).parent / "rows"
"""What each schema is filled with before it is brought up to date: ``<number>.sql``."""

NEXT = "ALTER TABLE asyncsched_runs ADD COLUMN colour {text} NOT NULL DEFAULT 'red';\n" \
    "CREATE INDEX asyncsched_runs_colour ON asyncsched_runs (colour);\n"  # fmt: skip
"""A migration after the newest, for what must hold of every one."""

SEVERAL = Path(__file__).parent / "scripts" / "open_migrated.py"


class Database:
    """An empty database of one kind."""

    dialect: str
    url: str

    def store(self, **options: Any) -> Any:
        raise NotImplementedError

    def execute(self, script: str) -> None:
        raise NotImplementedError

    def rows(self, query: str) -> list[Any]:
        raise NotImplementedError

    def schema(self) -> list[Any]:
        """Return all there is to know of the tables and their indexes."""
        raise NotImplementedError


class Sqlite(Database):
    dialect = "sqlite"

    def __init__(self, file: Path) -> None:
        self.file = file
        self.url = f"sqlite:///{file}"

    def store(self, **options: Any) -> Any:
        return SqliteStore(self.file, **options)

    def execute(self, script: str) -> None:
        with closing(sqlite3.connect(self.file)) as connection:
            connection.executescript(script)

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.file)) as connection:
            return connection.execute(query).fetchall()

    def schema(self) -> list[Any]:
        return self.rows("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2")


class Postgres(Database):
    dialect = "postgres"

    def __init__(self, server: Server, name: str, **options: str) -> None:
        self.server = server
        self.name = name
        self.url = server.dsn(name, **options)

    def store(self, **options: Any) -> Any:
        from asyncsched.stores.postgres import PostgresStore

        return PostgresStore(self.url, **options)

    def execute(self, script: str) -> None:
        self.server.run(script, database=self.name)

    def rows(self, query: str) -> list[Any]:
        return self.server.run(query, database=self.name)

    def schema(self) -> list[Any]:
        columns = (
            "select table_name, column_name, data_type, is_nullable, column_default, collation_name "
            "from information_schema.columns where table_schema = 'public' order by 1, ordinal_position"
        )
        indexes = (
            "select tablename, indexname, indexdef from pg_indexes where schemaname = 'public' order by 1, 2"
        )
        return [*self.rows(columns), *self.rows(indexes)]


@pytest.fixture(params=[SQLITE, POSTGRES])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        yield Sqlite(tmp_path / "ledger.db")
        return
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed")
    server: Server = request.getfixturevalue("pg_server")
    name = server.create_database()
    yield Postgres(server, name)
    server.drop_database(name)


@pytest.fixture
def after_the_newest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return what adds a migration to those that there are."""

    def add(text: str = NEXT) -> Migration:
        real = queries.migrations
        step = Migration(len(real("sqlite")) + 1, "0099_colours", "")

        def known(dialect: str) -> tuple[Migration, ...]:
            return (*real(dialect), step._replace(sql=text.format(text="text")))

        for module in (schema, sys.modules["asyncsched.stores.migrations"]):
            monkeypatch.setattr(module, "migrations", known)
        return step

    return add


async def use(database: Database, clock: VirtualClock, **options: Any) -> None:
    """Open the database as an app does, and have a run go through it."""
    async with Stage(lambda: database.store(**options), clock) as stage:
        await stage.add(run := stage.run())
        (begun,) = [one for one in (await stage.claim()).runs if one.id == run.id]
        assert await stage.end(begun)
        assert await stage.store.runs(RunQuery())


async def refused(database: Database, clock: VirtualClock, kind: type[StoreError], **options: Any) -> str:
    store = database.store(**options)
    store.prepare(clock, lambda *_: None)
    with pytest.raises(kind) as caught:
        await store.open(lambda: None)
    await store.close()
    return str(caught.value)


def build(database: Database, number: int) -> None:
    """Make the schema as it was at a version, with rows where there are some for it."""
    for step in schema.migrations(database.dialect)[:number]:
        database.execute(schema.script((step,)))
        rows = ROWS / f"{step.number:04}.sql"
        if rows.exists():
            database.execute(rows.read_text())


# ── what is missing, and its SQL ─────────────────────────────────────────────────────────────────


def test_an_empty_database_lacks_everything_and_asking_changes_nothing(database: Database) -> None:
    steps = plan(database.url)
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    assert sql(database.url) == sql(database.url, after=0)
    assert database.schema() == []
    if isinstance(database, Sqlite):
        database.file.unlink()  # made by the look at its schema above
        assert len(plan(database.url)) == len(steps)
        assert not database.file.exists()


async def test_what_is_printed_is_accepted_by_an_app_that_may_not_make_tables(
    database: Database, virtual_clock: VirtualClock
) -> None:
    said = await refused(database, virtual_clock, SchemaError, migrate=False)
    assert "lacks 0001_ledger" in said
    assert "asyncsched.stores.migrations.sql(" in said
    database.execute(sql(database.url))
    await use(database, virtual_clock, migrate=False)
    assert plan(database.url) == []
    assert sql(database.url) == ""


@pytest.mark.parametrize("url", ["mysql://host/db", "jobs.db", None])
def test_what_names_no_database_is_refused_in_words(url: Any) -> None:
    for call in (plan, sql):
        with pytest.raises(ConfigurationError):
            call(url)


def test_a_database_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    (tmp_path / "letter").write_bytes(b"dear friend, " * 100)
    with pytest.raises(SchemaError, match="no SQLite database"):
        plan(f"sqlite:///{tmp_path}/letter")
    pytest.importorskip("psycopg")
    with pytest.raises(StoreUnavailable, match="/nowhere"):
        plan("postgresql:///x?host=/nowhere")
    assert sql("postgresql:///x?host=/nowhere", after=0)  # nobody is asked


# ── applied ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", range(len(queries.migrations("sqlite"))))
async def test_each_earlier_schema_is_brought_up_to_date(
    number: int,
    database: Database,
    virtual_clock: VirtualClock,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    build(database, number)
    await use(database, virtual_clock)
    database_schema = database.schema()
    assert plan(database.url) == []
    fresh = fresh_one(database, request, tmp_path)
    fresh.execute(sql(fresh.url))
    assert fresh.schema() == database_schema


def fresh_one(like: Database, request: pytest.FixtureRequest, folder: Path) -> Database:
    if isinstance(like, Sqlite):
        return Sqlite(folder / "fresh.db")
    return Postgres(request.getfixturevalue("pg_server"), request.getfixturevalue("pg_database"))


async def test_one_more_migration_is_applied_over_rows_and_leaves_the_schema_of_a_fresh_one(
    database: Database, virtual_clock: VirtualClock, after_the_newest: Any, request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:  # fmt: skip
    build(database, len(queries.migrations("sqlite")))
    before = database.rows("SELECT count(*) FROM asyncsched_runs")[0][0]
    assert before > 1
    added = after_the_newest()
    assert [step.name for step in plan(database.url)] == ["0099_colours"]
    said = await refused(database, virtual_clock, SchemaError, migrate=False)
    assert "lacks 0099_colours" in said
    await use(database, virtual_clock)
    assert database.rows("SELECT count(*), min(colour) FROM asyncsched_runs") == [(before + 1, "red")]
    assert database.rows("SELECT max(number) FROM asyncsched_schema") == [(added.number,)]
    fresh = fresh_one(database, request, tmp_path)
    await use(fresh, virtual_clock)
    assert fresh.schema() == database.schema()


async def test_a_migration_that_fails_half_way_is_named_and_nothing_of_it_stays(
    database: Database, virtual_clock: VirtualClock, after_the_newest: Any
) -> None:
    build(database, len(queries.migrations("sqlite")))
    before = database.schema()
    after_the_newest(NEXT + "CREATE INDEX asyncsched_oops ON asyncsched_runs (nothing_of_this_name);\n")
    for _ in range(2):
        said = await refused(database, virtual_clock, SchemaError)
        assert "the migration 0099_colours failed, and nothing of it was applied" in said
        assert "nothing_of_this_name" in said
        assert database.schema() == before
    after_the_newest(NEXT)  # mended: it goes on from where it stood
    await use(database, virtual_clock)


async def test_a_newer_schema_is_refused(database: Database, virtual_clock: VirtualClock) -> None:
    database.execute(sql(database.url))
    database.execute("INSERT INTO asyncsched_schema (number, name) VALUES (99, 'tomorrow')")
    for said in (await refused(database, virtual_clock, SchemaError), _error_of(database)):
        assert "has schema 99" in said
        assert "update asyncsched" in said


def _error_of(database: Database) -> str:
    with pytest.raises(SchemaError) as caught:
        plan(database.url)
    return str(caught.value)


async def test_tables_of_our_name_that_are_not_ours_are_refused(
    database: Database, virtual_clock: VirtualClock
) -> None:
    database.execute("CREATE TABLE asyncsched_runs (id integer)")
    assert "are not of asyncsched" in await refused(database, virtual_clock, SchemaError)


@pytest.mark.real_time  # processes live in the machine's time
def test_four_processes_migrate_one_database_at_once(database: Database) -> None:
    build(database, len(queries.migrations("sqlite")))
    processes = [
        subprocess.Popen(
            [sys.executable, str(SEVERAL), database.url, NEXT.format(text="text")],
            env={**os.environ, "PYTHONPATH": str(SEVERAL.parents[3])}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        for process in processes:  # all of them now
            assert process.stdin is not None
            process.stdin.close()
        for process in processes:
            assert process.stderr is not None
            assert process.wait(30) == 0, process.stderr.read()
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                assert pipe is not None
                pipe.close()
    assert database.rows("SELECT count(*) FROM asyncsched_schema WHERE name = '0099_colours'") == [(1,)]


@pytest.mark.parametrize("kind", ["postgres"])
async def test_a_role_that_may_not_make_tables_is_told_where_the_sql_is(
    kind: str, pg_server: Server, pg_database: str, virtual_clock: VirtualClock
) -> None:
    if not pg_server.can_restart:
        pytest.skip("this server is not ours: it has no such role")
    database = Postgres(pg_server, pg_database, user=LOCKED_ROLE, password="right")
    database.execute("revoke create on schema public from public")
    said = await refused(database, virtual_clock, SchemaError)
    assert "0001_ledger" in said
    assert "migrations.sql(" in said
    database.execute(sql("postgresql://", after=0))
    database.execute(f"grant select, insert, update, delete on all tables in schema public to {LOCKED_ROLE}")
    await use(database, virtual_clock, migrate=False)
    assert open_store(database.url, "default") is not None
