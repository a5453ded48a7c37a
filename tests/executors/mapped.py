"""Functions of one item for ``Scheduler.map``, which worker processes import from here."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, NoReturn

from asyncsched._core.context import current_run
from tests.executors.failures import ApiError


def square(n: int) -> int:
    return n * n


def pid_for(_: int) -> int:
    return os.getpid()


def run_for(_: int) -> str:
    return current_run().id


def echo(value: Any) -> Any:
    return value


def die_at(item: tuple[int, int, str]) -> int:
    number, last, calls = item
    with Path(calls).open("a") as file:
        file.write(f"{number} ")
    if number == last:
        os._exit(3)
    return number


def odd_ones(n: int) -> Any:
    if n == 1:
        return (letter for letter in "generator")
    if n == 2:
        raise ApiError(404, body="nothing there")
    return n


def hang(marker: str) -> NoReturn:
    Path(marker).write_text(str(os.getpid()))
    while True:
        time.sleep(60)


def hang_once(marker: str) -> int:
    if Path(marker).exists():
        return 1
    hang(marker)


def _not_here() -> NoReturn:
    raise OSError("what it needs is not here")


class Unreadable:
    """Can be pickled, and cannot be unpickled."""

    def __reduce__(self) -> Any:
        return _not_here, ()

    def method(self, n: int) -> int:
        return n
