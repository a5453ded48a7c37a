"""Jobs for worker processes, which import them from here."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

from asyncsched._core.context import current_run
from asyncsched._core.errors import Snooze

started: list[Any] = []


def add(a: int, b: int = 0) -> int:
    return a + b


def noop() -> None:
    return None


def echo(value: Any) -> Any:
    return value


def pid() -> int:
    return os.getpid()


def where() -> tuple[str, list[str], list[str]]:
    return os.getcwd(), sys.path, sys.argv


def nap(seconds: float, marker: str | None = None) -> int:
    if marker is not None:
        Path(marker).write_text(str(os.getpid()))
    time.sleep(seconds)
    return os.getpid()


def segfault() -> None:
    ctypes.string_at(0)


def exit_hard(code: int) -> None:
    os._exit(code)


def exit_softly(code: int) -> None:
    sys.exit(code)


def kill_self(number: int) -> None:
    os.kill(os.getpid(), number)


def stubborn(marker: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    nap(60, marker)


def tidy(marker: str, left: str) -> None:
    try:
        nap(60, marker)
    finally:
        Path(left).write_text("cleaned up")


def with_child(marker: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(marker).write_text(str(child.pid))
    time.sleep(60)


def value_error(text: str) -> None:
    raise ValueError(text)


class Picky(Exception):
    """An exception that pickle writes, and cannot read again."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


class Rebuilt(Exception):
    """An exception that makes its own text, which pickle would make twice."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no {name}")


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("holds a lock")
        self.lock = threading.Lock()


class Poison(Exception):
    """An exception whose unpickling would end the process."""

    def __reduce__(self) -> Any:
        return os._exit, (3,)


def raises(kind: type[Exception], *args: Any) -> None:
    raise kind(*args)


def snooze() -> None:
    raise Snooze(5, "the queue is closed")


def noted() -> None:
    error = RuntimeError("with a note")
    error.add_note("look at the log")
    raise error


class Unreadable:
    """A value that can be sent, and not be read."""

    def __reduce__(self) -> Any:
        return _fail, ()


def _fail() -> None:
    raise RuntimeError("this value cannot be read")


def unreadable() -> Unreadable:
    return Unreadable()


def returns_lock() -> Any:
    return threading.Lock()


async def _later() -> None: ...


def returns_coroutine() -> Any:
    return _later()


def prints() -> None:
    print("from print")
    print("from stderr", file=sys.stderr)
    os.write(1, b"from descriptor 1\n")
    os.system("echo from a shell")
    sys.stdout.write("without an end")


def prints_long(length: int) -> None:
    print("x" * length)


def prints_much(lines: int) -> int:
    for n in range(lines):
        print(f"line {n}")
    return lines


def logs() -> None:
    logger = logging.getLogger("tests.remote")
    logger.debug("not wanted")
    logger.info("count %d", 3, extra={"colour": "green", "lock": threading.Lock()})
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logger.exception("it failed")


def warns() -> None:
    warnings.warn("take care", stacklevel=1)


def about_run() -> dict[str, Any]:
    run = current_run()
    return {
        "id": run.id,
        "job": run.job,
        "attempt": run.attempt,
        "key": run.key,
        "scheduled_for": run.scheduled_for,
    }


def tells(times: int) -> None:
    run = current_run()
    for n in range(times):
        run.progress(n, times, "under way")
    run.extend_timeout(1.5)


def tells_and_waits(marker: str) -> int:
    run = current_run()
    run.progress(0, 2, "begun")
    run.progress(1, 2, "half")
    while not Path(marker).exists():
        time.sleep(0.01)
    return os.getpid()


def until_cancelled(marker: str, seen: str) -> None:
    before = current_run().cancelled
    try:
        nap(60, marker)
    finally:
        Path(seen).write_text(f"{before} {current_run().cancelled}")


def loaded() -> set[str]:
    return set(sys.modules)


def completes() -> None:
    current_run().complete_in(None)


def initialize(*args: Any) -> None:
    started.append((*args, os.getpid()))


def fail_to_initialize() -> None:
    raise ValueError("no licence")


def what_started() -> list[Any]:
    return started


class Box:
    def __init__(self, value: int) -> None:
        self.value = value

    def times(self, factor: int) -> int:
        return self.value * factor

    def __call__(self, more: int) -> int:
        return self.value + more
