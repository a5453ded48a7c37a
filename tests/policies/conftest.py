"""The policy suite runs under every store: a store joins by one line in ``STORES``.

A test declares its jobs, and gives and returns only what JSON can carry, as a durable store needs.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import asyncsched._core.arguments.codec  # pydantic, before an event loop runs
from asyncsched import Scheduler
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.testing import VirtualClock

# There is one instance, and hours of virtual time: it need not look for others every second.
ALONE = {"poll": 600, "beat": 30, "lease": 90, "timeout": 20}

# The conformance suite holds every store on both backends; here each durable one takes one of them,
# because every virtual hour costs a durable store hundreds of real round trips.
ONLY_ON = {"sqlite": "trio", "postgresql": "asyncio"}


# The durable stores read their statements when they are imported: not in a test's event loop.
with contextlib.suppress(ImportError):
    import asyncsched.stores.postgres


def _memory(request: pytest.FixtureRequest) -> Callable[[], Any]:
    return lambda: None


def _sqlite(request: pytest.FixtureRequest) -> Callable[[], Any]:
    path = request.getfixturevalue("fast_path") / "jobs.db"
    return lambda: SqliteStore(path, **ALONE)


def _postgresql(request: pytest.FixtureRequest) -> Callable[[], Any]:
    dsn = request.getfixturevalue("shared_dsn")
    return lambda: asyncsched.stores.postgres.PostgresStore(dsn, **ALONE)


STORES: dict[str, Callable[[pytest.FixtureRequest], Callable[[], Any]]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "postgresql": _postgresql,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the pairs of store and backend that :data:`ONLY_ON` does not name."""
    items[:] = [item for item in items if _wanted(getattr(item, "callspec", None))]


def _wanted(callspec: Any) -> bool:
    params = callspec.params if callspec is not None else {}
    only = ONLY_ON.get(str(params.get("make_store", "")))
    return only is None or params.get("anyio_backend", only) == only


@pytest.fixture
def fast_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: what is tested here is no disk."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(params=STORES)
def make_store(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """Return what gives a scheduler's ``store`` argument: the same ledger at every call, where it lasts."""
    return STORES[request.param](request)


@pytest.fixture
def make_scheduler(make_store: Callable[[], Any], virtual_clock: VirtualClock) -> Callable[..., Scheduler]:
    """Return what makes a scheduler on the store under test, in virtual time."""

    def make(**options: Any) -> Scheduler:
        return Scheduler(make_store(), **{"clock": virtual_clock, **options})

    return make


@pytest.fixture
def scheduler(make_scheduler: Callable[..., Scheduler]) -> Scheduler:
    return make_scheduler()
