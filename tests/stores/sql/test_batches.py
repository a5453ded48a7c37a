"""No beat waits behind a batch, however large: over both databases."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsched._backends.clock import SystemClock
from asyncsched._core.errors import StoreUnavailable
from asyncsched._core.records import JobPause, Stretch
from asyncsched._core.requests import RunQuery
from asyncsched.stores.sql import store as _sql
from asyncsched.stores.sql.operations import schedules, stretches
from asyncsched.stores.sql.operations.adding import Adding
from asyncsched.stores.sql.operations.stretches import skip
from asyncsched.stores.sql.thread import HOLD, LEAST, WEIGHT
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
        make: Any = lambda: SqliteStore(jobs_file, timeout=30)  # noqa: E731
    else:
        pytest.importorskip("psycopg")
        from asyncsched.stores.postgres import PostgresStore

        dsn = request.getfixturevalue("shared_dsn")
        make = lambda: PostgresStore(dsn, timeout=30)  # noqa: E731
    real = request.node.get_closest_marker("real_time") is not None
    async with Stage(make, SystemClock() if real else virtual_clock) as stage:
        yield stage


@pytest.fixture
def portions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many runs each transaction added."""
    sizes: list[int] = []
    add = _sql._OPERATIONS["add"]

    def counting(session: Any, requests: Any) -> list[Any]:
        sizes.append(sum(len(request.runs) for request in requests if isinstance(request, Adding)))
        return add(session, requests)

    monkeypatch.setitem(_sql._OPERATIONS, "add", counting)
    return sizes


def slow_down(monkeypatch: pytest.MonkeyPatch, seconds_per_run: float) -> None:
    """Have each run that is added take so long."""
    add = _sql._OPERATIONS["add"]

    def slow(session: Any, requests: Any) -> list[Any]:
        time.sleep(seconds_per_run * sum(len(request.runs) for request in requests))
        return add(session, requests)

    monkeypatch.setitem(_sql._OPERATIONS, "add", slow)


async def test_a_large_batch_is_written_in_portions_and_in_order(portions: list[int], stage: Stage) -> None:
    await stage.store.add(runs := [stage.run() for _ in range(5000)], stage.now)
    assert sum(portions) == 5000
    assert max(portions) <= WEIGHT
    added = await stage.store.add(runs, stage.now)  # repeated as after a lost answer, it changes nothing
    assert [one.run.id for one in added] == [run.id for run in runs]
    assert len(await stage.store.runs(RunQuery(limit=10_000))) == 5000


async def test_a_small_batch_is_one_transaction(portions: list[int], stage: Stage) -> None:
    await stage.store.add([stage.run(key=f"k{number}") for number in range(LEAST)], stage.now)
    assert portions == [LEAST]


