"""A check that a test leaves no thread, process or descriptor behind, for those that start them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest


@pytest.fixture(scope="session")
def uvloop_has_opened_its_own_files() -> None:
    """The first loop opens descriptors that uvloop keeps for good."""
    uvloop = pytest.importorskip("uvloop")
    uvloop.new_event_loop().close()


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Wait, in real time because threads and processes end in it, until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0


def our_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("asyncsched")]


@pytest.fixture
def nothing_is_left_behind(uvloop_has_opened_its_own_files: None) -> Iterator[None]:
    files = open_files()
    before = set(psutil.Process().children(recursive=True))  # a database server of other tests
    yield
    assert eventually(lambda: not our_threads()), our_threads()
    assert eventually(lambda: set(psutil.Process().children(recursive=True)) <= before), "a process is left"
    assert eventually(lambda: open_files() <= files), "a descriptor is left open"
