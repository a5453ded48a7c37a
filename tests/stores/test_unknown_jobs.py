"""A function is renamed or removed while its schedules and one-offs wait: what is said, and how it goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import asyncsched.stores.postgres
from asyncsched import ConfigurationError, Interval, Retry, Scheduler, current_run
from asyncsched.events import JobUnknown
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.testing import VirtualClock
from tests.each_store import POSTGRES, SQLITE, sqlite_file

pytestmark = pytest.mark.anyio

Make = Callable[..., Scheduler]

UNKNOWN = "no living instance knows job 'remind'"


@pytest.fixture(params=[SQLITE, POSTGRES])
def make(request: pytest.FixtureRequest, virtual_clock: VirtualClock, tmp_path: Path) -> Make:
    sqlite = request.param == "sqlite"
    place = sqlite_file(tmp_path) if sqlite else request.getfixturevalue("shared_dsn")

    def store() -> Any:
        """Open the same ledger again."""
        if sqlite:
            return SqliteStore(place)
        return asyncsched.stores.postgres.PostgresStore(place, poll=1)

    return lambda **options: Scheduler(store(), **{"clock": virtual_clock, **options})


def reminding(scheduler: Scheduler, **options: Any) -> list[str]:
    """Declare a job of the function ``remind``; return the list of those who were reminded."""
    reminded: list[str] = []

    @scheduler.job(**{"name": "remind", **options})
    async def remind(who: str) -> None:
        reminded.append(who)

    return reminded


async def with_work(make: Make) -> str:
    """Leave a schedule and two one-offs of ``remind`` behind; return the id of the one that is due at once."""
    old = make(role="submit")
    reminding(old)
    async with old:
        await old.add_schedule("remind", Interval(minutes=1), id="ada", args=("ada",))
        await old.schedule_once("remind", "later", delay=3600, key="later")
        return (await old.schedule_once("remind", "now")).id


async def test_work_that_no_instance_can_do_is_said_to_be_so(
    make: Make, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    waits = await with_work(make)
    events: list[JobUnknown] = []

    def hear(event: JobUnknown) -> None:
        events.append(event)

    hear.wants = JobUnknown  # type: ignore[attr-defined]
    new = make(observers=[hear])
    async with new:
        (said,) = [line for line in caplog.messages if "remind" in line]
        assert said.startswith(f"{UNKNOWN}, and it has work that waits: 1 schedule and 2 pending runs. ")
        assert "aliases=('remind',)" in said
        assert [(one.job, one.schedules, one.runs) for one in events] == [("remind", 1, 2)]
        schedule = await new.schedule("ada")
        assert schedule.orphaned
        assert schedule.next_due is None
        assert {run.waiting_for for run in await new.runs()} == {UNKNOWN}
        assert (await new.run(waits)).waiting_for == UNKNOWN
        assert (await new.handle(waits).status()).waiting_for == UNKNOWN
        assert new.health().ok  # an old instance may be about to be replaced by a new one
        began = virtual_clock.now()
        await virtual_clock.advance(300)
        assert UNKNOWN in new.health().trouble
        assert new.health().since is not None
        slot = began.replace(second=0, microsecond=0) + timedelta(minutes=1)
        due = await new.explain("ada", slot)
        assert (due.verdict, UNKNOWN in due.text) == ("orphaned", True)
        ahead = await new.explain("ada", slot + timedelta(hours=1))
        assert (ahead.verdict, UNKNOWN in ahead.text) == ("future", True)
        assert [coming.schedule for coming in await new.timeline(slot, slot + timedelta(hours=1))] == []
        assert len(events) == 1
        assert len([line for line in caplog.messages if "remind" in line]) == 1  # once, not at every look

        await new.remove("ada")
        await new.cancel_many(job="remind")
        await virtual_clock.advance(30)
        assert new.health().ok


async def test_the_last_instance_that_knew_a_job_is_missed(
    make: Make, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = make(), make()
    reminded = reminding(old)
    caplog.set_level(logging.INFO)
    async with new:
        async with old:
            await old.add_schedule("remind", Interval(minutes=1), id="ada", args=("ada",))
            await virtual_clock.advance(90)
            assert not (await new.schedule("ada")).orphaned
            assert reminded == ["ada"]
            assert UNKNOWN not in caplog.text
        await virtual_clock.advance(2)
        assert UNKNOWN in caplog.text
        assert (await new.schedule("ada")).orphaned
        await virtual_clock.advance(300)
        assert not new.health().ok
        back = make()
        reminded = reminding(back)
        async with back:
            await virtual_clock.advance(15)
            assert not (await new.schedule("ada")).orphaned
            assert new.health().ok
            assert reminded == ["ada"]  # the newest of the slots that nobody could run
            assert "job 'remind' is known again" in caplog.text


async def test_a_schedule_that_another_instance_can_run_is_no_orphan(
    make: Make, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    knowing, stranger = make(role="run"), make(role="submit")
    reminding(knowing)
    async with knowing, stranger:
        await knowing.add_schedule("remind", Interval(minutes=1), id="ada", args=("ada",))
        await knowing.schedule_once("remind", "later", delay=60)
        assert not (await stranger.schedule("ada")).orphaned
        (run,) = await stranger.runs()
        assert run.waiting_for is None
        await virtual_clock.advance(300)
        assert stranger.health().ok
        assert caplog.records == []


async def test_an_alias_takes_over_the_work_of_the_old_name(
    make: Make, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    await with_work(make)
    caplog.set_level(logging.INFO)
    new = make()
    reminded = reminding(new, name="remind_user", aliases=("remind",))
    async with new:
        assert UNKNOWN not in caplog.text
        assert "job 'remind_user' takes over 1 schedule and 2 pending runs of 'remind'" in caplog.messages
        assert (await new.schedule("ada")).job == "remind_user"
        assert {run.job for run in await new.runs()} == {"remind_user"}
        again = await new.schedule_once("remind_user", "later", key="later")  # the key came with its run
        assert not again.created
        await virtual_clock.advance(61)
        assert sorted(reminded) == ["ada", "now"]
        handle = await new.schedule_once("remind", "by its old name")
        assert (await handle.status()).job == "remind_user"
        await handle.wait()
        assert new.health().ok


async def test_an_alias_takes_over_what_an_old_instance_leaves_when_it_goes(
    make: Make, virtual_clock: VirtualClock
) -> None:
    old, new = make(), make()
    reminding(old)
    reminded = reminding(new, name="remind_user", aliases=("remind",))
    async with new:
        async with old:
            await virtual_clock.advance(2)
            await old.schedule_once("remind", "ada", delay=60)
        await virtual_clock.advance(70)
    assert reminded == ["ada"]


async def test_a_pause_of_the_old_name_holds_for_the_new_one(make: Make, virtual_clock: VirtualClock) -> None:
    await with_work(make)
    old = make(role="submit")
    reminding(old)
    async with old:
        await old.pause_job("remind", "the text is wrong", "ada")
    new = make()
    reminded = reminding(new, name="remind_user", aliases=("remind",))
    async with new:
        await virtual_clock.advance(120)
        assert reminded == []
        assert (await new.paused_jobs())["remind_user"].note == "the text is wrong"
        await new.resume_job("remind_user")
        assert await new.paused_jobs() == {}
        await virtual_clock.advance(61)
        assert sorted(reminded) == ["ada", "now"]


def digesting(scheduler: Scheduler, name: str, **options: Any) -> list[str]:
    """Declare a schedule, every hour, of a job with this name; return the list of its runs' ids."""
    ran: list[str] = []

    @scheduler.interval(hours=1, **{"name": name, **options})
    async def digest() -> None:
        ran.append(current_run().id)

    return ran


