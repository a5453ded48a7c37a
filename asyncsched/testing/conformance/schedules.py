"""Cases for every store: schedules move on, and their runs follow the overlap rule."""

from __future__ import annotations

from dataclasses import replace

from asyncsched._core.instants import DAY, MINUTE
from asyncsched._core.records import JobPause, Stretch
from asyncsched._core.requests import RunQuery, Verdict
from asyncsched._scheduler.lookup import run_of_slot
from asyncsched.testing.conformance.stage import Case, Stage
from asyncsched.triggers import Interval

CASES: list[Case] = []


def case(function: Case) -> Case:
    """Make a function one of the suite's cases."""
    CASES.append(function)
    return function


@case
async def a_schedule_is_kept_as_it_was_given(stage: Stage) -> None:
    record = await stage.schedule(jitter=5, tags=("t",), declared=True, fingerprint="f", note="n", by="me")
    found = await stage.reread()
    assert (found.id, found.job, found.revision, found.next_slot) == ("s", "job", 1, record.next_slot)
    assert (found.jitter, found.tags, found.declared, found.fingerprint) == (5, ("t",), True, "f")
    assert found.trigger == Interval(seconds=60).anchored(record.anchor)
    assert await stage.store.schedules(("unknown",)) == []
    assert len(await stage.store.schedules()) == 1


@case
async def a_schedules_row_is_replaced_only_at_the_revision_that_was_read(stage: Stage) -> None:
    first = await stage.schedule()
    mine, others = replace(first, note="mine"), replace(first, note="others")
    seen = first.revision
    assert await stage.store.put_schedule(mine, seen, stage.now) is mine
    stands = await stage.store.put_schedule(others, seen, stage.now)
    assert stands is not others
    assert (stands.note, stands.revision) == ("mine", seen + 1)
    new = replace(first, note="new")
    assert (await stage.store.put_schedule(new, 0, stage.now)).note == "mine"


@case
async def a_slot_that_is_fired_twice_has_one_run(stage: Stage) -> None:
    record = await stage.schedule()
    stage.wait(MINUTE)
    firings = [stage.fire(record), stage.fire(record)]
    won = [len((await stage.claim(firing)).runs) for firing in firings]
    assert won == [1, 0]
    stands = (await stage.claim(stage.fire(record))).schedules[0]
    assert (stands.revision, stands.next_slot) == (2, record.anchor + 2 * MINUTE)
    assert len(await stage.store.runs(RunQuery(schedule="s"))) == 1


@case
async def a_slot_that_has_its_run_gets_no_second_one_when_the_clock_is_put_back(stage: Stage) -> None:
    record = await stage.schedule()
    slot = record.next_slot
    claimed = await stage.fire_next()
    await stage.end(claimed.runs[0])
    again = await stage.reread()
    again.next_slot = again.next_due = slot
    await stage.store.put_schedule(again, again.revision, stage.now)
    claimed = await stage.claim(stage.fire(await stage.reread()))
    assert not claimed.runs
    assert not claimed.skipped
    own = await run_of_slot(stage.store, "s", slot or 0)
    assert own is not None
    assert own.state == "succeeded"


@case
async def consecutive_slots_without_a_run_are_one_stretch(stage: Stage) -> None:
    record = await stage.schedule()
    (run,) = (await stage.fire_next()).runs
    for _ in range(3):
        claimed = await stage.fire_next()
        assert not claimed.runs
        assert [(lost.count, lost.reason) for lost in claimed.skipped] == [(1, "overlap")]
    first = record.anchor + 2 * MINUTE
    (stretch,) = await stage.store.stretches("s", first, first)
    assert (stretch.first, stretch.last, stretch.count) == (first, first + 2 * MINUTE, 3)
    await stage.end(run)
    assert len((await stage.fire_next()).runs) == 1
    assert await stage.store.stretches("s", stage.at, stage.at + DAY) == []


