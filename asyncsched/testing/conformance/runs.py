"""Cases for every store: runs are added, wait, begin and end."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio

from asyncsched._core.instants import HOUR, MINUTE, SECOND
from asyncsched._core.models import ErrorInfo
from asyncsched._core.records import Permit, RunRecord
from asyncsched._core.requests import RunQuery
from asyncsched.testing.conformance.stage import Case, Stage

CASES: list[Case] = []


def case(function: Case) -> Case:
    """Make a function one of the suite's cases."""
    CASES.append(function)
    return function


@case
async def an_added_run_is_claimed_and_recorded(stage: Stage) -> None:
    run = stage.run(tags=("a", "b"), priority=2, key="k", context_vars={"tenant": "x"})
    (added,) = await stage.add(run)
    assert added.created
    claimed = await stage.claim()
    (mine,) = claimed.runs
    assert (mine.id, mine.state, mine.attempt, mine.holder) == (run.id, "running", 1, 1)
    assert (mine.arguments, mine.tags, mine.priority, mine.key) == ('{"x":1}', ("a", "b"), 2, "k")
    assert (mine.context_vars, mine.late, mine.started_at) == ({"tenant": "x"}, 0, stage.at)
    stage.wait(SECOND)
    assert await stage.end(mine, result="42")
    found = await stage.kept(run.id)
    assert (found.state, found.result, found.finished_at) == ("succeeded", "42", stage.at)
    assert (mine.state, mine.result) == ("succeeded", "42")


@case
async def a_run_that_is_due_later_is_announced_and_not_claimed(stage: Stage) -> None:
    await stage.add(stage.run(delay=10 * SECOND))
    claimed = await stage.claim()
    assert not claimed.runs
    assert stage.at + 10 * SECOND in (claimed.next_wall, claimed.next_steady)
    stage.wait(10 * SECOND)
    assert len((await stage.claim()).runs) == 1


@case
async def a_claim_takes_no_more_runs_than_there_is_capacity(stage: Stage) -> None:
    await stage.add(*(stage.run() for _ in range(5)))
    claimed = await stage.claim(free=2)
    assert len(claimed.runs) == 2
    assert len((await stage.claim(free=0)).runs) == 0
    assert len((await stage.claim(free=10)).runs) == 3


@case
async def a_claim_stops_at_its_most_and_reports_that_more_is_ready(stage: Stage) -> None:
    await stage.add(*(stage.run() for _ in range(5)))
    claimed = await stage.claim(most=3)
    assert len(claimed.runs) == 3
    assert claimed.more


@case
async def runs_begin_in_order_of_time_and_priority_is_worth_a_minute_a_point(stage: Stage) -> None:
    old, new, urgent = stage.run(), stage.run(delay=30 * SECOND), stage.run(delay=50 * SECOND, priority=1)
    await stage.add(new, urgent, old)
    stage.wait(MINUTE)
    assert [run.id for run in (await stage.claim()).runs] == [urgent.id, old.id, new.id]


@case
async def a_retry_is_a_pending_run_that_any_instance_may_begin(stage: Stage) -> None:
    await stage.add(stage.run(max_attempts=3))
    (run,) = (await stage.claim()).runs
    error = ErrorInfo("ValueError", "no", "trace")
    assert await stage.end(
        run, "pending", why="retry", error=error, ready_at=stage.at + HOUR, attempt="failed"
    )
    found = await stage.kept(run.id)
    assert (found.state, found.attempt, found.ready_at) == ("pending", 1, stage.at + HOUR)
    assert [(past.number, past.state, past.error) for past in found.attempts] == [(1, "failed", error)]
    assert not (await stage.claim()).runs
    stage.wait(HOUR)
    (run,) = (await stage.claim()).runs
    assert (run.attempt, run.late) == (2, 0)


@case
async def a_snooze_spends_no_attempt(stage: Stage) -> None:
    await stage.add(stage.run())
    (run,) = (await stage.claim()).runs
    await stage.end(run, "pending", why="snooze", ready_at=stage.at, spent=False, attempt="snoozed")
    (run,) = (await stage.claim()).runs
    assert run.attempt == 1


