"""How attempts ended goes into the ledger: what ends together in one request, and nothing of it is lost."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsched import Once, Retry, RunFailed, RunHandle, Scheduler, StoreUnavailable, current_run
from asyncsched._core.errors import StoreError
from asyncsched._core.requests import Ending, RunQuery
from asyncsched._engine.recorder import AT_ONCE, SLICE
from asyncsched.events import RunSucceeded, RunUnsuccessful, RunWaits
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.testing import VirtualClock

pytestmark = [pytest.mark.anyio, pytest.mark.blocking_ok]


class Ledger(SqliteStore):
    """Remembers how many endings came in each request, and can be away, or refuse some."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.sizes: list[int] = []
        self.away = 0
        self.delay = 0.0
        self.refused: set[str | None] = set()

    async def record(self, endings: Sequence[Ending]) -> list[bool]:
        self.sizes.append(len(endings))
        await anyio.sleep(self.delay)
        if self.away:
            self.away -= 1
            raise StoreUnavailable("it is away")
        if any(ending.verdict.result in self.refused for ending in endings):
            raise StoreError("this cannot be kept")
        return await super().record(endings)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "jobs.db")


class Crowd:
    """Runs that wait for one another, and end in one turn of the loop."""

    def __init__(self, scheduler: Scheduler, clock: VirtualClock) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._gate = anyio.Event()
        self._begun = 0

        @scheduler.job()
        async def job(value: int) -> int:
            self._begun += 1
            await self._gate.wait()
            return value

        self._job = job

    async def end(self, values: Sequence[int]) -> list[RunHandle[int]]:
        """Have as many runs end together; return their handles."""
        self._gate, self._begun = anyio.Event(), 0
        handles = list(await self._scheduler.schedule_many([Once(self._job, (value,)) for value in values]))
        await self._clock.advance(1)
        assert self._begun == len(values)
        self._gate.set()
        return handles


@pytest.fixture
def scheduler(ledger: Ledger, virtual_clock: VirtualClock) -> Scheduler:
    return Scheduler(ledger, clock=virtual_clock, shutdown_timeout=3)


@pytest.fixture
def crowd(scheduler: Scheduler, virtual_clock: VirtualClock) -> Crowd:
    return Crowd(scheduler, virtual_clock)


async def test_what_ends_in_one_turn_is_one_request(
    ledger: Ledger, scheduler: Scheduler, crowd: Crowd
) -> None:
    async with scheduler:
        handles = await crowd.end(range(50))
        assert [await handle.result() for handle in handles] == list(range(50))
        assert ledger.sizes == [50]
        (alone,) = await crowd.end([1])
        assert await alone.result() == 1
        assert ledger.sizes == [50, 1]


async def test_a_request_has_so_many_endings_at_most_and_they_are_told_of_in_slices(
    ledger: Ledger, virtual_clock: VirtualClock
) -> None:
    told: list[object] = []
    slices: list[int] = []

    def hear(event: object) -> None:
        if isinstance(event, RunSucceeded):
            told.append(event)

    async def watch() -> None:
        seen = 0
        while len(told) < many:
            await anyio.lowlevel.checkpoint()
            if len(told) > seen:
                slices.append(len(told) - seen)
                seen = len(told)

    many = AT_ONCE + 10
    scheduler = Scheduler(ledger, clock=virtual_clock, observers=[hear])
    crowd = Crowd(scheduler, virtual_clock)
    async with scheduler, anyio.create_task_group() as group:
        await crowd.end(range(many))
        group.start_soon(watch)
    assert sorted(ledger.sizes) == [10, AT_ONCE]
    assert sum(slices) == many
    assert max(slices) <= 3 * SLICE  # of each request, in one turn of the loop


