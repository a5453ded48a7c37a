"""Outcomes and answers on the edge of an instance's life, over both databases."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsched._core.errors import StoreUnavailable
from asyncsched.stores.sql.operations.cancelling import Cancelling, cancel
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.testing import VirtualClock
from asyncsched.testing.conformance import Stage
from tests.each_store import POSTGRES, SQLITE

pytestmark = [pytest.mark.anyio, pytest.mark.blocking_ok]


@pytest.fixture(params=[SQLITE, POSTGRES])
async def stage(
    request: pytest.FixtureRequest, jobs_file: Path, virtual_clock: VirtualClock
) -> AsyncIterator[Stage]:
    if request.param == "sqlite":
        make: Any = lambda: SqliteStore(jobs_file)  # noqa: E731
    else:
        pytest.importorskip("psycopg")
        from asyncsched.stores.postgres import PostgresStore

        dsn = request.getfixturevalue("shared_dsn")
        make = lambda: PostgresStore(dsn)  # noqa: E731
    async with Stage(make, virtual_clock) as stage:
        yield stage


async def test_what_ends_in_the_batch_in_which_its_instance_leaves_is_recorded_first(stage: Stage) -> None:
    await stage.add(run := stage.run())
    (held,) = (await stage.claim()).runs
    async with anyio.create_task_group() as group:  # in one turn of the loop, so in one go of the thread
        group.start_soon(stage.store.leave, 1, frozenset(), stage.now)
        group.start_soon(stage.end, held)
    assert await stage.state(run) == "succeeded"
    assert await stage.store.instances() == []


async def test_a_cancel_that_is_tried_again_because_its_answer_was_lost_has_ended_the_run(
    stage: Stage,
) -> None:
    await stage.add(run := stage.run(delay=3600))
    request = Cancelling(run.id, "cancelled", stage.now, [])
    for _ in range(2):  # the second time as after a commit without an answer
        assert (await stage.store._call(cancel, request)).ended
    assert not (await stage.store.cancel(run.id, "cancelled", stage.now)).ended  # another call ended nothing


@pytest.fixture
def lose_next_claim(monkeypatch: pytest.MonkeyPatch, stage: Stage) -> Callable[[], None]:
    """Return what makes the next COMMIT happen, and its answer never arrive."""
    armed: list[bool] = []
    kind: Any = type(stage.store._group._session)
    commit = kind.commit

    def and_lose(self: Any) -> None:
        commit(self)
        if armed:
            armed.clear()
            raise _lost(self)

    monkeypatch.setattr(kind, "commit", and_lose)
    return lambda: armed.append(True)


def _lost(session: Any) -> Exception:
    if session.dialect == "sqlite":
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        return error
    import psycopg

    session._connection.close()
    return psycopg.OperationalError("server closed the connection unexpectedly")


async def lose_a_claim(stage: Stage, lose: Callable[[], None]) -> list[int]:
    """Have runs claimed that the instance does not hear of; return what the ledger says that it holds."""
    await stage.add(stage.run())
    lose()
    try:
        assert (await stage.claim()).runs == []
    except StoreUnavailable:
        pass
    return list(await stage.store.held(1))


async def test_a_store_that_is_opened_again_hears_of_doubts_again(
    stage: Stage, lose_next_claim: Callable[[], None]
) -> None:
    store = stage.store
    held = await lose_a_claim(stage, lose_next_claim)
    assert len(held) == 1
    assert store.unconfirmed
    with anyio.fail_after(5):
        while store.unconfirmed:  # a lost connection may have to be seen off first
            await store.held(1)
            store.confirm(store.lost_answers)
    await store.close()
    await store.open(lambda: None)
    assert not store.unconfirmed
    assert len(await lose_a_claim(stage, lose_next_claim)) == 2
    assert store.unconfirmed