@case
async def a_run_ends_once(stage: Stage) -> None:
    await stage.add(stage.run())
    (run,) = (await stage.claim()).runs
    assert await stage.end(run, "failed", why="first")
    assert not await stage.end(run, "succeeded", result="2")
    assert (await stage.kept(run.id)).why == "first"


@case
async def each_of_many_runs_that_end_at_once_has_its_own_outcome(stage: Stage) -> None:
    keyed = (stage.run(), stage.run(key="kept", key_ttl=HOUR), stage.run(key="free"))
    await stage.add(*keyed, *(stage.run() for _ in range(37)))
    begun = (await stage.claim(free=100)).runs
    gone, plain, with_result, failed = begun[0], begun[1:20], begun[20:30], begun[30:]
    await stage.end(gone, "failed", why="before")
    stage.wait(SECOND)
    held: dict[int, bool] = {}

    async def end(run: RunRecord, state: str = "succeeded", **more: Any) -> None:
        held[run.id] = await stage.end(run, state, **more)

    async with anyio.create_task_group() as group:  # the instance holds all of these,
        for run in plain[:10]:
            group.start_soon(end, run)
        for run in with_result:
            group.start_soon(partial(end, run, result='"value"'))
        for run in failed:
            group.start_soon(partial(end, run, "failed", why="no"))
    async with anyio.create_task_group() as group:  # and all but one of these
        for run in (gone, *plain[10:]):
            group.start_soon(end, run)
    assert [run for run in begun if not held[run.id]] == [gone]
    found = {run.id: await stage.kept(run.id) for run in begun}
    assert (found[gone.id].state, found[gone.id].why) == ("failed", "before")
    assert {(found[run.id].state, found[run.id].result) for run in plain} == {("succeeded", None)}
    assert {(found[run.id].state, found[run.id].result) for run in with_result} == {("succeeded", '"value"')}
    assert {(found[run.id].state, found[run.id].why) for run in failed} == {("failed", "no")}
    assert {found[run.id].finished_at for run in begun[1:]} == {stage.at}
    again = await stage.add(stage.run(key="kept"), stage.run(key="free"))
    assert [one.created for one in again] == [False, True]


@case
async def a_pending_run_is_cancelled_at_once(stage: Stage) -> None:
    run = stage.run(delay=HOUR)
    await stage.add(run)
    cancelled, ended = await stage.store.cancel(run.id, "cancelled", stage.now)
    assert ended
    assert (cancelled.state, cancelled.why, cancelled.finished_at) == ("cancelled", "cancelled", stage.at)
    assert not (await stage.store.cancel(run.id, "cancelled", stage.now)).ended
    stage.wait(HOUR)
    assert not (await stage.claim()).runs
    assert await stage.store.cancel(12345, "cancelled", stage.now) == (None, False)


@case
async def a_running_runs_cancel_is_requested_and_wins_over_a_retry(stage: Stage) -> None:
    await stage.add(stage.run(max_attempts=3))
    (run,) = (await stage.claim()).runs
    cancelled, ended = await stage.store.cancel(run.id, "cancelled", stage.now)
    assert (cancelled.state, ended) == ("running", False)
    await stage.end(run, "pending", why="retry", ready_at=stage.at, attempt="failed")
    found = await stage.kept(run.id)
    assert (found.state, found.why, run.state) == ("cancelled", "cancelled", "cancelled")


@case
async def a_pending_run_can_be_moved_and_a_running_one_cannot(stage: Stage) -> None:
    run = stage.run(delay=HOUR)
    await stage.add(run)
    moved = await stage.store.move(run.id, stage.at, True, stage.now)
    assert (moved.state, moved.due) == ("pending", stage.at)
    assert len((await stage.claim()).runs) == 1
    assert (await stage.store.move(run.id, stage.at + HOUR, True, stage.now)).state == "running"


@case
async def runs_of_unknown_jobs_are_left_to_other_instances(stage: Stage) -> None:
    await stage.add(stage.run("job"), stage.run("other"))
    assert [run.job for run in (await stage.claim(jobs=("other",))).runs] == ["other"]


