"""What an instance hears of others when it polls, what hearing costs it, and that a poll that fails loses nothing."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncsched import Interval, RunCancelled, Scheduler
from asyncsched._core.errors import StoreUnavailable
from asyncsched._core.instants import Now
from asyncsched._core.requests import Claim, Claimed, Watch
from asyncsched._engine.agenda import Agenda
from asyncsched.stores.sql.session import Session
from asyncsched.stores.sql.store import SqlStore
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.stores.sqlite.store import SqliteSession
from asyncsched.testing import VirtualClock
from tests.each_store import POSTGRES, SQLITE, sqlite_file

pytestmark = [pytest.mark.anyio, pytest.mark.blocking_ok]  # the user's own connection blocks, as documented

Make = Callable[..., Scheduler]


@pytest.fixture(params=[SQLITE, POSTGRES])
def make(request: pytest.FixtureRequest, virtual_clock: VirtualClock, tmp_path: Path) -> Make:
    postgres = request.param == "postgres"
    url = request.getfixturevalue("shared_dsn") if postgres else f"sqlite:///{sqlite_file(tmp_path)}"
    return lambda **options: Scheduler(url, clock=virtual_clock, **options)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return what was asked of the databases' writers, each kind of request counted."""
    asked: Counter[str] = Counter()
    start = Session.start

    def counted(self: Session, requests: Any = ()) -> None:
        asked.update(request.kind for request in requests)
        start(self, requests)

    monkeypatch.setattr(Session, "start", counted)
    return asked


@pytest.fixture
def count_from_here(
    request: pytest.FixtureRequest,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    virtual_clock: VirtualClock,
    written: Counter[str],
) -> Callable[[], Awaitable[None]]:
    """Return what waits for the end of the start, and counts anew.

    A PostgreSQL store claims once when it begins to listen, because no earlier notification is repeated. Its
    thread connects in the machine's own time.
    """
    listening: list[bool] = [request.node.callspec.params["make"] == "sqlite"]
    if not listening[0]:
        from asyncsched.stores.postgres import PostgresStore

        heard = PostgresStore._heard

        def hear(self: PostgresStore, work: bool, runs: set[int] | None) -> None:
            heard(self, work, runs)
            listening.append(True)

        monkeypatch.setattr(PostgresStore, "_heard", hear)

    async def rest() -> None:
        while not any(listening):
            await anyio.lowlevel.checkpoint()
        await virtual_clock.advance(0.5)
        written.clear()

    return rest


# ── what is no news ──────────────────────────────────────────────────────────────────────────────


async def test_a_firing_is_one_claim_and_one_record(
    make: Make,
    virtual_clock: VirtualClock,
    written: Counter[str],
    count_from_here: Callable[[], Awaitable[None]],
) -> None:
    scheduler = make()

    @scheduler.interval(seconds=1)
    async def tick() -> None: ...

    async with scheduler:
        await count_from_here()
        await virtual_clock.advance(6)
        del written["beat"], written["call"]  # figures: see the test below
        assert written == {"claim": 6, "record": 6}


async def test_a_one_off_is_one_claim_whenever_it_is_due(
    make: Make,
    virtual_clock: VirtualClock,
    written: Counter[str],
    count_from_here: Callable[[], Awaitable[None]],
) -> None:
    scheduler = make()

    @scheduler.job()
    async def greet() -> None: ...

    async with scheduler:
        await count_from_here()
        for delay in (0, 10, 20, 30):
            await scheduler.schedule_once(greet, delay=delay)
            await virtual_clock.advance(2)
        await virtual_clock.advance(60)
        del written["beat"], written["call"]
        assert written == {"add": 4, "claim": 4, "record": 4}


async def test_figures_are_written_at_most_once_a_second_however_much_is_counted(
    make: Make,
    virtual_clock: VirtualClock,
    written: Counter[str],
    count_from_here: Callable[[], Awaitable[None]],
) -> None:
    scheduler = make()

    @scheduler.interval(seconds=0.05)
    async def tick() -> None: ...

    async with scheduler:
        await count_from_here()
        await virtual_clock.advance(6)
        assert written["record"] == 120
        assert 1 <= written["call"] <= 6


