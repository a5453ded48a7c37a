"""What somebody edits in the database by hand: one row's nonsense is that row's alone, over both databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsched import Interval, Once, Retry, RunFailed, Scheduler, current_run
from asyncsched._core.errors import (
    ArgumentError,
    ConfigurationError,
    SchemaError,
    StoreError,
    UnknownSchedule,
)
from asyncsched.stores.sql.schema import script
from asyncsched.stores.sql.statements import migrations
from asyncsched.stores.sql.thread import AT_ONCE
from asyncsched.testing import VirtualClock
from tests.each_store import SQLITE, on_asyncio
from tests.postgres import Server

pytestmark = [pytest.mark.anyio, pytest.mark.blocking_ok]  # the tests themselves edit tables

Edit = Callable[[str], None]


class Database:
    """A database that a scheduler and a stranger share."""

    def __init__(self, url: str, edit: Edit, clock: VirtualClock) -> None:
        self.url = url
        self.edit = edit
        self.clock = clock

    def scheduler(self) -> Scheduler:
        return Scheduler(self.url, clock=self.clock)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture(params=[SQLITE, pytest.param("pg_shared", marks=on_asyncio)])
def database(request: pytest.FixtureRequest) -> Database:
    return database_of(request, request.param)


@pytest.fixture(params=[SQLITE, pytest.param("pg_database", marks=on_asyncio)])
def own_database(request: pytest.FixtureRequest) -> Database:
    """A database whose tables may be spoilt."""
    return database_of(request, request.param)


def database_of(request: pytest.FixtureRequest, kind: str) -> Database:
    clock = request.getfixturevalue("virtual_clock")
    if kind == "sqlite":
        file = request.getfixturevalue("file")
        return Database(f"sqlite:///{file}", lambda sql: in_file(file, sql), clock)
    server: Server = request.getfixturevalue("pg_server")
    name = request.getfixturevalue(kind)
    url = request.getfixturevalue("shared_dsn" if kind == "pg_shared" else "postgres_dsn")

    def edit(sql: str) -> None:
        server.run(sql, database=name)

    return Database(url, edit, clock)


def in_file(file: Path, sql: str) -> None:
    with closing(sqlite3.connect(file, timeout=5)) as connection, connection:
        connection.execute(sql)


def ticking(scheduler: Scheduler, id: str) -> list[datetime]:
    """Declare a schedule of every minute; return the slots that it ran."""
    ran: list[datetime] = []

    @scheduler.interval(seconds=60, name=id)
    async def tick() -> None:
        ran.append(current_run().scheduled_for)

    return ran


# ── schedules that the code declares ─────────────────────────────────────────────────────────────

NONSENSE = [
    "spec = 'nonsense'",
    "spec = '[]'",
    'spec = \'{"type":"interval"}\'',
    "tags = '[1,2'",
    "tags = '3'",
    "next_slot = NULL",
    "next_due = NULL",
    "job = 'nonsense'",
    "arguments = 'nonsense'",
    "arguments = '{\"x\":1}'",
    "id = 'else'",
    "jitter = -1",
    "fingerprint = ''",
]


@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_a_start_declares_anew_what_makes_no_sense(
    database: Database, nonsense: str, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = database.scheduler()
    ran, others = ticking(scheduler, "tick"), ticking(scheduler, "other")
    async with scheduler:
        await database.clock.advance(1)
    database.edit(f"UPDATE asyncsched_schedules SET {nonsense} WHERE id = 'tick'")
    async with scheduler:
        await database.clock.advance(180)
        assert (await scheduler.schedule("tick")).job == "tick"
    assert (len(ran), len(others)) == (3, 3)
    if not nonsense.startswith(("id", "fingerprint")):  # as if it had been deleted, or changed in the code
        column = nonsense.partition(" ")[0]
        assert [line for line in caplog.messages if "'tick'" in line and "anew" in line]
        assert column in caplog.text


@pytest.mark.parametrize(
    "edited", ["UPDATE asyncsched_schedules SET spec = 'x'", "DELETE FROM asyncsched_schedules"]
)
async def test_a_row_that_is_gone_is_told_of_and_returns_at_the_next_start(
    database: Database, edited: str, caplog: pytest.LogCaptureFixture
) -> None:
    schedulers = [database.scheduler(), database.scheduler()]
    ran = [ticking(one, "tick") for one in schedulers]
    async with schedulers[0], schedulers[1]:
        await database.clock.advance(150)
        database.edit(f"{edited} WHERE id = 'tick'")
        await database.clock.advance(120)
    slots = sorted(ran[0] + ran[1])
    assert [later - earlier for earlier, later in pairwise(slots)] == [timedelta(minutes=1)]
    assert [line for line in caplog.messages if "'tick' was due, and its row was deleted" in line]
    async with schedulers[0]:
        await database.clock.advance(61)
    assert len(ran[0] + ran[1]) == 3


async def test_only_the_newest_instance_writes_over_what_it_cannot_read(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = database.scheduler(), database.scheduler()
    ran = [ticking(old, "tick"), ticking(new, "tick")]
    async with old, new:
        await database.clock.advance(5)
        new.drain()
        database.edit("UPDATE asyncsched_schedules SET spec = 'x'")  # which may make sense to newer code
        await database.clock.advance(120)
        assert await old.schedules() == ran[0] == ran[1] == []
        assert "written anew" not in caplog.text


# ── schedules that were added ────────────────────────────────────────────────────────────────────


async def test_an_added_schedule_that_somebody_deletes_is_gone(database: Database) -> None:
    scheduler = database.scheduler()
    ran = ticking(scheduler, "tick")
    async with scheduler:
        await scheduler.add_schedule("tick", Interval(seconds=60), id="more")
        database.edit("DELETE FROM asyncsched_schedules WHERE id = 'more'")
        await database.clock.advance(180)
        with pytest.raises(UnknownSchedule):
            await scheduler.schedule("more")
    assert len(ran) == 3


async def test_an_added_schedule_that_makes_no_sense_is_left_to_its_owner(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = database.scheduler()
    ran = ticking(scheduler, "tick")
    async with scheduler:
        await scheduler.add_schedule("tick", Interval(seconds=60), id="more")
    database.edit("UPDATE asyncsched_schedules SET spec = 'x' WHERE id = 'more'")
    async with scheduler:
        for replace in (False, True):
            with pytest.raises(StoreError, match=r"schedule 'more' .* its row cannot be read"):
                await scheduler.add_schedule("tick", Interval(seconds=60), id="more", replace=replace)
        await database.clock.advance(180)
    assert len(ran) == 3
    assert caplog.text.count("its spec is 'x'") == 1


# ── the ledger's own row ─────────────────────────────────────────────────────────────────────────


async def test_a_deleted_ledger_row_is_put_back_and_all_hear_of_what_is_new(database: Database) -> None:
    first, second = database.scheduler(), database.scheduler()
    ran = [ticking(first, "tick"), ticking(second, "tick")]
    async with first, second:
        await first.pause("tick")
        await first.resume("tick")
        await database.clock.advance(30)
        database.edit("DELETE FROM asyncsched_ledger")
        await first.add_schedule("tick", Interval(seconds=60), id="more")
        await database.clock.advance(5)
        assert {"tick", "more"} <= second._runtime.main.agenda.schedules.keys()  # type: ignore[union-attr]
        database.edit("DELETE FROM asyncsched_ledger")
        await database.clock.advance(5)
        await second.schedule_once("tick")
        await database.clock.advance(100)
    assert len(ran[0] + ran[1]) == 4


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("column", ["tags", "permits", "context_vars", "error", "progress", "attempts"])
async def test_a_run_that_makes_no_sense_is_named_with_its_column_and_left_out(
    database: Database, column: str, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = database.scheduler()
    ticking(scheduler, "tick")
    async with scheduler:
        bad = await scheduler.schedule_once("tick", delay=30)
        good = await scheduler.schedule_once("tick", delay=30)
        database.edit(
            f"UPDATE asyncsched_runs SET {column} = 'nonsense' WHERE job = 'tick' AND id = '{bad.id}'"
        )
        await database.clock.advance(90)
        assert (await good.status()).state == "succeeded"
        assert bad.id not in [run.id for run in await scheduler.runs()]
    assert caplog.text.count(f"its {column} is 'nonsense'") == 1


@pytest.mark.parametrize(
    "edited", ["result = '[1,2'", "result = '\"x\"'", "finished_at = NULL", "late = NULL"]
)
async def test_what_a_run_says_that_fits_no_more_is_shown_as_it_is(database: Database, edited: str) -> None:
    scheduler = database.scheduler()

    @scheduler.job()
    async def answer() -> int:
        return 42

    async with scheduler:
        runs = [await scheduler.schedule_once(answer, key=f"{number}") for number in range(2)]
        assert [await run.result() for run in runs] == [42, 42]
        database.edit(f"UPDATE asyncsched_runs SET {edited} WHERE id = '{runs[0].id}'")
        found = {run.id: run for run in await scheduler.runs()}
        assert found[runs[1].id].result == 42
        if edited.startswith("result"):
            assert f"result = '{found[runs[0].id].result}'" == edited
        await (await scheduler.schedule_once(answer, key="0")).wait()


@pytest.mark.parametrize(
    "edited",
    ["UPDATE asyncsched_limits SET used = 1000", "DELETE FROM asyncsched_runs WHERE state = 'running'"],
)
async def test_a_limit_that_nobody_gives_back_is_counted_again(
    database: Database, edited: str, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = database.scheduler()
    begun: list[int] = []

    @scheduler.job(max_running=2)
    async def limited(number: int, seconds: float) -> None:
        begun.append(number)
        await anyio.sleep(seconds)

    async with scheduler:
        for number in range(2):
            await scheduler.schedule_once(limited, number, 200)
        await database.clock.advance(10)
        database.edit(edited)
        for number in range(2, 6):
            await scheduler.schedule_once(limited, number, 0)
        await database.clock.advance(60)  # nobody has tended the ledger yet
        assert sorted(begun) == [0, 1]  # of one claim, trio begins them in any order
        await database.clock.advance(250)
        assert sorted(begun) == [0, 1, 2, 3, 4, 5]
        await database.clock.advance(300)
    assert len([line for line in caplog.messages if "it is put right" in line]) == 1


def test_sqlite_refuses_a_text_in_place_of_a_number(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        for step in migrations("sqlite"):
            connection.executescript(script([step]))
            rows = Path(__file__).parent / "rows" / f"{step.number:04}.sql"
            connection.executescript(rows.read_text() if rows.exists() else "")
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        tried = 0
        for table in tables:
            for _, column, kind, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall():
                for value in {"INTEGER": ("x", b"\xff", 1.5), "TEXT": (b"\xff",)}[kind]:
                    tried += 1
                    with pytest.raises(sqlite3.IntegrityError, match=r"cannot store|datatype mismatch"):
                        connection.execute(f'UPDATE {table} SET "{column}" = ?', (value,))
    assert tried > 100


# ── texts ────────────────────────────────────────────────────────────────────────────────────────

UNKEPT = ["a\0b", "\ud800"]


@pytest.mark.parametrize("text", UNKEPT)
@pytest.mark.parametrize("kept_in", ["memory", "database"])
async def test_a_text_that_no_store_keeps_is_refused_where_it_is_given(
    request: pytest.FixtureRequest, virtual_clock: VirtualClock, text: str, kept_in: str, file: Path
) -> None:
    scheduler = Scheduler(None if kept_in == "memory" else f"sqlite:///{file}", clock=virtual_clock)
    await refuses(scheduler, text)


@pytest.mark.parametrize("text", UNKEPT)
async def test_postgres_too_refuses_it_in_the_same_words(
    shared_dsn: str, virtual_clock: VirtualClock, text: str
) -> None:
    await refuses(Scheduler(shared_dsn, clock=virtual_clock), text)


async def refuses(scheduler: Scheduler, text: str) -> None:
    @scheduler.job()
    async def job(x: int = 1) -> None: ...

    def refused(what: str) -> Any:
        return pytest.raises(ConfigurationError, match=rf"{what} has a zero character or a lone surrogate")

    async def other() -> None: ...

    with refused("job 'other': a tag"):
        scheduler.job(tags=[text])(other)
    with pytest.raises(ConfigurationError, match="namespace must be a printable text"):
        Scheduler(namespace=text)
    async with scheduler:
        for given in ({"tags": ["good", text]}, {"key": text}):
            with refused("job 'job': (a tag|key)"):
                await scheduler.schedule_once(job, **given)  # type: ignore[call-overload]
        await (await scheduler.schedule_once(job, tags=["good"])).wait()
        for name in ("job", "schedule", "origin", "key", "tag"):
            with refused(name):
                await scheduler.runs(**{name: text})  # type: ignore[arg-type]
        with refused("tag"):
            await scheduler.cancel_many(tag=text)
        with refused("tag"):
            await scheduler.dead_letters(tag=text)
        assert len(await scheduler.runs(tag="good")) == 1
        await scheduler.add_schedule(job, Interval(hours=1), id="there")  # so that a database has to compare
        with pytest.raises(UnknownSchedule):
            await scheduler.schedule(text)


# ── PostgreSQL's encodings ───────────────────────────────────────────────────────────────────────


@pytest.fixture
def encoded(pg_server: Server) -> Any:
    made: list[str] = []

    def make(encoding: str, **options: str) -> str:
        made.append(name := f"asyncsched_{encoding.lower()}")
        pg_server.run(
            f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
        return pg_server.dsn(name, **options)

    yield make
    for name in made:
        pg_server.drop_database(name)


async def test_a_database_without_an_encoding_is_refused_at_start(
    encoded: Any, virtual_clock: VirtualClock
) -> None:
    with pytest.raises(SchemaError, match=r"SQL_ASCII, .* ENCODING 'UTF8'"):
        async with Scheduler(encoded("SQL_ASCII"), clock=virtual_clock):
            pass


async def test_a_character_that_the_database_lacks_is_its_callers_error(
    encoded: Any, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = Scheduler(encoded("LATIN1", client_encoding="LATIN1"), clock=virtual_clock)

    @scheduler.job()
    async def echo(text: str) -> str:
        return "☃" if text == "snow" else text

    async with scheduler:
        assert await (await scheduler.schedule_once(echo, "ü")).result() == "ü"
        with pytest.raises(ArgumentError, match="the database cannot keep this text"):
            await scheduler.schedule_once(echo, "☃")
        with pytest.raises(ArgumentError, match="the database cannot keep this text"):
            await scheduler.runs(tag="☃")
        together = [Once(echo, (text,)) for text in ("ä", "snow", "ö")]
        before, snow, after = await scheduler.schedule_many(together)
        with pytest.raises(RunFailed) as failed:  # its outcome cannot be kept, and is not left open
            await snow.result()
        assert [await before.result(), await after.result()] == ["ä", "ö"]
        assert failed.value.outcome.why == "result"
        assert "the database cannot keep this text" in failed.value.message
    assert "ended as succeeded, and the store did not take it" in caplog.text


async def test_of_a_batch_that_is_refused_nothing_is_there_whoever_wrote_with_it(
    encoded: Any, virtual_clock: VirtualClock
) -> None:
    scheduler = Scheduler(encoded("LATIN1"), clock=virtual_clock)

    @scheduler.job()
    async def echo(text: str) -> None: ...

    async def add(who: str, last: str) -> None:
        texts = [*"x" * 99, last]
        await scheduler.schedule_many([Once(echo, (text,), delay=1000, tags=(who,)) for text in texts])

    async def refused() -> None:
        with pytest.raises(ArgumentError, match="the database cannot keep this text"):
            await add("refused", "☃")

    async with scheduler:
        async with anyio.create_task_group() as group:
            for _ in range(AT_ONCE // 100):  # so that what is refused is written in two pieces
                group.start_soon(add, "taken", "x")
            group.start_soon(refused)
        assert len(await scheduler.runs(tag="taken", limit=1000)) == AT_ONCE // 100 * 100
        assert await scheduler.runs(tag="refused") == []


# ── tables that are not ours any more ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("edited", "said"),
    [
        (
            "ALTER TABLE asyncsched_schedules RENAME COLUMN spec TO trigger",
            "not those of this version: .*spec",
        ),
        (
            "ALTER TABLE asyncsched_runs RENAME COLUMN ready_at TO ready",
            "not those of this version: .*ready_at",
        ),
        ("DROP TABLE asyncsched_instances", "not those of this version: .*asyncsched_instances"),
        ("DELETE FROM asyncsched_schema", "asyncsched_schema is empty"),
    ],
)
async def test_other_tables_are_refused_in_words(own_database: Database, edited: str, said: str) -> None:
    scheduler = own_database.scheduler()
    ticking(scheduler, "tick")
    async with scheduler:
        pass
    own_database.edit(edited)
    with pytest.raises(SchemaError, match=said):
        async with scheduler:
            await scheduler.schedule_once("tick")


async def test_damaged_pages_are_named(file: Path, virtual_clock: VirtualClock) -> None:
    scheduler = Scheduler(f"sqlite:///{file}", clock=virtual_clock)
    ticking(scheduler, "tick")
    async with scheduler:
        for _ in range(50):
            await scheduler.schedule_once("tick", delay=1000)
    size = file.stat().st_size
    with file.open("r+b") as pages:
        pages.seek(4096)
        pages.write(b"\x5a" * (size - 4096))
    with pytest.raises(SchemaError, match="damaged"):
        async with scheduler:
            await scheduler.runs()


async def test_a_file_name_that_is_too_long_is_told(tmp_path: Path, virtual_clock: VirtualClock) -> None:
    with pytest.raises(StoreError, match="cannot be opened: File name too long") as caught:
        async with Scheduler(f"sqlite:///{tmp_path / ('x' * 300)}", clock=virtual_clock):
            pass
    assert len(str(caught.value)) < 200


async def test_a_run_whose_holder_has_no_row_begins_again(database: Database) -> None:
    scheduler = database.scheduler()

    @scheduler.job(retry=Retry(attempts=2))
    async def job() -> int:
        return current_run().attempt

    async with scheduler:
        handle = await scheduler.schedule_once(job, delay=3600)
        database.edit(
            "UPDATE asyncsched_runs SET state = 'running', holder = 77, attempt = 1, started_at = 1, ready_at = NULL"
        )
        assert await handle.result(400) == 2


# ── figures ──────────────────────────────────────────────────────────────────────────────────────


async def test_figures_that_make_no_sense_begin_anew(database: Database) -> None:
    scheduler = database.scheduler()
    ticking(scheduler, "tick")
    async with scheduler:
        for nonsense in ("3", "nonsense", '{"a":1}', '{"9999":1}', '{"5":"a"}', '{"5":[]}', "[1]"):
            before = (await scheduler.statistics()).total(3).runs
            for table, column in (
                ("periods", "skipped"),
                ("periods", "late"),
                ("periods", "took"),
                ("tallies", "figures"),
            ):
                database.edit(f"UPDATE asyncsched_{table} SET {column} = '{nonsense}'")
            await anyio.sleep(3 * 60 + 5)
            async with database.scheduler() as other:
                statistics = await other.statistics()
                total = statistics.total(3)
                assert total.runs == before + 3
                assert total.took.percentile(0.95) is not None
                assert total.late.percentile(0.95) is not None
                assert statistics.schedule("tick").runs == 3


async def test_what_an_instance_of_an_older_version_counts_is_read(database: Database) -> None:
    scheduler = database.scheduler()
    ticking(scheduler, "tick")
    async with scheduler:
        await anyio.sleep(60 * 10 + 5)
        before = await scheduler.statistics()
        assert before.total(1).runs == 10
        start = max(before.book.periods)
        # As version 10 of the tables did: it knows neither durations nor the number of the write.
        for number in (1, 2):
            database.edit(
                "INSERT INTO asyncsched_periods"
                " (namespace, start, succeeded, failed, cancelled, missed, late, skipped)"
                f" VALUES ('default', {start - 30_000_000}, {number}, 0, 0, 0, '{{}}', '{{}}')"
                f" ON CONFLICT (namespace, start) DO UPDATE SET succeeded = {number}"
            )
            assert (await scheduler.statistics()).total(1).runs == 10 + number