@pytest.mark.parametrize("id", [None, "hourly"])
async def test_an_alias_takes_over_a_declared_schedule_with_its_history_its_pause_and_its_next_slot(
    make: Make, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture, id: str | None
) -> None:
    old, new = make(), make()
    past = digesting(old, "digest", id=id)
    async with old:
        await virtual_clock.advance(2 * 3600 + 600)
        before = await old.schedule(id or "digest")
        await old.pause(before.id, "the text is wrong", "ada")
        assert len(past) == 2
    ran = digesting(new, "send_digest", id=id, aliases=("digest",))
    async with new:
        (after,) = await new.schedules()
        assert (after.id, after.job) == (id or "send_digest", "send_digest")
        assert (after.paused, after.note, after.by) == (True, "the text is wrong", "ada")
        assert (after.revision, after.orphaned, after.runs_made) == (before.revision, False, 2)
        assert {run.id for run in await new.runs(schedule=after.id)} == set(past)
        assert before.last_slot is not None
        assert (await new.explain(after.id, before.last_slot)).verdict == "ran"
        await new.resume(after.id)
        assert (await new.schedule(after.id)).next_due == before.next_due
        await virtual_clock.advance(3600)
        assert len(ran) == 1
    again = make()
    digesting(again, "send_digest", id=id, aliases=("digest",))
    async with again:
        (still,) = await again.schedules()
        assert (still.id, still.runs_made, still.revision) == (after.id, 3, before.revision)
    assert caplog.records == []