# ── what is ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


def greeting(scheduler: Scheduler) -> list[str]:
    """Declare the job `greet` and a schedule beside it; return the list of those who were greeted."""
    greeted: list[str] = []

    @scheduler.job()
    async def greet(name: str) -> str:
        greeted.append(name)
        return f"hello {name}"

    @scheduler.interval(seconds=1)
    async def tick() -> None: ...

    return greeted


@pytest.mark.parametrize("delay", [0, 7])
async def test_a_row_that_a_user_inserts_is_found_at_the_next_poll(
    file: Path, virtual_clock: VirtualClock, delay: float
) -> None:
    scheduler = Scheduler(f"sqlite:///{file}", clock=virtual_clock)
    greeted = greeting(scheduler)
    async with scheduler:
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            for number in range(8):  # at every place beside the firings and the polls
                await virtual_clock.advance(1 + number / 8)
                connection.execute(*scheduler.statement("greet", str(number), delay=delay))
                await virtual_clock.advance(max(0.26, delay + 0.001))
                assert greeted[-1:] == [str(number)]


@pytest.mark.parametrize("delay", [0, 7])
async def test_a_run_that_another_scheduler_adds_is_found_at_the_next_poll(
    file: Path, virtual_clock: VirtualClock, delay: float
) -> None:
    web = Scheduler(f"sqlite:///{file}", clock=virtual_clock, role="submit")
    worker = Scheduler(f"sqlite:///{file}", clock=virtual_clock)
    greeting(web)
    greeted = greeting(worker)
    async with web, worker:
        for number in range(8):
            await virtual_clock.advance(1 + number / 8)
            await web.schedule_once("greet", str(number), delay=delay)
            await virtual_clock.advance(max(0.26, delay + 0.001))
            assert greeted[-1:] == [str(number)]


class SlowAnswers(SqliteStore):
    """A store whose answers to claims come late, after something else has happened."""

    meanwhile: Callable[[], Any] | None = None

    async def claim(self, claim: Claim, now: Now) -> Claimed:
        claimed = await super().claim(claim, now)
        if claimed.runs and (call := self.meanwhile) is not None:
            self.meanwhile = None
            await call()
        return claimed


@pytest.mark.parametrize("delay", [0, 7])
async def test_what_is_heard_of_while_an_answer_to_a_claim_is_on_its_way_is_claimed_after_it(
    file: Path, virtual_clock: VirtualClock, delay: float
) -> None:
    store = SlowAnswers(file)
    scheduler = Scheduler(store, clock=virtual_clock)
    greeted: list[str] = []

    @scheduler.job()
    async def greet(name: str) -> None:
        greeted.append(name)

    async def insert_and_poll() -> None:
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute(*scheduler.statement("greet", "ben", delay=delay))
        await anyio.sleep(0.5)

    async with scheduler:
        store.meanwhile = insert_and_poll
        await scheduler.schedule_once("greet", "ann", delay=1)
        await virtual_clock.advance(1.6 + delay)
        assert greeted == ["ann", "ben"]


# ── polls that fail ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def busy_once(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what has SQLite find the file busy, once for each reader, in the next poll that found it changed."""
    readers: list[SqliteSession] = []
    armed: list[SqliteSession] = []
    connect = SqliteSession.connect

    def connected(self: SqliteSession) -> None:
        before = self._connection
        connect(self)
        connection = self._connection
        if self._writes or connection is None or connection is before:
            return

        def execute(sql: str, params: Any = ()) -> Any:
            if self in armed and sql.startswith("SELECT -1"):
                armed.remove(self)
                error = sqlite3.OperationalError("database is locked")
                error.sqlite_errorcode = sqlite3.SQLITE_BUSY_RECOVERY
                raise error
            return connection.execute(sql, params)

        self.execute = execute  # type: ignore[method-assign, assignment]
        readers.append(self)

    monkeypatch.setattr(SqliteSession, "connect", connected)
    return lambda: armed.extend(readers)


