"""Cases for a store that several instances share: claims, holders and the death of instances."""

from __future__ import annotations

from copy import copy

from asyncsched._core.instants import MINUTE, SECOND
from asyncsched._core.models import Progress
from asyncsched._core.records import JobPause, Permit
from asyncsched._core.requests import Ending, Fenced, RunQuery, Verdict, Watch
from asyncsched.testing.conformance.stage import Case, Stage

CASES: list[Case] = []


def case(function: Case) -> Case:
    """Make a function one of the suite's cases."""
    CASES.append(function)
    return function


@case
async def a_run_that_one_instance_adds_is_claimed_by_another(stage: Stage) -> None:
    other = await stage.another()
    await stage.join(other, 2)
    await stage.add(run := stage.run())
    (claimed,) = (await stage.claim(holder=2, store=other)).runs
    assert (claimed.id, claimed.holder) == (run.id, 2)
    assert not (await stage.claim()).runs


@case
async def the_ledger_outlives_the_close_of_all_its_stores(stage: Stage) -> None:
    await stage.schedule()
    await stage.add(run := stage.run())
    await stage.store.close()
    stage.store = await stage.another()
    assert await stage.state(run) == "pending"
    assert [record.id for record in await stage.store.schedules()] == ["s"]


@case
async def adding_again_after_a_lost_answer_changes_nothing(stage: Stage) -> None:
    plain, keyed = stage.run(), stage.run(key="k")
    await stage.add(plain, keyed)
    again = await stage.add(plain, keyed)
    assert [one.created for one in again] == [True, True]
    await stage.claim()
    following = stage.run(key="k")
    following.key_from = keyed.id
    assert [(await stage.add(following))[0].created for _ in range(2)] == [True, True]
    assert len(await stage.store.runs(RunQuery())) == 3


@case
async def recording_again_after_a_lost_answer_is_accepted(stage: Stage) -> None:
    await stage.add(stage.run(), stage.run(max_attempts=2))
    for run, verdict in zip(
        (await stage.claim()).runs, (Verdict("succeeded"), Verdict("pending", ready_at=stage.at)), strict=True
    ):
        assert await stage.record(copy(run), verdict)
        assert await stage.record(copy(run), verdict)


@case
async def only_the_holder_of_a_run_records_it(stage: Stage) -> None:
    await stage.add(stage.run())
    (run,) = (await stage.claim()).runs
    run.holder = 2
    assert not await stage.end(run)
    run.holder, run.attempt = 1, 2
    assert not await stage.end(run)
    run.progress = Progress(1.0)
    await stage.store.note(run, stage.now)
    found = await stage.kept(run.id)
    assert (found.state, found.progress) == ("running", None)


@case
async def progress_is_seen_by_other_instances(stage: Stage) -> None:
    other = await stage.another()
    await stage.add(stage.run())
    (run,) = (await stage.claim()).runs
    before = await other.poll(Watch(2, None, 0, (run.id,), True))
    run.progress = Progress(3.0, 10.0, "so far")
    await stage.store.note(run, stage.now)
    (found,) = await other.runs(RunQuery((run.id,)))
    assert found.progress == run.progress
    after = await other.poll(Watch(2, None, 0, (run.id,), True))
    assert before.runs[run.id] != after.runs[run.id]


@case
async def declaring_an_instance_dead_fences_its_runs_in_one_write(stage: Stage) -> None:
    await stage.join(stage.store, 2)
    await stage.add(
        stage.run(permits=(Permit("places", 2),)), stage.run(permits=(Permit("places", 2),), max_attempts=2)
    )
    lost, again = (await stage.claim(holder=2)).runs
    (waits,) = await stage.add(stage.run(permits=(Permit("places", 2),)))
    assert not await stage.claim_all()
    assert await stage.store.declare_dead(2, 99, stage.now) is None
    assert await stage.store.declare_dead(2, 1, stage.now) == {"lost": 1, "pending": 1}
    assert await stage.store.declare_dead(2, 1, stage.now) is None
    assert (await stage.state(lost), await stage.state(again)) == ("lost", "pending")
    assert not await stage.end(again)
    assert {run.id for run in await stage.claim_all()} == {again.id, waits.run.id}
    found = await stage.kept(again.id)
    assert (found.attempt, [past.state for past in found.attempts]) == (2, ["lost"])


