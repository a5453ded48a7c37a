"""Several schedulers on one database, in one event loop and virtual time: what each sees of the others."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsched import Cron, Interval, Retry, RunCancelled, RunLost, Scheduler, current_run
from asyncsched._core.errors import ConfigurationError
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.testing import VirtualClock
from tests.each_store import POSTGRES, SQLITE, sqlite_file

pytestmark = pytest.mark.anyio

Make = Callable[..., Scheduler]


@pytest.fixture(params=[SQLITE, POSTGRES])
def make(request: pytest.FixtureRequest, virtual_clock: VirtualClock, tmp_path: Path) -> Make:
    postgres = request.param == "postgres"
    url = request.getfixturevalue("shared_dsn") if postgres else f"sqlite:///{sqlite_file(tmp_path)}"

    def make(**options: Any) -> Scheduler:
        options.setdefault("clock", virtual_clock)
        return Scheduler(url, **options)

    return make


def ticking(scheduler: Scheduler, seconds: float = 60, **options: Any) -> list[tuple[str, float]]:
    """Declare the schedule `tick`; return the list of slots that this scheduler ran."""
    ran: list[Any] = []

    @scheduler.interval(seconds=seconds, **options)
    async def tick() -> None:
        ran.append(current_run().scheduled_for)

    return ran


async def test_two_instances_share_the_slots_between_them(make: Make, virtual_clock: VirtualClock) -> None:
    first, second = make(), make()
    ran = [ticking(first), ticking(second)]
    async with first, second:
        await virtual_clock.advance(600)
    slots = ran[0] + ran[1]
    assert len(slots) == len(set(slots)) == 10


async def test_instances_take_turns_at_being_first_and_who_is_first_waits_for_nobody(
    make: Make, virtual_clock: VirtualClock
) -> None:
    schedulers = [make() for _ in range(3)]
    ran = [ticking(scheduler, 1) for scheduler in schedulers]
    async with schedulers[0], schedulers[1], schedulers[2]:
        await virtual_clock.advance(3)  # they have heard of one another
        await virtual_clock.advance(30)
        runs = await schedulers[0].runs(origin="schedule", limit=30)
    assert min(map(len, ran)) >= 4
    assert max(run.late for run in runs if run.late is not None) < timedelta(milliseconds=1)


async def test_a_schedule_goes_on_from_its_row_after_a_restart(
    make: Make, virtual_clock: VirtualClock
) -> None:
    first = make()
    ran = ticking(first)
    async with first:
        await virtual_clock.advance(90)
    await virtual_clock.advance(300)
    second = make()
    again = ticking(second)
    async with second:
        await virtual_clock.advance(1)
        assert len(again) == 1  # the newest of those that were missed
        missed = await second.explain("tick", ran[0] + timedelta(minutes=1))
        assert missed.verdict == "missed"
        await virtual_clock.advance(59)
    assert [(slot - ran[0]).total_seconds() for slot in again] == [300, 360]


async def test_immediate_is_once_in_a_schedules_life(make: Make, virtual_clock: VirtualClock) -> None:
    total = 0
    for _ in range(3):
        scheduler = make()
        ran = ticking(scheduler, immediate=True)
        async with scheduler:
            await virtual_clock.advance(10)
        total += len(ran)
    assert total == 1


async def test_a_changed_period_keeps_the_anchor_and_plans_from_now(
    make: Make, virtual_clock: VirtualClock
) -> None:
    first = make()
    ran = ticking(first, 60)
    async with first:
        await virtual_clock.advance(60)
    second = make()
    again = ticking(second, 45)
    async with second:
        await virtual_clock.advance(60)
        schedule = await second.schedule("tick")
    anchor = ran[0] - timedelta(seconds=60)
    assert [(slot - anchor).total_seconds() for slot in again] == [90]
    assert schedule.revision == 2


async def test_an_operators_reschedule_and_pause_survive_until_the_code_changes(
    make: Make, virtual_clock: VirtualClock
) -> None:
    async with _ticking(make) as scheduler:
        await scheduler.reschedule("tick", Cron("0 12 * * *"))
        await scheduler.pause("tick", "because", "me")
    async with _ticking(make) as scheduler:
        schedule = await scheduler.schedule("tick")
        assert (schedule.trigger, schedule.paused, schedule.note) == (Cron("0 12 * * *"), True, "because")
        assert schedule.rescheduled
    async with _ticking(make, 30) as scheduler:
        schedule = await scheduler.schedule("tick")
        assert (schedule.describe, schedule.paused, schedule.rescheduled) == (
            "every 30 seconds",
            False,
            False,
        )


def _ticking(make: Make, seconds: float = 60) -> Scheduler:
    scheduler = make()
    ticking(scheduler, seconds)
    return scheduler


async def test_the_newest_living_instance_has_the_word(make: Make, virtual_clock: VirtualClock) -> None:
    async def describe(scheduler: Scheduler) -> str:
        await virtual_clock.advance(1)
        return (await scheduler.schedule("tick")).describe

    async with _ticking(make, 60) as old:
        async with _ticking(make, 30) as new:
            assert await describe(old) == await describe(new) == "every 30 seconds"
        assert await describe(old) == "every minute"  # the newer one is gone: rolled back
        async with _ticking(make, 30) as new:
            async with _ticking(make, 60):
                assert await describe(new) == "every minute"
            assert await describe(new) == "every 30 seconds"


async def nothing() -> None:
    """Do nothing."""


@pytest.mark.only_on("trio")
async def test_an_instance_that_comes_and_goes_between_two_polls_leaves_no_declaration_of_its_own(
    virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    def make(seconds: float, extra: bool = False) -> Scheduler:
        scheduler = Scheduler(SqliteStore(place, poll=10), clock=virtual_clock)
        ticking(scheduler, seconds)
        if extra:
            scheduler.interval(hours=1, name="extra")(nothing)
        return scheduler

    place = tmp_path / "jobs.db"
    async with make(60) as stays:
        await virtual_clock.advance(1)
        async with make(30, extra=True):
            pass
        await virtual_clock.advance(15)
        found = {one.id: (one.describe, one.orphaned) for one in await stays.schedules()}
        assert found == {"tick": ("every minute", False), "extra": ("every hour", True)}


async def test_a_schedule_that_left_the_code_is_orphaned_and_not_fired(
    make: Make, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with _ticking(make):
        pass
    bare = make()
    ran: list[int] = []

    @bare.job()
    async def tick() -> None:
        ran.append(1)

    with caplog.at_level(logging.WARNING, "asyncsched"):
        async with bare:
            await virtual_clock.advance(300)
            schedule = await bare.schedule("tick")
            assert schedule.orphaned
            await bare.remove("tick")
            assert await bare.schedules() == []
    assert not ran
    assert "no instance declares it any more" in caplog.text
    async with _ticking(make) as back:
        assert not (await back.schedule("tick")).orphaned


async def test_a_script_without_jobs_has_no_word_on_the_code_of_an_app_that_is_down(
    make: Make, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    app = make()
    ran = ticking(app)
    async with app:
        await virtual_clock.advance(90)
    script = make(role="submit")
    with caplog.at_level(logging.INFO, "asyncsched"):
        async with script:
            await virtual_clock.advance(30)
            (row,) = await script._runtime.main.store.schedules()  # type: ignore[union-attr]
            assert not row.orphaned
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    async with app:
        await virtual_clock.advance(90)
        assert len(ran) > 1


async def test_a_declared_schedule_is_not_removed(make: Make) -> None:
    async with _ticking(make) as one, make() as stranger:
        for scheduler in (one, stranger):
            with pytest.raises(ConfigurationError, match="declared in the code"):
                await scheduler.remove("tick")


async def test_schedules_of_unknown_jobs_are_left_to_those_who_know_them(
    make: Make, virtual_clock: VirtualClock
) -> None:
    knowing = make()
    ran = ticking(knowing)
    async with knowing, make() as stranger:
        await virtual_clock.advance(120)
        assert not (await stranger.schedule("tick")).orphaned
    assert len(ran) == 2


async def test_changes_are_seen_by_all(make: Make, virtual_clock: VirtualClock) -> None:
    first, second = make(role="submit"), make()
    ran = [ticking(first), ticking(second)]
    async with first, second:
        await first.pause("tick")
        await virtual_clock.advance(120)
        assert not ran[1]
        await first.resume("tick")
        await virtual_clock.advance(120)
        assert len(ran[1]) == 2
        await first.add_schedule("tick", Interval(seconds=10), id="more")
        await virtual_clock.advance(60)
        assert len(ran[1]) == 2 + 1 + 6
        await first.remove("more")
        await virtual_clock.advance(30)
        assert len(ran[1]) == 2 + 1 + 6
        assert not ran[0]


async def test_a_schedule_of_another_instance_is_on_time_though_no_notification_came(
    make: Make, virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first slot comes long before what was slept for."""
    monkeypatch.setattr(
        "asyncsched.stores.postgres.notifications.Notifications._hear", lambda notifications, notice: None
    )
    first, second = make(role="submit"), make()
    ran = ticking(first), ticking(second, 3600)
    async with first, second:
        await virtual_clock.advance(2)
        await first.add_schedule("tick", Interval(seconds=10), id="more")
        await virtual_clock.advance(31)
        assert len(ran[1]) == 3