@case
async def a_missed_stretch_is_written_with_the_firing(stage: Stage) -> None:
    record = await stage.schedule()
    stage.wait(10 * MINUTE)
    assert record.next_slot is not None
    lost = Stretch("s", record.next_slot - MINUTE, record.next_slot - MINUTE, 7, "missed", False)
    await stage.claim(stage.fire(record, lost=lost))
    (found,) = await stage.store.stretches("s", 0, stage.at)
    assert (found.count, found.reason, found.exact) == (7, "missed", False)


@case
async def a_schedule_ends_with_the_run_that_reaches_max_runs(stage: Stage) -> None:
    record = await stage.schedule(max_runs=3)
    claimed = await stage.fire_next()
    assert not claimed.ended
    await stage.fire_next()  # overlap: the slot gets no run, and does not count
    assert (await stage.reread()).runs_made == 1
    stage.wait(4 * MINUTE)
    claimed = await stage.claim(stage.fire(await stage.reread(), slots=4, overlap="queue_all"))
    assert [one.id for one in claimed.ended] == ["s"]
    after = await stage.reread()
    assert (after.runs_made, after.next_slot, after.next_due) == (3, None, None)
    assert after.cursor == record.anchor + 4 * MINUTE
    assert len(await stage.store.runs(RunQuery(schedule="s"))) == 3
    lost = await stage.claim(stage.fire(record))
    assert not lost.ended  # only the claim that has made the last run ends it


@case
async def queue_one_keeps_the_waiting_run(stage: Stage) -> None:
    await stage.schedule()
    (first,) = (await stage.fire_next(overlap="queue_one")).runs
    assert not (await stage.fire_next(overlap="queue_one")).runs
    third = await stage.fire_next(overlap="queue_one")
    assert [lost.reason for lost in third.skipped] == ["overlap"]
    await stage.end(first)
    (second,) = await stage.claim_all()
    assert second.slot == first.slot + MINUTE if first.slot else False


@case
async def queue_all_begins_its_runs_one_after_the_other(stage: Stage) -> None:
    await stage.schedule()
    (run,) = (await stage.fire_next(overlap="queue_all")).runs
    for _ in range(3):
        assert not (await stage.fire_next(overlap="queue_all")).runs
    slots = [run.slot]
    for _ in range(3):
        await stage.end(run)
        (run,) = await stage.claim_all()
        slots.append(run.slot)
    assert slots == sorted(slots, key=lambda slot: slot or 0)
    assert len(set(slots)) == 4


@case
async def replace_requests_the_running_runs_cancel_and_waits_for_its_end(stage: Stage) -> None:
    await stage.schedule()
    (first,) = (await stage.fire_next(overlap="replace")).runs
    claimed = await stage.fire_next(overlap="replace")
    assert not claimed.runs
    assert claimed.cancel_requests == [(first.id, "replaced")]
    await stage.end(first, "cancelled", why="replaced")
    (second,) = await stage.claim_all()
    assert second.slot == stage.at


@case
async def runs_overlap_under_allow(stage: Stage) -> None:
    await stage.schedule()
    assert len((await stage.fire_next(overlap="allow")).runs) == 1
    assert len((await stage.fire_next(overlap="allow")).runs) == 1


@case
async def the_runs_of_a_catch_up_begin_one_after_the_other(stage: Stage) -> None:
    record = await stage.schedule()
    stage.wait(3 * MINUTE)
    claimed = await stage.claim(stage.fire(record, slots=3))
    (run,) = claimed.runs
    slots = [run.slot]
    for _ in range(2):
        await stage.end(run)
        (run,) = await stage.claim_all()
        slots.append(run.slot)
    assert slots == [record.anchor + number * MINUTE for number in (1, 2, 3)]


@case
async def a_paused_schedule_neither_fires_nor_begins_its_waiting_runs(stage: Stage) -> None:
    record = await stage.schedule()
    (run,) = (await stage.fire_next()).runs
    await stage.end(run, "pending", why="retry", ready_at=stage.at, attempt="failed")
    record = await stage.reread()
    record.paused, record.paused_at, record.note = True, stage.at, "why"
    await stage.store.put_schedule(record, record.revision, stage.now)
    stage.wait(MINUTE)
    assert not (await stage.claim(stage.fire(await stage.reread()))).runs
    assert not await stage.claim_all()
    record = await stage.reread()
    record.paused, record.paused_at = False, None
    lost = Stretch("s", stage.at, stage.at, 1, "paused")
    await stage.store.put_schedule(record, record.revision, stage.now, lost)
    assert [again.id for again in await stage.claim_all()] == [run.id]
    assert [found.reason for found in await stage.store.stretches("s", stage.at, stage.at)] == ["paused"]


