"""Real processes on one PostgreSQL: one of them killed, the server restarted, connections cut."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("psycopg")

from tests import preloaded
from tests.postgres import Server
from tests.waiting import PATIENCE, until

pytestmark = [pytest.mark.real_time, pytest.mark.blocking_ok, pytest.mark.timeout(120)]
# Processes live in the machine's time, and only what they leave behind shows what they did.

WORKER = Path(__file__).parents[1] / "scripts" / "worker.py"


class Fleet:
    """Some processes on one database, and their log."""

    def __init__(self, dsn: str, log: Path) -> None:
        self._dsn = dsn
        self._log = log
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, mode: str, backend: str = "asyncio") -> subprocess.Popen[bytes]:
        process = preloaded.Popen(
            [sys.executable, str(WORKER), self._dsn, str(self._log), mode, backend],
            env={**os.environ, "PYTHONPATH": str(WORKER.parents[3])},
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process

    def lines(self, word: str) -> list[list[str]]:
        lines = [line.split() for line in self._log.read_text().splitlines()] if self._log.exists() else []
        return [line for line in lines if line[1] == word]

    def until(self, happened: Callable[[], object]) -> None:
        until(happened, lambda: self._log.read_text()[-2000:])

    def until_ticks(self, more: int) -> None:
        """Wait until so many more slots have been run."""
        before = len(self.lines("tick"))
        self.until(lambda: len(self.lines("tick")) >= before + more)

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()


@pytest.fixture
def fleet(shared_dsn: str, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(shared_dsn, tmp_path / "log")
    yield fleet
    fleet.end()


def test_no_slot_runs_twice_in_four_processes_whatever_happens_to_them(
    fleet: Fleet, pg_server: Server, pg_shared: str
) -> None:
    for backend in ("asyncio", "trio", "asyncio", "trio"):
        fleet.start("until-told", backend)
    fleet.until(lambda: len(fleet.lines("ready")) == 4)
    fleet.until_ticks(20)
    pg_server.cut_connections(pg_shared)
    fleet.until_ticks(20)
    victim = fleet.processes[0]
    victim.kill()
    if pg_server.can_restart:
        pg_server.restart()
    gone = f"select count(*) from asyncsched_instances where pid = {victim.pid}"
    fleet.until(lambda: pg_server.run(gone, database=pg_shared) == [(0,)])  # declared dead by the others
    fleet.until_ticks(20)
    pg_server.cut_connections(pg_shared)
    fleet.until_ticks(40)
    for process in fleet.processes[1:]:
        assert process.stdin is not None
        process.stdin.close()
    for process in fleet.processes[1:]:
        assert process.wait(PATIENCE) == 0
    begun = Counter((job, slot, attempt) for _, _, job, slot, attempt in fleet.lines("tick"))
    assert len(begun) > 100
    assert set(begun.values()) == {1}
    rows = pg_server.run(
        "select state, count(*), count(distinct (schedule, slot)) from asyncsched_runs group by state",
        database=pg_shared,
    )
    states = {state: count for state, count, _ in rows}
    assert all(count == slots for _, count, slots in rows)
    assert set(states) <= {"succeeded", "lost", "pending"}
    # What the last of them had claimed at its end and not begun is nobody's now.
    begun_and_open = "select count(*) from asyncsched_runs where state = 'pending' and attempt > 0"
    assert pg_server.run(begun_and_open, database=pg_shared) == [(0,)]
    assert states.get("pending", 0) <= 20
    assert states.get("lost", 0) <= 12  # what the one that was killed, and a cut, had under way
    assert pg_server.run("select * from asyncsched_instances", database=pg_shared) == []


def test_what_was_accepted_survives_kill_9(fleet: Fleet, pg_server: Server, pg_shared: str) -> None:
    assert fleet.start("submit-and-die").wait(PATIENCE) == -9
    assert len(fleet.lines("accepted")) == 20
    fleet.start("serve")
    ended = "select count(*) from asyncsched_runs where job = 'once' and state in ('succeeded', 'lost')"
    fleet.until(lambda: pg_server.run(ended, database=pg_shared) == [(20,)])