async def test_one_that_is_refused_fails_alone(
    ledger: Ledger, scheduler: Scheduler, crowd: Crowd, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.refused = {"3"}
    async with scheduler:
        handles = await crowd.end(range(5))
        for value, handle in enumerate(handles):
            if value != 3:
                assert await handle.result() == value
                continue
            with pytest.raises(RunFailed, match="this cannot be kept") as failed:
                await handle.result()
            assert failed.value.outcome.why == "result"
    assert caplog.text.count("and the store did not take it") == 1


async def test_where_nothing_can_be_recorded_of_one_the_others_are_told_and_its_seat_is_free(
    ledger: Ledger,
    scheduler: Scheduler,
    crowd: Crowd,
    virtual_clock: VirtualClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledger.refused = {"3", None}  # nor that it failed
    async with scheduler:
        handles = await crowd.end(range(5))
        assert [await handles[value].result() for value in (0, 1, 2, 4)] == [0, 1, 2, 4]
        await virtual_clock.advance(1)
        assert not scheduler._runtime.main.runner.known()  # type: ignore[union-attr]
        assert (await handles[3].status()).state == "running"
    assert caplog.text.count("and the store did not take it") == 2


async def test_while_the_store_is_away_what_ended_together_is_tried_together(
    ledger: Ledger, scheduler: Scheduler, crowd: Crowd, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        ledger.away = 4
        began = virtual_clock.monotonic()
        handles = await crowd.end(range(20))
        assert [await handle.result() for handle in handles] == list(range(20))
        assert ledger.sizes == [20] * 5
        assert virtual_clock.monotonic() - began == pytest.approx(1 + 0.1 + 0.2 + 0.4 + 0.8)


async def test_a_store_that_stays_away_keeps_the_close_no_longer_than_it_may_take(
    ledger: Ledger,
    scheduler: Scheduler,
    crowd: Crowd,
    virtual_clock: VirtualClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with scheduler:
        await crowd.end(range(3))
        ledger.away = 1_000_000
        began = virtual_clock.monotonic()
    assert 3 <= virtual_clock.monotonic() - began < 4
    assert caplog.text.count("ended as succeeded, and the store did not take it") == 3
    async with Scheduler(
        SqliteStore(ledger.path), clock=virtual_clock
    ) as other:  # the row of the first stands
        assert len(await other.instances()) == 2


async def test_virtual_time_stands_still_between_an_end_and_its_record(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.job()
    async def job() -> None:
        await anyio.sleep(1)

    async with scheduler:
        handle = await scheduler.schedule_once(job)
        began = virtual_clock.monotonic()
        await handle.result()
        assert virtual_clock.monotonic() - began == 1
        run = await handle.status()
        assert run.finished_at is not None and run.started_at is not None
        assert (run.finished_at - run.started_at).total_seconds() == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_whoever_cancels_all_tasks_of_the_loop_loses_no_outcome(
    ledger: Ledger, scheduler: Scheduler, crowd: Crowd, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        ledger.delay = 1
        await crowd.end(range(20))
        await virtual_clock.advance(0.5)
        assert ledger.sizes == [20]
        for task in asyncio.all_tasks():
            if task.get_coro().__qualname__.endswith("Backend._own"):  # type: ignore[union-attr]
                task.cancel()
        await virtual_clock.advance(2)
        assert len(await ledger.runs(RunQuery(states=("succeeded",)))) == 20


ABANDONED = """
import asyncio, sys
from asyncsched import Scheduler
from asyncsched.stores.sqlite import SqliteStore

class Slow(SqliteStore):
    async def record(self, endings):
        await asyncio.sleep(0.2)
        return await super().record(endings)

scheduler = Scheduler(Slow(sys.argv[1]))

@scheduler.job()
async def sleeper():
    begun.set()
    await asyncio.sleep(1000)

async def main():
    global begun
    begun = asyncio.Event()
    await scheduler.__aenter__()  # and nobody closes it
    await scheduler.schedule_once(sleeper)
    await begun.wait()

asyncio.run(main())
"""


@pytest.mark.real_time  # a process of its own, which ends its loop
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_loop_that_ends_under_a_scheduler_waits_for_what_ends_by_that(
    tmp_path: Path, anyio_backend: str
) -> None:
    path = tmp_path / "jobs.db"
    await anyio.to_thread.run_sync(
        lambda: subprocess.run([sys.executable, "-c", ABANDONED, str(path)], check=True, timeout=60)
    )
    async with Scheduler(f"sqlite:///{path}") as scheduler:
        assert [run.state for run in await scheduler.runs()] == ["cancelled"]


async def test_an_attempt_that_is_told_of_after_the_next_one_takes_nothing_from_it(
    ledger: Ledger, scheduler: Scheduler, virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = ledger.record
    over = anyio.Event()

    async def slow_to_tell(endings: Sequence[Ending]) -> list[bool]:
        first = endings[0].run.attempt == 1
        answer = await record(endings)
        if first:
            await over.wait()
        return answer

    monkeypatch.setattr(ledger, "record", slow_to_tell)

    @scheduler.job(retry=Retry(attempts=2, delay=0))
    async def fail() -> None:
        raise ValueError(str(current_run().attempt))

    async with scheduler:
        handle = await scheduler.schedule_once(fail)
        assert (await handle.wait()).attempt == 2
        over.set()
        await virtual_clock.advance(1)
        with pytest.raises(RunFailed) as failed:
            await handle.result()
        assert repr(failed.value.__cause__) == "ValueError('2')"


async def test_a_run_that_began_to_wait_again_while_it_was_cancelled_is_told_of(
    ledger: Ledger, virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    begun, gate, waits = anyio.Event(), anyio.Event(), anyio.Event()
    cancel = ledger.cancel

    def hear(event: object) -> None:
        told.append(event)
        if isinstance(event, RunWaits):
            waits.set()

    async def after_its_end(*args: Any) -> Any:
        gate.set()
        await waits.wait()
        return await cancel(*args)

    scheduler = Scheduler(ledger, clock=virtual_clock, observers=[hear])

    monkeypatch.setattr(ledger, "cancel", after_its_end)

    @scheduler.job(retry=Retry(attempts=2, delay=100))
    async def fail() -> None:
        begun.set()
        await gate.wait()
        raise ValueError("not yet")

    async with scheduler:
        handle = await scheduler.schedule_once(fail)
        await begun.wait()
        assert await handle.cancel()
        assert sum(isinstance(event, RunUnsuccessful) for event in told) == 1
