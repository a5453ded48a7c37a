"""A host's tests of its own schedules: what ran, what is going to, and letting it happen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import anyio
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from asyncsched import ArgumentError, Cron, Misfire, Once, Retry, RunFailed, Scheduler, SchedulerStateError
from asyncsched.testing import (
    Happened,
    VirtualClock,
    assert_not_scheduled,
    assert_scheduled,
    drain,
    history,
    inline,
)

pytestmark = pytest.mark.anyio

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def scheduler(virtual_clock: VirtualClock) -> Scheduler:
    return Scheduler(clock=virtual_clock)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


async def test_four_days_pass_and_history_tells_what_ran_when_and_how(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    fails = {2, 4}

    @scheduler.cron("0 7 * * *", timezone="Europe/Paris")
    async def digest() -> None:
        await anyio.sleep(600)
        if virtual_clock.now().day in fails:
            raise OSError("no mail today")

    async with scheduler:
        await virtual_clock.advance(timedelta(days=4))
        assert await history(scheduler, digest) == [
            ("digest", datetime(2026, 1, 1, 6, tzinfo=UTC), "succeeded"),
            ("digest", datetime(2026, 1, 2, 6, tzinfo=UTC), "failed"),
            ("digest", datetime(2026, 1, 3, 6, tzinfo=UTC), "succeeded"),
            ("digest", datetime(2026, 1, 4, 6, tzinfo=UTC), "failed"),
        ]


async def test_history_tells_of_slots_without_a_run_and_of_runs_to_come(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(seconds=10)
    async def slow() -> None:
        await anyio.sleep(25)

    @scheduler.job()
    async def later() -> None: ...

    async with scheduler:
        await scheduler.schedule_once(later, delay=500)
        await virtual_clock.advance(36)
        assert await history(scheduler) == [
            Happened("slow", at(10), "succeeded"),
            Happened("slow", at(20), "2 overlap"),
            Happened("later", at(500), "pending"),
        ]
        assert await history(scheduler, later) == [("later", at(500), "pending")]


async def test_assert_scheduled_finds_a_one_off_by_everything_that_was_said(scheduler: Scheduler) -> None:
    @scheduler.job()
    async def send(to: str, subject: str = "Welcome") -> None: ...

    async with scheduler:
        await scheduler.schedule_once(send, "ada", delay=5, key="ada")
        handle = await scheduler.schedule_once(send, "bob", "Hello", delay=60)
        assert (await assert_scheduled(scheduler, "send", key="ada")).args == ("ada",)
        found = await assert_scheduled(scheduler, send, args=["bob"], kwargs={"subject": "Hello"}, at=at(60))
        assert found.id == handle.id
        await assert_scheduled(scheduler, send, kwargs={"to": "ada"}, within=5)
        await assert_scheduled(scheduler, send, at=at(58), within=timedelta(seconds=2))
        for wrong in (
            {"args": ["eve"]},
            {"within": 4},
            {"at": at(59)},
            {"key": "bob"},
            {"kwargs": {"to": "bob"}},
        ):
            await assert_not_scheduled(scheduler, send, **wrong)
            with pytest.raises(AssertionError):
                await assert_scheduled(scheduler, send, **wrong)


async def test_a_failed_assertion_lists_what_is_scheduled(scheduler: Scheduler) -> None:
    @scheduler.job()
    async def send(to: str) -> None: ...

    @scheduler.cron("0 7 * * *")
    async def digest() -> None: ...

    @scheduler.job()
    async def never() -> None: ...

    async with scheduler:
        await scheduler.schedule_once(send, "ada", delay=5, key="k")
        with pytest.raises(AssertionError) as failed:
            await assert_scheduled(scheduler, send, args=["bob"], within=5)
        assert str(failed.value) == (
            "send(to='bob') within 5 s is not scheduled; scheduled are:\n"
            "  send('ada') at 2026-01-01 00:00:05+00:00, pending, key 'k'"
        )
        with pytest.raises(AssertionError) as failed:
            await assert_scheduled(scheduler, never, at=START, key="x")
        assert str(failed.value) == (
            "never with key 'x' at 2026-01-01 00:00:00+00:00 is not scheduled; of this job nothing is; there are:\n"
            "  send('ada') at 2026-01-01 00:00:05+00:00, pending, key 'k'\n"
            "  digest() by schedule 'digest', next at 2026-01-01 07:00:00+00:00"
        )
        with pytest.raises(AssertionError, match=r"send is scheduled: send\('ada'\) at .*, pending"):
            await assert_not_scheduled(scheduler, send)


async def test_an_empty_scheduler_says_that_nothing_is_scheduled(scheduler: Scheduler) -> None:
    @scheduler.job()
    async def never() -> None: ...

    async with scheduler:
        with pytest.raises(AssertionError, match=r"never is not scheduled; nothing is$"):
            await assert_scheduled(scheduler, never)


async def test_the_coming_slots_of_a_schedule_are_scheduled_too(scheduler: Scheduler) -> None:
    @scheduler.job()
    async def report(name: str) -> None: ...

    async with scheduler:
        await scheduler.add_schedule(report, Cron("0 7 * * mon"), id="weekly", args=("week",))
        await assert_scheduled(scheduler, report, at=datetime(2026, 3, 2, 7, tzinfo=UTC))
        await assert_scheduled(scheduler, report, args=["week"], within=timedelta(days=7))
        await assert_not_scheduled(scheduler, report, args=["year"])
        await assert_not_scheduled(scheduler, report, at=datetime(2026, 3, 3, 7, tzinfo=UTC))
        await assert_not_scheduled(scheduler, report, within=timedelta(days=1))
        await scheduler.pause("weekly")
        await assert_not_scheduled(scheduler, report)


async def test_arguments_that_the_job_cannot_take_are_refused(scheduler: Scheduler) -> None:
    @scheduler.job()
    async def send(to: str) -> None: ...

    async with scheduler:
        with pytest.raises(ArgumentError, match="does not take these arguments"):
            await assert_scheduled(scheduler, send, args=["a", "b"])


async def test_drain_runs_what_is_due_and_what_that_schedules(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    @scheduler.job()
    async def first() -> None:
        await anyio.sleep(30)
        await scheduler.schedule_once(second)

    @scheduler.job()
    async def second() -> None: ...

    @scheduler.job(retry=Retry(attempts=3, delay=60, jitter="none"))
    async def failing() -> None:
        raise OSError

    @scheduler.job()
    async def later() -> None: ...

    @scheduler.interval(seconds=1)
    async def often() -> None:
        await anyio.sleep(5)

    async with scheduler:
        await scheduler.schedule_once(later, delay=3600)
        await scheduler.schedule_once(failing)
        await scheduler.schedule_once(first)
        ran = await drain(scheduler)
        assert [(run.job, run.state) for run in ran] == [
            ("failing", "pending"),
            ("first", "succeeded"),
            ("second", "succeeded"),
        ]
        assert virtual_clock.now() == at(30)


@pytest.mark.parametrize("delay", [0, 0.001])
async def test_time_stands_still_while_runs_follow_one_another_without_a_delay(
    scheduler: Scheduler, virtual_clock: VirtualClock, delay: float
) -> None:
    begun: list[datetime] = []

    async def again() -> None:
        begun.append(virtual_clock.now())
        if len(begun) < 200:
            await scheduler.schedule_once(again, delay=delay)

    async with scheduler:
        await scheduler.schedule_once(again)
        await virtual_clock.advance(0.1)
    assert len(begun) == (100 + 1 if delay else 200)
    assert begun[-1] == at(0.1 if delay else 0)


async def test_drain_leaves_what_is_paused_and_looks_at_the_clock_at_once(
    virtual_clock: VirtualClock,
) -> None:
    scheduler = Scheduler(clock=virtual_clock)

    @scheduler.job()
    async def paused() -> None: ...

    @scheduler.cron("@hourly")
    async def hourly() -> None: ...

    async with scheduler:
        await scheduler.pause_job("paused")
        await scheduler.schedule_once(paused)
        await virtual_clock.advance(60)
        assert await drain(scheduler) == []
        virtual_clock.step(3600)
        assert [run.job for run in await drain(scheduler)] == ["hourly"]
        assert virtual_clock.now() == at(3660)


async def test_drain_says_why_nothing_will_run(virtual_clock: VirtualClock) -> None:
    async with Scheduler(clock=virtual_clock, role="off") as scheduler:
        with pytest.raises(SchedulerStateError, match=r"begins no runs.*inline\(scheduler\)"):
            await drain(scheduler)


async def welcome(name: str) -> str:
    await anyio.sleep(5)
    if name == "eve":
        raise PermissionError(name)
    return f"welcome {name}"


@pytest.mark.parametrize("role", ["both", "off", "not started"])
async def test_inline_runs_a_one_off_before_schedule_once_returns(
    virtual_clock: VirtualClock, role: str
) -> None:
    scheduler = Scheduler(clock=virtual_clock, role="off" if role == "off" else None)
    scheduler.job(retry=Retry(attempts=2, delay=10, jitter="none"))(welcome)

    async def check() -> None:
        with inline(scheduler) as ran:
            handle = await scheduler.schedule_once(welcome, "ada", delay=3600)
            assert (await handle.status()).state == "succeeded"
            assert virtual_clock.now() == at(5)
            failed = await scheduler.schedule_once(welcome, "eve")
            with pytest.raises(RunFailed) as caught:
                await failed.result()
            assert isinstance(caught.value.__cause__, PermissionError)
            assert virtual_clock.now() == at(5 + 5 + 10 + 5)
            many = await scheduler.schedule_many([Once(welcome, ("bob",)), Once(welcome, ("cy",))])
            assert [await one.result() for one in many] == ["welcome bob", "welcome cy"]
        assert await handle.result() == "welcome ada"
        assert [(run.args, run.state) for run in ran] == [
            (("ada",), "succeeded"),
            (("eve",), "failed"),
            (("bob",), "succeeded"),
            (("cy",), "succeeded"),
        ]
        assert "schedule_once" not in vars(scheduler)

    if role == "not started":
        await check()
        with pytest.raises(SchedulerStateError, match="has not been started"):
            await scheduler.schedule_once(welcome, "ada")
    else:
        async with scheduler:
            await check()


@pytest.mark.parametrize("role", ["both", "off"])
async def test_inline_jobs_may_schedule_further_ones_and_run_in_threads(
    virtual_clock: VirtualClock, role: str
) -> None:
    scheduler = Scheduler(clock=virtual_clock, role="off" if role == "off" else None)
    order: list[str] = []

    @scheduler.job()
    async def outer() -> None:
        await scheduler.schedule_once(inner, "inner")
        order.append("outer")

    @scheduler.job()
    def inner(word: str) -> None:
        order.append(word)

    async with scheduler:
        with inline(scheduler) as ran:
            async with anyio.create_task_group() as group:
                group.start_soon(scheduler.schedule_once, outer)
                group.start_soon(scheduler.schedule_once, outer)
    assert sorted(order) == ["inner", "inner", "outer", "outer"]
    assert order[0] == "inner"
    assert len(ran) == 4


async def test_inline_keeps_to_strict_arguments(virtual_clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=virtual_clock, strict=True)

    @scheduler.job()
    async def take(value: object) -> None: ...

    with inline(scheduler), pytest.raises(ArgumentError, match="value"):
        await scheduler.schedule_once(take, lambda: None)


@pytest.mark.real_time
def test_a_handler_is_tested_inline_without_a_lifespan() -> None:
    # Real time: Starlette's TestClient brings an event loop of its own.
    scheduler = Scheduler()

    @scheduler.job()
    async def send_email(to: str) -> None: ...

    @scheduler.job()
    def write(line: str) -> None: ...

    app = FastAPI(lifespan=scheduler.lifespan)

    @app.post("/signup", status_code=202)
    async def signup(email: str) -> dict[str, str]:
        return {"run": (await scheduler.schedule_once(send_email, email, delay=5)).id}

    client = TestClient(app)
    with inline(scheduler) as ran:
        assert client.post("/signup?email=ada").status_code == 202
    assert [(run.job, run.args, run.state) for run in ran] == [("send_email", ("ada",), "succeeded")]


@pytest.mark.real_time
def test_a_sync_test_asks_through_the_client_s_portal() -> None:
    # Real time: Starlette's TestClient brings an event loop of its own.
    scheduler = Scheduler(role="off")

    @scheduler.job()
    async def send_email(to: str) -> None: ...

    app = FastAPI(lifespan=scheduler.lifespan)

    @app.post("/signup")
    async def signup(email: str) -> None:
        await scheduler.schedule_once(send_email, email, delay=5)

    with TestClient(app) as client:
        client.post("/signup?email=ada")
        assert client.portal is not None
        client.portal.call(partial(assert_scheduled, scheduler, send_email, args=["ada"], within=6))


def record_of(virtual_clock: VirtualClock, backend: str) -> list[tuple[object, ...]]:
    """Return the history of an hour with chance in it: jitter of retries, equal due times, ids."""
    scheduler = Scheduler(clock=virtual_clock)

    @scheduler.interval(seconds=90, jitter=20, id="one")
    @scheduler.interval(seconds=60, id="other", retry=Retry(attempts=4, delay=5), misfire=Misfire("all"))
    async def flaky() -> None:
        await anyio.sleep(1)
        if virtual_clock.now().second % 3:
            raise OSError

    @scheduler.interval(seconds=30)
    async def spawn() -> None:
        await scheduler.schedule_once(flaky, delay=7)

    async def main() -> list[tuple[object, ...]]:
        async with scheduler:
            await virtual_clock.advance(3600)
            return [
                (run.id, run.job, run.due, run.state, run.attempt, run.started_at, run.finished_at)
                for run in await scheduler.runs(limit=10_000)
            ]

    return virtual_clock.run(main, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_same_seed_gives_the_same_history_with_ids_and_retries(backend: str) -> None:
    one, two = (record_of(VirtualClock(seed=7), backend) for _ in range(2))
    assert len(one) > 150
    if backend == "trio":  # what happens at one instant has no fixed order there
        one, two = ([row[1:4] for row in rows] for rows in (one, two))
        assert sorted(one) == sorted(two)  # type: ignore[type-var]
    else:
        assert one == two
        assert record_of(VirtualClock(seed=8), backend) != one


def test_two_schedulers_of_one_seeded_clock_are_two_instances() -> None:
    clock = VirtualClock(seed=7)

    async def main() -> None:
        async with Scheduler(clock=clock) as one, Scheduler(clock=clock) as two:
            assert (await one.schedule_once(welcome, "a")).id != (await two.schedule_once(welcome, "a")).id

    clock.run(main)