@case
async def a_change_keeps_its_lost_slots_and_wakes_runs_only_on_a_resume(stage: Stage) -> None:
    await stage.schedule()
    (run,) = (await stage.fire_next()).runs
    await stage.end(run, "pending", why="retry", ready_at=stage.at, attempt="failed")
    record = await stage.reread()
    record.paused, record.paused_at = True, stage.at
    await stage.store.put_schedule(record, record.revision, stage.now)
    assert not await stage.claim_all()
    lost = Stretch("s", stage.at, stage.at, 1, "paused")
    for revision in (record.revision - 1, record.revision):  # the first is refused, and changes nothing
        assert await stage.store.stretches("s", stage.at, stage.at) == []
        changed = replace(await stage.reread(), note="changed")
        await stage.store.put_schedule(changed, revision, stage.now, lost)
    assert await stage.store.stretches("s", stage.at, stage.at) == [lost]
    assert not await stage.claim_all()  # it stays paused


@case
async def no_run_of_a_paused_job_is_begun(stage: Stage) -> None:
    await stage.store.pause_job("job", JobPause("broken", "me", stage.at), stage.now)
    assert await stage.store.paused_jobs() == {"job": JobPause("broken", "me", stage.at)}
    run = stage.run()
    await stage.add(run, stage.run("other"))
    assert [one.job for one in await stage.claim_all()] == ["other"]
    await stage.store.pause_job("job", None, stage.now)
    assert [one.id for one in await stage.claim_all()] == [run.id]
    assert await stage.store.paused_jobs() == {}


@case
async def failures_in_a_row_pause_a_schedule(stage: Stage) -> None:
    await stage.schedule()
    for state in ("failed", "succeeded", "failed", "timed_out"):
        assert not (await stage.reread()).paused
        (run,) = (await stage.fire_next()).runs
        verdict = Verdict(state, pause_after=2)
        await stage.record(run, verdict)
    record = await stage.reread()
    assert (record.paused, record.failures, record.by) == (True, 2, "asyncsched")
    assert "2 failures" in record.note
    assert verdict.paused is not None
    assert verdict.paused.paused


@case
async def a_removed_schedule_is_gone_and_its_runs_stay(stage: Stage) -> None:
    await stage.schedule()
    (run,) = (await stage.fire_next()).runs
    await stage.end(run)
    assert await stage.store.remove_schedule("s", stage.now)
    assert not await stage.store.remove_schedule("s", stage.now)
    assert await stage.store.schedules() == []
    assert await stage.state(run) == "succeeded"


# ── the history's bounds ────────────────────────────────────────────────────────────────────────────


@case
async def old_runs_are_pruned_but_not_the_last_of_a_schedule_nor_dead_letters(stage: Stage) -> None:
    await stage.schedule()
    scheduled = []
    for number in range(25):
        (run,) = (await stage.fire_next()).runs
        await stage.end(run, "failed" if number == 1 else "succeeded")
        scheduled.append(run)
    await stage.add(fine := stage.run(), dead := stage.run("other"))
    for run in await stage.claim_all():
        await stage.end(run, "succeeded" if run.job == "job" else "failed")
    stage.wait(8 * DAY)
    await stage.store.prune(stage.now)
    assert (await stage.state(fine), await stage.state(dead)) == ("gone", "failed")
    states = [await stage.state(run) for run in scheduled]
    assert states == ["gone", "failed", "gone", "gone", "gone", *["succeeded"] * 20]
    stage.wait(30 * DAY)
    await stage.store.prune(stage.now)
    assert await stage.state(dead) == "gone"
    assert await stage.state(scheduled[1]) == "failed"
