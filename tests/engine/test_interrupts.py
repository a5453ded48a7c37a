"""Ctrl-C ends the program, and never with status 0; a ``KeyboardInterrupt`` out of a job only fails its run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asyncsched._core.interrupts import interrupt_in

PROGRAM = """
import os, signal, sys, time
import anyio
from asyncsched import Scheduler

def observe(event):
    if type(event).__name__ == "RunStarted" and event.run.job == "observed":
        raise KeyboardInterrupt

scheduler = Scheduler(*sys.argv[2:], observers=[observe])

@scheduler.job()
async def coroutine():
    raise KeyboardInterrupt

@scheduler.job()
def thread():
    raise KeyboardInterrupt("of a library")

@scheduler.job(executor="process")
def child():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)

@scheduler.job()
async def observed():
    return "went on"

async def main():
    async with scheduler:
        for job in (coroutine, thread, child, observed):
            run = await (await scheduler.schedule_once(job)).wait(timeout=30)
            print(run.job, run.state, run.error_type, run.result, flush=True)

if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.parametrize("url", [(), ("sqlite:///{}/jobs.db",)], ids=["memory", "sqlite"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_keyboard_interrupt_out_of_a_job_fails_its_run_and_the_program_goes_on(
    backend: str, url: tuple[str, ...], tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    ended = subprocess.run(
        [sys.executable, str(program), backend, *(one.format(tmp_path) for one in url)],
        capture_output=True, text=True, timeout=90, env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    heard = ended.stdout.splitlines()
    assert heard == [
        "coroutine failed KeyboardInterrupt None",
        "thread failed KeyboardInterrupt None",
        "child failed KeyboardInterrupt None",
        "observed succeeded None went on",
    ], ended.stderr
    assert ended.returncode == 0
    assert "observer <function observe" in ended.stderr


def interrupted(call: Any) -> BaseException:
    try:
        call()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def _raise() -> None:
    raise KeyboardInterrupt


def _signal() -> None:
    signal.raise_signal(signal.SIGINT)


def _group() -> None:
    raise BaseExceptionGroup("tasks", [ValueError("x"), interrupted(_signal)])


def _own_handler(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("handler", [signal.default_int_handler, _own_handler], ids=["python's", "a user's"])
def test_the_interpreter_s_own_interrupt_is_told_apart(handler: Any) -> None:
    before = signal.signal(signal.SIGINT, handler)
    try:
        assert interrupt_in(interrupted(_raise)) is None
        assert isinstance(interrupt_in(interrupted(_signal)), KeyboardInterrupt)
        assert isinstance(interrupt_in(interrupted(_group)), KeyboardInterrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert interrupt_in(KeyboardInterrupt()) is None
    assert interrupt_in(ValueError()) is None
    assert interrupt_in(SystemExit()) is None
