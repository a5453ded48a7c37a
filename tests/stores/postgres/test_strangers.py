"""What strangers lock in the database stops nobody: each test holds a lock, and sees that all the rest goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import anyio
import pytest

psycopg = pytest.importorskip("psycopg")

from asyncsched import RunHandle, Scheduler, StoreUnavailable, current_run
from asyncsched.stores.postgres import PostgresStore
from asyncsched.stores.postgres.connection import Line
from tests.postgres import Server
from tests.waiting import PATIENCE, soon

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_time,  # a stranger's lock is held in the machine's time
    pytest.mark.blocking_ok,  # and taken by a connection of the test's own
    pytest.mark.only_on(
        "asyncio"
    ),  # what the database locks is the same to both, and each test takes seconds
]

LEASE = 2.0


@pytest.fixture
def ticks() -> list[float]:
    """Return when the job that must not be held up was begun."""
    return []


@pytest.fixture
def make(shared_dsn: str, ticks: list[float]) -> Callable[..., Scheduler]:
    """Return what makes one more instance, whose calls wait longer than any lock here is held."""

    def make(**options: Any) -> Scheduler:
        store = PostgresStore(shared_dsn, beat=0.2, **{"lease": LEASE, "timeout": PATIENCE, **options})
        scheduler = Scheduler(store, stall_threshold=None)

        @scheduler.interval(seconds=0.05)
        async def tick() -> None:
            ticks.append(time.monotonic())

        @scheduler.job()
        async def greet(name: str) -> str:
            return f"hello {name}"

        @scheduler.job()
        async def wait() -> None:
            await anyio.sleep_forever()

        return scheduler

    return make


@contextmanager
def stranger(dsn: str, *statements: str) -> Iterator[Any]:
    """Hold what the statements lock, in a transaction that ends with the block."""
    with psycopg.connect(dsn) as connection:
        for statement in statements:
            connection.execute(statement)
        yield connection


@asynccontextmanager
async def all_goes_on(
    scheduler: Scheduler, ticks: list[float], caplog: pytest.LogCaptureFixture
) -> AsyncIterator[None]:
    """See in the block that ticks and other calls go on, for longer than a lease, and that nobody is declared dead."""
    with caplog.at_level(logging.INFO):
        yield
        began, seen = time.monotonic(), len(ticks)
        while time.monotonic() < began + 1.5 * LEASE:
            assert await (await scheduler.schedule_once("greet", "ben")).result(PATIENCE) == "hello ben"
            await anyio.sleep(0.05)
        await soon(lambda: len(ticks) > seen + 20)
        assert "declared dead" not in caplog.text
        assert not scheduler.health().trouble


async def collect(handles: list[Any], call: Callable[[], Any]) -> None:
    handles.append(await call())


async def test_ten_callers_for_a_key_in_an_open_transaction_hold_up_nobody(
    make: Callable[..., Scheduler], shared_dsn: str, ticks: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = make()
    found: list[RunHandle[Any]] = []
    async with make(), scheduler, anyio.create_task_group() as group:
        with psycopg.connect(shared_dsn) as connection:
            first = await scheduler.schedule_once(
                "greet", "ann", key="order-1", delay=3600, connection=connection
            )
            for _ in range(10):
                group.start_soon(
                    collect, found, lambda: scheduler.schedule_once("greet", "ann", key="order-1")
                )
            async with all_goes_on(scheduler, ticks, caplog):
                pass
            assert not found
            connection.commit()
        await soon(lambda: len(found) == 10)
        assert {(handle.id, handle.created) for handle in found} == {(first.id, False)}


async def test_a_start_waits_for_a_lock_on_the_tables_as_long_as_for_an_unreachable_store(
    make: Callable[..., Scheduler], shared_dsn: str
) -> None:
    async with make():
        pass  # there are tables

    async def start(scheduler: Scheduler) -> None:
        async with scheduler:
            assert await (await scheduler.schedule_once("greet", "ann")).result(PATIENCE) == "hello ann"

    table = "lock table asyncsched_schema in access exclusive mode"  # as another instance that migrates does
    with (
        stranger(shared_dsn, table),
        pytest.raises(StoreUnavailable, match="another transaction holds a lock"),
    ):
        await start(make(timeout=0.5))
    async with anyio.create_task_group() as group:
        with stranger(shared_dsn, table):
            group.start_soon(start, make())
            await anyio.sleep(1)  # for longer than a statement waits for a lock


async def test_a_caller_whose_time_is_up_hears_what_was_in_the_way(
    make: Callable[..., Scheduler], shared_dsn: str
) -> None:
    async with make(timeout=3) as scheduler:
        with psycopg.connect(shared_dsn) as connection:
            await scheduler.schedule_once("greet", "ann", key="k", connection=connection)
            # While it is being tried at that very moment, the answer is that it may have been done.
            with pytest.raises(StoreUnavailable, match=r"another transaction holds .* (was|have been) done"):
                await scheduler.schedule_once("greet", "ann", key="k")
        with psycopg.connect(shared_dsn) as connection:
            connection.execute("delete from asyncsched_runs where job = 'greet'")
        assert (await scheduler.schedule_once("greet", "ann", key="k")).created


async def test_a_cancel_of_a_run_whose_job_holds_its_transaction_open_holds_up_nobody(
    make: Callable[..., Scheduler], shared_dsn: str, ticks: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    scheduler, gate, open_ = make(), anyio.Event(), anyio.Event()

    @scheduler.job()
    async def import_all() -> None:
        with psycopg.connect(shared_dsn) as connection:
            current_run().complete_in(connection)
            open_.set()
            await gate.wait()

    cancelled: list[bool] = []
    async with make(), scheduler, anyio.create_task_group() as group:
        handle = await scheduler.schedule_once(import_all)
        await open_.wait()
        group.start_soon(collect, cancelled, handle.cancel)
        async with all_goes_on(scheduler, ticks, caplog):
            pass
        assert not cancelled
        gate.set()
        assert (await handle.wait()).state == "succeeded"


async def test_rows_locked_in_psql_hold_up_none_but_their_own_runs(
    make: Callable[..., Scheduler], shared_dsn: str, ticks: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    scheduler, gate = make(), anyio.Event()

    @scheduler.job()
    async def long(number: int) -> int:
        await gate.wait()
        return number

    async with make(), scheduler:
        handles = [await scheduler.schedule_once(long, number) for number in range(20)]
        await anyio.sleep(0)
        for handle in handles:
            while (await handle.status()).state != "running":
                await anyio.sleep(0.01)
        locked = ", ".join(f"'{handle.id}'" for handle in handles[:10])
        with stranger(shared_dsn, f"select 1 from asyncsched_runs where id in ({locked}) for update"):
            gate.set()
            for number, handle in enumerate(handles[10:], 10):
                assert await handle.result(PATIENCE) == number
            async with all_goes_on(scheduler, ticks, caplog):
                pass
            assert {(await handle.status()).state for handle in handles[:10]} == {"running"}
        for number, handle in enumerate(handles[:10]):
            assert await handle.result(PATIENCE) == number


async def test_a_locked_schedule_holds_up_no_other_one(
    make: Callable[..., Scheduler], shared_dsn: str, ticks: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    scheduler, own = make(), []

    @scheduler.interval(seconds=0.05)
    async def locked() -> None:
        own.append(time.monotonic())

    async with make(), scheduler:
        await soon(lambda: own)
        with stranger(shared_dsn, "select 1 from asyncsched_schedules where id = 'locked' for update"):
            async with all_goes_on(scheduler, ticks, caplog):
                before = len(own)
            assert len(own) <= before + 1  # at most what was under way
        seen = len(own)
        await soon(lambda: len(own) > seen + 5)


async def test_a_replaced_run_that_is_locked_holds_up_no_other_schedule(
    make: Callable[..., Scheduler], shared_dsn: str, ticks: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    scheduler, begun = make(), []

    @scheduler.interval(seconds=0.5, overlap="replace")
    async def replaced() -> None:
        begun.append(current_run().id)
        await anyio.sleep_forever()

    async with make(), scheduler:
        await soon(lambda: begun)
        with stranger(shared_dsn, f"select 1 from asyncsched_runs where id = '{begun[-1]}' for update"):
            async with all_goes_on(scheduler, ticks, caplog):
                pass
        seen = len(begun)
        await soon(lambda: len(begun) > seen)


async def test_a_locked_limit_holds_up_no_other_job(
    make: Callable[..., Scheduler], shared_dsn: str, ticks: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = make()

    @scheduler.job(max_running=1)
    async def limited(number: int) -> int:
        return number

    async with make(), scheduler:
        assert await (await scheduler.schedule_once(limited, 1)).result(PATIENCE) == 1
        with stranger(shared_dsn, "select 1 from asyncsched_limits for update"):
            waiting = await scheduler.schedule_once(limited, 2)
            async with all_goes_on(scheduler, ticks, caplog):
                pass
            assert (await waiting.status()).state == "pending"
        assert await waiting.result(PATIENCE) == 2


@pytest.mark.parametrize("mode", ["share", "access exclusive"])  # CREATE INDEX, VACUUM FULL
async def test_nobody_is_declared_dead_for_a_table_that_is_locked(
    make: Callable[..., Scheduler],
    shared_dsn: str,
    ticks: list[float],
    caplog: pytest.LogCaptureFixture,
    mode: str,
) -> None:
    scheduler = make()
    async with make(), scheduler:
        handle = await scheduler.schedule_once("wait")
        while (await handle.status()).state != "running":
            await anyio.sleep(0.01)
        with stranger(shared_dsn, f"lock table asyncsched_runs in {mode} mode"):
            await anyio.sleep(2 * LEASE)  # for longer than a lease
        seen = len(ticks)
        await soon(lambda: len(ticks) > seen + 5)
        assert (await handle.status()).attempt == 1
        assert "declared dead" not in caplog.text
        assert await handle.cancel()


def die_with(handles: list[RunHandle[Any]], pg_server: Server, database: str) -> None:
    """Have an instance that is there no more hold runs."""
    ids = ", ".join(f"'{handle.id}'" for handle in handles)
    pg_server.run(
        "insert into asyncsched_instances select namespace, 7, 1, 0, 'gone', 1, '', 'both', '[]', '[]', 0, 0 "
        "from asyncsched_ledger",
        "update asyncsched_runs set state = 'running', holder = 7, attempt = 1, started_at = 1, ready_at = null, "
        f"max_attempts = 2 where id in ({ids})",
        database=database,
    )


async def test_of_an_instance_that_died_all_runs_but_the_locked_ones_go_on(
    make: Callable[..., Scheduler], shared_dsn: str, pg_server: Server, pg_shared: str
) -> None:
    async with make() as scheduler:
        handles = [await scheduler.schedule_once("greet", "ann", delay=3600) for _ in range(3)]
        die_with(handles, pg_server, pg_shared)
        with stranger(shared_dsn, f"select 1 from asyncsched_runs where id = '{handles[0].id}' for update"):
            for handle in handles[1:]:
                assert await handle.result(PATIENCE) == "hello ann"
            assert (await handles[0].status()).state == "running"
        assert await handles[0].result(PATIENCE) == "hello ann"


@pytest.mark.parametrize("successor", ["was there before", "starts afterwards"])
async def test_locked_runs_of_an_instance_that_died_go_on_though_the_one_that_declared_it_dead_has_ended_too(
    make: Callable[..., Scheduler], shared_dsn: str, pg_server: Server, pg_shared: str, successor: str
) -> None:
    async with AsyncExitStack() as life, AsyncExitStack() as other_life:
        second = make(lease=600)  # it declares nobody dead
        if successor == "was there before":
            await other_life.enter_async_context(second)
        first = await life.enter_async_context(make())
        locked, free = [await first.schedule_once("greet", "ann", delay=3600) for _ in range(2)]
        die_with([locked, free], pg_server, pg_shared)
        with stranger(shared_dsn, f"select 1 from asyncsched_runs where id = '{locked.id}' for update"):
            assert await free.result(PATIENCE) == "hello ann"
            await life.aclose()  # as in a rolling deploy
            if successor == "starts afterwards":
                await other_life.enter_async_context(second)
        assert await second.handle(locked.id).result(PATIENCE) == "hello ann"


@pytest.mark.parametrize("state", ["active", "idle in transaction"])
async def test_an_instance_that_was_cut_off_between_two_statements_holds_up_no_run_for_ever(
    make: Callable[..., Scheduler], shared_dsn: str, pg_server: Server, state: str
) -> None:
    async with make() as scheduler:
        handle = await scheduler.schedule_once("greet", "ann", delay=0.3)
        # What its host's end leaves of it: the server waits for the rest of a pipeline that never comes.
        cut_off = Line(shared_dsn, "writer", timeout=0.2).connect()
        try:
            cut_off.pgconn.enter_pipeline_mode()
            lock = f"select 1 from asyncsched_runs where id = '{handle.id}' for update"
            for statement in ("begin", lock):
                cut_off.pgconn.send_query_params(statement.encode(), None)
            if state == "idle in transaction":
                cut_off.pgconn.pipeline_sync()
            cut_off.pgconn.send_flush_request()
            while cut_off.pgconn.flush():
                pass
            await anyio.sleep(0.5)
            seen = f"select state from pg_stat_activity where pid = {cut_off.info.backend_pid}"
            assert pg_server.run(seen) == [(state,)]  # the timeouts of the server do not see it
            assert await handle.result(PATIENCE) == "hello ann"
        finally:
            cut_off.pgconn.finish()
