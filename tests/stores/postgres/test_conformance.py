"""The conformance suite over PostgreSQL."""

from __future__ import annotations

import pytest

pytest.importorskip("psycopg")

from asyncsched.stores.postgres import PostgresStore
from asyncsched.testing import VirtualClock
from asyncsched.testing.conformance import CASES, SHARED_CASES, Case, Stage, name_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("case", [*CASES, *SHARED_CASES], ids=name_of)
async def test_postgres(case: Case, shared_dsn: str, virtual_clock: VirtualClock) -> None:
    async with Stage(lambda: PostgresStore(shared_dsn), virtual_clock) as stage:
        await case(stage)
