"""The conformance suite over our own stores."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from asyncsched.stores.memory import MemoryStore
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.testing import VirtualClock
from asyncsched.testing.conformance import CASES, SHARED_CASES, Case, Stage, name_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def sqlite_stage(virtual_clock: VirtualClock, jobs_file: Path) -> AsyncIterator[Stage]:
    async with Stage(lambda: SqliteStore(jobs_file), virtual_clock) as stage:
        yield stage


@pytest.mark.parametrize("case", CASES, ids=name_of)
async def test_memory(case: Case, virtual_clock: VirtualClock) -> None:
    async with Stage(MemoryStore, virtual_clock) as stage:
        await case(stage)


@pytest.mark.parametrize("case", [*CASES, *SHARED_CASES], ids=name_of)
async def test_sqlite(case: Case, sqlite_stage: Stage) -> None:
    await case(sqlite_stage)
