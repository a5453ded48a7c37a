"""What a scheduler says of itself while its store is in trouble, over both databases."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsched import Health, Scheduler
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.testing import VirtualClock
from tests.postgres import Server
from tests.waiting import PATIENCE, soon

pytestmark = [pytest.mark.anyio, pytest.mark.blocking_ok]


@asynccontextmanager
async def locked(file: Path) -> AsyncIterator[None]:
    """Hold the file's write lock, as a stranger does."""
    stranger = sqlite3.connect(file, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        stranger.execute("ROLLBACK")
        stranger.close()


async def goes_ill_and_well(
    scheduler: Scheduler, trouble: Any, said: str, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    started, gate = anyio.Event(), anyio.Event()

    @scheduler.job()
    async def long() -> str:
        started.set()
        await gate.wait()
        return "kept"

    async with scheduler:
        began = datetime.now(UTC)
        assert scheduler.health().ok
        handle = await scheduler.schedule_once(long)
        await started.wait()
        async with trouble:
            await soon(lambda: said in scheduler.health().trouble)  # a busy machine has other troubles before
            ill = scheduler.health()
            assert not ill.ok
            assert ill.since is not None
            assert ill.last_beat is not None
            assert began - timedelta(seconds=1) < ill.last_beat <= ill.since + timedelta(seconds=1)
            await anyio.sleep(0.5)
            assert scheduler.health().since == ill.since
            await soon(lambda: logged in caplog.text)
            gate.set()
        await soon(lambda: scheduler.health().ok)
        well = scheduler.health()
        assert well.since is None
        assert well.last_beat is not None
        assert well.last_beat > ill.last_beat
        assert await handle.result(PATIENCE) == "kept"


@pytest.mark.real_time  # a lock is waited for in the machine's time
async def test_sqlite_says_what_is_wrong_and_since_when(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "ledger.db"
    store = SqliteStore(file, timeout=1, beat=0.2, poll=0.1)
    await goes_ill_and_well(
        Scheduler(store, stall_threshold=None), locked(file), "holds its lock", "cannot be written to", caplog
    )
    lines = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert any("cannot be written to" in line and "holds its lock" in line for line in lines)
    assert "database is locked" not in caplog.text
    assert "again" in caplog.text


@pytest.mark.real_time  # a lock is waited for in the machine's time
async def test_a_lock_is_told_of_while_a_dead_instance_waits_to_be_declared_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ledger.db"
    store = SqliteStore(file, timeout=2 * PATIENCE, beat=0.5, lease=1.5, poll=0.1)
    dying = Scheduler(SqliteStore(file, beat=0.5, lease=1.5), stall_threshold=None)
    declare_dead, waits = store.declare_dead, anyio.Event()
    async with dying, Scheduler(store, stall_threshold=None) as scheduler, AsyncExitStack() as lock:

        async def met_by_a_lock(*args: Any) -> Any:
            if not waits.is_set():
                await lock.enter_async_context(locked(file))
                waits.set()
            return await declare_dead(*args)

        monkeypatch.setattr(store, "declare_dead", met_by_a_lock)
        dying._running().main.membership.close()  # type: ignore[union-attr]  # it beats no more, as if killed
        await waits.wait()
        await soon(lambda: "holds its lock" in scheduler.health().trouble)
        assert not scheduler.ready()
        await lock.aclose()
        await soon(lambda: scheduler.health().ok)


@pytest.mark.real_time  # a server that is down is found out about in the machine's time
async def test_postgres_says_what_is_wrong_and_since_when(
    shared_dsn: str, pg_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("psycopg")
    from asyncsched.stores.postgres import PostgresStore

    @asynccontextmanager
    async def down() -> AsyncIterator[None]:
        await anyio.to_thread.run_sync(pg_server.stop)
        try:
            yield
        finally:
            await anyio.to_thread.run_sync(pg_server.start)

    store = PostgresStore(shared_dsn, timeout=1, beat=0.2, poll=0.1)
    await goes_ill_and_well(
        Scheduler(store, stall_threshold=None), down(), "PostgreSQL", "cannot be reached", caplog
    )
    assert any(record.levelname == "ERROR" for record in caplog.records)
    assert "again" in caplog.text


async def test_in_memory_nothing_can_be_wrong(virtual_clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=virtual_clock)
    assert not scheduler.health().ok  # it was not started
    async with scheduler:
        assert scheduler.health() == Health()
        assert scheduler.health().ok
