"""What people and pages do: pause, run now, backfill, cancel, requeue, and ask why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from asyncsched import (
    ArgumentError,
    ConfigurationError,
    Cron,
    Interval,
    KeyConflict,
    NotCancellable,
    Retry,
    ScheduleExists,
    Scheduler,
    SchedulerStateError,
    UnknownJob,
    UnknownRun,
    UnknownSchedule,
    current_run,
)
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio

Make = Callable[..., Scheduler]

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


async def verdict(scheduler: Scheduler, schedule: str, seconds: float) -> str:
    return (await scheduler.explain(schedule, at(seconds))).verdict


@pytest.fixture
def scheduler(make_scheduler: Make) -> Scheduler:
    made = make_scheduler()

    @made.interval(seconds=10)
    async def tick() -> None: ...

    @made.job(retry=Retry(attempts=2, delay=5, jitter="none"))
    async def work(what: str = "", fails: int = 0, takes: float = 0) -> str:
        await anyio.sleep(takes)
        if current_run().attempt <= fails:
            raise ValueError(what)
        return what

    return made


# ── pausing ──────────────────────────────────────────────────────────────────────────────────


async def test_what_runs_goes_on_when_its_schedule_is_paused(
    make_scheduler: Make, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler()

    @scheduler.interval(seconds=10)
    async def slow() -> None:
        await anyio.sleep(5)

    async with scheduler:
        await virtual_clock.advance(12)
        await scheduler.pause("slow")
        await virtual_clock.advance(10)
        (run,) = await scheduler.runs()
    assert run.state == "succeeded"


async def test_a_retry_of_a_paused_schedule_waits_until_it_is_resumed(
    make_scheduler: Make, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler()

    @scheduler.interval(seconds=100, retry=Retry(attempts=2, delay=5, jitter="none"))
    async def flaky() -> None:
        if current_run().attempt == 1:
            raise ValueError

    async with scheduler:
        await virtual_clock.advance(101)
        await scheduler.pause("flaky", "the database moves", "ada")
        await virtual_clock.advance(30)
        (run,) = await scheduler.runs()
        assert (run.state, run.attempt) == ("pending", 1)
        await scheduler.resume("flaky")
        await virtual_clock.advance(1)
        (run,) = await scheduler.runs()
        assert (run.state, run.attempt) == ("succeeded", 2)


async def test_the_slots_of_a_pause_are_one_record_and_backfill_is_the_way(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        await virtual_clock.advance(15)
        await scheduler.pause("tick", "maintenance", "ada")
        paused = await scheduler.schedule("tick")
        assert (paused.paused, paused.note, paused.by, paused.next_due) == (True, "maintenance", "ada", None)
        await virtual_clock.advance(20)
        during = await scheduler.explain("tick", at(30))
        assert during.verdict == "paused" and "maintenance" in during.text and "ada" in during.text
        await scheduler.resume("tick")
        await virtual_clock.advance(10)
        assert [await verdict(scheduler, "tick", s) for s in (10, 20, 30, 40)] == [
            "ran",
            "paused",
            "paused",
            "ran",
        ]
        assert await scheduler.backfill("tick", at(0), at(45)) == 2
        waits = await scheduler.explain("tick", at(30))
        assert (waits.verdict, waits.run is not None) == ("paused", True)
        await virtual_clock.advance(1)
        assert await verdict(scheduler, "tick", 20) == "paused"  # its own record stands
        assert len(await scheduler.runs(origin="backfill")) == 2


async def test_pausing_a_job_stops_its_schedules_and_its_one_offs(
    make_scheduler: Make, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler()

    @scheduler.interval(seconds=10, id="every-ten")
    async def job() -> None: ...

    async with scheduler:
        await scheduler.pause_job("job", "too many mails", "ada")
        handle = await scheduler.schedule_once(job)
        await virtual_clock.advance(25)
        run = await handle.status()
        assert (run.state, run.waiting_for) == ("pending", "paused")
        assert len(await scheduler.runs()) == 1
        paused = await scheduler.paused_jobs()
        assert (paused["job"].note, paused["job"].by, paused["job"].since.replace(microsecond=0)) == (
            "too many mails", "ada", BEGAN,
        )  # fmt: skip
        schedule = await scheduler.schedule("every-ten")
        assert (schedule.paused, schedule.note) == (True, "too many mails")
        await scheduler.resume_job("job")
        await virtual_clock.advance(10)
        assert (await handle.status()).state == "succeeded"
        assert await scheduler.paused_jobs() == {}
        assert [await verdict(scheduler, "every-ten", s) for s in (10, 20, 30)] == ["paused", "paused", "ran"]


async def test_a_job_and_its_schedule_of_the_same_name_are_paused_apart(
    make_scheduler: Make, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler()

    @scheduler.interval(seconds=10)
    async def job() -> None: ...

    async with scheduler:
        await scheduler.pause("job")  # the schedule
        assert (await (await scheduler.schedule_once(job)).wait(timeout=1)).state == "succeeded"
        await scheduler.pause_job(job)
        handle = await scheduler.schedule_once(job)
        await virtual_clock.advance(1)
        assert (await handle.status()).state == "pending"
        await scheduler.resume_job(job)
        assert (await handle.wait(timeout=1)).state == "succeeded"
        assert (await scheduler.schedule("job")).paused  # it was paused by itself before


@pytest.mark.parametrize("first", ["schedule", "job"])
async def test_a_schedule_that_was_paused_by_itself_stays_so_when_its_job_is_resumed(
    make_scheduler: Make, virtual_clock: VirtualClock, first: str
) -> None:
    scheduler = make_scheduler()

    @scheduler.interval(seconds=10, id="b")
    @scheduler.interval(seconds=10, id="a")
    async def job() -> None: ...

    async with scheduler:
        pauses = [(scheduler.pause, "a", "by itself"), (scheduler.pause_job, "job", "all of it")]
        for pause, name, note in pauses if first == "schedule" else reversed(pauses):
            await pause(name, note)
        assert [s.note for s in await scheduler.schedules()] == ["by itself", "all of it"]
        await virtual_clock.advance(15)
        await scheduler.resume_job("job")
        assert [(s.paused, s.note) for s in await scheduler.schedules()] == [(True, "by itself"), (False, "")]
        await virtual_clock.advance(10)
        assert len(await scheduler.runs()) == 1
        await scheduler.resume("a")
        await virtual_clock.advance(10)
        assert [await verdict(scheduler, "a", s) for s in (10, 20, 30)] == ["paused", "paused", "ran"]


async def test_a_schedule_resumed_while_its_job_is_paused_goes_on_with_the_job(
    make_scheduler: Make, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler()

    @scheduler.interval(seconds=10, id="b")
    @scheduler.interval(seconds=10, id="a")
    async def job() -> None: ...

    async with scheduler:
        await scheduler.pause("a")
        await scheduler.pause_job("job", "all of it")
        with pytest.raises(SchedulerStateError, match=r"its job 'job' is; use resume_job\('job'\)"):
            await scheduler.resume("b")
        await scheduler.resume("a")
        assert [(s.paused, s.note) for s in await scheduler.schedules()] == [(True, "all of it")] * 2
        await virtual_clock.advance(15)
        assert await scheduler.runs() == []
        await scheduler.resume_job("job")
        await virtual_clock.advance(10)
        assert len(await scheduler.runs()) == 2


async def test_a_schedule_added_while_its_job_is_paused_is_paused_with_it(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        await scheduler.pause_job("work", "stop")
        await virtual_clock.advance(5)
        added = await scheduler.add_schedule("work", Interval(seconds=10), id="w")
        assert (added.paused, added.note) == (True, "stop")
        await scheduler.resume_job("work")
        await virtual_clock.advance(20)
        assert len(await scheduler.runs(job="work")) >= 1


@pytest.mark.parametrize("what", ["work", "w"])
async def test_what_is_cancelled_or_moved_during_a_pause_stays_so_when_it_ends(
    scheduler: Scheduler, virtual_clock: VirtualClock, what: str
) -> None:
    async with scheduler:
        await scheduler.add_schedule("work", Interval(seconds=10), id="w", kwargs={"fails": 1})
        await virtual_clock.advance(11)  # its first attempt has failed, the next waits for 15
        once = await scheduler.schedule_once("work", "once", delay=1)
        await (scheduler.pause if what == "w" else scheduler.pause_job)(what)
        await virtual_clock.advance(20)
        (retry,) = await scheduler.runs(schedule="w")
        assert retry.waiting_for == "paused"
        waits = scheduler.handle(retry.id) if what == "w" else once
        assert await waits.cancel()
        moved = await scheduler.schedule_once("work", "moved", delay=1)
        await virtual_clock.advance(5)
        if what == "work":
            await moved.reschedule(delay=100)
        await (scheduler.resume if what == "w" else scheduler.resume_job)(what)
        await virtual_clock.advance(60)
        assert (await waits.status()).state == "cancelled"
        assert (await moved.status()).state == ("pending" if what == "work" else "succeeded")
        assert (await moved.wait()).state == "succeeded"


async def test_failures_in_a_row_pause_the_schedule_with_a_note_and_a_person_resumes(
    make_scheduler: Make, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler()
    fine = {2}

    @scheduler.interval(seconds=10, pause_after=3)
    async def flaky() -> None:
        fine_now = len(seen) in fine
        seen.append(1)
        if not fine_now:
            raise ValueError

    seen: list[int] = []
    async with scheduler:
        await virtual_clock.advance(100)
        assert len(seen) == 6  # two failures, a success that begins the count anew, three failures
        schedule = await scheduler.schedule("flaky")
        assert (schedule.paused, schedule.by, schedule.failures) == (True, "asyncsched", 3)
        assert schedule.note == "paused after 3 failures in a row"
        await scheduler.resume("flaky")
        assert (await scheduler.schedule("flaky")).failures == 0
        await virtual_clock.advance(30)
        assert len(seen) == 9
        assert (await scheduler.schedule("flaky")).paused
        assert await verdict(scheduler, "flaky", 70) == "paused"


async def test_pausing_or_resuming_what_there_is_not_is_an_error(scheduler: Scheduler) -> None:
    async with scheduler:
        for call in (scheduler.pause, scheduler.resume):
            with pytest.raises(UnknownSchedule, match="there is no schedule 'nobody'"):
                await call("nobody")
            with pytest.raises(
                UnknownSchedule, match=r"'work' is a job; for a job there are pause_job\(name\)"
            ):
                await call("work")
        await scheduler.add_schedule("work", Interval(seconds=10), id="ada")
        for call in (scheduler.pause_job, scheduler.resume_job):
            with pytest.raises(UnknownJob, match="there is no job 'nobody'; declare it"):
                await call("nobody")
            with pytest.raises(UnknownJob, match="'ada' is a schedule, for which there are pause"):
                await call("ada")
        await scheduler.resume("tick")  # it was not paused: nothing happens
        await scheduler.resume_job("work")


async def test_a_users_id_never_pauses_a_job_of_that_name(
    make_scheduler: Make, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler()

    @scheduler.job()
    async def remind(who: str) -> None: ...

    async with scheduler:
        await scheduler.add_schedule("remind", Interval(seconds=10), id="ada", args=("ada",))
        with pytest.raises(UnknownSchedule):  # the id that a user chose, and that is gone
            await scheduler.pause("remind")
        await virtual_clock.advance(15)
        assert len(await scheduler.runs(state="succeeded")) == 1
        await scheduler.add_schedule("remind", Interval(seconds=10), id="remind", args=("eve",))
        await scheduler.pause("remind")
        await virtual_clock.advance(20)
        assert {run.schedule for run in await scheduler.runs()} == {"ada"}


# ── schedules at run time ────────────────────────────────────────────────────────────────────


async def test_an_id_that_is_taken_is_an_error_unless_it_is_to_be_replaced(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        await scheduler.add_schedule("work", Interval(seconds=10), id="w", args=("old",))
        with pytest.raises(ScheduleExists, match="'w'"):
            await scheduler.add_schedule("work", Interval(seconds=5), id="w")
        await virtual_clock.advance(11)
        replaced = await scheduler.add_schedule(
            "work", Interval(seconds=4), id="w", args=("new",), replace=True
        )
        assert replaced.revision == 2
        await virtual_clock.advance(5)
        runs = await scheduler.runs(schedule="w")
        assert [run.scheduled_for for run in runs] == [
            at(16),
            at(12),
            at(10),
        ]  # the history and the anchor stay
        with pytest.raises(ConfigurationError, match="declared in the code"):
            await scheduler.add_schedule("work", Interval(seconds=5), id="tick", replace=True)


async def test_a_schedule_that_is_replaced_keeps_its_pause_and_its_anchor(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        await scheduler.add_schedule("work", Interval(seconds=10), id="w")
        await virtual_clock.advance(3)
        await scheduler.pause("w", "the disk is full", "ada")
        await virtual_clock.advance(10)
        replaced = await scheduler.add_schedule("work", Interval(seconds=5), id="w", replace=True)
        assert (replaced.paused, replaced.note, replaced.by) == (True, "the disk is full", "ada")
        await virtual_clock.advance(10)
        assert await scheduler.runs(schedule="w") == []
        await scheduler.resume("w")
        assert (await scheduler.schedule("w")).next_due == at(25)  # on the grid of the first anchor
        start = at(26)
        replaced = await scheduler.add_schedule(
            "work", Interval(seconds=5, start=start), id="w", replace=True
        )
        assert replaced.next_due == start  # as asked
        replaced = await scheduler.add_schedule(
            "work", Interval(seconds=5), id="w", replace=True, paused=True
        )
        assert (replaced.paused, replaced.note) == (True, "added as paused")


async def test_a_schedule_added_as_paused_waits_for_its_resume(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        await scheduler.add_schedule("work", Interval(seconds=10), id="w", paused=True)
        await virtual_clock.advance(25)
        assert await scheduler.runs(job="work") == []
        await scheduler.resume("w")
        await virtual_clock.advance(10)
        assert len(await scheduler.runs(job="work")) == 1


async def test_removing_a_schedule_ends_what_of_it_is_pending(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        await scheduler.add_schedule("work", Interval(seconds=10), id="w", kwargs={"fails": 1})
        await virtual_clock.advance(11)
        await scheduler.remove("w")
        await virtual_clock.advance(60)
        (run,) = await scheduler.runs(schedule="w")
        assert (run.state, run.why, len(run.attempts)) == ("cancelled", "removed", 1)
        with pytest.raises(UnknownSchedule):
            await scheduler.explain("w", at(10))
        with pytest.raises(ConfigurationError, match="'tick' is declared in the code"):
            await scheduler.remove("tick")


async def test_slots_lost_before_a_reschedule_keep_their_record(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        await scheduler.pause("tick")
        await virtual_clock.advance(25)
        await scheduler.reschedule("tick", Cron("* * * * *"))
        await scheduler.resume("tick")
        await virtual_clock.advance(60)
        assert await verdict(scheduler, "tick", 10) == "paused"
        assert await verdict(scheduler, "tick", 60) == "ran"
        with pytest.raises(ConfigurationError, match="'tick'"):
            await scheduler.reschedule("tick", "tomorrow")  # type: ignore[arg-type]
        assert len(await scheduler.runs(schedule="tick")) == 1


# ── runs by hand ─────────────────────────────────────────────────────────────────────────────


async def test_run_now_runs_a_paused_schedule_all_the_same(scheduler: Scheduler) -> None:
    async with scheduler:
        await scheduler.pause("tick")
        run = await (await scheduler.run_now("tick")).wait(timeout=1)
        assert (run.origin, run.state) == ("manual", "succeeded")


async def test_backfill_runs_each_past_slot_once_oldest_first(
    make_scheduler: Make, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler()
    order: list[datetime] = []

    @scheduler.cron("0 * * * *", max_running=1)
    async def hourly() -> None:
        order.append(current_run().scheduled_for)

    async with scheduler:
        await virtual_clock.advance(1)
        window = at(-5 * 3600 + 1), at(5 * 3600)
        order.clear()
        assert await scheduler.backfill("hourly", *window, dry_run=True) == 4
        assert await scheduler.runs(origin="backfill") == []
        assert await scheduler.backfill("hourly", *window) == 4
        await virtual_clock.advance(1)
        assert order == [at(3600 * hour) for hour in range(-4, 0)]
        assert await scheduler.backfill("hourly", *window, dry_run=True) == 0  # each was backfilled
        assert await scheduler.backfill("hourly", *window, only_missed=False, dry_run=True) == 5
        await virtual_clock.advance(3600)
        assert await scheduler.backfill("hourly", *window, dry_run=True) == 0  # the slot ran by itself
        with pytest.raises(ConfigurationError, match="'hourly': end lies before start"):
            await scheduler.backfill("hourly", at(10), at(0))
        with pytest.raises(ConfigurationError, match="'hourly': more than 10000 slots"):
            await scheduler.backfill("hourly", at(-20_000 * 3600), at(0))


async def test_many_runs_are_cancelled_by_job_schedule_or_tag(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        running = await scheduler.schedule_once("work", kwargs={"takes": 100}, tags=["import"])
        pending = await scheduler.schedule_once("work", delay=100, tags=["import"])
        other = await scheduler.schedule_once("work", delay=100)
        await virtual_clock.advance(1)
        assert await scheduler.cancel_many(tag="import", state="pending") == 1
        assert await scheduler.cancel_many(tag="import") == 1
        assert (await running.wait(timeout=1)).state == (await pending.wait()).state == "cancelled"
        assert (await other.status()).state == "pending"
        assert await scheduler.cancel_many(job="work") == 1
        assert await scheduler.cancel_many(schedule="tick") == 0
        with pytest.raises(ConfigurationError, match="cancel_many: give job=, schedule=, tag= or key="):
            await scheduler.cancel_many()
        with pytest.raises(ConfigurationError, match="a run that has ended stays as it is"):
            await scheduler.cancel_many(job="work", state="failed")
        with pytest.raises(ConfigurationError, match="state must be one of"):
            await scheduler.cancel_many(job="work", state="bogus")


async def test_the_pending_run_of_a_key_is_cancelled_by_the_key(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        first = await scheduler.schedule_once("work", delay=100, key="invoice-17")
        other = await scheduler.schedule_once("work", delay=100, key="invoice-18")
        assert await scheduler.cancel_many(key="invoice-17", job="fails") == 0
        assert await scheduler.cancel_many(key="invoice-17") == 1
        assert await scheduler.cancel_many(key="invoice-17") == 0
        assert ((await first.status()).state, (await other.status()).state) == ("cancelled", "pending")
        assert (await scheduler.activity())[0].subject == "key=invoice-17, state=('pending', 'running')"
        again = await scheduler.schedule_once("work", delay=100, key="invoice-17")  # the key is free again
        assert again.created


# ── dead letters ─────────────────────────────────────────────────────────────────────────────


async def test_dead_letters_keep_arguments_attempts_and_tracebacks(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        failed = await scheduler.schedule_once("work", "mail to ada", 2, tags=["mail"])
        await (await scheduler.schedule_once("work", "fine")).wait()
        gone = await scheduler.schedule_once("work", delay=5)
        await gone.cancel()  # a person's cancel is no dead letter
        await failed.wait()
        (letter,) = await scheduler.dead_letters()
    assert letter.id == failed.id
    assert "mail to ada" in (*letter.args, *letter.kwargs.values())
    assert [a.error_type for a in letter.attempts] == ["ValueError", "ValueError"]
    assert all("raise ValueError(what)" in a.traceback for a in letter.attempts)


async def test_one_dead_letter_is_run_again_with_its_own_or_with_edited_arguments(
    scheduler: Scheduler,
) -> None:
    async with scheduler:
        failed = await scheduler.schedule_once("work", "a", kwargs={"fails": 2})
        await failed.wait()
        (again,) = await scheduler.requeue(failed.id)
        assert (await again.wait()).state == "failed"
        (edited,) = await scheduler.requeue(again.id, kwargs={"fails": 0})
        assert await edited.result() == "a"
        (other,) = await scheduler.requeue(failed.id, args=("b",), kwargs={"fails": 1}, again=True)
        assert await other.result() == "b"
        assert (await other.status()).origin == "manual"
        assert (await failed.status()).state == "failed"  # what happened stays what happened
        with pytest.raises(ArgumentError, match="job 'work' does not take these arguments"):
            await scheduler.requeue(failed.id, kwargs={"nobody": 1})


async def test_a_dead_letter_is_run_again_once_however_often_it_is_requeued(scheduler: Scheduler) -> None:
    async with scheduler:
        failed = await scheduler.schedule_once("work", "pay 100", kwargs={"fails": 2}, key="invoice-7")
        await failed.wait()
        (first,) = await scheduler.requeue(failed.id, kwargs={"fails": 0})
        assert first.created
        assert await scheduler.dead_letters() == []  # while the new run waits already
        for _ in range(2):
            (repeated,) = await scheduler.requeue(failed.id, kwargs={"fails": 0})
            assert (repeated.id, repeated.created) == (first.id, False)
        assert await first.result() == "pay 100"
        (repeated,) = await scheduler.requeue(failed.id, kwargs={"fails": 0})
        assert (repeated.id, repeated.created) == (first.id, False)
        assert len(await scheduler.runs(job="work")) == 2
        letter, run = await scheduler.run(failed.id), await scheduler.run(first.id)
    assert (letter.requeued_as, letter.requeue_of) == (first.id, None)
    assert (run.requeue_of, run.requeued_as) == (failed.id, None)
    assert run.key == letter.key == "invoice-7"


async def test_a_key_that_a_newer_run_holds_is_not_run_twice_by_a_requeue(scheduler: Scheduler) -> None:
    async with scheduler:
        failed = await scheduler.schedule_once("work", "a", kwargs={"fails": 2}, key="k", key_ttl=60)
        await failed.wait()
        newer = await scheduler.schedule_once("work", "a", kwargs={"fails": 2}, key="k", delay=5)
        (found,) = await scheduler.requeue(failed.id)
        assert (found.id, found.created) == (newer.id, False)
        assert (await scheduler.run(failed.id)).requeued_as == newer.id
        assert (await scheduler.run(newer.id)).requeue_of is None  # it did not come of the letter
        await newer.wait()
        other = await scheduler.schedule_once("work", "b", key="k", delay=5)
        with pytest.raises(KeyConflict):
            await scheduler.requeue(newer.id)
        assert [run.id for run in await scheduler.dead_letters()] == [newer.id]
        await other.wait()
        assert (await scheduler.requeue(newer.id))[0].created


async def test_again_runs_a_dead_letter_once_more_and_names_the_newest(scheduler: Scheduler) -> None:
    async with scheduler:
        failed = await scheduler.schedule_once("work", "a", kwargs={"fails": 2})
        await failed.wait()
        (first,) = await scheduler.requeue(failed.id)
        with pytest.raises(NotCancellable, match=f"as {first.id} with other arguments; again=True"):
            await scheduler.requeue(failed.id, args=("b",))
        (second,) = await scheduler.requeue(failed.id, args=("b",), again=True)
        assert second.created
        assert (await failed.status()).requeued_as == second.id
        for handle in (first, second):
            await handle.wait()
        assert {run.id for run in await scheduler.dead_letters()} == {first.id, second.id}
        with pytest.raises(ConfigurationError, match="again=True is for one run"):
            await scheduler.requeue(job="work", again=True)


async def test_a_dismissed_dead_letter_leaves_the_list_with_its_note(scheduler: Scheduler) -> None:
    async with scheduler:
        failed = await scheduler.schedule_once("work", "a", kwargs={"fails": 2})
        with pytest.raises(NotCancellable, match="it is no dead letter"):
            await scheduler.dismiss(failed.id)
        await failed.wait()
        assert (await failed.status()).dismissed is None
        await scheduler.dismiss(failed.id)
        assert (await failed.status()).dismissed == ""
        await scheduler.dismiss(failed.id, "paid by hand")
        assert await scheduler.dead_letters() == []
        assert await scheduler.requeue(job="work") == []
        assert (await failed.status()).dismissed == "paid by hand"
        with pytest.raises(NotCancellable, match=r"was dismissed \(paid by hand\); again=True"):
            await scheduler.requeue(failed.id)
        (run,) = await scheduler.requeue(failed.id, again=True)
        assert (await failed.status()).dismissed is None
        with pytest.raises(NotCancellable, match=f"was run again as {run.id}: there is nothing to dismiss"):
            await scheduler.dismiss(failed.id)
        with pytest.raises(UnknownRun):
            await scheduler.dismiss("1" * 32)


async def test_many_dead_letters_are_run_again_by_filter(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        for number in range(4):
            kwargs = {"what": str(number), "fails": 2}
            await scheduler.schedule_once("work", kwargs=kwargs, tags=["odd" if number % 2 else "even"])
        await virtual_clock.advance(3600)
        assert len(await scheduler.dead_letters(job="work")) == 4
        assert len(await scheduler.dead_letters(tag="odd")) == 2
        assert len(await scheduler.dead_letters(state="timed_out")) == 0
        assert len(await scheduler.dead_letters(since=60)) == 0
        again = await scheduler.requeue(tag="odd")
        assert [(await handle.status()).tags for handle in again] == [("odd",), ("odd",)]
        # Two were run again already.
        assert len(await scheduler.requeue(job="work", state="failed", since=timedelta(hours=2))) == 2
        assert await scheduler.requeue(job="work", since=timedelta(hours=2)) == []
        assert await scheduler.requeue(schedule="tick") == []


async def test_what_cannot_be_run_again_says_so(scheduler: Scheduler, virtual_clock: VirtualClock) -> None:
    async with scheduler:
        done = await scheduler.schedule_once("work")
        waits = await scheduler.schedule_once("work", delay=10)
        await done.wait()
        for handle, state in ((done, "succeeded"), (waits, "pending")):
            with pytest.raises(NotCancellable, match=f"is {state}"):
                await scheduler.requeue(handle.id)
        with pytest.raises(UnknownRun):
            await scheduler.requeue("1" * 32)
        with pytest.raises(ConfigurationError, match="give a run's id, or"):
            await scheduler.requeue()
        with pytest.raises(ConfigurationError, match="give a run's id, or"):
            await scheduler.requeue(done.id, job="work")
        with pytest.raises(ConfigurationError, match="one run only"):
            await scheduler.requeue(job="work", args=("x",))
        with pytest.raises(ConfigurationError, match="dead letter"):
            await scheduler.dead_letters(state="succeeded")


# ── asking ───────────────────────────────────────────────────────────────────────────────────


async def test_runs_are_found_by_everything_that_is_known_of_them(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        await scheduler.schedule_once("work", "a", key="k", tags=["t"])
        await scheduler.schedule_once("work", delay=100)
        await virtual_clock.advance(25)
        assert len(await scheduler.runs()) == 4
        assert len(await scheduler.runs(job="tick")) == len(await scheduler.runs(schedule="tick")) == 2
        assert len(await scheduler.runs(state="pending")) == 1
        assert len(await scheduler.runs(state=("pending", "succeeded"))) == 4
        assert len(await scheduler.runs(origin="once", key="k")) == len(await scheduler.runs(tag="t")) == 1
        assert len(await scheduler.runs(start=at(5), end=at(15))) == 1
        newest = await scheduler.runs(limit=1)
        assert newest[0].state == "pending"
        with pytest.raises(ConfigurationError, match="limit"):
            await scheduler.runs(limit=0)
        with pytest.raises(ConfigurationError, match="state must be one of"):
            await scheduler.runs(state="done")
        with pytest.raises(ConfigurationError, match="naive"):
            await scheduler.runs(start=datetime(2026, 1, 1))


async def test_every_slot_has_an_answer(scheduler: Scheduler, virtual_clock: VirtualClock) -> None:
    async with scheduler:
        await virtual_clock.advance(12)
        assert await verdict(scheduler, "tick", 10) == "ran"
        assert await verdict(scheduler, "tick", 20) == "future"
        assert await verdict(scheduler, "tick", 13) == "not_a_slot"
        assert await verdict(scheduler, "tick", -10) == "before_first"
        with pytest.raises(UnknownSchedule):
            await scheduler.explain("nobody", at(0))
        with pytest.raises(ConfigurationError, match="at is a naive datetime"):
            await scheduler.explain("tick", datetime(2026, 1, 1))


async def test_a_slot_whose_run_was_cancelled_before_it_began_says_by_what(
    make_scheduler: Make, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler()

    @scheduler.interval(seconds=10, max_running=1)
    async def job(takes: float = 0) -> None:
        await anyio.sleep(takes)

    async with scheduler:
        await scheduler.schedule_once(job, 60)
        await virtual_clock.advance(11)
        waiting = await scheduler.explain("job", at(10))
        assert waiting.verdict == "pending" and waiting.run is not None
        await scheduler.cancel_many(schedule="job")
        explained = await scheduler.explain("job", at(10))
        assert (explained.verdict, explained.run and explained.run.id) == ("cancelled", waiting.run.id)


async def test_runs_are_paged_without_a_gap_when_due_times_and_ids_disagree(scheduler: Scheduler) -> None:
    @scheduler.job()
    async def job() -> None: ...

    async with scheduler:
        for delay in (5000, 100, 3000, 100, 4000):
            await scheduler.schedule_once(job, delay=delay)
        everything = [run.id for run in await scheduler.runs()]
        paged, before = [], None
        while page := await scheduler.runs(limit=2, before=before):
            paged += [run.id for run in page]
            before = page[-1].id
    assert len(paged) == 5
    assert paged == everything
