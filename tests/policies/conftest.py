"""The policy suite runs under every store: one joins by a line in ``STORES`` and a parameter of ``make_store``.

A test declares its jobs, and gives and returns only what JSON can carry, as a durable store needs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

import asyncsched._core.arguments.codec  # pydantic, before an event loop runs
from asyncsched import Scheduler
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.testing import VirtualClock
from tests.each_store import POSTGRES, SQLITE, sqlite_file

# There is one instance, and hours of virtual time: it need not look for others every second.
ALONE = {"poll": 600, "beat": 30, "lease": 90, "timeout": 20}

# The durable stores read their statements when they are imported: not in a test's event loop.
with contextlib.suppress(ImportError):
    import asyncsched.stores.postgres


def _memory(request: pytest.FixtureRequest) -> Callable[[], Any]:
    return lambda: None


def _sqlite(request: pytest.FixtureRequest) -> Callable[[], Any]:
    path = sqlite_file(request.getfixturevalue("tmp_path"))
    return lambda: SqliteStore(path, **ALONE)


def _postgres(request: pytest.FixtureRequest) -> Callable[[], Any]:
    dsn = request.getfixturevalue("shared_dsn")
    return lambda: asyncsched.stores.postgres.PostgresStore(dsn, **ALONE)


STORES: dict[str, Callable[[pytest.FixtureRequest], Callable[[], Any]]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "postgres": _postgres,
}


@pytest.fixture(params=["memory", SQLITE, POSTGRES])
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
