"""Why did it not run? Every due time has an answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import anyio
import pytest

from asyncsched import Cron, Explanation, Interval, Misfire, RateLimit, Scheduler, UnknownSchedule
from asyncsched._core.instants import Now, to_instant
from asyncsched._core.rules.retention import Bounds
from asyncsched.stores.memory import MemoryStore
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(**since: float) -> datetime:
    return T0 + timedelta(**since)


@pytest.fixture
def scheduler(virtual_clock: VirtualClock) -> Scheduler:
    return Scheduler(clock=virtual_clock)


async def asked(scheduler: Scheduler, slot: datetime, schedule: str = "tick") -> tuple[str, str]:
    answer = await scheduler.explain(schedule, slot)
    assert isinstance(answer, Explanation)
    assert (answer.schedule, answer.at) == (schedule, slot)
    return answer.verdict, answer.text


async def test_a_slot_that_ran_says_how_late_and_how_it_ended(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(minutes=1)
    async def tick() -> None:
        if virtual_clock.now() > at(minutes=2):
            raise OSError("disk full")

    async with scheduler:
        await virtual_clock.advance(60)
        virtual_clock.block(61.5)
        await virtual_clock.advance(1)
        assert await asked(scheduler, at(minutes=1)) == (
            "ran",
            "it ran, 0.000 s after its due time and succeeded",
        )
        assert await asked(scheduler, at(minutes=2)) == (
            "ran",
            "it ran, 1.500 s after its due time and failed",
        )
        run = (await scheduler.explain("tick", at(minutes=2))).run
        assert run is not None
        assert run.message == "disk full"


async def test_a_slot_whose_run_goes_on_or_waits_says_so(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(minutes=1, overlap="queue_one")
    async def tick() -> None:
        await anyio.sleep(90)

    async with scheduler:
        await virtual_clock.advance(130)
        assert await asked(scheduler, at(minutes=1)) == ("ran", "it is running")
        assert await asked(scheduler, at(minutes=2)) == ("pending", "it waits for overlap")
        assert (await scheduler.explain("tick", at(minutes=2))).run is not None


async def test_slots_that_were_missed_are_told_with_their_stretch(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(minutes=1, misfire=Misfire("none", grace=1))
    async def tick() -> None: ...

    async with scheduler:
        virtual_clock.block(90)
        await virtual_clock.advance(1)
        verdict, text = await asked(scheduler, at(minutes=1))
        assert (verdict, text) == (
            "missed",
            "it got no run: it was not met in time (the scheduler was down, blocked or too late), "
            "and the misfire rule did not run it",
        )
        virtual_clock.block(300)
        await virtual_clock.advance(1)
        verdict, text = await asked(scheduler, at(minutes=3))
        assert verdict == "missed"
        assert text.endswith("; one of 6 slots from 2026-01-01 00:01:00+00:00 to 2026-01-01 00:06:00+00:00")


async def test_a_slot_that_fell_into_an_earlier_run_says_overlap(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(minutes=1)
    async def tick() -> None:
        await anyio.sleep(150)

    async with scheduler:
        await virtual_clock.advance(200)
        assert await asked(scheduler, at(minutes=2)) == (
            "overlap",
            "it got no run: an earlier run of the schedule was still live; one of 2 slots from "
            "2026-01-01 00:02:00+00:00 to 2026-01-01 00:03:00+00:00",
        )


async def test_the_slots_of_a_pause_say_so_while_it_lasts_and_afterwards(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(minutes=1)
    async def tick() -> None: ...

    async with scheduler:
        await virtual_clock.advance(90)
        await scheduler.pause("tick", note="the disk is full", by="ada")
        await virtual_clock.advance(300)
        paused = "the schedule is paused by ada (the disk is full)"
        assert await asked(scheduler, at(minutes=3)) == ("paused", f"it got no run: {paused}")
        assert await asked(scheduler, at(minutes=60)) == ("future", f"it lies ahead; {paused}")
        await scheduler.resume("tick")
        await virtual_clock.advance(60)
        verdict, text = await asked(scheduler, at(minutes=3))
        assert (verdict, text[:37]) == ("paused", "it got no run: the schedule was pause")
        assert await asked(scheduler, at(minutes=7)) == (
            "ran",
            "it ran, 0.000 s after its due time and succeeded",
        )


async def test_a_run_that_never_began_says_why(scheduler: Scheduler, virtual_clock: VirtualClock) -> None:
    @scheduler.interval(minutes=1, rate_limit=RateLimit("1/day", drop=True))
    async def tick() -> None: ...

    @scheduler.interval(minutes=1, overlap="queue_all")
    async def slow() -> None:
        await anyio.sleep(1000)

    async with scheduler:
        await virtual_clock.advance(150)
        assert await asked(scheduler, at(minutes=2)) == (
            "rate_limited",
            "it was cancelled before it began (rate_limited)",
        )
        await scheduler.cancel_many(schedule="slow", state="pending")
        assert await asked(scheduler, at(minutes=2), "slow") == (
            "cancelled",
            "it was cancelled before it began (cancelled)",
        )


async def test_what_lies_ahead_and_what_was_before(scheduler: Scheduler, virtual_clock: VirtualClock) -> None:
    @scheduler.interval(minutes=1)
    async def tick() -> None: ...

    @scheduler.cron("0 * * * *")
    async def hourly() -> None: ...

    virtual_clock.set_wall(at(minutes=30))
    async with scheduler:
        assert await asked(scheduler, at(days=400, minutes=30)) == ("future", "it lies ahead")
        assert await asked(scheduler, at(hours=1), "hourly") == ("future", "it lies ahead")
        assert await asked(scheduler, at(hours=-5), "hourly") == (
            "before_first",
            "the schedule was not known yet; its first slot is 2026-01-01 01:00:00+00:00",
        )
        assert await asked(scheduler, at(minutes=29)) == (
            "before_first",
            "the schedule was not known yet; its first slot is 2026-01-01 00:31:00+00:00",
        )


async def test_a_moment_that_is_no_slot_says_which_is_the_next(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(minutes=1)
    async def tick() -> None: ...

    async with scheduler:
        await virtual_clock.advance(600)
        assert await asked(scheduler, at(seconds=90)) == (
            "not_a_slot",
            "not a slot; the one before it is 2026-01-01 00:01:00+00:00; the next one after it is 2026-01-01 00:02:00+00:00",
        )
        assert (await asked(scheduler, at(days=1, microseconds=1)))[0] == "not_a_slot"
        assert (await asked(scheduler, T0))[0] == "not_a_slot"  # the anchor itself is due only if immediate


async def test_after_a_reschedule_the_slots_of_the_earlier_trigger_keep_their_answers(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(minutes=1)
    async def tick() -> None: ...

    async with scheduler:
        await virtual_clock.advance(60)
        virtual_clock.block(130)
        await virtual_clock.advance(0)
        await scheduler.reschedule("tick", Interval(seconds=45))
        await virtual_clock.advance(100)
        assert (await asked(scheduler, at(minutes=1)))[0] == "ran"
        assert (await asked(scheduler, at(minutes=2)))[0] == "missed"
        assert (await asked(scheduler, at(seconds=190 + 45)))[0] == "ran"
        verdict, text = await asked(scheduler, at(seconds=100))
        assert (verdict, text[:61]) == (
            "not_a_slot",
            "not a slot of revision 2, which is of 2026-01-01 00:03:10+00:",
        )
        await scheduler.reschedule("tick", Cron("* * * * *"))
        assert (await asked(scheduler, at(minutes=4)))[1].startswith(
            "not a slot of revision 3: the schedule had"
        )


async def test_a_moment_as_it_is_shown_stands_for_the_slot_within_its_second(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(seconds=10, overlap="skip")
    async def sync() -> None:
        await anyio.sleep(12)

    await anyio.sleep(0.28115)
    async with scheduler:
        await virtual_clock.advance(25)
        for seconds, verdict in ((10, "ran"), (20, "overlap"), (30, "future")):
            found = await scheduler.explain("sync", at(seconds=seconds))
            assert (found.verdict, found.at) == (verdict, at(seconds=seconds + 0.28115))
        await scheduler.reschedule("sync", Interval(seconds=7))
        assert (await scheduler.explain("sync", at(seconds=10))).verdict == "ran"  # of the trigger before
        assert (await scheduler.explain("sync", at(seconds=11))).verdict == "not_a_slot"
        assert (await scheduler.explain("sync", at(seconds=10, microseconds=1))).verdict == "not_a_slot"


async def test_what_is_paused_says_so_beside_a_moment_that_is_no_slot(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.cron("0 7 * * *", timezone="Europe/Berlin")
    async def mornings() -> None: ...

    async with scheduler:
        await virtual_clock.advance(86_400)
        await scheduler.pause("mornings", note="holidays", by="ann")
        assert await asked(scheduler, at(hours=7), "mornings") == (
            "not_a_slot",
            "not a slot; the one before it is 2026-01-01 07:00:00+01:00; the next one after it is 2026-01-02 "
            "07:00:00+01:00; the schedule is paused by ann (holidays)",
        )


async def test_a_slot_within_its_jitter_is_pending(scheduler: Scheduler, virtual_clock: VirtualClock) -> None:
    @scheduler.interval(minutes=10, jitter=500)
    async def tick() -> None: ...

    async with scheduler:
        await virtual_clock.advance_to(at(minutes=10))
        due = (await scheduler.schedule("tick")).next_due
        assert due is not None
        assert due > at(minutes=10, seconds=1)
        assert await asked(scheduler, at(minutes=10)) == ("pending", f"its jitter makes it due at {due}")
        await virtual_clock.advance_to(due)
        assert (await asked(scheduler, at(minutes=10)))[0] == "ran"


async def test_beyond_the_history_it_says_pruned(virtual_clock: VirtualClock) -> None:
    store = MemoryStore(Bounds(count=10))
    scheduler = Scheduler(store, clock=virtual_clock)

    @scheduler.interval(minutes=1)
    async def tick() -> None: ...

    async with scheduler:
        await virtual_clock.advance(timedelta(hours=10))
        await store.prune(Now(virtual_clock.wall(), virtual_clock.wall()))
        assert await asked(scheduler, at(minutes=5)) == (
            "pruned",
            "its record has been pruned from the history",
        )
        assert (await asked(scheduler, at(minutes=600)))[0] == "ran"


async def test_slots_of_a_wrong_clock_lie_ahead_again_when_it_is_put_right(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.cron("0 * * * *")
    async def tick() -> None: ...

    async with scheduler:
        virtual_clock.step(timedelta(days=3650))
        await virtual_clock.advance(60)
        virtual_clock.step(-timedelta(days=3650))
        await virtual_clock.advance(60)
        assert await asked(scheduler, at(days=100)) == ("future", "it lies ahead")
        await virtual_clock.advance(3600)
        assert (await asked(scheduler, at(hours=1)))[0] == "ran"


async def test_an_unknown_schedule_and_a_naive_time_are_refused(scheduler: Scheduler) -> None:
    async with scheduler:
        with pytest.raises(UnknownSchedule, match="there is no schedule 'nothing'"):
            await scheduler.explain("nothing", T0)

    @scheduler.interval(minutes=1)
    async def tick() -> None: ...

    async with scheduler:
        with pytest.raises(ValueError, match="at is a naive datetime"):
            await scheduler.explain("tick", datetime(2026, 1, 1))


@pytest.mark.parametrize("seed", range(3))
async def test_every_slot_of_a_rough_day_has_an_answer_that_is_true(
    virtual_clock: VirtualClock, seed: int
) -> None:
    scheduler = Scheduler(clock=virtual_clock)
    ran: list[datetime] = []

    @scheduler.cron("*/7 * * * *", misfire=Misfire("all", limit=2, grace=900))
    async def tick() -> None:
        ran.append(virtual_clock.now())
        await anyio.sleep((len(ran) * 83 + seed * 7) % 700)

    rough = [virtual_clock.block, virtual_clock.suspend, virtual_clock.step]
    async with scheduler:
        for turn in range(12):
            await virtual_clock.advance(1000 + 517 * ((turn + seed) % 5))
            if turn % 4 == seed:
                await scheduler.pause("tick")
            else:
                rough[(turn + seed) % 3](1700)
            await virtual_clock.advance(40)
            if turn % 4 == seed:
                await scheduler.resume("tick")
        slot, now, verdicts = to_instant(T0) - 1, virtual_clock.wall(), []
        trigger = Cron("*/7 * * * *")
        while (slot := trigger.next_instant(slot) or now) < now:
            answer = await scheduler.explain("tick", T0 + timedelta(microseconds=slot - to_instant(T0)))
            verdicts.append(answer.verdict)
            assert (answer.run is not None) == (answer.verdict in ("ran", "pending"))
    assert verdicts.count("ran") == len(ran)
    assert set(verdicts) <= {"ran", "missed", "paused", "overlap", "pending"}
    assert len(set(verdicts)) >= 3


async def test_a_slot_that_was_backfilled_names_the_backfill(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(minutes=1, misfire=Misfire(catch_up="latest"))
    async def tick() -> None: ...

    async with scheduler:
        virtual_clock.block(180)
        await virtual_clock.advance(1)
        assert "backfilled" not in (await asked(scheduler, at(minutes=1)))[1]
        assert await scheduler.backfill("tick", at(minutes=1), at(minutes=1)) == 1
        await virtual_clock.advance(1)
        (run,) = await scheduler.runs(origin="backfill")
        verdict, text = await asked(scheduler, at(minutes=1))
        assert verdict == "missed"  # the record of the slot stays what it is
        assert text.endswith(f"; it was backfilled: run {run.id} is succeeded")
        assert (await scheduler.explain("tick", at(minutes=1))).run == run
        assert "backfilled" not in (await asked(scheduler, at(minutes=2)))[1]


async def test_so_does_a_slot_from_before_the_schedule_was_known(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.cron("* * * * *", id="tick")
    async def tick() -> None: ...

    async with scheduler:
        early = virtual_clock.now() - timedelta(minutes=2)
        slot = early.replace(second=0, microsecond=0)
        assert await scheduler.backfill("tick", slot, slot) == 1
        await virtual_clock.advance(1)
        (run,) = await scheduler.runs(origin="backfill")
        said = await scheduler.explain("tick", slot)
        assert (said.verdict, said.run) == ("before_first", run)
        assert said.text.startswith("the schedule was not known yet; its first slot is ")
        assert said.text.endswith(f"; it was backfilled: run {run.id} is succeeded")