async def test_an_alias_takes_a_schedule_over_from_a_living_instance_that_then_leaves_it_alone(
    make: Make, virtual_clock: VirtualClock
) -> None:
    old, new = make(), make()
    past, ran = digesting(old, "digest"), digesting(new, "send_digest", aliases=("digest",))
    async with old:
        await virtual_clock.advance(2 * 3600 - 60)
        async with new:
            await virtual_clock.advance(120)
            assert [one.id for one in await new.schedules()] == ["send_digest"]
            assert [one.id for one in await old.schedules()] == ["send_digest"]
            assert (len(past), len(ran)) == (1, 1)


async def test_a_schedule_that_an_old_instance_declares_again_is_an_orphan_when_that_goes(
    make: Make, virtual_clock: VirtualClock
) -> None:
    old, new = make(), make()
    digesting(old, "digest")
    digesting(new, "send_digest", aliases=("digest",))
    async with new:
        async with old:
            await virtual_clock.advance(1)
            assert {one.id for one in await old.schedules()} == {"digest", "send_digest"}
        await virtual_clock.advance(30)
        assert {one.id: one.orphaned for one in await new.schedules()} == {
            "digest": True,
            "send_digest": False,
        }


async def test_a_dead_letter_of_the_old_name_is_run_again_under_the_new_one(make: Make) -> None:
    old = make()

    @old.job(retry=Retry(attempts=1))
    async def remind(who: str) -> None:
        raise ValueError(who)

    async with old:
        failed = await old.schedule_once(remind, "ada")
        await failed.wait()
    new = make()
    reminded = reminding(new, name="remind_user", aliases=("remind",))
    async with new:
        (letter,) = await new.dead_letters()
        assert (letter.job, letter.args) == ("remind", ("ada",))  # what happened stays what happened
        (again,) = await new.requeue(letter.id)
        await again.wait()
    assert reminded == ["ada"]


def test_an_alias_is_no_other_jobs_name() -> None:
    scheduler = Scheduler()
    reminding(scheduler)
    with pytest.raises(ConfigurationError, match="job 'other': aliases: there is a job 'remind' already"):
        reminding(scheduler, name="other", aliases=("remind",))
    reminding(scheduler, name="third", aliases=("second",))
    with pytest.raises(ConfigurationError, match="'second' is an alias of job 'third'"):
        reminding(scheduler, name="second")
    with pytest.raises(
        ConfigurationError, match="job 'fourth': aliases: 'second' is an alias of job 'third'"
    ):
        reminding(scheduler, name="fourth", aliases=["second"])
    with pytest.raises(ConfigurationError, match="aliases must be a list of texts"):
        reminding(scheduler, name="fifth", aliases="old")