async def test_a_handle_works_from_another_instance(make: Make, virtual_clock: VirtualClock) -> None:
    web, worker = make(role="submit"), make()

    for scheduler in (web, worker):

        @scheduler.job()
        async def double(number: int) -> int:
            current_run().progress(1, 2)
            await anyio.sleep(5)
            return 2 * number

    async with web, worker:
        handle = await web.schedule_once("double", 21)
        await virtual_clock.advance(2)  # the worker looks once a second, should no hint reach it
        assert (await handle.status()).state == "running"
        progress = [one.done async for one in web.handle(handle.id).updates()]
        assert progress == [1]
        assert await handle.result() == 42
        handle = await web.schedule_once("double", 21)
        await virtual_clock.advance(2)
        assert await handle.cancel()
        with pytest.raises(RunCancelled):
            await worker.handle(handle.id).result()


async def test_a_limit_holds_over_instances(make: Make, virtual_clock: VirtualClock) -> None:
    running, most = 0, 0
    schedulers = [make(), make(), make()]
    for scheduler in schedulers:

        @scheduler.job(max_running=2)
        async def narrow() -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await anyio.sleep(1)
            running -= 1

    async with schedulers[0], schedulers[1], schedulers[2]:
        handles = [await schedulers[number % 3].schedule_once("narrow") for number in range(9)]
        for handle in handles:
            await handle.result(60)
    assert most == 2


