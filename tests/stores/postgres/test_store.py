"""What can happen to a ledger in PostgreSQL: outages, lost answers, strangers, and many rows."""

from __future__ import annotations

import importlib.util
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any

import anyio
import pytest

psycopg = pytest.importorskip("psycopg")

from asyncsched import ConfigurationError, Retry, Scheduler, current_run
from asyncsched._backends.clock import SystemClock
from asyncsched._core.errors import ArgumentError, StoreError, StoreUnavailable
from asyncsched._core.records import JobPause, Permit
from asyncsched._core.requests import Ending, RunQuery, Verdict
from asyncsched.stores.postgres import PostgresStore
from asyncsched.stores.postgres.session import PostgresSession
from asyncsched.stores.sql.operations import schedules
from asyncsched.testing import VirtualClock
from asyncsched.testing.conformance import Stage
from tests.postgres import LOCKED_ROLE, Server
from tests.waiting import PATIENCE, soon, until

pytestmark = pytest.mark.anyio

Edit = Callable[..., list[tuple[object, ...]]]


@pytest.fixture
def edit(pg_server: Server, pg_shared: str) -> Edit:
    """Return what executes SQL behind the store's back."""
    return lambda *statements: pg_server.run(*statements, database=pg_shared)


@pytest.fixture
async def stage(shared_dsn: str, virtual_clock: VirtualClock) -> AsyncIterator[Stage]:
    async with Stage(lambda: PostgresStore(shared_dsn), virtual_clock) as stage:
        yield stage


# ── opening ──────────────────────────────────────────────────────────────────────────────────────


