"""A process that ends in the middle of a change leaves the ledger as it was, or changed in full.

Each change is tried once for every statement it could be cut at, on both databases.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from asyncsched import Cron, Interval, RunHandle, Scheduler
from asyncsched._core.instants import MINUTE
from asyncsched._core.records import Stretch
from asyncsched._core.reports import Activity
from asyncsched._engine.clock_steps import Step, replan
from asyncsched.stores.sql.group_commit import GroupCommit
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.stores.sqlite.store import SqliteSession
from asyncsched.testing import VirtualClock
from asyncsched.testing.conformance import Stage
from tests.each_store import POSTGRES, SQLITE, sqlite_file

pytestmark = [pytest.mark.anyio, pytest.mark.blocking_ok]

ALONE = {"poll": 600, "beat": 30, "lease": 90, "timeout": 20}
MOST_CUTS = 30
"""More statements than any of the changes has."""

MakeStore = Callable[[str], Any]


# ── the cut ──────────────────────────────────────────────────────────────────────────────────────


class Ended(Exception):
    """The process is gone."""


class Cut:
    """Ends a connection some statements after it was about to write a schedule's row, or what somebody did."""

    def __init__(self) -> None:
        self._left = -1
        self._session: Any = None
        self.happened = False

    @contextmanager
    def after(self, statements: int) -> Iterator[None]:
        """Cut the first change inside the block, once so many of its statements are done."""
        self._left, self._session, self.happened = statements, None, False
        try:
            yield
        except Exception:
            if not self.happened:
                raise
        finally:
            self._left = -1

    def check(self, session: Any, sql: str) -> None:
        writes = (session.queries.get("insert_schedule"), session.queries.get("update_schedule"))
        if self._left >= 0 and self._session is None and (sql in writes or session.entry is not None):
            self._session = session
        if self._left >= 0 and self._session is session:
            if self._left == 0:
                self.happened = True
                raise Ended
            self._left -= 1


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Cut:
    cut = Cut()
    connect = SqliteSession.connect

    def watched(self: SqliteSession) -> None:
        if self._connection is not None:
            connect(self)
            return
        connect(self)
        made = self._connection
        assert made is not None

        def execute(sql: str, params: Any = ()) -> Any:
            cut.check(self, sql)
            return made.execute(sql, params)

        self.__dict__["execute"] = execute

    monkeypatch.setattr(SqliteSession, "connect", watched)
    try:
        from asyncsched.stores.postgres.session import PostgresSession
    except ImportError:
        return cut
    plain = PostgresSession.execute

    def checked(self: PostgresSession, sql: str, params: Any = ()) -> Any:
        cut.check(self, sql)
        return plain(self, sql, params)

    monkeypatch.setattr(PostgresSession, "execute", checked)
    return cut


@pytest.fixture(params=[SQLITE, POSTGRES])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    """Return what opens the same ledger again, each namespace being one of its own."""
    if request.param == "sqlite":
        file = sqlite_file(tmp_path)
        return lambda namespace: SqliteStore(file, namespace, **ALONE)
    pytest.importorskip("psycopg")
    from asyncsched.stores.postgres import PostgresStore

    dsn = request.getfixturevalue("shared_dsn")
    return lambda namespace: PostgresStore(dsn, namespace, **ALONE)


# ── a pause, as its user sees it ─────────────────────────────────────────────────────────────────


class User:
    """Somebody whose process ends while a paused schedule is changed, and who then asks what became of its slots."""

    def __init__(self, store: Callable[[], Any], clock: VirtualClock, cut: Callable[[], Any]) -> None:
        self._store = store
        self.clock = clock
        self.cut = cut

    def scheduler(self, seconds: int = 60) -> Scheduler:
        """Return a new process's scheduler on the same ledger."""
        scheduler = Scheduler(self._store(), clock=self.clock)

        @scheduler.interval(seconds=seconds)
        async def declared() -> None: ...

        @scheduler.job()
        async def work(fail: bool = False) -> None:
            if fail:
                raise ValueError

        return scheduler


