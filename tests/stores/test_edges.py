"""The edges of the world that both databases share, and those of a disk: slow, full, read-only, cut off."""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsched import Scheduler, StoreUnavailable
from asyncsched._backends.clock import SystemClock
from asyncsched._core.requests import RunQuery
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.stores.sqlite import file as sqlite_file
from asyncsched.testing import VirtualClock
from asyncsched.testing.conformance import Stage
from tests.each_store import POSTGRES, SQLITE
from tests.stores.conftest import is_taken
from tests.waiting import PATIENCE, soon

pytestmark = [pytest.mark.anyio, pytest.mark.blocking_ok]

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it in /proc")


def make_sqlite(tmp_path: Path, **options: Any) -> SqliteStore:
    return SqliteStore(tmp_path / "ledger.db", **options)


@pytest.fixture(params=[SQLITE, POSTGRES])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Any]:
    """Return what makes a store of one ledger."""
    if request.param == "sqlite":
        return lambda **options: make_sqlite(tmp_path, **options)
    pytest.importorskip("psycopg")
    from asyncsched.stores.postgres import PostgresStore

    dsn = request.getfixturevalue("shared_dsn")
    return lambda **options: PostgresStore(dsn, **options)


@pytest.fixture
def busy(request: pytest.FixtureRequest, make: Callable[..., Any], tmp_path: Path) -> Any:
    """Return a context in which nobody else can write."""

    @asynccontextmanager
    async def busy() -> AsyncIterator[None]:
        if isinstance(make(), SqliteStore):
            stranger: Any = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
            stranger.execute("BEGIN IMMEDIATE")
        else:
            import psycopg

            stranger = psycopg.connect(request.getfixturevalue("shared_dsn"), autocommit=True)
            stranger.execute("BEGIN")
            stranger.execute("LOCK TABLE asyncsched_runs, asyncsched_instances IN EXCLUSIVE MODE")
        try:
            yield
        finally:
            stranger.execute("ROLLBACK")
            stranger.close()

    return busy


# ── slow, and given up ───────────────────────────────────────────────────────────────────────────


@pytest.mark.real_time  # a lock is waited for in the machine's time
async def test_a_store_that_is_slow_by_seconds_is_waited_for(make: Callable[..., Any], busy: Any) -> None:
    scheduler = Scheduler(make(beat=0.3, lease=3), stall_threshold=None)

    @scheduler.job()
    async def job() -> str:
        return "done"

    async with scheduler:
        me = (await scheduler.instances())[0].id
        async with anyio.create_task_group() as group:
            async with busy():
                began = time.monotonic()

                async def schedule() -> None:
                    handle = await scheduler.schedule_once(job)
                    assert time.monotonic() - began > 1.5
                    assert await handle.result(PATIENCE) == "done"

                group.start_soon(schedule)
                await anyio.sleep(1.7)
        assert [one.id for one in await scheduler.instances()] == [me]


@pytest.mark.real_time  # a lock is waited for in the machine's time
async def test_a_caller_who_is_cancelled_in_the_middle_of_a_write_learns_of_it_when_that_has_ended(
    make: Callable[..., Any], busy: Any
) -> None:
    async with Stage(make, SystemClock()) as stage:
        ended: list[float] = []
        run = stage.run()

        async def add() -> None:
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                await stage.add(run)
            assert scope.cancelled_caught
            ended.append(time.monotonic())

        scopes: list[anyio.CancelScope] = []
        async with anyio.create_task_group() as group:
            async with busy():
                group.start_soon(add)
                await soon(lambda: is_taken(stage))
                scopes[0].cancel()
                await anyio.sleep(0.4)
                assert not ended
                let_go = time.monotonic()
        assert ended[0] >= let_go
        assert [one.id for one in await stage.store.runs(RunQuery())] == [run.id]


class Rude(Exception):
    """An error that no store of ours would raise."""


