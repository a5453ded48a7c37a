"""Connections that are dead although nobody closed them: silent ones, and those to a server that is read-only."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

psycopg = pytest.importorskip("psycopg")

from asyncsched import Scheduler, StoreUnavailable
from asyncsched.stores.postgres import PostgresStore, notifications
from tests import preloaded
from tests.postgres import Server
from tests.proxy import Proxy
from tests.waiting import PATIENCE, soon, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_time,  # a server's silence lasts in the machine's time
    pytest.mark.blocking_ok,  # the test asks the server by a connection of its own
]


@pytest.fixture
def proxy(pg_server: Server) -> Iterator[Proxy]:
    made = Proxy(pg_server)
    yield made
    made.close()


def ticking(url: str, ticks: list[float], **options: Any) -> Scheduler:
    scheduler = Scheduler(PostgresStore(url, **options), stall_threshold=None)

    @scheduler.interval(seconds=0.05)
    async def tick() -> None:
        ticks.append(time.monotonic())

    @scheduler.job()
    async def greet(name: str) -> str:
        return f"hello {name}"

    @scheduler.job()
    async def hold() -> None:
        await anyio.sleep_forever()

    return scheduler


async def test_silent_connections_are_given_up_and_made_again(
    shared_dsn: str, pg_server: Server, pg_shared: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(notifications, "ASK", 0.2)
    ticks: list[float] = []
    scheduler = ticking(proxy.dsn(pg_shared), ticks, timeout=2, beat=0.5, lease=PATIENCE)
    processes = "select pid from pg_stat_activity where application_name = 'asyncsched notifications'"
    async with scheduler:
        await soon(lambda: len(ticks) > 5)
        before = pg_server.run(processes)
        proxy.silence()
        seen = len(ticks)
        await soon(lambda: len(ticks) > seen + 20)
        assert await (await scheduler.schedule_once("greet", "ann")).result(PATIENCE) == "hello ann"
        # The server's own end of the silent connections is gone, too: it could still commit what was sent.
        await soon(lambda: not scheduler._runtime.main.store.unconfirmed)  # type: ignore[union-attr]
        await soon(lambda: set(pg_server.run(processes)) - set(before))
        assert "declared dead" not in caplog.text


@contextmanager
def read_only(server: Server, database: str) -> Iterator[None]:
    """Let all new sessions of a database be read-only, as those of a replica are."""
    server.run(f"alter database {database} set default_transaction_read_only = on")
    try:
        server.cut_connections(database)
        yield
    finally:
        server.run(f"alter database {database} reset default_transaction_read_only")


@pytest.mark.parametrize("attributes", ["", "&target_session_attrs=any"])
async def test_a_server_that_was_read_only_for_a_while_is_written_to_again(
    shared_dsn: str, pg_server: Server, pg_shared: str, attributes: str
) -> None:
    ticks: list[float] = []
    scheduler = ticking(shared_dsn + attributes, ticks, timeout=2)
    async with scheduler:
        await soon(lambda: ticks)
        with read_only(pg_server, pg_shared):
            await soon(lambda: "read-only" in scheduler.health().trouble)
            reason = ""
            with anyio.fail_after(PATIENCE):
                while "read-only" not in reason:  # until its thread, too, has met it
                    with pytest.raises(StoreUnavailable) as refused:
                        await scheduler.schedule_once("greet", "ann")
                    reason = str(refused.value)
        seen = len(ticks)
        await soon(lambda: len(ticks) > seen + 5)
        assert await (await scheduler.schedule_once("greet", "ann")).result(PATIENCE) == "hello ann"
        await soon(lambda: not scheduler.health().trouble)


async def test_a_cut_connection_is_told_in_our_words_only(
    shared_dsn: str, pg_server: Server, pg_shared: str, caplog: pytest.LogCaptureFixture
) -> None:
    ticks: list[float] = []
    with caplog.at_level(logging.DEBUG):
        async with ticking(shared_dsn, ticks):
            for _ in range(20):
                seen = len(ticks)
                pg_server.cut_connections(pg_shared)
                await soon(lambda seen=seen: len(ticks) > seen + 1)
    assert not [record for record in caplog.records if record.name.startswith("psycopg")]


async def test_it_closes_in_time_although_the_database_hangs(
    shared_dsn: str, pg_shared: str, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = Scheduler(
        PostgresStore(proxy.dsn(pg_shared), timeout=PATIENCE), shutdown_timeout=0.5, stall_threshold=None
    )
    begun, ended = anyio.Event(), anyio.Event()

    @scheduler.job()
    async def work() -> str:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    async with scheduler:
        handle = await scheduler.schedule_once(work)
        await begun.wait()  # its state is "running" before, when the answer to the claim is still on its way
        proxy.freeze()
        began, cpu = time.monotonic(), time.process_time()
    took, cpu = time.monotonic() - began, time.process_time() - cpu
    assert took < PATIENCE / 3, took  # a busy machine is given its time; the store's own is PATIENCE
    assert cpu < 1
    assert ended.is_set()
    assert f"run {handle.id} of job 'work' ended as cancelled, and the store did not take it" in caplog.text


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_process_ends_at_sigterm_although_the_database_hangs(
    shared_dsn: str, pg_shared: str, proxy: Proxy, tmp_path: Path, backend: str
) -> None:
    log = tmp_path / "log"
    with log.open("w") as out:
        process = preloaded.Popen(
            [sys.executable, "-m", "tests.stores.scripts.forever", backend, proxy.dsn(pg_shared)],
            cwd=Path(__file__).parents[3], stdout=out, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        )  # fmt: skip
    try:
        until(lambda: "tick" in log.read_text(), log.read_text)
        proxy.freeze()
        time.sleep(0.3)  # let it run into the silence
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(PATIENCE) == 0, log.read_text()
        assert time.monotonic() - began < PATIENCE / 3  # a busy machine is given its time
    finally:
        process.kill()
        process.wait()