async def resume(user: User) -> tuple[str, datetime]:
    async with user.scheduler() as scheduler:
        first = user.clock.now() + timedelta(seconds=60)
        await scheduler.pause("declared")
        await user.clock.advance(300)
        with user.cut():
            await scheduler.resume("declared")
    return "declared", first


async def reschedule(user: User) -> tuple[str, datetime]:
    async with user.scheduler() as scheduler:
        first = user.clock.now() + timedelta(seconds=60)
        await scheduler.pause("declared")
        await user.clock.advance(300)
        with user.cut():
            await scheduler.reschedule("declared", Interval(seconds=45))
    return "declared", first


async def deploy_another_trigger(user: User) -> tuple[str, datetime]:
    async with user.scheduler() as scheduler:
        first = user.clock.now() + timedelta(seconds=60)
        await scheduler.pause("declared")
        await user.clock.advance(300)
    with user.cut():
        async with user.scheduler(seconds=90):
            pass
    return "declared", first


async def replace_what_was_added(user: User) -> tuple[str, datetime]:
    async with user.scheduler() as scheduler:
        await scheduler.add_schedule("work", Interval(seconds=60), id="added")
        first = user.clock.now() + timedelta(seconds=60)
        await scheduler.pause("added")
        await user.clock.advance(300)
        with user.cut():
            await scheduler.add_schedule("work", Interval(seconds=45), id="added", replace=True)
    return "added", first


@pytest.mark.parametrize("change", [resume, reschedule, deploy_another_trigger, replace_what_was_added])
async def test_wherever_a_change_of_a_paused_schedule_is_cut_its_slots_were_paused(
    make_store: MakeStore,
    virtual_clock: VirtualClock,
    cut: Cut,
    change: Callable[[User], Awaitable[tuple[str, datetime]]],
) -> None:
    answers = []
    for number in range(MOST_CUTS):
        store = lambda: make_store(f"{change.__name__} {number}")  # noqa: B023, E731  # used in this turn only
        user = User(store, virtual_clock, lambda: cut.after(number))  # noqa: B023
        id, first = await change(user)
        async with user.scheduler(seconds=90 if change is deploy_another_trigger else 60) as scheduler:
            answers.append((await scheduler.explain(id, first)).verdict)
        if not cut.happened:
            break
    assert not cut.happened
    assert len(answers) > 3
    assert set(answers) == {"paused"}


# ── who did it ───────────────────────────────────────────────────────────────────────────────────


class Done(NamedTuple):
    """What somebody does, and whether the ledger shows it."""

    act: Callable[[], Awaitable[Any]]
    shows: Callable[[], Awaitable[bool]]


Prepare = Callable[[Scheduler, str], Awaitable[Done]]


async def pausing(scheduler: Scheduler, id: str) -> Done:
    async def shows() -> bool:
        return (await scheduler.schedule(id)).paused

    return Done(lambda: scheduler.pause(id, by="anna"), shows)


async def resuming(scheduler: Scheduler, id: str) -> Done:
    await scheduler.pause(id)

    async def shows() -> bool:
        return not (await scheduler.schedule(id)).paused

    return Done(lambda: scheduler.resume(id, by="anna"), shows)


async def skipping(scheduler: Scheduler, id: str) -> Done:
    due = (await scheduler.schedule(id)).next_due

    async def shows() -> bool:
        return (await scheduler.schedule(id)).next_due != due

    return Done(lambda: scheduler.skip_next(id, by="anna"), shows)


async def rescheduling(scheduler: Scheduler, id: str) -> Done:
    async def shows() -> bool:
        return (await scheduler.schedule(id)).rescheduled

    return Done(lambda: scheduler.reschedule(id, Interval(hours=2), by="anna"), shows)


async def removing(scheduler: Scheduler, id: str) -> Done:
    async def shows() -> bool:
        return not any(one.id == id for one in await scheduler.schedules())

    return Done(lambda: scheduler.remove(id, by="anna"), shows)


