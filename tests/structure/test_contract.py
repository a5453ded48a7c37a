"""The call table of the design, row by row: every name, parameter, default and shape as written there."""

from __future__ import annotations

import inspect
import os
import pickle
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import anyio
import pytest

import asyncsched
from asyncsched import (
    AnyOf,
    At,
    ConfigurationError,
    Cron,
    Discard,
    Interval,
    Limit,
    Misfire,
    Once,
    RateLimit,
    Retry,
    RunHandle,
    Scheduler,
    SchedulerClosed,
    Scope,
    Snooze,
    TryAgain,
    UnknownRun,
    UnknownSchedule,
    Window,
)
from asyncsched._core.context import CurrentRun
from asyncsched._core.rules.outcome import RESULT_LIMIT
from asyncsched._core.rules.retention import DEAD_LETTERS, KEPT_PER_SCHEDULE, Bounds
from asyncsched._core.states import OVERLAPS, QUEUE_ALL_LIMIT
from asyncsched._scheduler.options import JobOptions
from asyncsched.executors.loop import LoopExecutor
from asyncsched.executors.process import ProcessExecutor
from asyncsched.executors.thread import ThreadExecutor
from asyncsched.stores.postgres import PostgresStore
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.testing import VirtualClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NONE = inspect.Parameter.empty

DECORATOR = {"jitter": None, "id": None}
ONCE = {
    "kwargs": None, "delay": None, "at": None, "key": None, "key_ttl": 0, "replace": False,
    "priority": None, "tags": (), "connection": None,
}  # fmt: skip

