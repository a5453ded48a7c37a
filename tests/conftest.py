"""Every async test runs on asyncio and trio in virtual time, unless it says why it cannot."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import croniter  # noqa: F401  # imported on first use, which in a test would be inside the loop
import hypothesis  # noqa: F401  # asks the collector when it is imported, which knows nothing of what is frozen
import pytest
from blockbuster import BlockBuster, blockbuster_ctx

import asyncsched._core.arguments.codec  # noqa: F401  # reads pydantic's plugins, which in a test would be inside the loop
from asyncsched.testing import VirtualClock, virtual_backend

# Hundreds of processes that the tests start would compile the whole package anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

pytest_plugins = ["tests.leftovers", "tests.postgres"]

LONG = 0.01
"""Seconds of a collection after which what is alive is left out of the next ones."""


def pytest_configure() -> None:
    """Keep what tests write in memory, where a commit waits for no disk; and have SIGINT end programs.

    A shell starts what it runs in the background with SIGINT ignored, and every program of a test would inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2**31:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what a mark ``only_on`` has on another backend; with delays, races differ by the backend."""
    items[:] = [
        item for item in items if item.config.pluginmanager.hasplugin("tests.delays") or _is_wanted(item)
    ]


def _is_wanted(item: pytest.Item) -> bool:
    mark, callspec = item.get_closest_marker("only_on"), getattr(item, "callspec", None)
    if mark is None or callspec is None:
        return True
    backend = callspec.params.get("anyio_backend", mark.args[0])  # its name, or the name with options
    return (backend if isinstance(backend, str) else backend[0]) in mark.args


def pytest_collection_finish() -> None:
    """Leave all that was imported out of the collection after each test, which then takes next to no time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def garbage_is_found_here() -> Iterator[None]:
    """Find what a test left open while it is the one to blame: its garbage would fail a later one."""
    yield
    began = time.thread_time()
    gc.collect()
    if time.thread_time() - began > LONG:
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Leave out, too, what the tests of a module imported and kept: looking through it took 40 ms after each test."""
    yield
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


@pytest.fixture
def virtual_clock(request: pytest.FixtureRequest) -> VirtualClock:
    """Virtual time that stands still for a database or a thread, also where the machine is busy with others."""
    return VirtualClock() if request.node.get_closest_marker("hangs") else VirtualClock(patience=10)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest, virtual_clock: VirtualClock) -> Any:
    if request.node.get_closest_marker("real_time"):
        return request.param
    return virtual_backend(request.param, virtual_clock)


@pytest.fixture(autouse=True)
def no_blocking_calls(
    request: pytest.FixtureRequest, garbage_is_found_here: None
) -> Iterator[BlockBuster | None]:
    """Fail a test in which our code blocks the event loop."""
    if request.node.get_closest_marker("blocking_ok"):
        yield None
        return
    with blockbuster_ctx("asyncsched") as guard:
        # Reading a zone's small file, once and then cached, and what asyncio's own subprocesses do
        # at fork: both are short, and have no other door.
        guard.functions["os.stat"].can_block_in("zoneinfo/_tzpath.py", "find_tzfile")
        guard.functions["io.BufferedReader.read"].can_block_in("zoneinfo/_common.py", "load_data")
        guard.functions["os.read"].can_block_in("subprocess.py", "_execute_child")
        yield guard