async def running_now(scheduler: Scheduler, id: str) -> Done:
    async def shows() -> bool:
        return bool(await scheduler.runs(schedule=id, origin="manual"))

    return Done(lambda: scheduler.run_now(id, by="anna"), shows)


async def running_a_job(scheduler: Scheduler, id: str) -> Done:
    before = len(await scheduler.runs(job="work", origin="manual"))

    async def shows() -> bool:
        return len(await scheduler.runs(job="work", origin="manual")) > before

    return Done(lambda: scheduler.run_job("work", kwargs={"fail": False}, by="anna"), shows)


async def filling(scheduler: Scheduler, id: str) -> Done:
    at = (await scheduler.statistics()).at

    async def shows() -> bool:
        return bool(await scheduler.runs(schedule=id, origin="backfill"))

    return Done(lambda: scheduler.backfill(id, at - timedelta(days=400), at, by="anna"), shows)


async def cancelling(scheduler: Scheduler, id: str) -> Done:
    handle = await scheduler.schedule_once("work", delay=3600)

    async def shows() -> bool:
        return (await handle.status()).state == "cancelled"

    return Done(lambda: scheduler.cancel(handle.id, by="anna"), shows)


async def cancelling_many(scheduler: Scheduler, id: str) -> Done:
    handles = [await scheduler.schedule_once("work", delay=3600, tags=(id,)) for _ in range(2)]

    async def shows() -> bool:
        return any([(await one.status()).state == "cancelled" for one in handles])

    return Done(lambda: scheduler.cancel_many(tag=id, by="anna"), shows)


async def _letter(scheduler: Scheduler, id: str) -> RunHandle[Any]:
    handle = await scheduler.schedule_once("work", kwargs={"fail": True}, tags=(id,))
    await handle.wait()
    return handle


async def requeueing(scheduler: Scheduler, id: str) -> Done:
    handle = await _letter(scheduler, id)

    async def shows() -> bool:
        return (await handle.status()).requeued_as is not None

    return Done(lambda: scheduler.requeue(handle.id, by="anna"), shows)


async def requeueing_many(scheduler: Scheduler, id: str) -> Done:
    handles = [await _letter(scheduler, id) for _ in range(2)]

    async def shows() -> bool:
        return any([(await one.status()).requeued_as is not None for one in handles])

    return Done(lambda: scheduler.requeue(tag=id, by="anna"), shows)


async def dismissing(scheduler: Scheduler, id: str) -> Done:
    handle = await _letter(scheduler, id)

    async def shows() -> bool:
        return (await handle.status()).dismissed is not None

    return Done(lambda: scheduler.dismiss(handle.id, "no", "anna"), shows)


async def forgetting(scheduler: Scheduler, id: str) -> Done:
    await (await scheduler.run_now(id)).wait()

    async def shows() -> bool:
        return not await scheduler.runs(schedule=id)

    return Done(lambda: scheduler.forget_history(id, by="anna"), shows)


async def pausing_a_job(scheduler: Scheduler, id: str) -> Done:
    await scheduler.resume_job("other")

    async def shows() -> bool:
        return "other" in await scheduler.paused_jobs() or (await scheduler.schedule("other")).paused

    return Done(lambda: scheduler.pause_job("other", by="anna"), shows)


async def resuming_a_job(scheduler: Scheduler, id: str) -> Done:
    await scheduler.pause_job("other")

    async def shows() -> bool:
        return "other" not in await scheduler.paused_jobs() or not (await scheduler.schedule("other")).paused

    return Done(lambda: scheduler.resume_job("other", by="anna"), shows)


SEVERAL = {removing, filling, cancelling_many, requeueing_many, forgetting, pausing_a_job, resuming_a_job}
"""The operations of several writes."""