@case
async def runs_are_found_by_each_of_their_fields(stage: Stage) -> None:
    first, second = stage.run(tags=("x",)), stage.run("other", delay=HOUR, key="k", tags=("y", "x"))
    await stage.add(first, second)
    (began,) = (await stage.claim()).runs

    async def ids(**query: Any) -> list[int]:
        return [run.id for run in await stage.store.runs(RunQuery(**query))]

    assert await ids() == [second.id, first.id]
    assert await ids(limit=1) == [second.id]
    assert await ids(job="job") == await ids(states=("running",)) == [first.id]
    assert await ids(states=("running", "pending")) == await ids(tag="x") == [second.id, first.id]
    assert await ids(key="k") == await ids(tag="y") == await ids(start=stage.at + 1) == [second.id]
    assert await ids(end=stage.at) == await ids(before=(second.due, second.id)) == [began.id]
    assert await ids(origin="manual") == await ids(schedule="s") == []
    assert await ids(ids=(first.id,)) == await ids(ids=(first.id, first.id, 1)) == [first.id]
    assert await ids(ids=(first.id, second.id)) == [second.id, first.id]
    assert (
        await ids(ids=(first.id, second.id), job="other")
        == await ids(ids=(second.id,), key="k")
        == [second.id]
    )
    assert await ids(ids=(first.id,), job="other") == await ids(ids=(1,)) == await ids(ids=()) == []
    assert await ids(ids=(first.id, second.id), limit=1) == [second.id]


# ── limits ──────────────────────────────────────────────────────────────────────────────────────────


@case
async def a_limit_bounds_the_running_runs_and_the_others_follow_in_order(stage: Stage) -> None:
    runs = [stage.run(delay=number, permits=(Permit("places", 2),)) for number in range(5)]
    await stage.add(*runs)
    stage.wait(SECOND)
    begun = await stage.claim_all()
    assert [run.id for run in begun] == [run.id for run in runs[:2]]
    assert (await stage.kept(runs[4].id)).waits_for == "places"
    order = [run.id for run in begun]
    while begun:
        await stage.end(begun.pop(0))
        begun += await stage.claim_all()
        assert len(begun) <= 2
        order += [run.id for run in begun if run.id not in order]
    assert order == [run.id for run in runs]


@case
async def a_cancelled_run_passes_its_place_on_to_the_next_one(stage: Stage) -> None:
    runs = [stage.run(delay=number, permits=(Permit("places", 1),)) for number in range(3)]
    await stage.add(*runs)
    stage.wait(SECOND)
    (first,) = await stage.claim_all()
    await stage.end(first)
    await stage.store.cancel(runs[1].id, "cancelled", stage.now)
    assert [run.id for run in await stage.claim_all()] == [runs[2].id]


@case
async def a_rate_lets_runs_begin_at_its_pace(stage: Stage) -> None:
    rate = (Permit("rate", 2, 10 * SECOND),)
    runs = [stage.run(delay=number, permits=rate) for number in range(5)]
    await stage.add(*runs)
    stage.wait(SECOND)
    start, began = stage.at, []
    for _ in range(40):
        began += [(run.id, stage.at - start) for run in await stage.claim_all()]
        stage.wait(SECOND)
    assert [id for id, _ in began] == [run.id for run in runs]
    assert [at for _, at in began] == [0, 0, 10 * SECOND, 20 * SECOND, 30 * SECOND]


@case
async def a_run_over_a_dropping_rate_ends_with_a_reason(stage: Stage) -> None:
    rate = (Permit("rate", 1, 10 * SECOND, drop=True),)
    await stage.add(stage.run(permits=rate), over := stage.run(delay=1, permits=rate))
    stage.wait(SECOND)
    claimed = await stage.claim()
    assert len(claimed.runs) == 1
    assert [run.id for run in claimed.dropped] == [over.id]
    found = await stage.kept(over.id)
    assert (found.state, found.why) == ("cancelled", "rate_limited")
