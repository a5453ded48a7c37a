"""How many at once, and how many in a time; who comes first."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta

import anyio
import pytest

from asyncsched import Limit, RateLimit, Retry, Run, Scheduler, current_run
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio

Make = Callable[..., Scheduler]


def most_at_once(runs: list[Run]) -> int:
    """Return how many attempts of these finished runs the ledger says were under way at one instant."""
    steps = []
    for run in runs:
        for attempt in run.attempts:
            steps += [(attempt.started_at, 1), (attempt.finished_at, -1)]
    running = most = 0
    for _, step in sorted(steps):  # at one instant, ends come before beginnings
        running += step
        most = max(most, running)
    return most


def starts(runs: list[Run]) -> list[float]:
    begun = sorted(attempt.started_at for run in runs for attempt in run.attempts)
    return [(moment - begun[0]).total_seconds() for moment in begun]


async def finished(scheduler: Scheduler, job: str) -> list[Run]:
    runs = await scheduler.runs(job=job, limit=10_000)
    assert all(run.finished for run in runs)
    return runs


async def test_max_running_lets_so_many_run_and_the_others_wait(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.job(max_running=3)
    async def job() -> None:
        await anyio.sleep(10)

    async with scheduler:
        for _ in range(10):
            await scheduler.schedule_once(job)
        await virtual_clock.advance(1)
        waiting = await scheduler.runs(state="pending")
        assert {(run.waiting_for, run.ready_at) for run in waiting} == {("running:job", None)}
        assert len(waiting) == 7
        await virtual_clock.advance(60)
        runs = await finished(scheduler, "job")
    assert most_at_once(runs) == 3
    assert starts(runs) == [0] * 3 + [10] * 3 + [20] * 3 + [30]


async def test_a_limit_by_argument_counts_each_value_for_itself(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.job(max_running=Limit(2, by="account"))
    async def job(account: str, what: int) -> None:
        await anyio.sleep(10)

    async with scheduler:
        for number in range(5):
            await scheduler.schedule_once(job, "busy", number)
        quiet = await scheduler.schedule_once(job, "quiet", 0)
        assert (await quiet.wait()).late == timedelta(0)  # it does not wait behind the busy ones
        await virtual_clock.advance(60)
        runs = await finished(scheduler, "job")
    assert (
        most_at_once(
            [run for run in runs if run.args[:1] == ("busy",) or run.kwargs.get("account") == "busy"]
        )
        == 2
    )


async def test_a_retry_or_a_snooze_leaves_its_place_to_others(scheduler: Scheduler) -> None:
    @scheduler.job(max_running=1, retry=Retry(attempts=2, delay=100, jitter="none"))
    async def job(fails: bool) -> str:
        if fails and current_run().attempt == 1:
            raise ValueError
        return "done"

    async with scheduler:
        first = await scheduler.schedule_once(job, True)
        second = await scheduler.schedule_once(job, False)
        assert (await second.wait()).late == timedelta(0)
        assert await first.result() == "done"


async def test_whoever_waits_longest_comes_first_among_equals(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    order: list[int] = []

    @scheduler.job(max_running=1)
    async def job(number: int) -> None:
        order.append(number)
        await anyio.sleep(1)

    async with scheduler:
        for number in range(20):
            await scheduler.schedule_once(job, number)
            await virtual_clock.advance(0.01)
        await virtual_clock.advance(30)
    assert order == list(range(20))


async def test_priority_goes_before_age_but_one_point_is_worth_a_minute(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    order: list[str] = []

    @scheduler.job(max_running=1)
    async def job(name: str) -> None:
        order.append(name)
        await anyio.sleep(300)

    async with scheduler:
        await scheduler.schedule_once(job, "first")
        await virtual_clock.advance(1)
        await scheduler.schedule_once(job, "plain")
        await virtual_clock.advance(100)
        await scheduler.schedule_once(job, "one point, 100 s later", priority=1)
        await scheduler.schedule_once(job, "two points, 100 s later", priority=2)
        await virtual_clock.advance(1300)
    assert order == ["first", "two points, 100 s later", "plain", "one point, 100 s later"]


async def test_nothing_starves_under_a_stream_of_more_important_work(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    begun: dict[str, float] = {}

    @scheduler.job(max_running=1)
    async def job(name: str) -> None:
        begun.setdefault(name, virtual_clock.monotonic())
        await anyio.sleep(1)

    async with scheduler:
        await scheduler.schedule_once(job, "the first, which has the place")
        await scheduler.schedule_once(job, "holds the place")
        await virtual_clock.advance(0.1)
        await scheduler.schedule_once(job, "humble", priority=-5)
        for number in range(20):
            await scheduler.schedule_once(job, f"backlog {number}")
        for number in range(400):  # as much as there is room for, for ever
            await scheduler.schedule_once(job, f"important {number}")
            await virtual_clock.advance(1)
    # When it has waited five minutes longer than those that are served: they wait 20 s each.
    assert begun["humble"] == pytest.approx(5 * 60 + 20, abs=3)


async def test_a_busy_value_does_not_starve_another_and_each_is_served_in_order(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    order: list[tuple[str, int]] = []

    @scheduler.job(max_running=Limit(1, by="account"))
    async def job(account: str, number: int) -> None:
        order.append((account, number))
        await anyio.sleep(1)

    async with scheduler:
        for number in range(50):
            await scheduler.schedule_once(job, "busy", number)
        for number in range(3):
            await scheduler.schedule_once(job, "quiet", number)
        await virtual_clock.advance(3.5)
        quiet = [number for account, number in order if account == "quiet"]
        assert quiet == [0, 1, 2]
        await virtual_clock.advance(60)
    assert [number for account, number in order if account == "busy"] == list(range(50))


async def test_a_rate_lets_its_burst_begin_at_once_and_then_one_each_interval(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.job(rate_limit="5/s")
    async def job() -> None: ...

    async with scheduler:
        for _ in range(10):
            await scheduler.schedule_once(job)
        await virtual_clock.advance(5)
        runs = await finished(scheduler, "job")
    assert starts(runs) == pytest.approx([0] * 5 + [0.2, 0.4, 0.6, 0.8, 1.0])


async def test_a_rate_is_exact_also_for_runs_that_waited_for_something_else(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.job(max_running=1, rate_limit=RateLimit("1/s"))
    async def job(takes: float) -> None:
        await anyio.sleep(takes)

    async with scheduler:
        await scheduler.schedule_once(job, 10)
        for _ in range(5):
            await scheduler.schedule_once(job, 0.1)
        await virtual_clock.advance(30)
        runs = await finished(scheduler, "job")
    begun = starts(runs)
    assert begun[:2] == pytest.approx([0, 10])
    assert all(later - earlier >= 0.999 for earlier, later in itertools.pairwise(begun)), begun
    assert begun[-1] == pytest.approx(14, abs=0.2)  # and none of its time is wasted


async def test_a_rate_by_argument_counts_each_value_for_itself(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.job(rate_limit=RateLimit("1/10s", by="user"))
    async def job(user: str) -> None: ...

    async with scheduler:
        for _ in range(3):
            for user in ("ada", "bob"):
                await scheduler.schedule_once(job, user)
        await virtual_clock.advance(60)
        runs = await finished(scheduler, "job")
    assert starts(runs) == pytest.approx([0, 0, 10, 10, 20, 20])


async def test_one_value_over_its_rate_keeps_no_other_from_a_free_place(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.job(max_running=1, rate_limit=RateLimit("1/min", by="user"))
    async def job(user: str) -> None:
        await anyio.sleep(1)

    async with scheduler:
        for user in ("ada", "ada", "ada", "bob", "bob", "cyd"):
            await scheduler.schedule_once(job, user)
        await virtual_clock.advance(200)
        runs = await finished(scheduler, "job")
    assert starts(runs) == pytest.approx([0, 1, 2, 60, 61, 120], abs=0.01)


async def test_over_the_rate_a_run_is_dropped_with_its_record(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.job(rate_limit=RateLimit("2/min", drop=True))
    async def job() -> None: ...

    async with scheduler:
        handles = [await scheduler.schedule_once(job) for _ in range(4)]
        runs = [await handle.wait(timeout=1) for handle in handles]
    assert [(run.state, run.why) for run in runs] == [("succeeded", "")] * 2 + [
        ("cancelled", "rate_limited")
    ] * 2


async def test_a_slot_that_the_rate_dropped_is_explained(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(seconds=10, rate_limit=RateLimit("1/min", drop=True))
    async def job() -> None: ...

    async with scheduler:
        began = virtual_clock.now()
        await virtual_clock.advance(75)
        verdicts = [
            (await scheduler.explain("job", began + timedelta(seconds=slot))).verdict
            for slot in range(10, 80, 10)
        ]
    assert verdicts == ["ran"] + ["rate_limited"] * 5 + ["ran"]


async def test_a_retry_is_not_dropped_but_waits_for_its_turn(scheduler: Scheduler) -> None:
    @scheduler.job(rate_limit=RateLimit("1/min", drop=True), retry=Retry(attempts=2, delay=0))
    async def job() -> int:
        if current_run().attempt == 1:
            raise ValueError
        return current_run().attempt

    async with scheduler:
        handle = await scheduler.schedule_once(job)
        assert await handle.result() == 2
        run = await handle.status()
    assert run.attempts[1].started_at - run.attempts[0].started_at == timedelta(minutes=1)


async def test_a_cancelled_waiter_lets_the_next_one_go(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.job(max_running=1, rate_limit="1/10s")
    async def job(name: str) -> str:
        return name

    async with scheduler:
        await (await scheduler.schedule_once(job, "first")).result()
        second = await scheduler.schedule_once(job, "second")
        third = await scheduler.schedule_once(job, "third")
        await virtual_clock.advance(5)
        assert await second.cancel()
        assert await third.result(timeout=6) == "third"


async def test_a_waiter_of_a_paused_schedule_lets_the_others_go(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(seconds=10, max_running=1)
    async def job(takes: float = 1) -> None:
        await anyio.sleep(takes)

    async with scheduler:
        await scheduler.schedule_once(job, 15)
        await virtual_clock.advance(11)  # the slot's run waits, then a one-off behind it
        behind = await scheduler.schedule_once(job, 1)
        await scheduler.pause("job")
        assert (await behind.wait(timeout=10)).state == "succeeded"
        assert [run.waiting_for for run in await scheduler.runs(state="pending")] == ["paused"]


async def test_a_wall_clock_step_does_not_shift_a_rate(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.job(rate_limit="1/10s")
    async def job() -> None: ...

    async with scheduler:
        if scheduler._runtime and scheduler._runtime.main.store.durable:
            pytest.skip("a store's time is the clock given, and steps with it")
        for _ in range(3):
            await scheduler.schedule_once(job)
        await virtual_clock.advance(5)
        virtual_clock.step(-3600)
        began = virtual_clock.monotonic()
        await scheduler.schedule_once(job, at=virtual_clock.now())
        while await scheduler.runs(state="pending"):
            await virtual_clock.advance(1)
        assert virtual_clock.monotonic() - began == pytest.approx(25, abs=1.1)


async def test_an_executor_that_is_full_keeps_the_others_pending(
    make_scheduler: Make, virtual_clock: VirtualClock
) -> None:
    from asyncsched.executors import LoopExecutor

    scheduler = make_scheduler(executors={"narrow": LoopExecutor(2)})

    @scheduler.job(executor="narrow")
    async def job() -> None:
        await anyio.sleep(10)

    @scheduler.job()
    async def quick() -> str:
        return "not held up"

    async with scheduler:
        for _ in range(5):
            await scheduler.schedule_once(job)
        await virtual_clock.advance(1)
        assert len(await scheduler.runs(job="job", state="pending")) == 3
        assert await (await scheduler.schedule_once(quick)).result(timeout=1) == "not held up"
        await virtual_clock.advance(30)
        runs = await finished(scheduler, "job")
    assert most_at_once(runs) == 2
    assert starts(runs) == [0, 0, 10, 10, 20]