@pytest.mark.only_on("asyncio")
@pytest.mark.parametrize("prepare", [
    pausing, resuming, skipping, rescheduling, removing, running_now, running_a_job, filling, cancelling, cancelling_many,
    requeueing, requeueing_many, dismissing, forgetting, pausing_a_job, resuming_a_job,
], ids=lambda prepare: prepare.__name__)  # fmt: skip
async def test_wherever_an_operation_is_cut_it_was_done_with_its_record_or_not_at_all(
    make_store: MakeStore, virtual_clock: VirtualClock, cut: Cut, prepare: Prepare
) -> None:
    scheduler = User(lambda: make_store("operations"), virtual_clock, cut.after).scheduler()

    @scheduler.interval(hours=1)
    async def other() -> None: ...

    kept: list[Activity] = []

    async def attempt(number: int, id: str) -> None:
        await scheduler.add_schedule("work", Cron("0 0 1 7 *"), id=id)
        done = await prepare(scheduler, id)
        known = {one.id for one in await scheduler.activity()}
        with cut.after(number):
            await done.act()
        records = [one for one in await scheduler.activity(by="anna") if one.id not in known]
        assert await done.shows() is bool(records)
        assert len(records) <= 1
        kept.extend(records)

    # Another thread's statements may be the ones that are counted, so one whole attempt is not the end.
    async with scheduler:
        whole = 0
        for number in range(MOST_CUTS):
            await attempt(number, f"s{number}")
            whole = 0 if cut.happened else whole + 1
            if whole == 2:
                break
    assert whole
    assert number > 2
    assert all(one.ok for one in kept)
    assert kept[-1].result != "begun"
    # One write has its record's result at once; between two, a cut leaves a record that says it was begun.
    assert ("begun" in {one.result for one in kept}) is (prepare in SEVERAL)


# ── what stands in the ledger ────────────────────────────────────────────────────────────────────


@pytest.fixture
async def stage(make_store: MakeStore, virtual_clock: VirtualClock, cut: Cut) -> AsyncIterator[Stage]:
    async with Stage(lambda: make_store("stage"), virtual_clock) as stage:
        yield stage


async def test_a_plan_made_anew_after_a_clock_step_is_written_with_what_it_lost(
    stage: Stage, cut: Cut
) -> None:
    for number in range(MOST_CUTS):
        record = await stage.schedule(f"s{number}")
        far = stage.at + 100_000 * MINUTE
        record.cursor, record.next_slot, record.next_due = far, far + MINUTE, far + MINUTE
        await stage.store.put_schedule(record, record.revision, stage.now)
        stage.wait(10 * MINUTE)
        planned = await stage.reread(record.id)
        with cut.after(number):
            step = Step(-100_000 * MINUTE, 5 * MINUTE, False)
            await replan([replace(planned)], stage.store, step, stage.now, lambda records: None)
        stands = await stage.reread(record.id)
        lost = await stage.store.stretches(record.id, 0, stage.at)
        assert (stands.revision == planned.revision) is not bool(lost)
        if not cut.happened:
            break
    assert [stretch.reason for stretch in lost] == ["missed"]
    assert number > 2


async def paused_with_a_retry(stage: Stage, id: str) -> tuple[Any, Any]:
    """Return a schedule that is paused, and its run that waits for the resume."""
    await stage.schedule(id)
    (run,) = (await stage.fire_next(id)).runs
    await stage.end(run, "pending", why="retry", ready_at=stage.at, attempt="failed")
    record = await stage.reread(id)
    record.paused, record.paused_at = True, stage.at
    await stage.store.put_schedule(record, record.revision, stage.now)
    assert not await stage.claim_all()
    stage.wait(5 * MINUTE)
    return await stage.reread(id), run


def resumed(record: Any) -> Any:
    return replace(record, paused=False, paused_at=None)