def freeze(scheduler: Scheduler) -> None:
    """Let an instance do nothing more, as a stopped process does."""
    line = scheduler._runtime.main  # type: ignore[union-attr]
    assert line.membership is not None
    line.membership._closing = True
    line._closing = True


async def test_the_dead_are_found_within_the_lease_and_their_runs_go_on(
    make: Make, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    began: list[tuple[str, int]] = []
    first, second = make(), make(role="submit")
    for scheduler in (first, second):

        @scheduler.job(retry=Retry(2, delay=0))
        async def patient() -> str:
            began.append(("patient", current_run().attempt))
            if current_run().attempt == 1:
                await anyio.sleep(3600)
            return "done"

        @scheduler.job()
        async def once() -> None:
            began.append(("once", current_run().attempt))
            await anyio.sleep(3600)

    async with second:
        async with first:
            patient_run, once_run = await second.schedule_once("patient"), await second.schedule_once("once")
            await virtual_clock.advance(7)
            freeze(first)
            dead = (await second.instances())[1]
            third = make()
            third._registry = first._registry
            async with third:
                start = virtual_clock.now()
                assert await patient_run.result(60) == "done"
                with pytest.raises(RunLost):
                    await once_run.result(60)
                assert (virtual_clock.now() - start).total_seconds() <= 16
                assert sorted(began) == [("once", 1), ("patient", 1), ("patient", 2)]
            (said,) = [line for line in caplog.messages if "was declared dead" in line]
            assert f"instance {dead.id} (host {dead.host}, pid {dead.pid})" in said
            assert "of its runs, 1 lost, 1 pending again" in said


async def test_a_dead_letter_that_two_instances_requeue_at_once_is_run_once(
    make: Make, virtual_clock: VirtualClock
) -> None:
    first, second = make(), make()
    fails = [True]
    for scheduler in (first, second):

        @scheduler.job()
        async def pay(who: str) -> str:
            if fails:
                raise ValueError(who)
            return who

    found: list[Any] = []

    async def requeue(scheduler: Scheduler, **which: str) -> None:
        found.extend(await scheduler.requeue(**which))

    async with first, second:
        letters = [await first.schedule_once("pay", who, key=who) for who in ("ann", "bob", "cid")]
        for letter in letters:
            await letter.wait()
        fails.clear()
        async with anyio.create_task_group() as group:
            for scheduler in (first, second):
                group.start_soon(lambda one: requeue(one, job="pay"), scheduler)
                for letter in letters:
                    group.start_soon(lambda one, id: requeue(one, run_id=id), scheduler, letter.id)
        assert await first.dead_letters() == []
        assert {await handle.result() for handle in found} == {"ann", "bob", "cid"}
        assert len({handle.id for handle in found}) == 3
        assert sum(handle.created for handle in found) == 3
        assert len(await second.runs(job="pay")) == 6


async def test_one_that_finds_itself_dead_cancels_what_it_runs_and_joins_again(
    make: Make, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[str] = []
    first, second = make(), make()

    @first.job()
    async def once() -> None:
        try:
            await anyio.sleep(3600)
        finally:
            ended.append("cancelled")

    async with first:
        await first.schedule_once(once)
        await virtual_clock.advance(1)
        membership = first._runtime.main.membership  # type: ignore[union-attr]
        assert membership is not None
        was = membership.me
        async with second:
            await second._runtime.main.store.declare_dead(
                was.incarnation, 2, second._runtime.main.timeline.now()
            )  # type: ignore[union-attr]
            assert not ended
            await virtual_clock.advance(6)
            assert ended == ["cancelled"]
            assert membership.me.incarnation != was.incarnation
            assert membership.me.ordinal == was.ordinal
            handle = await first.schedule_once(once)
            await virtual_clock.advance(1)
            assert (await handle.status()).state == "running"
            await handle.cancel()
    assert "was declared dead" in caplog.text


async def test_namespaces_are_apart(make: Make, virtual_clock: VirtualClock) -> None:
    one, other = make(namespace="one"), make(namespace="other")
    ran = [ticking(one), ticking(other)]
    async with one, other:
        await virtual_clock.advance(120)
        assert len(await one.runs()) == 2
    assert [len(slots) for slots in ran] == [2, 2]


async def test_off_starts_nothing_and_still_answers(make: Make, virtual_clock: VirtualClock) -> None:
    async with _ticking(make):
        pass
    quiet = make(role="off")
    ran = ticking(quiet)
    async with quiet:
        await virtual_clock.advance(120)
        assert [schedule.id for schedule in await quiet.schedules()] == ["tick"]
        assert await quiet._runtime.main.store.instances() == []  # type: ignore[union-attr]
    assert not ran


async def test_what_was_pending_at_shutdown_runs_after_the_restart(
    make: Make, virtual_clock: VirtualClock
) -> None:
    ran: list[int] = []

    def scheduler() -> Scheduler:
        made = make()

        @made.job(retry=Retry(2))
        async def work(number: int, seconds: float) -> None:
            ran.append(number)
            await anyio.sleep(seconds)

        return made

    async with scheduler() as first:
        await first.schedule_once("work", 1, 0, delay=60)
        running = await first.schedule_once("work", 2, 3600)
        await virtual_clock.advance(1)
    async with scheduler() as second:
        assert (await second.run(running.id)).state in ("pending", "running")
        await virtual_clock.advance(61)
        assert sorted(ran) == [1, 2, 2]
        assert (await second.run(running.id)).attempt == 1


async def test_an_idle_instance_asks_the_database_for_little(make: Make, virtual_clock: VirtualClock) -> None:
    scheduler = make()
    async with scheduler:
        store: Any = scheduler._runtime.main.store  # type: ignore[union-attr]
        said: list[str] = []
        await virtual_clock.advance(5)  # it has looked around after its start
        for call in (store._call, store._read):
            await call(lambda session: overhear(session._connection, said.append))
        await virtual_clock.advance(60)
        counted = [one for one in said if "data_version" not in one]
    assert 0 < len(counted) <= 75


def overhear(connection: Any, hear: Callable[[str], None]) -> None:
    """Have every statement of a connection told."""
    if hasattr(connection, "set_trace_callback"):
        connection.set_trace_callback(hear)
        return
    original = connection.execute

    def execute(sql: bytes, *args: Any) -> Any:
        hear(sql.decode())
        return original(sql, *args)

    connection.execute = execute