def two_schedulers(file: Path, clock: VirtualClock) -> tuple[Scheduler, Scheduler]:
    """Return one that submits and one that runs."""
    both = (
        Scheduler(SqliteStore(file, beat=600, lease=3600), clock=clock, role="submit"),
        Scheduler(SqliteStore(file, beat=600, lease=3600), clock=clock),
    )
    for scheduler in both:

        @scheduler.job()
        async def work(seconds: float) -> str:
            await anyio.sleep(seconds)
            return "done"

    return both


async def test_a_result_is_heard_of_though_the_file_was_busy_for_the_first_poll(
    file: Path, virtual_clock: VirtualClock, busy_once: Callable[[], None]
) -> None:
    web, worker = two_schedulers(file, virtual_clock)
    async with web, worker:
        handle = await web.schedule_once("work", 2)
        await virtual_clock.advance(1)
        async with anyio.create_task_group() as group:
            heard: list[str] = []

            async def wait() -> None:
                heard.append(await handle.result())

            group.start_soon(wait)
            await virtual_clock.advance(0.5)
            busy_once()
            await virtual_clock.advance(2)
            assert heard == ["done"]


async def test_a_cancel_is_heard_of_though_the_file_was_busy_for_the_first_poll(
    file: Path, virtual_clock: VirtualClock, busy_once: Callable[[], None]
) -> None:
    web, worker = two_schedulers(file, virtual_clock)
    async with web, worker:
        handle = await web.schedule_once("work", 3600)
        await virtual_clock.advance(1)
        busy_once()
        with anyio.fail_after(2):
            await handle.cancel()
            with pytest.raises(RunCancelled):
                await handle.result()


async def test_a_result_is_heard_of_though_the_answer_of_a_poll_was_lost(
    make: Make, virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    web, worker = make(role="submit"), make()
    for scheduler in (web, worker):

        @scheduler.job()
        async def work() -> str:
            await anyio.sleep(2)
            return "done"

    poll = SqlStore.poll
    lost: set[SqlStore] = set()

    async def lose_the_first(self: SqlStore, watch: Watch) -> Any:
        changes = await poll(self, watch)
        if changes is not None and any(token[0] == "succeeded" for token in changes.runs.values()):
            if self not in lost:
                lost.add(self)
                raise StoreUnavailable("the store gave no answer within 5 s")
        return changes

    monkeypatch.setattr(SqlStore, "poll", lose_the_first)
    async with web, worker:
        handle = await web.schedule_once("work")
        with anyio.fail_after(6):
            assert await handle.result() == "done"
    assert lost


async def test_who_lives_is_asked_again_until_there_is_an_answer(
    make: Make, virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the newer instance is gone, the older one's word counts again."""
    old, new = make(), make()
    for scheduler, seconds in ((old, 60), (new, 30)):

        @scheduler.interval(seconds=seconds)
        async def tick() -> None: ...

    instances = SqlStore.instances
    failures = 2

    async def fail_twice(self: SqlStore) -> Any:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise StoreUnavailable("no answer")
        return await instances(self)

    async with old:
        async with new:
            await virtual_clock.advance(2)
            assert (await old.schedule("tick")).describe == "every 30 seconds"
        monkeypatch.setattr(SqlStore, "instances", fail_twice)
        await virtual_clock.advance(5)
        assert (await old.schedule("tick")).describe == "every minute"


async def test_a_poll_that_could_not_be_taken_in_is_taken_in_next_time(
    make: Make, virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    web, worker = make(role="submit"), make()
    ran: list[str] = []
    for scheduler in (web, worker):

        @scheduler.job()
        async def tick() -> None:
            ran.append("tick")

    async with web, worker:
        await virtual_clock.advance(1)
        follow = Agenda.follow

        def fail_once(self: Agenda, records: Any) -> None:
            monkeypatch.setattr(Agenda, "follow", follow)
            raise RuntimeError("a trigger of another release")

        await web.add_schedule("tick", Interval(seconds=10))
        monkeypatch.setattr(Agenda, "follow", fail_once)
        await virtual_clock.advance(31)
        assert len(ran) == 3
