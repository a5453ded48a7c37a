"""Jobs for worker processes that start processes of their own."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from asyncsched._core.context import current_run

fork = multiprocessing.get_context("fork")


def with_process(marker: str) -> None:
    child = fork.Process(target=time.sleep, args=(60,))
    child.start()
    Path(marker).write_text(str(child.pid))


def with_fork(marker: str) -> None:
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)
    Path(marker).write_text(str(child))


def with_detached_fork(marker: str) -> None:
    """Fork as C code does, which tells the interpreter nothing, and leave the worker's process group."""
    child = ctypes.CDLL(None).fork()
    if not child:
        os.setsid()
        time.sleep(60)
        os._exit(0)
    Path(marker).write_text(str(child))


def with_subprocess(marker: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(marker).write_text(str(child.pid))


def and_is_killed(start: Any, marker: str) -> None:
    start(marker)
    os.kill(os.getpid(), signal.SIGKILL)


def and_exits(start: Any, marker: str) -> None:
    start(marker)
    os._exit(3)


def and_sleeps(start: Any, marker: str) -> None:
    start(marker)
    time.sleep(60)


def and_never_lets_go(start: Any, marker: str) -> None:
    """Keep the interpreter: no thread and no signal handler of this process runs."""
    start(marker)
    sum(range(10**12))


def ticks(folder: str) -> None:
    """Leave a file at each run, and be killed in the first beside a child."""
    first = not list(Path(folder).iterdir())
    (Path(folder) / f"{time.monotonic_ns()}").write_text("")
    if first:
        and_is_killed(with_process, f"{folder}/child")


def terminates() -> int | None:
    child = fork.Process(target=time.sleep, args=(60,))
    child.start()
    child.terminate()
    child.join(10)
    code = child.exitcode
    child.kill()
    return code


def handlers_of_child_and_grandchild() -> list[bool]:
    """Return whether SIGTERM does what is usual in a child, and what the child has set in its own child."""
    answers = fork.SimpleQueue()

    def child() -> None:
        answers.put(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        below = fork.Process(target=grandchild)
        below.start()
        below.join(10)

    def grandchild() -> None:
        answers.put(signal.getsignal(signal.SIGTERM) is signal.SIG_IGN)

    started = fork.Process(target=child)
    started.start()
    started.join(20)
    return [answers.get(), answers.get()]


def pools(times: int) -> int:
    for _ in range(times):
        with fork.Pool(3) as pool:
            pool.map(abs, range(3))
    return times


def log_much(length: int) -> None:
    logging.getLogger("tests.forked").warning("x" * length)


def children_log(children: int, length: int) -> list[int | None]:
    started = [fork.Process(target=log_much, args=(length,)) for _ in range(children)]
    for child in started:
        child.start()
    for child in started:
        child.join(20)
    return [child.exitcode for child in started]


def _polls(answers: Any) -> None:
    try:
        while not current_run().cancelled:
            time.sleep(0.01)
    except Exception as error:
        answers.put(f"{type(error).__name__}: {error}")


def children_poll(children: int) -> list[str]:
    answers = fork.SimpleQueue()
    started = [fork.Process(target=_polls, args=(answers,)) for _ in range(children)]
    for child in started:
        child.start()
    for child in started:
        child.join(20)
    if any(child.exitcode is None for child in started):
        return ["a child has not ended"]
    return [answers.get() for _ in started]


def child_reports() -> list[str]:
    words = fork.SimpleQueue()

    def reports() -> None:
        run = current_run()
        for call in (lambda: run.progress(1), lambda: run.extend_timeout(1)):
            try:
                call()
            except Exception as error:
                words.put(f"{run.job}: {error}")

    child = fork.Process(target=reports)
    child.start()
    child.join(20)
    return [words.get(), words.get()]


def child_returns_too() -> tuple[str, int]:
    child = os.fork()
    if not child:
        return "from the child", 0
    return "from the worker", os.waitpid(child, 0)[1]
