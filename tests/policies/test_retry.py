"""What follows a failed attempt: retries, snoozes, discards, and what is kept of each."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from asyncsched import Discard, Retry, RunFailed, Scheduler, Snooze, TryAgain, current_run
from asyncsched.testing import VirtualClock
from tests.waiting import PATIENCE

pytestmark = pytest.mark.anyio

Make = Callable[..., Scheduler]


async def test_a_failed_attempt_is_followed_by_another_until_one_succeeds(scheduler: Scheduler) -> None:
    @scheduler.job(retry=Retry(attempts=3, delay=0))
    async def third_time_lucky() -> int:
        if current_run().attempt < 3:
            raise ValueError("not yet")
        return current_run().attempt

    async with scheduler:
        handle = await scheduler.schedule_once(third_time_lucky)
        assert await handle.result() == 3
        run = await handle.status()
    assert [attempt.state for attempt in run.attempts] == ["failed", "failed", "succeeded"]


async def test_when_no_attempt_is_left_the_run_has_failed_with_all_of_them_kept(scheduler: Scheduler) -> None:
    @scheduler.job(retry=Retry(attempts=2, delay=10, jitter="none"))
    async def broken() -> None:
        raise ValueError(f"attempt {current_run().attempt}")

    async with scheduler:
        handle = await scheduler.schedule_once(broken)
        with pytest.raises(RunFailed, match="attempt 2"):
            await handle.result()
        run = await handle.status()
    assert (run.state, run.attempt, run.max_attempts) == ("failed", 2, 2)
    assert [attempt.message for attempt in run.attempts] == ["attempt 1", "attempt 2"]
    assert all('raise ValueError(f"attempt' in attempt.traceback for attempt in run.attempts)
    first, second = run.attempts
    assert second.started_at - first.finished_at == timedelta(seconds=10)


@pytest.mark.parametrize(
    "backoff, waits",
    [("constant", [2, 2, 2, 2]), ("linear", [2, 4, 6, 8]), ("exponential", [2, 4, 8, 10])],
)
async def test_the_wait_grows_by_the_backoff_up_to_its_most(
    scheduler: Scheduler, backoff: str, waits: list[int]
) -> None:
    retry = Retry(attempts=5, backoff=backoff, delay=2, max_delay=10, jitter="none")  # type: ignore[arg-type]

    @scheduler.job(retry=retry)
    async def broken() -> None:
        raise ValueError

    async with scheduler:
        run = await (await scheduler.schedule_once(broken)).wait()
    begun = [attempt.started_at for attempt in run.attempts]
    assert [round((b - a).total_seconds()) for a, b in itertools.pairwise(begun)] == waits


async def test_full_jitter_draws_each_wait_between_nothing_and_its_length(scheduler: Scheduler) -> None:
    @scheduler.job(retry=Retry(attempts=2, delay=10))
    async def broken() -> None:
        raise ValueError

    async with scheduler:
        handles = [await scheduler.schedule_once(broken) for _ in range(40)]
        runs = [await handle.wait() for handle in handles]
    waits = [(run.attempts[1].started_at - run.attempts[0].finished_at).total_seconds() for run in runs]
    assert all(0 <= wait <= 10 for wait in waits)
    assert min(waits) < 4 < 6 < max(waits)
    assert len(set(waits)) > 30


async def test_no_attempt_begins_later_than_max_elapsed_after_the_first(scheduler: Scheduler) -> None:
    @scheduler.job(retry=Retry(attempts=100, backoff="constant", delay=10, jitter="none", max_elapsed=35))
    async def broken() -> None:
        raise ValueError

    async with scheduler:
        run = await (await scheduler.schedule_once(broken)).wait()
    assert run.state == "failed"
    assert [(a.started_at - run.attempts[0].started_at).seconds for a in run.attempts] == [0, 10, 20, 30]


async def test_only_the_chosen_exceptions_are_worth_another_attempt(scheduler: Scheduler) -> None:
    @scheduler.job(retry=Retry(attempts=3, delay=0, on=(KeyError, OSError)))
    async def wrong(kind: str) -> None:
        raise {"key": KeyError, "io": ConnectionError, "value": ValueError}[kind](kind)

    async with scheduler:
        runs = [await (await scheduler.schedule_once(wrong, kind)).wait() for kind in ("key", "io", "value")]
    assert [len(run.attempts) for run in runs] == [3, 3, 1]


async def test_a_function_may_decide_what_is_worth_another_attempt(scheduler: Scheduler) -> None:
    @scheduler.job(retry=Retry(attempts=3, delay=0, on=lambda error: "busy" in str(error)))
    async def wrong(text: str) -> None:
        raise RuntimeError(text)

    async with scheduler:
        runs = [await (await scheduler.schedule_once(wrong, text)).wait() for text in ("busy", "dead")]
    assert [len(run.attempts) for run in runs] == [3, 1]


async def test_a_rule_that_raises_fails_the_run_by_name_and_hurts_nobody_else(scheduler: Scheduler) -> None:
    def rule(error: BaseException) -> bool:
        raise LookupError("the rule is broken")

    @scheduler.job(retry=Retry(attempts=3, on=rule))
    async def wrong() -> None:
        raise ValueError("the job's own")

    async with scheduler:
        run = await (await scheduler.schedule_once(wrong)).wait()
        assert (run.state, run.error_type, run.why) == ("failed", "LookupError", "retry")
        assert "the job's own" in run.traceback
        again = await (await scheduler.schedule_once(wrong)).wait()
        assert again.state == "failed"


async def test_a_retry_waits_as_a_pending_run_that_holds_nothing(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.job(retry=Retry(attempts=2, delay=3600, jitter="none"), max_running=1)
    async def once_broken(name: str) -> str:
        if name == "a" and current_run().attempt == 1:
            raise ValueError
        return name

    async with scheduler:
        first = await scheduler.schedule_once(once_broken, "a")
        await virtual_clock.advance(1)
        run = await first.status()
        assert (run.state, run.why, run.instance) == ("pending", "retry", None)
        assert run.ready_at == virtual_clock.now() + timedelta(seconds=3599)
        # Neither the seat nor the place of max_running is held meanwhile.
        assert await (await scheduler.schedule_once(once_broken, "b")).result(timeout=1) == "b"
        assert await first.result() == "a"


async def test_try_again_begins_the_next_attempt_after_the_delay_it_names(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.job(retry=Retry(attempts=2, delay=1, on=KeyError))
    async def rate_limited() -> datetime:
        if current_run().attempt == 1:
            raise TryAgain(delay=30, reason="429")
        return virtual_clock.now()

    async with scheduler:
        began = virtual_clock.now()
        handle = await scheduler.schedule_once(rate_limited)
        assert await handle.result() == began + timedelta(seconds=30)
        run = await handle.status()
    assert [(a.state, a.message) for a in run.attempts] == [("failed", "429"), ("succeeded", "")]


async def test_try_again_without_a_delay_takes_the_jobs_own_backoff(scheduler: Scheduler) -> None:
    @scheduler.job(retry=Retry(attempts=2, delay=7, jitter="none", on=KeyError))
    async def again() -> None:
        raise TryAgain

    async with scheduler:
        run = await (await scheduler.schedule_once(again)).wait()
    assert run.attempts[1].started_at - run.attempts[0].started_at == timedelta(seconds=7)
    assert run.state == "failed"  # it spends an attempt, and none was left


async def test_snooze_spends_no_attempt(scheduler: Scheduler, virtual_clock: VirtualClock) -> None:
    snoozes = 0

    @scheduler.job()
    async def not_now() -> int:
        nonlocal snoozes
        if snoozes < 5:
            snoozes += 1
            raise Snooze(60)
        return current_run().attempt

    async with scheduler:
        began = virtual_clock.now()
        handle = await scheduler.schedule_once(not_now)
        assert await handle.result() == 1
        assert virtual_clock.now() - began == timedelta(minutes=5)
        run = await handle.status()
    assert [attempt.state for attempt in run.attempts] == ["snoozed"] * 5 + ["succeeded"]


async def test_discard_fails_the_run_at_once_with_its_reason(scheduler: Scheduler) -> None:
    @scheduler.job(retry=Retry(attempts=5))
    async def hopeless() -> None:
        raise Discard("no such user")

    async with scheduler:
        run = await (await scheduler.schedule_once(hopeless)).wait()
        assert (run.state, run.why, len(run.attempts)) == ("failed", "no such user", 1)
        (letter,) = await scheduler.dead_letters(job="hopeless")
    assert letter.id == run.id


YEAR = 365.25 * 86400


@pytest.mark.parametrize(
    "given, waits",
    [
        (-5, 0),
        ("120", 120),
        (" 1.5 ", 1.5),
        (10**10, YEAR),
        (float("inf"), YEAR),
        (timedelta.max, YEAR),
        ("-1", 0),
    ],
)
@pytest.mark.parametrize("kind", [Snooze, TryAgain])
async def test_a_delay_that_came_from_elsewhere_is_clamped(
    scheduler: Scheduler, virtual_clock: VirtualClock, given: Any, waits: float, kind: Any
) -> None:
    asked: list[bool] = []

    @scheduler.job(retry=Retry(attempts=2, delay=7, jitter="none"))
    async def fetch() -> str:
        asked.append(True)
        if len(asked) == 1:
            raise kind(delay=given)
        return "fetched"

    async with scheduler:
        handle = await scheduler.schedule_once(fetch)
        await virtual_clock.advance(0.5)
        run = await handle.status()
        if waits == YEAR:
            assert run.ready_at is not None
            assert abs((run.ready_at - virtual_clock.now()).total_seconds() - waits) < 1
        else:
            run = await handle.wait()
            assert run.attempts[1].started_at - run.attempts[0].finished_at == timedelta(seconds=waits)


@pytest.mark.parametrize("given", [float("nan"), "soon", True, object()])
@pytest.mark.parametrize("kind, waits", [(Snooze, 60), (TryAgain, 7)])
async def test_a_delay_that_cannot_be_read_is_told_and_fails_no_run(
    scheduler: Scheduler, given: Any, kind: Any, waits: float, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[bool] = []

    @scheduler.job(retry=Retry(attempts=2, delay=7, jitter="none"))
    async def fetch() -> str:
        asked.append(True)
        if len(asked) == 1:
            raise kind(delay=given)
        return "fetched"

    async with scheduler:
        run = await (await scheduler.schedule_once(fetch)).wait()
    assert run.state == "succeeded"
    assert run.attempts[1].started_at - run.attempts[0].finished_at == timedelta(seconds=waits)
    assert f"job 'fetch': the delay of its {kind.__name__} is" in caplog.text


@pytest.mark.real_time  # in virtual time no time passes in such a loop, which is an error of its own
async def test_a_run_that_snoozes_without_a_pause_is_warned_of_once(
    make_store: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    scheduler, begun = Scheduler(make_store(), stall_threshold=None), 0

    @scheduler.job()
    async def wait_for_it() -> None:
        nonlocal begun
        begun += 1
        if begun < 120:
            raise Snooze(0)

    async with scheduler:
        await (await scheduler.schedule_once(wait_for_it)).result(PATIENCE)
    assert caplog.text.count("because its Snooze has no delay; give it one") == 1


async def test_a_slot_that_comes_while_a_retry_waits_is_skipped_and_says_so(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(seconds=10, retry=Retry(attempts=2, delay=25, jitter="none"))
    async def flaky() -> None:
        raise ValueError

    async with scheduler:
        began = virtual_clock.now()
        await virtual_clock.advance(41)
        explained = [
            (await scheduler.explain("flaky", began + timedelta(seconds=s))).verdict for s in (10, 20, 30, 40)
        ]
    assert explained == ["ran", "overlap", "overlap", "pending"]


async def test_a_group_of_one_exception_is_told_as_that_exception(scheduler: Scheduler) -> None:
    import anyio

    @scheduler.job(retry=Retry(attempts=2, delay=0, on=KeyError))
    async def grouped() -> None:
        async with anyio.create_task_group():
            raise KeyError("inner")

    async with scheduler:
        handle = await scheduler.schedule_once(grouped)
        with pytest.raises(RunFailed) as caught:
            await handle.result()
    assert caught.value.error_type == "KeyError"
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("again", [Snooze(0), TryAgain(0), ValueError("no")], ids=repr)
async def test_a_run_that_begins_for_ever_at_one_instant_fails_and_lets_virtual_time_go_on(
    scheduler: Scheduler, virtual_clock: VirtualClock, again: Exception
) -> None:
    @scheduler.job(retry=Retry(10**6, delay=0, backoff="constant"))
    async def spinning() -> None:
        raise again

    async with scheduler:
        handle = await scheduler.schedule_once(spinning)
        await virtual_clock.advance(1)
        run = await handle.wait(timeout=1)
    assert (run.state, run.attempt <= 101) == ("failed", True)
    assert "job 'spinning' began 100 times at the same instant" in run.message


async def test_a_run_may_snooze_as_often_as_it_likes_while_time_goes_on(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.job()
    async def patient() -> str:
        if virtual_clock.now() < start + timedelta(milliseconds=300):
            raise Snooze(0.001)
        return "at last"

    start = virtual_clock.now()
    async with scheduler:
        assert await (await scheduler.schedule_once(patient)).result(timeout=1) == "at last"


# ── groups: a task group in a job raises the exceptions of its tasks together ────────────────────


@pytest.mark.parametrize(
    "raised, ends",
    [
        ([ConnectionError("one"), TimeoutError("two")], "succeeded"),
        ([ExceptionGroup("inner", [OSError("one"), OSError("two")]), OSError("three")], "succeeded"),
        ([TryAgain(), TryAgain()], "succeeded"),
        ([TryAgain(), OSError("one")], "succeeded"),
        ([OSError("one"), ValueError("two")], "failed"),
        ([OSError("one"), Discard("no such account")], "failed"),
    ],
)
async def test_a_group_is_retried_if_each_exception_in_it_is_worth_it(
    scheduler: Scheduler, raised: list[Exception], ends: str
) -> None:
    @scheduler.job(retry=Retry(attempts=2, on=OSError, delay=0))
    async def gather() -> None:
        if current_run().attempt == 1:
            raise ExceptionGroup("unhandled errors in a TaskGroup", raised)

    async with scheduler:
        run = await (await scheduler.schedule_once(gather)).wait()
    assert run.state == ends
    assert run.attempts[0].error_type == "ExceptionGroup"


async def test_a_function_decides_on_each_exception_of_a_group(scheduler: Scheduler) -> None:
    seen: list[BaseException] = []

    def is_short(error: BaseException) -> bool:
        seen.append(error)
        return len(str(error)) < 9

    @scheduler.job(retry=Retry(attempts=2, on=is_short, delay=0))
    async def gather() -> None:
        raise ExceptionGroup("both", [OSError("one"), OSError("a long story")])

    async with scheduler:
        run = await (await scheduler.schedule_once(gather)).wait()
    assert (run.state, run.attempt) == ("failed", 1)
    assert [str(error) for error in seen] == ["one", "a long story"]


async def test_a_retry_may_name_the_kind_of_group_itself(scheduler: Scheduler) -> None:
    @scheduler.job(retry=Retry(attempts=2, on=ExceptionGroup, delay=0))
    async def gather() -> None:
        raise ExceptionGroup("both", [OSError("one"), ValueError("two")])

    async with scheduler:
        assert (await (await scheduler.schedule_once(gather)).wait()).attempt == 2


async def test_the_longest_delay_in_a_group_counts(scheduler: Scheduler) -> None:
    @scheduler.job(retry=Retry(attempts=2, delay=3, jitter="none"))
    async def gather() -> None:
        if current_run().attempt == 1:
            raise ExceptionGroup("both", [TryAgain(delay=20), TryAgain(delay=5), TryAgain()])

    async with scheduler:
        first, second = (await (await scheduler.schedule_once(gather)).wait()).attempts
    assert second.started_at - first.finished_at == timedelta(seconds=20)


async def test_a_group_of_snoozes_snoozes_and_one_of_discards_discards(scheduler: Scheduler) -> None:
    @scheduler.job()
    async def both(first: bool) -> None:
        if first and len((await scheduler.run(current_run().id)).attempts) == 0:
            raise ExceptionGroup("both", [Snooze(5), Snooze(30)])
        raise ExceptionGroup("both", [Discard("no such account"), Discard("no such account")])

    async with scheduler:
        run = await (await scheduler.schedule_once(both, True)).wait()
    assert (run.state, run.why, run.attempt) == ("failed", "no such account", 1)
    assert [attempt.state for attempt in run.attempts] == ["snoozed", "failed"]
    assert run.attempts[1].started_at - run.attempts[0].finished_at == timedelta(seconds=30)