async def test_a_run_that_waits_for_a_resume_goes_on_with_it(stage: Stage, cut: Cut) -> None:
    for number in range(MOST_CUTS):
        record, run = await paused_with_a_retry(stage, f"s{number}")
        lost = Stretch(record.id, stage.at, stage.at, 1, "paused")
        with cut.after(number):
            await stage.store.put_schedule(resumed(record), record.revision, stage.now, lost)
        (stands,) = await stage.store.schedules((record.id,))
        begun = [one.id for one in await stage.claim_all()]
        kept = await stage.store.stretches(record.id, 0, stage.at)
        assert begun == ([] if stands.paused else [run.id])
        assert kept == ([] if stands.paused else [lost])
        if not cut.happened:
            break
    assert number > 2
    assert not stands.paused


async def test_a_schedule_that_stays_paused_keeps_its_runs_waiting(stage: Stage) -> None:
    record, _ = await paused_with_a_retry(stage, "s")
    lost = Stretch("s", stage.at, stage.at, 1, "paused")
    assert await stage.store.put_schedule(replace(record), record.revision, stage.now, lost)
    assert await stage.claim_all() == []
    assert await stage.store.stretches("s", 0, stage.at) == [lost]


async def test_who_loses_the_race_writes_no_stretch(stage: Stage) -> None:
    record, _ = await paused_with_a_retry(stage, "s")
    lost = Stretch("s", stage.at, stage.at, 1, "paused")
    late = resumed(record)
    assert await stage.store.put_schedule(late, record.revision - 1, stage.now, lost) is not late
    assert await stage.claim_all() == []
    assert await stage.store.stretches("s", 0, stage.at) == []


# ── an answer that is lost ───────────────────────────────────────────────────────────────────────


@pytest.fixture
def lose_answer(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return a list: once anything is in it, the next COMMIT happens, and its answer never arrives."""
    armed: list[bool] = []
    transaction = GroupCommit._transaction

    def and_lose(self: GroupCommit, requests: Any) -> None:
        transaction(self, requests)
        if armed and requests[0].kind == "call":
            armed.clear()
            raise _lost(self._session)

    monkeypatch.setattr(GroupCommit, "_transaction", and_lose)
    return armed


def _lost(session: Any) -> Exception:
    """Return an error after which the same is done once more."""
    if session.dialect == "sqlite":
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        return error
    import psycopg

    session._connection.close()
    return psycopg.OperationalError("server closed the connection unexpectedly")


async def test_a_change_whose_answer_was_lost_is_known_as_ones_own(
    stage: Stage, lose_answer: list[bool]
) -> None:
    record, run = await paused_with_a_retry(stage, "s")
    mine, lost = resumed(record), Stretch("s", stage.at, stage.at, 1, "paused")
    lose_answer.append(True)
    assert await stage.store.put_schedule(mine, record.revision, stage.now, lost) is mine
    assert not lose_answer
    assert mine.revision == (await stage.reread()).revision == record.revision + 1
    assert await stage.store.stretches("s", 0, stage.at) == [lost]
    assert [one.id for one in await stage.claim_all()] == [run.id]


async def test_a_new_schedule_whose_answer_was_lost_is_known_as_ones_own(
    stage: Stage, lose_answer: list[bool]
) -> None:
    known = await stage.schedule("known")
    lose_answer.append(True)
    new = replace(known, id="new", revision=0)
    assert await stage.store.put_schedule(new, 0, stage.now) is new
    assert not lose_answer
    assert (await stage.reread("new")).revision == 1


async def test_a_change_that_another_has_built_upon_is_not_taken_for_ones_own(
    stage: Stage, lose_answer: list[bool]
) -> None:
    record, _ = await paused_with_a_retry(stage, "s")
    others = replace(resumed(record), note="theirs")
    await stage.store.put_schedule(others, record.revision, stage.now)
    mine = replace(resumed(record), note="mine")
    stands = await stage.store.put_schedule(mine, record.revision, stage.now, Stretch("s", 1, 1, 1, "paused"))
    assert stands is not mine
    assert stands.note == "theirs"
    assert await stage.store.stretches("s", 0, stage.at) == []