# (call, positional parameters in order, keyword-only ones with their defaults)
CALLS: list[tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]] = [
    (Scheduler, {"store": None}, {
        "namespace": "default", "timezone": "UTC", "executors": None, "role": None, "shutdown_timeout": 10,
        "strict": False, "observers": (), "clock": None, "store_timeout": 5, "defaults": None, "retention": None,
    }),
    (Scheduler.interval, {}, {
        "weeks": 0, "days": 0, "hours": 0, "minutes": 0, "seconds": 0, "start": None, "end": None,
        "immediate": False, **DECORATOR,
    }),
    (Scheduler.cron, {"expression": NONE}, {"timezone": None, "start": None, "end": None, **DECORATOR}),
    (Scheduler.job, {"trigger": None}, DECORATOR),
    (Scheduler.schedule_once, {"func": NONE}, ONCE),
    (Scheduler.schedule_many, {"items": NONE}, {"over": None}),
    (Scheduler.handle, {"run_id": NONE}, {}),
    (Scheduler.add_schedule, {"job": NONE, "trigger": NONE}, {
        "id": None, "args": (), "kwargs": None, "jitter": None, "paused": False, "replace": False,
    }),
    (Scheduler.pause, {"id": NONE, "note": "", "by": ""}, {}),
    (Scheduler.resume, {"id": NONE}, {}),
    (Scheduler.pause_job, {"job": NONE, "note": "", "by": ""}, {}),
    (Scheduler.resume_job, {"job": NONE}, {}),
    (Scheduler.remove, {"id": NONE}, {}),
    (Scheduler.reschedule, {"id": NONE, "trigger": NONE}, {}),
    (Scheduler.run_now, {"id": NONE, "respect_overlap": False}, {}),
    (Scheduler.backfill, {
        "id": NONE, "start": NONE, "end": NONE, "only_missed": True, "dry_run": False,
    }, {}),
    (Scheduler.map, {"func": NONE, "items": NONE}, {
        "executor": None, "limit": None, "ordered": True, "on_error": "after", "batch": None, "progress": True,
    }),
    (Scheduler.run, {"id": NONE}, {}),
    (Scheduler.health, {}, {}),
    (Scheduler.explain, {"schedule": NONE, "at": NONE}, {}),
    (Scheduler.timeline, {"start": NONE, "end": NONE}, {}),
    (RunHandle.result, {"timeout": None}, {}),
    (RunHandle.wait, {}, {}),
    (RunHandle.status, {}, {}),
    (RunHandle.cancel, {}, {}),
    (RunHandle.reschedule, {}, {"delay": None, "at": None}),
    (RunHandle.updates, {}, {}),
    (CurrentRun.progress, {"done": NONE, "total": None, "message": ""}, {}),
    (CurrentRun.track, {"iterable": NONE}, {}),
    (CurrentRun.extend_timeout, {"seconds": NONE}, {}),
    (CurrentRun.complete_in, {"connection": NONE}, {}),
    (TryAgain, {"delay": None}, {}),
    (Snooze, {"delay": NONE}, {}),
    (Discard, {"reason": "discarded"}, {}),
    (Cron, {"expression": NONE}, {"timezone": "UTC"}),
    (At, {"when": NONE}, {}),
    (Interval.upcoming, {"n": NONE, "after": NONE}, {}),
    (Interval.describe, {}, {}),
    (Retry, {
        "attempts": NONE, "backoff": "exponential", "delay": 1, "max_delay": 3600, "max_elapsed": None,
        "jitter": "full", "on": Exception,
    }, {}),
    (Misfire, {"catch_up": "latest", "grace": None, "limit": 100}, {}),
    (Limit, {"most": NONE, "by": None}, {}),
    (RateLimit, {"rate": NONE, "by": None, "drop": False}, {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "positional", "named"), CALLS, ids=lambda one: getattr(one, "__qualname__", "")
)
def test_a_call_has_the_shape_that_the_design_gives_it(
    call: Callable[..., Any], positional: dict[str, Any], named: dict[str, Any]
) -> None:
    found = inspect.signature(call).parameters
    takes = [p for p in found.values() if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"]
    assert {p.name: p.default for p in takes[: len(positional)]} == positional
    assert [p.name for p in takes[: len(positional)]] == list(positional)
    assert all(p.default is not NONE for p in takes[len(positional) :])  # what is beyond is optional
    assert {name: found[name].default for name in named} == named
    assert all(found[name].kind is inspect.Parameter.KEYWORD_ONLY for name in named)


def test_the_options_are_those_of_the_design() -> None:
    assert set(JobOptions.__annotations__) >= {
        "name", "executor", "timeout", "retry", "overlap", "misfire", "max_running", "rate_limit", "priority",
        "tags", "policies", "pause_after", "each_instance",
    }  # fmt: skip
    assert OVERLAPS == ("skip", "queue_one", "queue_all", "replace", "allow")
    assert QUEUE_ALL_LIMIT == 100


def test_current_run_has_its_members() -> None:
    members = "id job scheduled_for attempt key cancelled progress track extend_timeout complete_in"
    assert all(hasattr(CurrentRun, name) for name in members.split())


def test_the_names_of_the_design_are_public() -> None:
    named = (
        "Scheduler Retry Misfire Limit RateLimit Interval Cron At AnyOf Provide current_run TryAgain Snooze "
        "Discard RunHandle RunFailed RunCancelled RunTimedOut RunLost KeyConflict SchedulerClosed StoreUnavailable"
    )
    assert all(hasattr(asyncsched, name) for name in named.split())


def test_the_defaults_are_those_of_the_design(tmp_path: Any) -> None:
    cpus = os.cpu_count() or 1
    assert LoopExecutor().capacity == 1000
    assert ThreadExecutor().capacity == min(32, cpus + 4)
    assert ProcessExecutor().capacity == cpus
    assert RESULT_LIMIT == 64 * 1024
    day = 86_400 * 1_000_000
    assert (Bounds().age, Bounds().count, KEPT_PER_SCHEDULE, DEAD_LETTERS) == (7 * day, 100_000, 20, 30 * day)
    for store, poll in ((SqliteStore(tmp_path / "a.db"), 0.25), (PostgresStore("postgresql://h/d"), 1)):
        assert (store.beat_every, store.lease, store.poll_every, store.timeout) == (5, 15, poll, 5)
    scheduler = Scheduler()

    @scheduler.job()
    async def job() -> None: ...

    declared = scheduler._registry.get("job")
    assert (declared.attempts, declared.timeout, declared.overlap, declared.misfire) == (
        1,
        None,
        "skip",
        Misfire(),
    )
    assert Misfire("none").grace_micros == 60 * 1_000_000


@pytest.mark.parametrize("trigger", [
    Interval(minutes=5), Interval(hours=1, start=NOW, end=NOW + timedelta(days=1)), At(NOW),
    Cron("0 7 * * mon-fri", timezone="Europe/Paris"), AnyOf(At(NOW), Cron("@daily")),
    Cron("@hourly").except_(date(2026, 1, 2), Window(time(22), time(6))),
], ids=repr)  # fmt: skip
def test_triggers_are_values(trigger: Any) -> None:
    again = pickle.loads(pickle.dumps(trigger))
    assert again == trigger and hash(again) == hash(trigger) and repr(again) == repr(trigger)
    assert again.upcoming(3, NOW) == trigger.upcoming(3, NOW)
    assert trigger.describe()
    with pytest.raises((AttributeError, TypeError)):
        trigger.other = 1


def test_decorators_return_the_function_untouched() -> None:
    scheduler = Scheduler()

    async def job() -> None: ...

    assert scheduler.interval(seconds=1)(job) is job
    assert scheduler.cron("@daily", id="daily")(job) is job
    assert scheduler.job()(job) is job


class EverySeven:
    """A user's own trigger, without ``previous``."""

    def next(self, after: datetime) -> datetime:
        return after + timedelta(seconds=7)


@pytest.fixture(params=["memory", "sqlite"])
def make(
    request: pytest.FixtureRequest, tmp_path: Any, virtual_clock: VirtualClock
) -> Callable[[], Scheduler]:
    def scheduler() -> Scheduler:
        if request.param == "memory":
            return Scheduler(clock=virtual_clock, strict=True)
        store = SqliteStore(tmp_path / "jobs.db", poll=600, beat=600, lease=1800, timeout=20)
        return Scheduler(store, clock=virtual_clock)

    return scheduler


@pytest.mark.anyio
async def test_a_union_may_hold_a_trigger_of_the_users_own(make: Callable[[], Scheduler]) -> None:
    for _ in range(2):  # the second time, a store has its row already
        scheduler, ran = make(), 0

        @scheduler.job(AnyOf(EverySeven(), Interval(days=300)))
        async def job() -> None:
            nonlocal ran
            ran += 1

        async with scheduler:
            await anyio.sleep(30)
        assert ran >= 3


@pytest.mark.anyio
async def test_a_users_trigger_that_raises_fails_the_start_by_the_name_of_its_schedule(
    make: Callable[[], Scheduler],
) -> None:
    class Broken:
        def next(self, after: datetime) -> datetime:
            raise ValueError("no calendar")

    scheduler = make()

    @scheduler.job(Broken())
    async def report() -> None: ...

    with pytest.raises(
        ConfigurationError, match=r"schedule 'report': its trigger failed: ValueError: no calendar"
    ):
        async with scheduler:
            pass


@pytest.mark.anyio
async def test_a_float_that_is_no_number_comes_back_as_it_was(make: Callable[[], Scheduler]) -> None:
    scheduler = make()

    @scheduler.job()
    async def infinite(x: float) -> float:
        return x

    async with scheduler:
        assert await (await scheduler.schedule_once(infinite, float("inf"))).result() == float("inf")


@pytest.mark.anyio
async def test_a_handle_whose_run_was_pruned_before_it_was_asked_does_not_wait_for_ever(
    make: Callable[[], Scheduler],
) -> None:
    scheduler = make()

    @scheduler.job()
    async def job() -> int:
        return 7

    async with scheduler:
        handle = await scheduler.schedule_once(job)
        await anyio.sleep(1)

        async def gone(run_id: int) -> None:
            return None

        handle._control._worker.store.run = gone  # type: ignore[attr-defined]  # as after eight days
        with anyio.move_on_after(60) as waited:
            try:
                assert await handle.result() == 7  # memory: the handle has the run itself
            except UnknownRun:
                assert handle._control._worker.store.durable  # type: ignore[attr-defined]
        assert not waited.cancelled_caught


@pytest.mark.anyio
async def test_a_handle_after_shutdown_answers_or_says_that_it_is_closed(
    make: Callable[[], Scheduler],
) -> None:
    scheduler = make()

    @scheduler.job()
    async def job() -> int:
        return 7

    async with scheduler:
        handle = await scheduler.schedule_once(job, delay=1000)
    with pytest.raises(SchedulerClosed):
        await handle.result()
    with pytest.raises(SchedulerClosed, match=r"the scheduler has been closed, and its (store|runs)"):
        await handle.reschedule(delay=5)
    if handle._control._worker.store.durable:  # type: ignore[attr-defined]
        for call in (handle.status, handle.cancel, handle.updates().__anext__):
            with pytest.raises(
                SchedulerClosed, match=r"when a scheduler runs again, use its handle\(run_id\)"
            ):
                await call()


@pytest.mark.anyio
async def test_who_asks_by_id_for_what_only_one_instance_knows_is_told_so(
    make: Callable[[], Scheduler],
) -> None:
    scheduler = make()

    @scheduler.job(each_instance=True)
    async def refresh() -> None: ...

    async with scheduler:
        id = (await scheduler.schedule_once(refresh)).id
        for call in (scheduler.handle(id).result, scheduler.handle(id).cancel, lambda: scheduler.run(id)):
            with pytest.raises(
                UnknownRun,
                match="it belongs to an each_instance job or a scope, whose runs are known only to the",
            ):
                await call()


@pytest.mark.anyio
async def test_what_is_no_id_of_a_schedule_is_an_unknown_one(make: Callable[[], Scheduler]) -> None:
    scheduler = make()

    @scheduler.interval(seconds=1)
    async def job() -> None: ...

    async with scheduler:
        for call in (scheduler.run_now, scheduler.remove, scheduler.schedule):
            with pytest.raises(UnknownSchedule, match="give a schedule's id"):
                await call(job)  # type: ignore[arg-type]  # the function is not the id


@pytest.mark.anyio
@pytest.mark.parametrize("error", [SystemExit(1), BaseException("odd")], ids=repr)
async def test_an_observer_that_raises_what_is_no_exception_is_not_fatal(
    error: BaseException, virtual_clock: VirtualClock
) -> None:
    def observer(event: object) -> None:
        raise error

    async def waiting(event: object) -> None:
        raise error

    scheduler = Scheduler(clock=virtual_clock, observers=[observer, waiting])

    @scheduler.interval(seconds=1)
    async def job() -> None: ...

    async with scheduler:
        await anyio.sleep(3.5)
        assert len(await scheduler.runs(state="succeeded")) == 3


@pytest.mark.anyio
async def test_many_are_spread_over_a_stretch_and_a_scope_has_the_same_calls(
    virtual_clock: VirtualClock,
) -> None:
    async def job() -> None: ...

    async with Scheduler(clock=virtual_clock) as scheduler:
        handles = await scheduler.schedule_many([Once(job)] * 4, over=timedelta(seconds=8))
        due = [(await handle.status()).due for handle in handles]
        assert [at - due[0] for at in due] == [timedelta(seconds=2 * n) for n in range(4)]
        async with scheduler.scope() as scope:
            assert isinstance(scope, Scope)
            await (await scope.schedule_once(job)).wait()
        with pytest.raises(SchedulerClosed):
            await scope.schedule_once(job)