async def test_portions_follow_what_a_row_takes(
    portions: list[int], stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_down(monkeypatch, 0.0002)  # 250 rows are 50 ms
    await stage.store.add([stage.run() for _ in range(5000)], stage.now)
    assert all(size < 3 * HOLD / 0.0002 for size in portions[1:])
    assert len(portions) > 10
    monkeypatch.undo()
    writer = stage.store._writer
    for _ in range(6):  # and again more, little by little, as soon as rows take less
        writer._pace(LEAST, LEAST * HOLD / (2 * WEIGHT))
    assert writer.most == WEIGHT
    writer._pace(writer.most, 10)
    assert writer.most == LEAST


@pytest.mark.real_time  # how long a beat waits is a matter of the machine's time
async def test_a_beat_does_not_wait_for_a_batch_of_a_hundred_thousand(stage: Stage) -> None:
    runs = [stage.run() for _ in range(100_000)]
    took: list[float] = []
    ended = anyio.Event()

    async def beat() -> None:
        while not ended.is_set():
            began = time.perf_counter()
            assert await stage.store.beat(1, stage.now)
            took.append(time.perf_counter() - began)
            await anyio.sleep(0.02)

    async with anyio.create_task_group() as group:
        group.start_soon(beat)
        began = time.perf_counter()
        await stage.store.add(runs, stage.now)
        whole = time.perf_counter() - began
        ended.set()
    took.sort()
    print(
        f"\n{whole:.2f} s; beats: {len(took)}, half within {took[len(took) // 2] * 1e3:.0f} ms, all {took[-1] * 1e3:.0f} ms"
    )
    assert len(took) > 10
    # A busy machine is given its time; in one transaction the longest would be all of it.
    assert took[len(took) // 2] < max(0.1, whole / 20)
    assert took[-1] < max(0.3, whole / 4)


async def test_cancelled_between_two_portions_the_first_of_them_are_there(stage: Stage) -> None:
    with anyio.CancelScope() as scope:
        write = stage.store._write

        async def write_and_cancel(*args: Any, **more: Any) -> Any:
            answer = await write(*args, **more)
            scope.cancel()
            return answer

        stage.store._write = write_and_cancel
        runs = [stage.run() for _ in range(3 * WEIGHT)]
        await stage.store.add(runs, stage.now)
    assert scope.cancelled_caught
    found = {run.id for run in await stage.store.runs(RunQuery(limit=10_000))}
    assert found == {run.id for run in runs[:WEIGHT]}


@pytest.fixture
async def put_aside(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the runs of a paused job, more than one portion of those that go on at a resume."""
    monkeypatch.setattr(schedules, "WOKEN_AT_ONCE", 3)
    await stage.store.pause_job("job", JobPause("broken", "me", stage.at), stage.now)
    runs = [stage.run() for _ in range(8)]
    await stage.add(*runs)
    assert not await stage.claim_all()
    return [run.id for run in runs]


async def test_who_comes_behind_what_is_put_aside_is_claimed_at_once(stage: Stage) -> None:
    await stage.store.pause_job("job", JobPause("broken", "me", stage.at), stage.now)
    await stage.add(*[stage.run() for _ in range(25)])  # as many as three claims look at
    await stage.add(behind := stage.run(job="other"))
    assert [run.id for run in await stage.claim_all()] == [behind.id]


async def test_what_was_put_aside_goes_on_in_portions(
    stage: Stage, put_aside: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    portions: list[str] = []
    call = stage.store._call

    async def counting(operation: Any, *args: Any) -> Any:
        portions.append(operation.__name__)
        return await call(operation, *args)

    monkeypatch.setattr(stage.store, "_call", counting)
    await stage.store.pause_job("job", None, stage.now)
    assert portions == ["pause_job", "wake", "wake", "wake"]  # the last finds none
    assert sorted(run.id for run in await stage.claim_all()) == put_aside


@pytest.mark.parametrize("by", ["resume", "remove"])
async def test_what_a_resume_did_not_come_to_goes_on_when_the_store_is_tended(
    stage: Stage, by: str, put_aside: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if by == "remove":
        await stage.store.pause_job("job", None, stage.now)
        await stage.claim_all()
        await stage.schedule(paused=True)
        runs = [stage.run(schedule="s", origin="schedule", slot=stage.at + at) for at in range(8)]
        await stage.add(*runs)
        assert not await stage.claim_all()
        put_aside = [run.id for run in runs]
    await stage.store.prune(stage.now)
    assert not await stage.claim_all()  # it is paused still
    with monkeypatch.context() as patch, pytest.raises(ValueError, match="our end"):
        patch.setattr(schedules, "wake", _end_of_us(schedules.wake))
        if by == "remove":
            await stage.store.remove_schedule("s", stage.now)
        else:
            await stage.store.pause_job("job", None, stage.now)
    some = [run.id for run in await stage.claim_all()]
    assert len(some) == 3
    await stage.store.prune(stage.now)
    rest = [run.id for run in await stage.claim_all()]
    assert sorted(some + rest) == put_aside


async def test_what_is_paused_in_another_way_too_stays_put_aside(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.schedule(paused=True)
    await stage.add(*(stage.run(schedule="s", origin="schedule", slot=stage.at + at) for at in range(3)))
    assert not await stage.claim_all()
    wake, found = schedules.wake, []

    def waking(*args: Any) -> int | None:
        found.append(wake(*args))
        return found[-1]

    monkeypatch.setattr(schedules, "wake", waking)
    await stage.store.pause_job("job", None, stage.now)
    assert found == [
        None
    ]  # had they gone on, the next claim would have put them aside again, and so on for ever
    await stage.store.remove_schedule("s", stage.now)
    assert len(await stage.claim_all()) == 3


def _end_of_us(wake: Any) -> Any:
    """Return what does the first portion, and fails at the second."""
    portions = iter((wake,))

    def end(*args: Any) -> Any:
        for portion in portions:
            return portion(*args)
        raise ValueError("our end")

    return end


async def test_a_batch_that_the_store_does_not_take_is_said_to_be_in_doubt(stage: Stage) -> None:
    await stage.store.close()
    with pytest.raises(StoreUnavailable):
        await stage.store.add([stage.run() for _ in range(200)], stage.now)


async def test_the_newest_stretches_of_each_schedule_are_kept(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stretches, "STRETCHES_KEPT", 3)
    monkeypatch.setattr(stretches, "SCHEDULES_AT_ONCE", 2)
    firsts: dict[str, list[int]] = {}
    for number, count in enumerate((2, 3, 4, 9, 0)):
        await stage.schedule(f"s{number}")
        for slot in range(count):
            lost = Stretch(f"s{number}", 2 * slot, 2 * slot, 1, "missed")
            await stage.store._call(lambda session, lost=lost: skip(session, lost, None))
        firsts[f"s{number}"] = [2 * slot for slot in range(count)][-3:]
    await stage.store.prune(stage.now)
    for id, kept in firsts.items():
        assert [one.first for one in await stage.store.stretches(id, 0, stage.at)] == kept