@case
async def a_run_that_goes_on_in_an_engine_elsewhere_keeps_its_reference_and_its_attempt(stage: Stage) -> None:
    await stage.add(run := stage.run(), stage.run(max_attempts=2))
    other = await stage.another()
    await stage.join(other, 2)
    held, retried = sorted((await stage.claim(holder=2, store=other)).runs, key=lambda run: run.id)
    for one in (held, retried):
        one.reference = f"there-{one.id}"
        await other.note(one, stage.now)
    await other.record([Ending(retried, Verdict("pending", ready_at=stage.at, attempt="failed"), stage.now)])
    assert (await stage.kept(retried.id)).reference is None, "the next attempt is a new task"
    await stage.store.declare_dead(2, 1, stage.now)
    (again,) = [one for one in (await stage.claim()).runs if one.id == run.id]
    assert (again.attempt, again.reference) == (1, f"there-{run.id}")
    await stage.end(again)
    ended = await stage.kept(run.id)
    assert (ended.state, ended.reference) == ("succeeded", f"there-{run.id}")


@case
async def a_dead_instance_neither_beats_nor_claims(stage: Stage) -> None:
    await stage.join(stage.store, 2)
    assert await stage.store.beat(2, stage.now, 40_000)
    assert [one.lag for one in await stage.store.instances() if one.incarnation == 2] == [40_000]
    assert await stage.store.declare_dead(2, 1, stage.now) is None
    assert await stage.store.declare_dead(2, 2, stage.now) == {}
    assert not await stage.store.beat(2, stage.now)
    await stage.add(stage.run())
    try:
        await stage.claim(holder=2)
    except Fenced:
        pass
    else:
        raise AssertionError("an instance that was declared dead could claim")


@case
async def a_schedule_goes_on_after_the_death_of_its_runs_holder(stage: Stage) -> None:
    await stage.join(stage.store, 2)
    record = await stage.schedule()
    stage.wait(MINUTE)
    (first,) = (await stage.claim(stage.fire(record, overlap="queue_one"), holder=2)).runs
    assert not (await stage.fire_next(overlap="queue_one")).runs
    await stage.store.declare_dead(2, 1, stage.now)
    assert await stage.state(first) == "lost"
    assert len(await stage.claim_all()) == 1
    assert (await stage.reread()).failures == 1


@case
async def a_held_run_that_its_holder_does_not_know_is_released_without_an_attempt(stage: Stage) -> None:
    await stage.add(stage.run())
    (run,) = (await stage.claim()).runs
    held = await stage.store.held(1)
    assert held == {run.id: run.started_at}
    assert await stage.store.let_go(1, held, stage.now) == {"pending": 1}
    assert await stage.store.held(1) == {}
    stage.wait(SECOND)
    (again,) = (await stage.claim()).runs
    assert again.attempt == 1
    assert await stage.store.let_go(1, held, stage.now) == {}, "a repeat after a lost answer"
    assert await stage.state(again) == "running"


@case
async def a_repeated_write_does_not_end_the_next_attempt_of_the_same_holder(stage: Stage) -> None:
    """Found by the protocol model: a snooze spends no attempt, so the next attempt has the same number."""
    await stage.add(stage.run())
    (run,) = (await stage.claim()).runs
    unconfirmed = copy(run)  # the answer to its first record is lost
    snooze = Verdict("pending", "snooze", ready_at=stage.now.wall, spent=False, attempt="snoozed")
    assert await stage.record(run, snooze)
    stage.wait(SECOND)
    (again,) = (await stage.claim()).runs
    assert (again.id, again.attempt) == (unconfirmed.id, unconfirmed.attempt)
    assert not await stage.record(unconfirmed, snooze)
    assert await stage.state(again) == "running"


@case
async def an_instance_that_leaves_with_an_unrecorded_outcome_is_declared_dead(stage: Stage) -> None:
    """Found by a chaos run of half an hour: no instance held the run, and its schedule stood still."""
    await stage.join(stage.store, 2)
    await stage.add(run := stage.run(max_attempts=2))
    await stage.claim(holder=2)
    await stage.store.leave(2, {run.id}, stage.now)
    assert await stage.store.sweep(stage.now) == {}
    assert {one.incarnation: one.beat for one in await stage.store.instances()} == {1: 1, 2: 1}
    assert await stage.store.declare_dead(2, 1, stage.now) == {"pending": 1}


@case
async def an_instance_that_leaves_releases_its_unknown_runs(stage: Stage) -> None:
    await stage.join(stage.store, 2)
    await stage.add(known := stage.run(), unknown := stage.run())
    assert len((await stage.claim(holder=2)).runs) == 2
    await stage.store.leave(2, {known.id}, stage.now)
    assert (await stage.state(known), await stage.state(unknown)) == ("running", "pending")
    (again,) = (await stage.claim()).runs
    assert (again.id, again.attempt) == (unknown.id, 1)


