"""A worker without a web server, and one job for OS cron: tried as processes, on asyncio and trio."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal, piped

WORKED = """
import os
import time

import anyio

from asyncsched import Scheduler, Retry, current_run

scheduler = Scheduler(os.environ.get("STORE", "sqlite:///work.db"), shutdown_timeout=20)
tries = []


@scheduler.interval(seconds=0.2)
async def tick() -> None:
    print("ticked", flush=True)


@scheduler.job(retry=Retry(attempts=3, delay=0.01))
async def flaky(word: str = "well") -> str:
    tries.append(word)
    if len(tries) < 3:
        raise OSError("not yet")
    return f"{word} at try {current_run().attempt}"


@scheduler.job()
def broken() -> None:
    raise ValueError("this is broken")


@scheduler.job(executor="process")
def crunch() -> int:
    return sum(range(1000))


@scheduler.cron("@daily", id="nightly")
async def report() -> dict[str, int]:
    await anyio.sleep(0)
    return {"rows": 7}


@scheduler.job()
async def slow() -> None:
    await anyio.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "works.py").write_text(WORKED)
    return tmp_path


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_fires_until_its_signal_and_ends_clean(
    folder: Path, backend: str, number: signal.Signals
) -> None:
    terminal = Terminal("worker", "works:scheduler", "--backend", backend, cwd=folder)
    try:
        terminal.wait_for("ticked")
        terminal.signal(number)
        answer = terminal.end()
    finally:
        terminal.close()
    assert answer.code == 0
    assert f"works:scheduler on {backend}: 6 jobs, 2 schedules" in answer.plain
    assert "Traceback" not in answer.plain
    assert piped("instances", "--store", "sqlite:///work.db", "--json", cwd=folder).json == []


def test_a_worker_does_what_processes_of_the_role_submit_add(folder: Path) -> None:
    made = piped("once", "flaky", "hello", "--app", "works:scheduler", cwd=folder)
    assert made.code == 5  # there are no tables yet, and to look makes none
    terminal = Terminal("worker", "works:scheduler", cwd=folder)
    try:
        terminal.wait_for("ticked")
        answer = piped("once", "flaky", "hello", "--wait", "--app", "works:scheduler", cwd=folder)
        terminal.signal(signal.SIGTERM)
        terminal.end()
    finally:
        terminal.close()
    assert answer.code == 0, answer.err
    assert "hello at try 3" in answer.out


def test_a_worker_that_would_run_nothing_says_so(folder: Path) -> None:
    answer = piped("worker", "works:scheduler", cwd=folder, ASYNCSCHED_ROLE="submit")
    assert answer.code == 2
    assert "ASYNCSCHED_ROLE" in answer.err


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_one_job_is_run_once_with_its_retries_and_its_result_printed(folder: Path, backend: str) -> None:
    answer = piped("run", "works:scheduler", "flaky", "--arg", "word=fine", "--backend", backend, cwd=folder)
    assert (answer.code, answer.out) == (0, "fine at try 3\n"), answer.err
    assert "ticked" not in answer.out
    assert not (folder / "work.db").exists()


def test_a_schedule_can_be_named_for_its_job_and_the_result_is_json(folder: Path) -> None:
    answer = piped("run", "works:scheduler", "nightly", "--json", cwd=folder)
    assert answer.code == 0
    assert answer.json == {"job": "report", "state": "succeeded", "result": {"rows": 7}}
    assert piped("run", "works:scheduler", "crunch", cwd=folder).out == "499500\n"


def test_a_job_that_fails_exits_with_1_and_its_own_traceback(folder: Path) -> None:
    answer = piped("run", "works:scheduler", "broken", cwd=folder)
    assert (answer.code, answer.out) == (1, "")
    assert "ValueError: this is broken" in answer.err
    assert "\nbroken: failed\n" in answer.err
    assert "works.py" in answer.err and "asyncsched/" not in answer.err
    slow = piped("run", "works:scheduler", "slow", "--timeout", "200ms", cwd=folder)
    assert slow.code == 1
    assert "longer than 0.2 s" in slow.err


def test_an_unknown_job_is_suggested(folder: Path) -> None:
    answer = piped("run", "works:scheduler", "flakey", cwd=folder)
    assert answer.code == 3
    assert "did you mean flaky?" in answer.err
