"""What the engines' workers execute; each engine's own wrapping of it is beside."""

from __future__ import annotations

import os
import time
from pathlib import Path


class ApiError(Exception):
    """An error of the user's own."""


def add(x: int, y: int = 1) -> int:
    return x + y


def refuse(message: str) -> None:
    raise ApiError(message)


def work(folder: str, seconds: float) -> str:
    """Write down that this was begun, by whom, and that it ended."""
    path = Path(folder) / f"{time.time_ns()}.{os.getpid()}"
    path.touch()
    time.sleep(seconds)
    path.with_suffix(".ended").touch()
    return "worked"
