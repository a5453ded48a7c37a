"""Real processes on one SQLite file: killed, stopped, and all opening it at once."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asyncsched import Retry, Scheduler
from asyncsched.stores.sqlite import SqliteStore
from tests import preloaded
from tests.stores.scripts.worker import BEAT, LEASE, POLL
from tests.waiting import PATIENCE, until

pytestmark = [pytest.mark.real_time, pytest.mark.blocking_ok, pytest.mark.timeout(120)]
# Processes live in the machine's time, and only what they leave behind shows what they did.

WORKER = Path(__file__).parents[1] / "scripts" / "worker.py"


class Cluster:
    """Some processes, their file, and their log."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "ledger.db"
        self.log = folder / "log"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, mode: str = "serve", backend: str = "asyncio") -> subprocess.Popen[bytes]:
        command = [sys.executable, str(WORKER), str(self.file), str(self.log), mode, backend]
        process = preloaded.Popen(
            command, env={**os.environ, "PYTHONPATH": str(WORKER.parents[3])}, stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def lines(self, *words: str) -> list[list[str]]:
        if not self.log.exists():
            return []
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return [line for line in lines if line[1 : 1 + len(words)] == list(words)]

    def until(self, happened: Callable[[], object]) -> None:
        until(happened, lambda: self.log.read_text()[-2000:])

    def tell(self) -> None:
        """Have all of them go on, or end, now."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.close()

    def query(self, sql: str, *params: object) -> list[tuple[object, ...]]:
        with sqlite3.connect(self.file, timeout=10) as connection:
            found = connection.execute(sql, params).fetchall()
        connection.close()
        return found

    def end(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stderr):
                assert pipe is not None
                pipe.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.end()


def store(cluster: Cluster) -> SqliteStore:
    return SqliteStore(cluster.file, lease=LEASE, beat=BEAT, poll=POLL)


async def submit(cluster: Cluster, job: str, seconds: float) -> str:
    scheduler = Scheduler(store(cluster), role="submit")

    @scheduler.job(retry=Retry(3, delay=0.1))
    async def patient(seconds: float) -> str: ...

    @scheduler.job()
    async def once(seconds: float) -> None: ...

    async with scheduler:
        return (await scheduler.schedule_once(job, seconds)).id


@pytest.mark.anyio
@pytest.mark.only_on("asyncio")  # of the one that submits; the others are processes
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_a_killed_process_leaves_its_runs_to_the_others(cluster: Cluster, backend: str) -> None:
    victim = cluster.start(backend=backend)
    cluster.until(lambda: cluster.lines("ready"))
    await submit(cluster, "patient", 60)
    await submit(cluster, "once", 60)
    cluster.until(lambda: cluster.lines("began", "patient") and cluster.lines("began", "once"))
    cluster.start(backend=backend)
    cluster.until(lambda: len(cluster.lines("ready")) == 2)
    victim.kill()
    cluster.until(lambda: cluster.lines("ended", "patient", "2"))  # which would have taken a minute
    cluster.until(
        lambda: cluster.query("SELECT 1 FROM asyncsched_runs WHERE job = 'once' AND state = 'lost'")
    )
    assert len(cluster.lines("began", "once")) == 1


def test_no_slot_runs_twice_in_four_processes(cluster: Cluster) -> None:
    for backend in ("asyncio", "trio", "asyncio", "trio"):
        cluster.start("until-told", backend)
    cluster.until(lambda: len(cluster.lines("ready")) == 4)
    cluster.until(lambda: len(cluster.lines("tick")) > 100)
    cluster.tell()
    for process in cluster.processes:
        assert process.wait(PATIENCE) == 0
    slots = Counter((job, slot) for _, _, job, slot, _ in cluster.lines("tick"))
    assert len(slots) > 6 * 10
    assert set(slots.values()) == {1}
    assert len({pid for pid, *_ in cluster.lines("tick")}) > 1
    states = dict(cluster.query("SELECT state, count(*) FROM asyncsched_runs GROUP BY state"))
    # What the last of them had claimed at its end and not begun is nobody's now.
    pending = cluster.query("SELECT attempt FROM asyncsched_runs WHERE state = 'pending'")
    assert set(pending) <= {(0,)}
    assert states == {"succeeded": len(slots)} | ({"pending": len(pending)} if pending else {})
    assert cluster.query("SELECT * FROM asyncsched_instances") == []


def test_what_was_accepted_survives_kill_9(cluster: Cluster) -> None:
    first = cluster.start("submit-and-die")
    assert first.wait(PATIENCE) == -signal.SIGKILL
    assert len(cluster.lines("accepted")) == 20
    cluster.start()
    ended = "SELECT count(*) FROM asyncsched_runs WHERE job = 'once' AND state IN ('succeeded', 'lost')"
    cluster.until(lambda: cluster.query(ended) == [(20,)])
    assert len(cluster.lines("began", "once")) <= 20


def test_eight_processes_open_and_write_one_fresh_file(cluster: Cluster) -> None:
    for number in range(8):
        cluster.start("often:6", ("asyncio", "trio")[number % 2])
    cluster.until(lambda: len(cluster.lines("ready")) == 8)
    cluster.tell()
    for process in cluster.processes:
        assert process.wait(2 * PATIENCE) == 0
        assert process.stderr is not None
        assert b"database is locked" not in process.stderr.read()
    assert len(cluster.lines("left")) == 8
    done = "SELECT count(*) FROM asyncsched_runs WHERE job = 'once' AND state = 'succeeded'"
    assert cluster.query(done) == [(48,)]
    assert cluster.query("SELECT * FROM asyncsched_instances") == []


def test_a_stopped_process_is_declared_dead_and_rises_again(cluster: Cluster) -> None:
    first, _ = cluster.start(), cluster.start()
    cluster.until(lambda: len(cluster.lines("ready")) == 2)
    pids = "SELECT pid FROM asyncsched_instances ORDER BY pid"
    stop_without_the_lock(cluster, first)
    cluster.until(lambda: len(cluster.query(pids)) == 1)
    first.send_signal(signal.SIGCONT)
    cluster.until(lambda: len(cluster.query(pids)) == 2)
    slots = Counter((job, slot) for _, _, job, slot, _ in cluster.lines("tick"))
    assert set(slots.values()) == {1}


def stop_without_the_lock(cluster: Cluster, process: subprocess.Popen[bytes]) -> None:
    """Stop a process at a moment at which it does not hold the file's lock, for which all would wait."""
    while True:
        process.send_signal(signal.SIGSTOP)
        try:
            with sqlite3.connect(cluster.file, timeout=2, isolation_level=None) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
            return
        except sqlite3.OperationalError:
            process.send_signal(signal.SIGCONT)
            time.sleep(BEAT)
        finally:
            connection.close()


def test_behind_a_stopped_holder_of_the_lock_nobody_is_declared_dead(cluster: Cluster) -> None:
    for _ in range(2):
        cluster.start()
    cluster.until(lambda: len(cluster.lines("ready")) == 2)
    incarnations = "SELECT incarnation FROM asyncsched_instances ORDER BY 1"
    before = cluster.query(incarnations)
    stranger = sqlite3.connect(cluster.file, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    time.sleep(2 * LEASE)
    ticks = len(cluster.lines("tick"))
    stranger.execute("ROLLBACK")
    stranger.close()
    cluster.until(lambda: len(cluster.lines("tick")) > ticks + 6)
    assert cluster.query(incarnations) == before
