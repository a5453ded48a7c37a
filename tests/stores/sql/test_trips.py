"""How often a database is asked for what happens all the time: every trip hands over the interpreter's lock twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsched._core.errors import ArgumentError, StoreError
from asyncsched._core.instants import SECOND
from asyncsched._core.records import RunRecord
from asyncsched._core.requests import RunQuery, Watch
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.stores.sqlite.store import SqliteSession
from asyncsched.testing import VirtualClock
from asyncsched.testing.conformance import Stage

pytestmark = [pytest.mark.anyio, pytest.mark.blocking_ok]


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what SQLite executes on connections that write."""
    seen: list[str] = []
    connect = SqliteSession.connect

    def traced(self: SqliteSession) -> None:
        connect(self)
        if self._writes and self._connection is not None:
            self._connection.set_trace_callback(seen.append)

    monkeypatch.setattr(SqliteSession, "connect", traced)
    return seen


@pytest.fixture
async def on_sqlite(
    statements: list[str], jobs_file: Path, virtual_clock: VirtualClock
) -> AsyncIterator[Stage]:
    async with Stage(lambda: SqliteStore(jobs_file), virtual_clock) as stage:
        yield stage


async def add_together(stage: Stage, count: int) -> None:
    """Have so many callers add a run each, in one turn of the loop."""
    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(stage.add, stage.run())


@pytest.mark.parametrize("count", [1, 2, 9, 33, 64])
async def test_runs_of_single_callers_are_one_statement_on_sqlite(
    on_sqlite: Stage, statements: list[str], count: int
) -> None:
    statements.clear()
    await add_together(on_sqlite, count)
    sent = dict.fromkeys(statements)  # SQLite repeats the text for each row that has a trigger
    assert [one.split()[:3] for one in sent] == [["INSERT", "INTO", "asyncsched_runs"]]
    assert len(await on_sqlite.store.runs(RunQuery(limit=100))) == count


async def test_more_of_them_are_one_transaction(on_sqlite: Stage, statements: list[str]) -> None:
    statements.clear()
    await add_together(on_sqlite, 65)
    assert [statements[0], statements[-1]] == ["BEGIN IMMEDIATE", "COMMIT"]
    assert len(await on_sqlite.store.runs(RunQuery(limit=100))) == 65


async def test_a_beat_is_one_statement_on_sqlite(on_sqlite: Stage, statements: list[str]) -> None:
    statements.clear()
    assert await on_sqlite.store.beat(1, on_sqlite.now)
    assert len(statements) == 1


async def test_one_of_them_that_is_refused_does_not_take_the_others_along(on_sqlite: Stage) -> None:
    refused: list[Exception] = []

    async def add(arguments: Any) -> None:
        try:
            await on_sqlite.add(on_sqlite.run(arguments=arguments))
        except ArgumentError as error:
            refused.append(error)

    async with anyio.create_task_group() as group:
        for arguments in ('{"x":1}', ((), {}), '{"x":"\ud800"}', '{"x":2}'):
            group.start_soon(add, arguments)
    assert len(refused) == 2
    found = await on_sqlite.store.runs(RunQuery())
    assert sorted(run.arguments for run in found) == ['{"x":1}', '{"x":2}']


async def test_nobody_who_hears_that_the_disk_is_full_has_a_run_though_another_was_refused(
    on_sqlite: Stage,
) -> None:
    def nearly_full(session: Any) -> None:
        pages = session.execute("PRAGMA page_count").fetchone()[0]
        session.execute(f"PRAGMA max_page_count = {pages + 20}").fetchone()

    await on_sqlite.store._call(nearly_full)
    arguments: list[Any] = ['{"x":1}', ((), {}), f'{{"x":"{"x" * 3_000_000}"}}']
    runs = [on_sqlite.run(arguments=one) for one in arguments]
    heard: list[Exception] = []

    async def add(run: RunRecord) -> None:
        try:
            await on_sqlite.add(run)
        except StoreError as error:
            heard.append(error)

    async with anyio.create_task_group() as group:
        for run in runs:
            group.start_soon(add, run)
    assert len(heard) == 3
    assert [await on_sqlite.state(run) for run in runs] == ["gone", "gone", "gone"]


async def test_a_run_that_takes_the_place_of_a_pruned_one_is_news(on_sqlite: Stage) -> None:
    store = on_sqlite.store
    store.bounds.count = 0
    await on_sqlite.add(on_sqlite.run())
    (run,) = await on_sqlite.claim_all()
    await on_sqlite.end(run)
    on_sqlite.at += 60 * SECOND
    before = await store.poll(Watch(1, 0, 0, frozenset(), True))
    assert await store.prune(on_sqlite.now) == 1
    await on_sqlite.add(on_sqlite.run())
    after = await store.poll(Watch(1, 0, 0, frozenset(), True))
    assert before.work_version != after.work_version


async def test_a_firing_is_three_trips_to_postgresql(
    shared_dsn: str, virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg")
    from asyncsched.stores.postgres import PostgresStore
    from asyncsched.stores.postgres.session import PostgresSession

    trips: list[str] = []
    execute, several = PostgresSession.execute, PostgresSession.several

    def executing(self: PostgresSession, sql: str, params: Any = ()) -> Any:
        trips.append(sql)
        return execute(self, sql, params)

    def asking(self: PostgresSession, *queries: Any) -> list[list[Any]]:
        trips.append(" ".join(name for name, _ in queries))
        return several(self, *queries)

    async with Stage(lambda: PostgresStore(shared_dsn), virtual_clock) as stage:
        records = [await stage.schedule(f"s{number}") for number in range(20)]
        monkeypatch.setattr(PostgresSession, "execute", executing)
        monkeypatch.setattr(PostgresSession, "several", asking)
        stage.at += 60 * SECOND
        claimed = await stage.claim(*(stage.fire(record) for record in records), free=100)
        monkeypatch.undo()
        assert len(claimed.runs) == 20
        assert trips == ["alive lock_schedules live slots_done", "levels ready", "COMMIT"]