@case
async def instances_are_listed_in_the_order_of_their_start(stage: Stage) -> None:
    for incarnation in (9, 3, 7):
        await stage.join(stage.store, incarnation)
    members = await stage.store.instances()
    assert [one.incarnation for one in members] == [1, 9, 3, 7]
    kept = members[1]._replace(incarnation=10)
    await stage.store.join(kept, stage.now)
    await stage.store.leave(9, set(), stage.now)
    assert [one.incarnation for one in await stage.store.instances()] == [1, 10, 3, 7]
    assert members[0].jobs == {"job", "other"}


@case
async def a_poll_returns_the_changes_of_other_instances(stage: Stage) -> None:
    other = await stage.another()
    record = await stage.schedule()
    await stage.add(stage.run(max_attempts=2))
    (run,) = (await stage.claim()).runs
    seen = await other.poll(Watch(1, None, 0))
    assert [one.id for one in seen.schedules] == ["s"]
    assert seen.beats == [(1, 1)]
    watch = Watch(1, seen.work_version, seen.version)
    await other.poll(watch)
    assert await other.poll(watch) is None or not (await other.poll(watch._replace(fully=True))).schedules

    await stage.store.cancel(run.id, "enough", stage.now)
    seen = await other.poll(watch)
    assert seen.work_version != watch.work_version
    assert seen.cancel_requests == [(run.id, "enough")]
    await stage.store.remove_schedule(record.id, stage.now)
    seen = await other.poll(watch)
    assert seen.ids == set()
    await stage.store.beat(1, stage.now)
    assert (await other.poll(watch)).beats == [(1, 2)]


@case
async def a_job_takes_over_the_schedules_the_pending_runs_and_the_pause_of_another(stage: Stage) -> None:
    await stage.schedule("added")
    await stage.schedule("declared", declared=True)
    done, keyed, other = stage.run(), stage.run(delay=SECOND, key="k"), stage.run("other")
    await stage.add(done, other)
    for run in (await stage.claim()).runs:
        await stage.end(run)
    await stage.add(keyed)
    pause = JobPause("the text is wrong", "ada", stage.at)
    await stage.store.pause_job("job", pause, stage.now)
    assert set(await stage.store.job_names()) == {"job", "other"}

    assert await stage.store.rename_job("job", "renamed", False) == (["added"], 1)
    assert await stage.store.rename_job("job", "renamed") == ([], 0)
    assert (await stage.reread("added")).job == "renamed"
    assert (await stage.reread("declared")).job == "job"  # its own code says of which job it is
    assert (await stage.kept(keyed.id)).job == "renamed"
    assert (await stage.kept(done.id)).job == "job"  # what happened stays what happened
    assert (await stage.store.paused_jobs())["renamed"] == pause
    (found,) = await stage.add(stage.run("renamed", key="k"))
    assert (found.run.id, found.created) == (keyed.id, False)
    assert set(await stage.store.job_names()) == {"job", "other", "renamed"}


@case
async def a_declared_schedule_takes_over_the_records_of_its_old_id(stage: Stage) -> None:
    await stage.schedule("job", declared=True, paused=False, runs_made=7)
    (done,) = (await stage.fire_next("job")).runs
    await stage.end(done)
    (live,) = (await stage.fire_next("job")).runs
    await stage.fire_next("job")  # overlap: a stretch
    before = await stage.reread("job")
    seen = await stage.store.poll(Watch(1, None, -1))

    ids, _ = await stage.store.rename_job("job", "renamed", True)
    assert ids == ["renamed"]
    assert await stage.store.schedules(("job",)) == []
    after = await stage.reread("renamed")
    assert (after.job, after.next_slot, after.cursor) == ("renamed", before.next_slot, before.cursor)
    assert after.runs_made == 9
    assert {run.id for run in await stage.store.runs(RunQuery(schedule="renamed"))} == {done.id, live.id}
    assert [one.reason for one in await stage.store.stretches("renamed", 0, stage.at)] == ["overlap"]
    assert seen is not None
    news = await stage.store.poll(Watch(1, seen.work_version, seen.version))
    assert news.ids == {"renamed"}
    assert (await stage.store.rename_job("job", "renamed", True))[0] == []


@case
async def a_schedule_is_not_renamed_over_another(stage: Stage) -> None:
    await stage.schedule("job", declared=True)
    await stage.schedule("renamed", declared=True)
    assert (await stage.store.rename_job("job", "renamed", True))[0] == []
    assert (await stage.reread("job")).job == "job"
