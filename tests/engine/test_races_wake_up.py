"""What is heard while a claim is under way is not lost: new runs, cancels, timeouts, free places.

Each test puts the other event between the commit of a claim and the arrival of its answer, every time. The
stores poll once in an hour, so that nothing but the right wake-up can save a run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsched import Scheduler, current_run
from asyncsched._core.instants import Now
from asyncsched._core.records import RunRecord
from asyncsched._core.requests import Claim, Claimed
from asyncsched._engine.agenda import Agenda
from asyncsched._engine.capacity import Capacity
from asyncsched.executors import ThreadExecutor
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio

HOUR = 3600.0

Meanwhile = Callable[[], Awaitable[object]]


class SlowAnswers:
    """Lets something happen after a claim is committed, and before its answer is in."""

    meanwhile: Meanwhile | None = None

    async def claim(self, claim: Claim, now: Now) -> Claimed:
        claimed: Claimed = await super().claim(claim, now)  # type: ignore[misc]
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return claimed


class SlowSqlite(SlowAnswers, SqliteStore):
    """The same over a file."""


@pytest.fixture(params=["sqlite", "postgresql"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Any]:
    if request.param == "sqlite":
        return lambda: SlowSqlite(tmp_path / "jobs.db", poll=HOUR)
    pytest.importorskip("psycopg")
    from asyncsched.stores.postgres import PostgresStore

    class SlowPostgres(SlowAnswers, PostgresStore):
        """The same over PostgreSQL, which is deaf to notifications here."""

        def _heard(self, work: bool, runs: set[int] | None) -> None:
            pass

    dsn = request.getfixturevalue("postgres_dsn")
    return lambda: SlowPostgres(dsn, poll=HOUR)


async def until_begun(began: list[str], name: str) -> None:
    with anyio.fail_after(5):
        while name not in began:
            await anyio.sleep(0.01)


async def test_a_run_that_is_added_while_a_claim_is_under_way_begins_at_once(
    make_store: Callable[[], Any], virtual_clock: VirtualClock
) -> None:
    began: list[str] = []
    store = make_store()
    scheduler = Scheduler(store, clock=virtual_clock)

    @scheduler.job()
    async def job(name: str) -> None:
        began.append(name)

    async with scheduler:
        await virtual_clock.advance(1)

        async def add() -> None:
            await scheduler.schedule_once(job, "second")

        store.meanwhile = add
        await scheduler.schedule_once(job, "first")
        await until_begun(began, "second")


async def test_a_run_that_becomes_ready_while_a_claim_is_under_way_begins_at_once(
    make_store: Callable[[], Any], virtual_clock: VirtualClock
) -> None:
    began: list[str] = []
    store = make_store()
    scheduler = Scheduler(store, clock=virtual_clock)

    @scheduler.job()
    async def job(name: str) -> None:
        began.append(name)

    async with scheduler:
        await scheduler.schedule_once(job, "later", delay=2)
        await virtual_clock.advance(1)
        store.meanwhile = lambda: anyio.sleep(1.5)
        await scheduler.schedule_once(job, "first")
        await until_begun(began, "later")


async def test_a_cancel_that_is_heard_of_before_the_claims_answer_ends_the_run(
    make_store: Callable[[], Any], virtual_clock: VirtualClock
) -> None:
    began: list[str] = []
    store = make_store()
    scheduler = Scheduler(store, clock=virtual_clock)

    @scheduler.job()
    async def job() -> None:
        began.append("job")
        await anyio.sleep(60)

    async with scheduler:
        await virtual_clock.advance(1)
        cancelled = anyio.Event()

        async def cancel() -> None:
            assert await scheduler.cancel_many(job="job") == 1
            cancelled.set()

        store.meanwhile = cancel
        handle = await scheduler.schedule_once(job)
        with anyio.fail_after(5):
            await cancelled.wait()
            run = await handle.wait()
    assert (run.state, began) == ("cancelled", [])
    # Its code never had its first step: nothing of it is an attempt.
    assert (run.attempt, run.attempts, run.started_at) == (0, (), None)


async def test_a_timeout_is_served_while_a_claim_waits_for_the_store(
    make_store: Callable[[], Any], virtual_clock: VirtualClock
) -> None:
    ended: list[float] = []
    store = make_store()
    scheduler = Scheduler(store, clock=virtual_clock)

    @scheduler.job(timeout=2)
    async def long() -> None:
        try:
            await anyio.sleep(60)
        finally:
            ended.append(virtual_clock.monotonic())

    @scheduler.job()
    async def other() -> None: ...

    async with scheduler:
        await scheduler.schedule_once(long)
        await virtual_clock.advance(1)
        answered = anyio.Event()
        store.meanwhile = answered.wait
        await scheduler.schedule_once(other)
        before = virtual_clock.monotonic()
        await virtual_clock.advance(4)
        assert [round(at - before) for at in ended] == [1]
        answered.set()


async def test_a_place_of_an_overfull_executor_is_told_of(
    virtual_clock: VirtualClock, anyio_backend_name: str
) -> None:
    began: list[str] = []
    scheduler = Scheduler(clock=virtual_clock, executors={"narrow": ThreadExecutor(1)})

    @scheduler.job(executor="narrow")
    def job(name: str) -> None:
        began.append(f"{name} {current_run().attempt}")

    async with scheduler, scheduler.scope() as scope:
        capacity = scheduler._running().environment.capacity
        capacity.take("narrow")  # as two workers that claim at the same moment
        capacity.take("narrow")
        await scheduler.schedule_once(job, "scheduler")
        await scope.schedule_once(job, "scope")
        await virtual_clock.advance(1)
        assert began == []
        capacity.give_back("narrow")
        await virtual_clock.advance(1)
        assert began == []
        capacity.give_back("narrow")
        with anyio.fail_after(5):
            while len(began) < 2:
                await anyio.sleep(0.01)


# ── the rules by themselves ──────────────────────────────────────────────────────────────────────


def run_at(ready: int, steady: bool = False) -> RunRecord:
    return RunRecord(1, "job", ready, steady=steady)


@pytest.mark.parametrize("steady", [False, True])
@pytest.mark.parametrize(
    "added, answered, wait",
    [
        (None, None, float("inf")),
        (30_000_000, None, 20.0),
        (30_000_000, 20_000_000, 10.0),
        (20_000_000, 30_000_000, 10.0),
        (10_000_000, 30_000_000, 0.0),  # it was ready when the claim looked, and was not there yet
        (None, 10_500_000, 0.5),
    ],
)
def test_a_claims_answer_never_replaces_what_was_added_meanwhile(
    added: int | None, answered: int | None, wait: float, steady: bool
) -> None:
    agenda = Agenda(lambda: None)
    now = Now(10_000_000, 10_000_000)
    agenda.claim_begins()
    if added is not None:
        agenda.add(run_at(added, steady))
    next_wall, next_steady = (None, answered) if steady else (answered, None)
    agenda.claim_answered(Claimed(next_wall=next_wall, next_steady=next_steady), now)
    assert agenda.wait(now) == wait
    # What becomes ready between the claim's look and the sleep is due at once.
    assert agenda.wait(Now(40_000_000, 40_000_000)) == (wait if wait == float("inf") else 0.0)


def test_after_a_claim_that_failed_the_earlier_of_both_holds() -> None:
    agenda = Agenda(lambda: None)
    now = Now(0, 0)
    agenda.notified = False
    agenda.add(run_at(5_000_000))
    agenda.claim_begins()
    agenda.add(run_at(3_000_000))
    agenda.claim_failed()
    assert agenda.wait(now) == 3.0


def test_the_last_of_several_places_too_many_notifies_once() -> None:
    told: list[int] = []
    capacity = Capacity({"loop": ThreadExecutor(1)})  # type: ignore[dict-item]
    capacity.subscribe(lambda: told.append(capacity.free["loop"]))
    for _ in range(3):
        capacity.take("loop")
    for _ in range(3):
        capacity.give_back("loop")
    assert told == [1]