@pytest.mark.real_time  # threads end in the machine's time
async def test_nothing_is_left_behind_where_leaving_the_store_fails_as_nobody_expected(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def leave(*args: Any) -> None:
        raise Rude("as nobody expected")

    before = set(threading.enumerate())
    async with Scheduler(store := make(), stall_threshold=None):
        monkeypatch.setattr(store, "leave", leave)
    gc.collect()
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not {name for name in left if name.startswith("asyncsched")}
    assert "as nobody expected" in caplog.text


# ── a disk ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that others may enter: those of pytest are its user's alone."""
    path = Path(tempfile.mkdtemp(prefix="asyncsched-"))
    path.chmod(0o777)
    yield path
    path.chmod(0o777)
    shutil.rmtree(path)


@asynccontextmanager
async def nobody() -> AsyncIterator[None]:
    """Be a user to whom permissions apply."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
@pytest.mark.parametrize("read_only", ["file", "folder", "both", "fresh"])
async def test_what_is_read_only_is_named_at_start(
    folder: Path, read_only: str, virtual_clock: VirtualClock
) -> None:
    file = folder / "ledger.db"
    if read_only != "fresh":
        async with Stage(lambda: SqliteStore(file), virtual_clock):
            pass
        file.chmod(0o444 if read_only in ("file", "both") else 0o666)
    if read_only != "file":
        folder.chmod(0o555)
    async with nobody():
        with pytest.raises(StoreUnavailable, match=r"ledger\.db cannot be (written to|opened): .*folder"):
            async with Scheduler(f"sqlite:///{file}", clock=virtual_clock, store_timeout=0.3):
                pass


@pytest.mark.real_time  # the file is opened again in the machine's time
@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
@pytest.mark.parametrize("beside", [False, True], ids=["the file", "the files beside it, too"])
async def test_a_file_that_was_read_only_for_a_while_is_written_to_again(folder: Path, beside: bool) -> None:
    file, ticks = folder / "ledger.db", []
    store = SqliteStore(file, beat=0.2, poll=0.05, timeout=1)
    scheduler = Scheduler(store, stall_threshold=None)

    @scheduler.interval(seconds=0.05)
    async def tick() -> None:
        ticks.append(True)

    async with nobody(), scheduler:
        await soon(lambda: ticks)
        backup = folder / "backup.db"
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(backup)) as copy:
            source.backup(copy)
        backup.chmod(0o444)
        for left in ("-wal", "-shm"):
            Path(f"{file}{left}").unlink(missing_ok=True)
            if beside:  # as the first process leaves them that opens the file
                Path(f"{file}{left}").touch(0o444)
        backup.replace(file)  # as one who restores it, and forgets its permissions
        await soon(lambda: "read-only" in scheduler.health().trouble)
        file.chmod(0o644)
        seen = len(ticks)
        await soon(lambda: len(ticks) > seen + 3)
        await soon(lambda: not scheduler.health().trouble)


_FILL = """
import resource, sys, anyio
from asyncsched import Retry, Scheduler, StoreUnavailable
from asyncsched.stores.sqlite import SqliteStore

file, how = sys.argv[1:]
scheduler = Scheduler(SqliteStore(file, beat=0.2, poll=0.05, timeout=1), stall_threshold=None)

gates = []

@scheduler.job()
async def keep(text: str) -> str:
    return text

@scheduler.job()
async def waits() -> str:
    await gates[0].wait()
    return "kept"

def room(size):
    if how == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    elif size == resource.RLIM_INFINITY:
        import os, subprocess
        subprocess.run(["mount", "-o", "remount,size=40m", os.path.dirname(file)], check=True)

async def main():
    async with scheduler:
        gates.append(anyio.Event())
        handle = await scheduler.schedule_once(waits)
        while (await handle.status()).state != "running":
            await anyio.sleep(0.02)
        room(1_000_000 if how == "limit" else 0)
        try:
            for _ in range(200):
                await scheduler.schedule_once(keep, "x" * 50_000, delay=1000)
            print("never full")
        except StoreUnavailable as error:
            print("full:", error)
        with anyio.fail_after(20):
            while not (trouble := scheduler.health().trouble):
                await anyio.sleep(0.02)
        print("health:", trouble)
        gates[0].set()
        await anyio.sleep(0.3)
        room(resource.RLIM_INFINITY)
        print("result:", await handle.result(20))
        assert await (await scheduler.schedule_once(keep, "again")).result(20) == "again"
        with anyio.fail_after(20):
            while not scheduler.health().ok:
                await anyio.sleep(0.02)
        print("well again")

anyio.run(main)
"""


@pytest.mark.real_time  # a process of its own, because a limit on files is the whole process's
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("how", ["limit", "disk"])
@linux
def test_a_full_disk_ends_nothing_and_what_waits_is_written_when_there_is_room(
    folder: Path, how: str, anyio_backend: str
) -> None:
    command = [sys.executable, "-c", _FILL, str(folder / "ledger.db"), how]
    if how == "disk":
        mount = f"mount -t tmpfs -o size=3m none {folder}"
        if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, check=False).returncode:
            pytest.skip("no file system can be mounted here")
        command = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    said = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr[-3000:]
    assert said[0].startswith("full: ")
    assert "the disk is full" in said[0] or "limits on a file's size" in said[0]
    assert said[1].removeprefix("health: ") != ""
    assert said[2:] == ["result: kept", "well again"]
    assert "the store cannot be written to" in done.stderr
    assert "again" in done.stderr


# ── who holds the lock ───────────────────────────────────────────────────────────────────────────


@linux
def test_who_holds_the_lock_is_told_by_number_name_and_whether_it_is_stopped(folder: Path) -> None:
    file = folder / "ledger.db"
    script = (
        f"import sqlite3, sys; c = sqlite3.connect({str(file)!r}, isolation_level=None); "
        "c.execute('PRAGMA journal_mode = WAL'); c.execute('CREATE TABLE t (x)'); "
        "c.execute('BEGIN IMMEDIATE'); c.execute('INSERT INTO t VALUES (1)'); print(1, flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        told = sqlite_file.lock_holder(file)
        assert told.startswith(f"process {holder.pid} (python")
        holder.send_signal(19)  # SIGSTOP
        with pytest.raises(AssertionError):
            for _ in range(500):
                assert not sqlite_file.lock_holder(file).endswith(", which is stopped,")
                time.sleep(0.01)
        assert sqlite_file.lock_holder(file, "/nowhere") == "another process or connection"
    finally:
        holder.kill()
        holder.communicate()
    assert sqlite_file.lock_holder(file) == "another process or connection"


# ── the lease of fifteen seconds ─────────────────────────────────────────────────────────────────

_VICTIM = """
import sys, anyio
from asyncsched import Retry, Scheduler
scheduler = Scheduler(sys.argv[1])

@scheduler.job(retry=Retry(3))
async def patient() -> str:
    print("began", flush=True)
    await anyio.sleep_forever()

async def main():
    async with scheduler:
        await scheduler.schedule_once(patient)
        await anyio.sleep_forever()

anyio.run(main)
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_killed_process_leaves_its_runs_to_the_others_within_sixteen_seconds(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    # The process that dies is a real one. What the other does until it is sure of that is a matter of
    # its own clock alone, so the fifteen seconds are virtual.
    if kind == "postgres":
        pytest.importorskip("psycopg")
    url = f"sqlite:///{tmp_path}/jobs.db" if kind == "sqlite" else request.getfixturevalue("shared_dsn")
    clock = VirtualClock(datetime.now(UTC), patience=PATIENCE)
    scheduler = Scheduler(url, clock=clock)
    again = anyio.Event()

    @scheduler.job()
    async def patient() -> None:
        again.set()

    def kill() -> None:
        victim.kill()
        victim.wait()

    async def survive() -> float:
        async with scheduler:
            assert len(await scheduler.instances()) == 2
            await anyio.to_thread.run_sync(kill)
            killed = clock.monotonic()
            await again.wait()
            return clock.monotonic() - killed

    victim = subprocess.Popen([sys.executable, "-c", _VICTIM, url], stdout=subprocess.PIPE)
    try:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"began\n"
        assert 14 < clock.run(survive, backend="asyncio") <= 16
    finally:
        kill()
        victim.stdout.close()