async def failure(url: str, clock: Any, **options: Any) -> str:
    store = PostgresStore(url, **options)
    store.prepare(clock, lambda *_: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(StoreError) as caught:
        await store.open(lambda: None)
    await store.close()
    return f"{type(caught.value).__name__}: {caught.value}"


async def test_a_wrong_password_is_told_at_once(
    pg_server: Server, pg_shared: str, virtual_clock: VirtualClock
) -> None:
    url = pg_server.dsn(pg_shared, user=LOCKED_ROLE, password="wrong")
    if not pg_server.can_restart:
        pytest.skip("this server is not ours: it may not ask for passwords")
    began = time.monotonic()
    assert "PostgreSQL refused the login" in await failure(url, virtual_clock, timeout=2 * PATIENCE)
    assert time.monotonic() - began < PATIENCE


async def test_a_database_that_does_not_exist_is_told_at_once(
    pg_server: Server, virtual_clock: VirtualClock
) -> None:
    assert "PostgreSQL refused the login" in await failure(pg_server.dsn("nowhere"), virtual_clock)


@pytest.mark.real_time  # an unreachable server is waited for in the machine's time
async def test_a_server_that_is_away_is_waited_for_and_then_named() -> None:
    said = await failure("postgresql:///x?host=/nowhere", SystemClock(), timeout=0.3)
    assert said.startswith("StoreUnavailable")
    assert "/nowhere" in said


@pytest.mark.parametrize("shared", [True, False])
async def test_a_pooler_that_keeps_no_sessions_is_refused(
    shared_dsn: str, virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    def pooled(connection: Any) -> tuple[int, str]:
        """Answer as through a pooler, which makes up the number that the connection knows."""
        return 1 if shared else id(connection), "2026-01-01"

    monkeypatch.setattr("asyncsched.stores.postgres.connection.server_process", pooled)
    if shared:
        assert "PgBouncer in transaction mode" in await failure(shared_dsn, virtual_clock)
    else:
        async with Stage(lambda: PostgresStore(shared_dsn), virtual_clock) as stage:
            assert await stage.add(stage.run())


def test_a_url_that_cannot_be_read_is_refused_in_words() -> None:
    with pytest.raises(ConfigurationError, match="invalid URI query parameter"):
        Scheduler("postgresql://host/db?nonsense=1")


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncsched.stores.factory.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"asyncsched\[postgres\]"):
        Scheduler("postgresql://host/db")
    assert importlib.util.find_spec("psycopg") is not None


async def test_all_that_open_a_fresh_database_at_once_agree(
    postgres_dsn: str, virtual_clock: VirtualClock
) -> None:
    async def open_one() -> None:
        async with Stage(lambda: PostgresStore(postgres_dsn), virtual_clock) as stage:
            await stage.add()

    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(open_one)


# ── answers that are lost ────────────────────────────────────────────────────────────────────────


@pytest.fixture
def lose_next_commit(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what makes the next COMMIT happen, and its answer never arrive."""
    armed: list[bool] = []
    original = PostgresSession.execute

    def execute(self: PostgresSession, sql: str, params: Any = ()) -> Any:
        cursor = original(self, sql, params)
        if sql == "COMMIT" and armed:
            armed.clear()
            assert self._connection is not None
            self._connection.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return cursor

    monkeypatch.setattr(PostgresSession, "execute", execute)
    return lambda: armed.append(True)


async def test_an_add_whose_answer_is_lost_is_not_doubled(
    stage: Stage, lose_next_commit: Callable[[], None]
) -> None:
    lose_next_commit()
    plain, keyed = stage.run(), stage.run(key="k")
    (added,) = await stage.store.add((plain,), stage.now)
    lose_next_commit()
    (found,) = await stage.store.add((keyed,), stage.now)
    assert (added.created, found.created) == (True, True)
    assert len(await stage.store.runs(RunQuery())) == 2


async def test_a_record_whose_answer_is_lost_is_held(
    stage: Stage, lose_next_commit: Callable[[], None]
) -> None:
    await stage.add(stage.run(), stage.run(max_attempts=2))
    for run in (await stage.claim()).runs:
        lose_next_commit()
        if run.max_attempts == 1:
            assert await stage.end(run)
        else:
            assert await stage.record(run, Verdict("pending", "retry", ready_at=stage.at))
    assert sorted(run.state for run in await stage.store.runs(RunQuery())) == ["pending", "succeeded"]


async def test_a_claim_whose_answer_is_lost_leaves_a_doubt(
    stage: Stage, lose_next_commit: Callable[[], None]
) -> None:
    await stage.add(run := stage.run())
    assert not stage.store.unconfirmed
    lose_next_commit()
    assert (await stage.claim()).runs == []
    assert stage.store.unconfirmed
    held = await stage.store.held(1)
    assert list(held) == [run.id]
    await stage.store.let_go(1, held, stage.now)
    assert [(one.id, one.attempt) for one in (await stage.claim()).runs] == [(run.id, 1)]


@pytest.mark.real_time  # the scheduler finds out by its beats what it holds and does not know
async def test_a_run_that_was_begun_by_a_lost_claim_is_begun_again(
    shared_dsn: str, lose_next_commit: Callable[[], None]
) -> None:
    scheduler = Scheduler(PostgresStore(shared_dsn, beat=0.2, lease=2), stall_threshold=None)

    @scheduler.job()
    async def job() -> int:
        return current_run().attempt

    async with scheduler:
        await anyio.sleep(0.3)
        handle = await scheduler.schedule_once(job, delay=0.3)
        lost = threading.Event()
        with anyio.move_on_after(0.25):
            await anyio.sleep_forever()
        lose_next_commit()
        lost.set()
        assert await handle.result(PATIENCE) == 1


@pytest.mark.real_time  # a server that is slow to commit is so in its own time
@pytest.mark.parametrize("may_end_it", [True, False])
async def test_a_claim_that_is_committed_after_its_connection_was_cut_is_begun_again(
    shared_dsn: str, edit: Edit, may_end_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's process hears of the cut only when it wants to answer, and commits before that."""
    sleepy = (
        "create sequence claims",
        "create function slow_commit() returns trigger language plpgsql as $$ "
        f"begin if nextval('claims') = 1 then perform pg_sleep({60 if may_end_it else 1}); end if; "
        "return null; end $$",
        "create constraint trigger slow_commit after update of holder on asyncsched_runs deferrable "
        "initially deferred for each row execute function slow_commit()",
    )
    awake = (
        "drop trigger slow_commit on asyncsched_runs", "drop function slow_commit", "drop sequence claims"
    )  # fmt: skip
    if not may_end_it:  # as where what is slow is the disk, or a replica that is waited for
        only_look = "SELECT ghost.pid, ghost.start FROM {living}"
        monkeypatch.setattr("asyncsched.stores.postgres.connection._END", only_look)
    store = PostgresStore(shared_dsn, beat=0.2, lease=5, poll=0.2)
    scheduler = Scheduler(store, stall_threshold=None)
    commits = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"
    committing: list[Any] = []

    @scheduler.job()
    async def job() -> int:
        committing.extend(await anyio.to_thread.run_sync(edit, commits))
        return current_run().attempt

    async with scheduler:
        await anyio.to_thread.run_sync(edit, *sleepy)
        try:
            handle = await scheduler.schedule_once(job, delay=0.3)  # not claimed by the write that adds it
            await anyio.to_thread.run_sync(until, lambda: edit(commits) == [(1,)])
            cut_off(store)
            assert await handle.result(PATIENCE) == 1
            await soon(lambda: not store.unconfirmed)  # the server's process is gone, what it did is known
        finally:
            await anyio.to_thread.run_sync(edit, *awake)
    assert committing == [
        (0,)
    ]  # begun once, when that commit was over; and a minute of it was not waited for


def cut_off(store: PostgresStore) -> None:
    """Cut the writer's connection on our side of the network alone."""
    assert store._group is not None
    session: Any = store._group._session
    fd = socket.fromfd(session._connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM)
    fd.shutdown(socket.SHUT_RDWR)
    fd.close()


# ── outages ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_cut_connection_is_made_again_and_nobody_notices(
    stage: Stage, pg_server: Server, pg_shared: str
) -> None:
    await stage.add(stage.run())
    for _ in range(3):
        await anyio.to_thread.run_sync(pg_server.cut_connections, pg_shared)
        await stage.add(stage.run())
        assert await stage.store.runs(RunQuery())
    assert len((await stage.claim()).runs) == 4


@asynccontextmanager
async def outage(server: Server) -> AsyncIterator[None]:
    await anyio.to_thread.run_sync(server.stop)
    try:
        yield
    finally:
        await anyio.to_thread.run_sync(server.start)


@pytest.mark.real_time  # a server that is down is found out about in the machine's time
async def test_what_is_asked_in_an_outage_is_answered_after_it(shared_dsn: str, pg_server: Server) -> None:
    scheduler = Scheduler(PostgresStore(shared_dsn, timeout=60), stall_threshold=None)
    gate = anyio.Event()

    @scheduler.job()
    async def wait(gate_opens: bool) -> str:
        await (gate.wait() if gate_opens else anyio.sleep_forever())
        return "kept"

    async with scheduler:
        waited, cancelled = [await scheduler.schedule_once(wait, opens) for opens in (True, False)]
        answers: list[Any] = []

        async def ask(question: Any) -> None:
            answers.append(await question())

        async with anyio.create_task_group() as group:
            async with outage(pg_server):
                questions: tuple[Any, ...] = (
                    lambda: waited.result(PATIENCE),
                    cancelled.cancel,
                    scheduler.paused_jobs,
                )
                for question in questions:
                    group.start_soon(ask, question)
                began = time.monotonic()
                with pytest.raises(TimeoutError, match="had not ended after"):
                    await waited.result(0.6)
                assert time.monotonic() - began < PATIENCE
                assert not answers
            gate.set()
        assert sorted(map(str, answers)) == ["True", "kept", "{}"]


@pytest.mark.real_time  # a server that is down is found out about in the machine's time
async def test_in_an_outage_what_runs_goes_on_and_afterwards_all_does(
    shared_dsn: str, pg_server: Server
) -> None:
    scheduler = Scheduler(PostgresStore(shared_dsn, timeout=0.5, beat=0.2, lease=1), stall_threshold=None)
    ended: list[str] = []
    started, gate = anyio.Event(), anyio.Event()

    @scheduler.job()
    async def long() -> str:
        started.set()
        await gate.wait()
        ended.append("long")
        return "kept"

    @scheduler.job()
    async def short() -> str:
        return "new"

    async with scheduler:
        handle = await scheduler.schedule_once(long)
        await started.wait()
        async with outage(pg_server):
            with pytest.raises(StoreUnavailable):
                await scheduler.schedule_once(short)
            gate.set()
            await anyio.sleep(1.2)  # longer than the lease: nobody is declared dead for it
            assert ended == ["long"]
        assert await handle.result(PATIENCE) == "kept"
        with anyio.fail_after(PATIENCE):
            while True:
                try:
                    again = await scheduler.schedule_once(short, key="k")
                    break
                except StoreUnavailable:
                    await anyio.sleep(0.05)
        assert await again.result(PATIENCE) == "new"
        assert (await handle.status()).attempt == 1


@pytest.mark.real_time  # a database that lets nobody in is found out about in the machine's time
async def test_how_a_run_ended_waits_for_a_database_that_lets_nobody_in(
    pg_server: Server, pg_database: str
) -> None:
    scheduler = Scheduler(PostgresStore(pg_server.dsn(pg_database)), stall_threshold=None)
    gate = anyio.Event()
    began = 0

    @scheduler.job()
    async def once() -> str:
        nonlocal began
        began += 1
        await gate.wait()
        return "kept"

    async with scheduler:
        handle = await scheduler.schedule_once(once)
        await soon(lambda: began)
        with moved_away(pg_server, pg_database):
            gate.set()
            await soon(lambda: "does not exist" in str(scheduler.health().trouble))
        assert await handle.result(PATIENCE) == "kept"
    assert began == 1


@contextmanager
def moved_away(server: Server, database: str) -> Iterator[None]:
    """Have a database under another name."""
    while True:
        server.cut_connections(database)
        try:
            server.run(f"alter database {database} rename to {database}_away")
            break
        except psycopg.errors.ObjectInUse:  # somebody connected in between
            continue
    yield
    server.run(f"alter database {database}_away rename to {database}")


@pytest.mark.real_time  # a restart takes the server its time
async def test_a_restart_under_load_loses_and_doubles_nothing(shared_dsn: str, pg_server: Server) -> None:
    scheduler = Scheduler(PostgresStore(shared_dsn, beat=0.3, lease=3), stall_threshold=None)
    began: list[str] = []

    @scheduler.job(retry=Retry(3, delay=0))
    async def job(number: int) -> int:
        began.append(current_run().id)
        return number

    accepted: list[Any] = []

    async def load(writer: int) -> None:
        for number in range(30):
            with anyio.CancelScope():
                try:
                    accepted.append(await scheduler.schedule_once(job, number, key=f"{writer} {number}"))
                except StoreUnavailable:
                    pass
            await anyio.sleep(0.01)

    async with scheduler:
        async with anyio.create_task_group() as group:
            for writer in range(8):
                group.start_soon(load, writer)
            for _ in range(2):
                await anyio.sleep(0.15)
                await anyio.to_thread.run_sync(pg_server.restart)
        for handle in accepted:
            await handle.result(PATIENCE)
    assert len(accepted) == 8 * 30
    assert len(set(began)) >= len(accepted)


def pair(dsn: str, poll: float) -> list[Scheduler]:
    """Return one scheduler that takes work, and one that runs it."""
    return [
        Scheduler(PostgresStore(dsn, poll=poll), role=role, stall_threshold=None)
        for role in ("submit", "run")
    ]


@pytest.mark.real_time  # notifications travel in the machine's time
async def test_without_notifications_polling_goes_on_and_they_come_back(
    shared_dsn: str, pg_server: Server, pg_shared: str
) -> None:
    submits, runs = pair(shared_dsn, poll=0.3)

    for scheduler in (submits, runs):

        @scheduler.job()
        async def job() -> str:
            return "done"

    def cut() -> None:
        pg_server.run(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'asyncsched notifications'"
        )

    async with submits, runs:
        await anyio.to_thread.run_sync(cut)
        handle = await submits.schedule_once("job")
        assert await handle.result(PATIENCE) == "done"
        heard = "select count(*) from pg_stat_activity where application_name = 'asyncsched notifications'"
        await anyio.to_thread.run_sync(until, lambda: pg_server.run(heard) == [(2,)])


@pytest.mark.real_time  # notifications travel in the machine's time
async def test_other_instances_hear_of_results_cancels_and_progress_at_once(shared_dsn: str) -> None:
    submits, runs = pair(shared_dsn, poll=60)  # which nobody waits for
    for scheduler in (submits, runs):

        @scheduler.job()
        async def quick() -> str:
            return "done"

        @scheduler.job()
        async def slow() -> None:
            current_run().progress(1, 2)
            await anyio.sleep(60)

    async with submits, runs:
        await anyio.sleep(0.3)
        for _ in range(5):
            assert await (await submits.schedule_once("quick")).result(PATIENCE) == "done"
        handle = await submits.schedule_once("slow")
        with anyio.fail_after(PATIENCE):
            async with aclosing(handle.updates()) as updates:
                assert (await anext(updates)).total == 2
        with anyio.fail_after(PATIENCE):
            assert await handle.cancel()


@pytest.fixture
def many_files() -> Iterator[None]:
    """Have as many files open as a busy web server: the next ones have numbers beyond 1024."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    files: list[int] = []
    try:
        files += [os.dup(0) for _ in range(1100)]
        yield
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.real_time  # notifications travel in the machine's time
async def test_notifications_come_in_a_process_with_many_open_files(
    shared_dsn: str, many_files: None, caplog: pytest.LogCaptureFixture
) -> None:
    submits, runs = pair(shared_dsn, poll=60)
    for scheduler in (submits, runs):

        @scheduler.job()
        async def quick() -> str:
            return "done"

    async with submits, runs:
        await anyio.sleep(0.3)
        assert await (await submits.schedule_once("quick")).result(PATIENCE) == "done"
    assert not caplog.records


class SkewedClock(SystemClock):
    """A machine whose wall clock is wrong."""

    def __init__(self, seconds: int) -> None:
        super().__init__()
        self._by = seconds * 1_000_000

    def wall(self) -> int:
        return super().wall() + self._by


@pytest.mark.real_time  # the server's time is the machine's
async def test_nodes_whose_clocks_are_ten_minutes_apart_run_each_slot_once_and_on_time(
    shared_dsn: str,
) -> None:
    late: list[float] = []
    slots: list[Any] = []

    def make(skew: int) -> Scheduler:
        scheduler = Scheduler(shared_dsn, clock=SkewedClock(skew), stall_threshold=None)

        @scheduler.interval(seconds=0.2)
        async def tick() -> None:
            due = current_run().scheduled_for
            slots.append(due)
            late.append(time.time() - due.timestamp())

        return scheduler

    async with make(-600), make(0), make(600):
        await soon(lambda: len(slots) >= 7)
    assert len(slots) == len(set(slots))
    assert min(late) > -0.01
    assert max(late) < PATIENCE  # by a clock that is wrong it would be ten minutes


async def test_a_resume_goes_on_behind_a_run_that_is_cancelled_at_the_same_time(
    stage: Stage, pg_server: Server, pg_shared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "WOKEN_AT_ONCE", 3)
    await stage.store.pause_job("job", JobPause("", "", stage.at), stage.now)
    runs = [stage.run() for _ in range(8)]
    await stage.add(*runs)
    assert not await stage.claim_all()
    with psycopg.connect(pg_server.dsn(pg_shared)) as stranger:
        gone = stranger.execute(
            "update asyncsched_runs set state = 'cancelled', waits_for = null where id = "
            '(select id from asyncsched_runs order by "rank", id limit 1) returning id::text'
        ).fetchone()
        async with anyio.create_task_group() as group:
            group.start_soon(stage.store.pause_job, "job", None, stage.now)
            waits = "select 1 from pg_locks where not granted"
            while not await anyio.to_thread.run_sync(pg_server.run, waits):
                pass
            stranger.commit()
    assert gone is not None
    left = {run.id for run in runs} - {int(gone[0].replace("-", ""), 16)}
    assert {run.id for run in await stage.claim_all()} == left


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_run_that_was_edited_into_nonsense_is_left_out_and_the_others_go_on(
    stage: Stage, edit: Edit, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.add(bad := stage.run(), good := stage.run())
    await anyio.to_thread.run_sync(
        edit, f"update asyncsched_runs set tags = 'no json' where id = '{bad.id:032x}'"
    )
    assert [run.id for run in (await stage.claim()).runs] == [good.id]
    assert (await stage.claim()).runs == []
    assert "is left out" in caplog.text


async def test_a_text_that_the_database_cannot_hold_is_the_error_of_its_caller_alone(stage: Stage) -> None:
    errors: list[BaseException] = []

    async def add(**more: Any) -> None:
        try:
            await stage.add(stage.run(**more))
        except Exception as error:
            errors.append(error)

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(lambda bad: add(key="\0") if bad else add(), number == 7)
    assert len(await stage.store.runs(RunQuery())) == 19
    assert [type(error) for error in errors] == [ArgumentError]


async def test_texts_go_in_and_come_out_as_they_were(stage: Stage) -> None:
    odd = 'a "quoted" \\ {back,slash} NULL \u2028 é 🐘 %s :name ?'
    runs = [stage.run(arguments=f'{{"n":{number}}}', key=f"{odd}{number}") for number in range(8)]
    plain = [stage.run(tags=(odd, "null", "")) for _ in range(8)]
    await stage.add(*runs)
    await stage.add(*plain)
    for run in (await stage.claim(free=100)).runs:
        await stage.end(run, "failed", why=odd)
    found = {run.id: run for run in await stage.store.runs(RunQuery())}
    assert all(found[run.id].key == run.key for run in runs)
    assert all((found[run.id].tags, found[run.id].why) == (run.tags, odd) for run in plain)


async def test_two_batches_that_want_the_same_limits_do_not_block_one_another(
    stage: Stage, edit: Edit
) -> None:
    deadlocks = "select deadlocks from pg_stat_database where datname = current_database()"
    before = await anyio.to_thread.run_sync(edit, deadlocks)
    second = await stage.another()
    await stage.join(second, 2)

    async def busy(store: Any, holder: int) -> None:
        for number in range(15):
            permits = [Permit(f"limit {(number + shift * holder) % 4}", 2) for shift in (0, 1)]
            await stage.store.add((stage.run(permits=tuple(dict.fromkeys(permits))),), stage.now)
            claimed = await stage.claim(holder=holder, store=store)
            for run in claimed.runs:
                assert await store.record([Ending(run, Verdict("succeeded"), stage.now)]) == [True]

    async with anyio.create_task_group() as group:
        group.start_soon(busy, stage.store, 1)
        group.start_soon(busy, second, 2)
    assert await anyio.to_thread.run_sync(edit, deadlocks) == before
    while runs := (await stage.claim(free=50)).runs:
        for run in runs:
            await stage.end(run)
    assert {run.state for run in await stage.store.runs(RunQuery())} == {"succeeded"}


async def test_calls_that_add_runs_do_not_wait_for_one_another_s_transaction(
    shared_dsn: str, edit: Edit, virtual_clock: VirtualClock
) -> None:
    scheduler = Scheduler(shared_dsn, role="submit", clock=virtual_clock)
    done: list[str] = []

    @scheduler.job()
    async def job() -> None: ...

    async def add() -> None:
        done.append((await scheduler.schedule_once(job)).id)

    async def used() -> bool:
        return bool(edit("SELECT 1 FROM pg_stat_activity WHERE application_name = 'asyncsched adder'"))

    async with scheduler, anyio.create_task_group() as group:
        for _ in range(
            50
        ):  # whether the first transaction is over when the second call comes is up to the machine
            for _ in range(4):
                group.start_soon(add)
                for _ in range(3):
                    await anyio.sleep(0)
            if await used():
                break
        assert await used()
    async with Scheduler(shared_dsn, role="submit", clock=virtual_clock) as other:
        assert {run.id for run in await other.runs(limit=1000)} == set(done)
