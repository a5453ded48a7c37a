"""``schedule_once`` and its kin: times, keys, batches, and the handle they give."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.to_thread
import pytest

from asyncsched import (
    ArgumentError,
    ConfigurationError,
    KeyConflict,
    NotCancellable,
    Once,
    RateLimit,
    Retry,
    RunCancelled,
    RunFailed,
    RunTimedOut,
    Scheduler,
    SchedulerClosed,
    SchedulerStateError,
    UnknownJob,
    UnknownRun,
    current_run,
)
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio

Make = Callable[..., Scheduler]


@pytest.fixture
def scheduler(make_scheduler: Make) -> Scheduler:
    made = make_scheduler()

    @made.job()
    async def echo(value: str = "", takes: float = 0) -> str:
        await anyio.sleep(takes)
        return value

    @made.job()
    async def broken(message: str) -> None:
        raise ValueError(message)

    return made


# ── times ────────────────────────────────────────────────────────────────────────────────────


async def test_a_delay_counts_from_the_call(scheduler: Scheduler, virtual_clock: VirtualClock) -> None:
    async with scheduler:
        await virtual_clock.advance(7)
        handle = await scheduler.schedule_once("echo", delay=timedelta(minutes=2))
        run = await handle.wait()
        assert run.started_at == run.due == datetime(2026, 1, 1, 0, 2, 7, tzinfo=UTC)
        assert run.late == timedelta(0)


async def test_a_pending_run_can_be_moved_and_one_that_began_cannot(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        began = virtual_clock.now()
        handle = await scheduler.schedule_once("echo", kwargs={"takes": 10}, delay=3600)
        await handle.reschedule(delay=60)
        await handle.reschedule(at=began + timedelta(seconds=30))
        await virtual_clock.advance(31)
        run = await handle.status()
        assert (run.state, run.started_at) == ("running", began + timedelta(seconds=30))
        with pytest.raises(NotCancellable, match="is running"):
            await handle.reschedule(delay=1)
        with pytest.raises(ArgumentError, match="delay= or at="):
            await handle.reschedule()
        await handle.wait()
        with pytest.raises(NotCancellable, match="is succeeded"):
            await handle.reschedule(delay=1)


# ── keys ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_key_is_unique_while_its_run_is_live(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        first = await scheduler.schedule_once("echo", "a", delay=10, key="k")
        again = await scheduler.schedule_once("echo", "a", delay=99, key="k")
        assert (first.created, again.created) == (True, False)
        assert again.id == first.id
        assert (await again.status()).due == virtual_clock.now() + timedelta(seconds=10)
        await first.wait()
        later = await scheduler.schedule_once("echo", "b", delay=10, key="k")
        assert later.created
        assert (await scheduler.run(later.id)).key == "k"
        (found,) = await scheduler.runs(key="k", state=("pending", "running"))
        assert found.id == later.id


async def test_the_same_call_written_otherwise_is_the_same_call(scheduler: Scheduler) -> None:
    async with scheduler:
        first = await scheduler.schedule_once("echo", "a", delay=10, key="k")
        again = await scheduler.schedule_once("echo", kwargs={"value": "a"}, delay=10, key="k")
        assert again.id == first.id


async def test_other_arguments_under_a_key_are_a_conflict(scheduler: Scheduler) -> None:
    async with scheduler:
        first = await scheduler.schedule_once("echo", "a", delay=10, key="k")
        with pytest.raises(KeyConflict, match=r"job 'echo': the key 'k' belongs to run") as caught:
            await scheduler.schedule_once("echo", "b", key="k")
        assert caught.value.run_id == first.id
        await scheduler.schedule_once("broken", "another job's key is another key", key="k")


async def test_a_key_can_outlive_success_but_not_failure(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        done = await scheduler.schedule_once("echo", "a", key="k", key_ttl=60)
        await done.wait()
        await virtual_clock.advance(59)
        found = await scheduler.schedule_once("echo", "a", key="k", key_ttl=60)
        assert (found.id, found.created) == (done.id, False)
        assert await found.result() == "a"
        with pytest.raises(KeyConflict):
            await scheduler.schedule_once("echo", "b", key="k")
        await virtual_clock.advance(1)
        assert (await scheduler.schedule_once("echo", "b", key="k")).created
        failed = await scheduler.schedule_once("broken", "x", key="k", key_ttl=3600)
        await failed.wait()
        assert (await scheduler.schedule_once("broken", "x", key="k", key_ttl=3600)).created


async def test_a_job_that_schedules_itself_under_its_own_key_goes_on(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    created: list[bool] = []

    @scheduler.job()
    async def update(name: str) -> None:
        following = await scheduler.schedule_once(update, name, key=name, delay=3600)
        created.append(following.created)

    async with scheduler:
        first = await scheduler.schedule_once(update, "a", key="a")
        await virtual_clock.advance(5 * 3600 + 1)
        runs = await scheduler.runs(job="update")
        assert [run.state for run in runs] == ["pending"] + ["succeeded"] * 6
        again = await scheduler.schedule_once(update, "a", key="a")
        assert (again.created, again.id) == (False, runs[0].id)
        assert runs[-1].id == first.id
    assert created == [True] * 6


async def test_its_key_goes_on_once_however_often_it_asks(scheduler: Scheduler) -> None:
    @scheduler.job(retry=Retry(attempts=2, delay=0))
    async def update(name: str, left: int) -> list[Any]:
        if not left:
            return []
        one = await scheduler.schedule_once(update, name, 0, key=name, delay=60)
        two = await scheduler.schedule_once(update, name, 0, key=name, delay=60)
        three = await scheduler.schedule_once(update, name, 0, key=name, delay=30, replace=True)
        if current_run().attempt == 1:
            raise OSError("once more")
        return [one.id, two.id, three.id, one.created, two.created]

    async with scheduler:
        result = await (await scheduler.schedule_once(update, "a", 1, key="a")).result()
        assert len(set(result[:3])) == 1
        assert result[3:] == [False, False]  # the first attempt has scheduled it
        assert len(await scheduler.runs()) == 2


async def test_a_job_in_a_thread_and_one_of_many_pass_their_key_on_too(scheduler: Scheduler) -> None:
    @scheduler.job()
    def poll(name: str, left: int) -> bool:
        return left == 0 or scheduler.schedule_once_sync(poll, name, left - 1, key=name, delay=5).created

    @scheduler.job()
    async def several(name: str, left: int) -> list[bool]:
        items = [Once(several, (other, 0), key=other, delay=5) for other in ("a", "b")] if left else []
        return [one.created for one in await scheduler.schedule_many(items)]

    async with scheduler:
        assert await (await scheduler.schedule_once(poll, "a", 1, key="a")).result() is True
        await scheduler.schedule_once(several, "b", 0, key="b", delay=60)
        assert await (await scheduler.schedule_once(several, "a", 1, key="a")).result() == [True, False]


async def test_the_key_of_another_job_or_of_another_run_is_not_taken(scheduler: Scheduler) -> None:
    @scheduler.job()
    async def hold(name: str) -> None:
        await anyio.sleep(60)

    @scheduler.job()
    async def ask(name: str) -> list[bool]:
        held = await scheduler.schedule_once(hold, name, key="a")
        other = await scheduler.schedule_once(ask, "other", key="b")
        return [held.created, other.created]

    async with scheduler:
        await scheduler.schedule_once(hold, "x", key="a")
        await scheduler.schedule_once(ask, "other", key="b", delay=60)
        assert await (await scheduler.schedule_once(ask, "x", key="a")).result() == [False, False]


async def test_debounce_is_a_key_that_replaces_with_a_delay(
    make_scheduler: Make, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler()
    saved: list[tuple[float, str]] = []

    @scheduler.job()
    async def save(document: str, text: str) -> None:
        saved.append((virtual_clock.monotonic(), text))

    async with scheduler:
        for text in ("h", "he", "hel", "hell", "hello"):
            handle = await scheduler.schedule_once(save, "doc", text, key="doc", replace=True, delay=2)
            await virtual_clock.advance(1)
        await virtual_clock.advance(10)
        assert saved == [(6, "hello")]
        assert (await handle.status()).state == "succeeded"
        assert len(await scheduler.runs(job="save")) == 1


async def test_throttle_is_a_rate_that_drops(make_scheduler: Make, virtual_clock: VirtualClock) -> None:
    scheduler = make_scheduler()
    sent: list[float] = []

    @scheduler.job(rate_limit=RateLimit("1/min", by="user", drop=True))
    async def notify(user: str) -> None:
        sent.append(virtual_clock.monotonic())

    async with scheduler:
        for _ in range(100):
            await scheduler.schedule_once(notify, "ada")
            await virtual_clock.advance(1.5)
    assert sent == [0, 60, 120]


async def test_a_running_run_is_not_replaced(scheduler: Scheduler, virtual_clock: VirtualClock) -> None:
    async with scheduler:
        await scheduler.schedule_once("echo", "a", kwargs={"takes": 10}, key="k")
        await virtual_clock.advance(1)
        with pytest.raises(KeyConflict, match="is running"):
            await scheduler.schedule_once("echo", "b", key="k", replace=True)


# ── batches, and other threads ───────────────────────────────────────────────────────────────


async def test_many_are_scheduled_at_once_each_with_its_handle(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        handles = await scheduler.schedule_many(
            [Once("echo", (str(number),), delay=number, tags=("batch",)) for number in range(5)]
        )
        assert [await handle.result() for handle in handles] == ["0", "1", "2", "3", "4"]
        assert virtual_clock.monotonic() == pytest.approx(4)
        assert len(await scheduler.runs(tag="batch")) == 5


async def test_many_are_spread_over_a_stretch_of_time(scheduler: Scheduler) -> None:
    async with scheduler:
        handles = await scheduler.schedule_many(
            [*(Once("echo") for _ in range(3)), Once("echo", delay=5), Once("echo")],
            over=timedelta(minutes=4),
        )
        runs = [await handle.wait() for handle in handles]
    begun = [(run.started_at - runs[0].due).total_seconds() for run in runs if run.started_at]
    assert begun == pytest.approx([0, 60, 120, 5, 180])


async def test_a_conflict_among_many_does_not_undo_the_others(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        await scheduler.schedule_once("echo", "held", delay=100, key="k")
        with pytest.raises(KeyConflict):
            await scheduler.schedule_many(
                [Once("echo", ("1",)), Once("echo", ("2",), key="k"), Once("echo", ("3",), delay=1)]
            )
        await virtual_clock.advance(2)
        assert len(await scheduler.runs(state="succeeded")) == 2


async def test_one_bad_item_means_that_none_is_scheduled(scheduler: Scheduler) -> None:
    async with scheduler:
        with pytest.raises(ArgumentError, match="'echo'"):
            await scheduler.schedule_many([Once("echo"), Once("echo", ("a", 1.0, "too many"))])
        with pytest.raises(ConfigurationError, match="Once"):
            await scheduler.schedule_many([Once("echo"), "echo"])  # type: ignore[list-item]
        assert await scheduler.runs() == []


async def test_a_sync_handler_schedules_from_its_thread(scheduler: Scheduler) -> None:
    async with scheduler:
        handle = await anyio.to_thread.run_sync(lambda: scheduler.schedule_once_sync("echo", "threaded"))
        assert await handle.result() == "threaded"
        with pytest.raises(SchedulerStateError, match=r"await scheduler\.schedule_once"):
            scheduler.schedule_once_sync("echo", "here")


# ── the handle ───────────────────────────────────────────────────────────────────────────────


async def test_a_result_that_takes_too_long_raises_and_leaves_the_run_alone(scheduler: Scheduler) -> None:
    async with scheduler:
        handle = await scheduler.schedule_once("echo", "a", kwargs={"takes": 10})
        with pytest.raises(TimeoutError, match="job 'echo' had not ended after 5 s"):
            await handle.result(timeout=5)
        with pytest.raises(TimeoutError):
            await handle.wait(timeout=timedelta(seconds=1))
        assert await handle.result(timeout=5) == "a"


@pytest.mark.parametrize("timeout", [-1, float("nan"), "soon", True])
async def test_a_timeout_that_is_none_is_refused(scheduler: Scheduler, timeout: object) -> None:
    async with scheduler:
        handle = await scheduler.schedule_once("echo")
        with pytest.raises(ConfigurationError, match="timeout"):
            await handle.result(timeout=timeout)  # type: ignore[arg-type]


async def test_every_way_to_fail_has_its_exception_with_everything_that_is_known(
    make_scheduler: Make,
) -> None:
    scheduler = make_scheduler()

    @scheduler.job(timeout=1)
    async def ends(how: str) -> None:
        if how == "fail":
            raise KeyError("user 7")
        await anyio.sleep_forever()

    async with scheduler:
        failed = await scheduler.schedule_once(ends, "fail")
        with pytest.raises(RunFailed) as one:
            await failed.result()
        assert type(one.value) is RunFailed
        assert (one.value.outcome.state, one.value.error_type) == ("failed", "KeyError")
        assert one.value.message == "'user 7'" and "raise KeyError" in one.value.traceback
        assert isinstance(one.value.__cause__, KeyError)
        assert "job 'ends' failed: KeyError" in str(one.value)

        with pytest.raises(RunTimedOut) as two:
            await (await scheduler.schedule_once(ends, "hang")).result()
        assert (two.value.outcome.state, two.value.error_type) == ("timed_out", "TimeoutError")

        gone = await scheduler.schedule_once(ends, "hang", delay=5)
        await gone.cancel()
        with pytest.raises(RunCancelled, match="cancelled") as three:
            await gone.result()
        assert (three.value.outcome.state, three.value.outcome.why) == ("cancelled", "cancelled")
        # Always the same, from wherever it is asked.
        with pytest.raises(RunFailed) as again:
            await scheduler.handle(failed.id).result()
        assert str(again.value) == str(one.value)


async def test_a_cancelled_pending_run_never_begins(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        handle = await scheduler.schedule_once("echo", delay=10)
        assert await handle.cancel()
        assert await handle.cancel()  # once more: it is cancelled
        await virtual_clock.advance(20)
        run = await handle.status()
        assert (run.state, run.started_at) == ("cancelled", None)


async def test_cancelling_a_running_run_waits_for_its_end(
    make_scheduler: Make, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler()
    cleaned: list[bool] = []

    @scheduler.job(retry=Retry(attempts=3))
    async def job() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2)
            cleaned.append(current_run().cancelled)

    async with scheduler:
        handle = await scheduler.schedule_once(job)
        await virtual_clock.advance(1)
        assert await handle.cancel()
        assert cleaned == [True]
        assert virtual_clock.monotonic() == pytest.approx(3)
        run = await handle.status()
        assert (run.state, run.why, run.attempt) == ("cancelled", "cancelled", 1)


async def test_a_job_may_cancel_its_own_run_in_its_first_step(
    make_scheduler: Make, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler()

    @scheduler.job()
    async def gives_up() -> None:
        await scheduler.handle(current_run().id).cancel()

    async with scheduler:
        began = virtual_clock.now()
        run = await (await scheduler.schedule_once("gives_up")).wait()
        assert (run.state, run.why) == ("cancelled", "cancelled")
        assert virtual_clock.now() - began < timedelta(seconds=1)


async def test_what_has_ended_is_not_cancelled(scheduler: Scheduler) -> None:
    async with scheduler:
        handle = await scheduler.schedule_once("echo", "a")
        await handle.wait()
        assert not await handle.cancel()
        assert await handle.result() == "a"


async def test_a_cancel_that_meets_a_timeout_is_not_lost_to_the_retry(
    make_scheduler: Make, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler()

    @scheduler.job(timeout=5, retry=Retry(attempts=3, delay=3600, jitter="none"))
    async def job() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2)

    async with scheduler:
        handle = await scheduler.schedule_once(job)
        await virtual_clock.advance(6)  # its timeout has come, and it cleans up
        assert await handle.cancel()
        assert virtual_clock.monotonic() == pytest.approx(7)
        run = await handle.status()
        assert (run.state, run.why, run.attempts[0].state) == ("cancelled", "cancelled", "timed_out")


async def test_a_retry_that_waits_can_be_cancelled_and_moved(
    make_scheduler: Make, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler()

    @scheduler.job(retry=Retry(attempts=2, delay=3600, jitter="none"))
    async def job() -> int:
        if current_run().attempt == 1:
            raise ValueError
        return current_run().attempt

    async with scheduler:
        moved, cancelled = await scheduler.schedule_once(job), await scheduler.schedule_once(job)
        await virtual_clock.advance(1)
        await moved.reschedule(delay=5)
        assert await moved.result(timeout=6) == 2
        assert await cancelled.cancel()
        run = await cancelled.status()
        assert (run.state, len(run.attempts)) == ("cancelled", 1)


async def test_several_wait_for_one_run_and_all_hear_of_it(scheduler: Scheduler) -> None:
    heard: list[str] = []

    async def wait(handle: object) -> None:
        heard.append(await handle.result())  # type: ignore[attr-defined]

    async with scheduler:
        handle = await scheduler.schedule_once("echo", "a", delay=5)
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(wait, scheduler.handle(handle.id))
    assert heard == ["a"] * 5


async def test_waiting_can_be_cancelled_without_harm(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    async with scheduler:
        handle = await scheduler.schedule_once("echo", "a", delay=10)
        with anyio.move_on_after(1):
            await handle.result()
        assert await handle.result() == "a"
        assert scheduler._runtime is not None and not scheduler._runtime.environment.waiters.waited_for


async def test_a_handle_of_an_unknown_run_says_so(scheduler: Scheduler) -> None:
    async with scheduler:
        for text in ("nonsense", "", "zz" * 16, "0" * 32, 7):
            with pytest.raises(UnknownRun, match="32 hexadecimal digits"):
                scheduler.handle(text)  # type: ignore[arg-type]
        stranger = scheduler.handle("1" * 32)
        for ask in (stranger.status, stranger.result, stranger.wait, stranger.cancel):
            with pytest.raises(UnknownRun, match="pruned"):
                await ask()
        with pytest.raises(UnknownRun, match="pruned"):
            await stranger.reschedule(delay=1)
        with pytest.raises(UnknownRun):
            await scheduler.run("1" * 32)


async def test_after_the_end_every_call_says_that_it_is_closed(scheduler: Scheduler) -> None:
    with pytest.raises(SchedulerStateError, match="has not been started"):
        await scheduler.schedule_once("echo")
    async with scheduler:
        await scheduler.schedule_once("echo")
    for call in (
        lambda: scheduler.schedule_once("echo"), lambda: scheduler.schedule_many([]), scheduler.runs,
        lambda: scheduler.pause("echo"), lambda: scheduler.run_now("echo"),
    ):  # fmt: skip
        with pytest.raises(SchedulerClosed):
            await call()


# ── bad input ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "options, error, text",
    [
        ({"delay": -1}, ConfigurationError, "job 'echo': delay must not be negative"),
        ({"delay": float("inf")}, ConfigurationError, "job 'echo': delay must be finite"),
        ({"delay": float("nan")}, ConfigurationError, "job 'echo': delay must be finite"),
        ({"delay": True}, ConfigurationError, "job 'echo': delay must be a number"),
        ({"delay": "5"}, ConfigurationError, "job 'echo': delay must be a number"),
        ({"delay": timedelta.max}, ConfigurationError, "100 years"),
        ({"delay": 1, "at": datetime(2026, 1, 2, tzinfo=UTC)}, ArgumentError, "job 'echo': .*not both"),
        ({"at": datetime(2026, 1, 2)}, ConfigurationError, "job 'echo': at is a naive datetime"),
        ({"at": "tomorrow"}, ConfigurationError, "job 'echo': at must be a datetime"),
        ({"key": ""}, ArgumentError, "job 'echo': key"),
        ({"key": 7}, ArgumentError, "job 'echo': key"),
        ({"key": "x" * 501}, ArgumentError, "job 'echo': key"),
        ({"key": "k", "key_ttl": -1}, ConfigurationError, "job 'echo': key_ttl"),
        ({"key_ttl": 5}, ArgumentError, "job 'echo': key_ttl needs a key"),
        ({"replace": True}, ArgumentError, "job 'echo': replace=True needs a key"),
        ({"priority": 1.5}, ConfigurationError, "job 'echo': priority"),
        ({"priority": 1001}, ConfigurationError, "job 'echo': priority"),
        ({"tags": "urgent"}, ConfigurationError, "job 'echo': tags"),
        ({"tags": [1]}, ConfigurationError, "job 'echo': tags"),
        ({"kwargs": {"nobody": 1}}, ArgumentError, "job 'echo' does not take these arguments"),
    ],
)
async def test_what_is_wrong_is_named_with_its_job_and_nothing_is_scheduled(
    scheduler: Scheduler, options: dict[str, object], error: type[Exception], text: str
) -> None:
    async with scheduler:
        with pytest.raises(error, match=text):
            await scheduler.schedule_once("echo", **options)  # type: ignore[call-overload]
        assert await scheduler.runs() == []
        assert await (await scheduler.schedule_once("echo", "goes on")).result() == "goes on"


async def test_an_unknown_job_is_named_with_those_that_there_are(scheduler: Scheduler) -> None:
    async with scheduler:
        with pytest.raises(UnknownJob, match=r"no job 'ecco'; .*broken, echo"):
            await scheduler.schedule_once("ecco")


async def test_a_coroutine_object_in_place_of_its_function_is_refused(scheduler: Scheduler) -> None:
    async def work() -> None: ...

    async with scheduler:
        with pytest.raises((ConfigurationError, UnknownJob), match="coroutine object"):
            await scheduler.schedule_once(work())  # type: ignore[call-overload]
