"""Cases for every store: keys, each of which has one run while it is live."""

from __future__ import annotations

from asyncsched._core.instants import HOUR, MINUTE
from asyncsched.testing.conformance.stage import Case, Stage

CASES: list[Case] = []


def case(function: Case) -> Case:
    """Add a case to the suite."""
    CASES.append(function)
    return function


@case
async def a_key_has_one_run_while_it_is_live(stage: Stage) -> None:
    first = stage.run(key="k")
    await stage.add(first)
    (again,) = await stage.add(stage.run(key="k"))
    assert (again.run.id, again.created, again.conflict) == (first.id, False, False)
    (other,) = await stage.add(stage.run("other", key="k"))
    assert other.created
    (conflict,) = await stage.add(stage.run(key="k", arguments='{"x":2}'))
    assert (conflict.run.id, conflict.conflict) == (first.id, True)
    for run in (await stage.claim()).runs:
        await stage.end(run)
    (new,) = await stage.add(stage.run(key="k"))
    assert new.created


@case
async def a_key_is_kept_for_its_time_after_success_only(stage: Stage) -> None:
    await stage.add(stage.run(key="k", key_ttl=MINUTE))
    (run,) = (await stage.claim()).runs
    await stage.end(run)
    (found,) = await stage.add(stage.run(key="k"))
    assert (found.run.id, found.created) == (run.id, False)
    stage.wait(MINUTE)
    (new,) = await stage.add(stage.run(key="k", key_ttl=MINUTE))
    assert new.created
    (run,) = (await stage.claim()).runs
    await stage.end(run, "failed")
    (new,) = await stage.add(stage.run(key="k"))
    assert new.created


@case
async def an_add_with_replace_moves_the_pending_run_of_a_key(stage: Stage) -> None:
    first = stage.run(key="k", delay=HOUR)
    await stage.add(first)
    (moved,) = await stage.add(stage.run(key="k", delay=MINUTE, arguments='{"x":9}'), replace=True)
    assert (moved.run.id, moved.created, moved.conflict) == (first.id, False, False)
    stage.wait(MINUTE)
    (run,) = (await stage.claim()).runs
    assert (run.id, run.arguments) == (first.id, '{"x":9}')


@case
async def a_running_run_passes_its_key_to_the_run_that_its_own_code_adds(stage: Stage) -> None:
    await stage.add(stage.run(key="k", key_ttl=HOUR))
    (first,) = (await stage.claim()).runs
    following = stage.run(key="k", delay=MINUTE)
    following.key_from = first.id
    (added,) = await stage.add(following)
    assert (added.run.id, added.created) == (following.id, True)
    second = stage.run(key="k", arguments='{"x":2}')
    second.key_from = first.id
    (found,) = await stage.add(second, replace=True)
    assert (found.run.id, found.created) == (following.id, False)
    assert await stage.end(first)
    (found,) = await stage.add(stage.run(key="k", arguments='{"x":2}'))
    assert (found.run.id, found.created, found.conflict) == (following.id, False, False)
    assert (await stage.kept(first.id)).key == "k"


@case
async def a_run_that_has_passed_its_key_on_may_be_retried(stage: Stage) -> None:
    await stage.add(stage.run(key="k", max_attempts=2))
    (first,) = (await stage.claim()).runs
    following = stage.run(key="k", delay=HOUR)
    following.key_from = first.id
    await stage.add(following)
    await stage.end(first, "pending", ready_at=stage.at, attempt="failed")
    (again,) = (await stage.claim()).runs
    assert (again.id, again.attempt) == (first.id, 2)
    third = stage.run(key="k")
    third.key_from = first.id
    (found,) = await stage.add(third)
    assert (found.run.id, found.created) == (following.id, False)


@case
async def a_key_is_not_passed_on_by_a_run_that_does_not_hold_it(stage: Stage) -> None:
    await stage.add(stage.run(key="k", key_ttl=HOUR), stage.run(key="other"))
    first, other = (await stage.claim()).runs
    stranger = stage.run(key="k")
    stranger.key_from = other.id
    (found,) = await stage.add(stranger)
    assert (found.run.id, found.created) == (first.id, False)
    await stage.end(first)
    late = stage.run(key="k")
    late.key_from = first.id
    (found,) = await stage.add(late)
    assert (found.run.id, found.created) == (first.id, False)
