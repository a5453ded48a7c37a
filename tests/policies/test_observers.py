"""Observers hear events, policies wrap execution; neither can hurt what happens."""

from __future__ import annotations

import logging
import logging.config
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from asyncsched import ConfigurationError, RateLimit, Retry, Run, RunFailed, Scheduler, current_run
from asyncsched.abc import Instant, RunRecord
from asyncsched.events import (
    Event,
    RunFinished,
    RunStarted,
    RunSucceeded,
    RunUnsuccessful,
    RunWaits,
    SchedulePaused,
    SchedulerStarted,
    SchedulerStopped,
    SlotsSkipped,
)
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio

Make = Callable[..., Scheduler]
Call = Callable[[Any], Awaitable[Any]]


class Ear:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.heard.append(event)

    def kinds(self) -> list[type[Event]]:
        return [type(event) for event in self.heard]

    def finished(self) -> list[Run]:
        return [event.run for event in self.heard if isinstance(event, RunFinished)]


_where: ContextVar[str] = ContextVar("where", default="nowhere")


class Counter(Ear):
    """Hears of runs by their records, and of all else by events."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[tuple[str, str, str, int]] = []

    def hear(self, kind: type[Event], run: RunRecord, at: Instant) -> None:
        self.records.append((kind.__name__, run.job, run.state, at - run.due))
        if kind is RunWaits:
            raise LookupError("an observer that fails")


async def test_an_observer_may_hear_of_runs_by_their_records(
    make_scheduler: Make, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    counter, ear = Counter(), Ear()
    scheduler = make_scheduler(observers=[counter, ear])

    @scheduler.job(retry=Retry(attempts=2, delay=1, jitter="none"))
    async def flaky() -> str:
        if current_run().attempt == 1:
            raise ConnectionError
        return "done"

    async with scheduler:
        handle = await scheduler.schedule_once(flaky, delay=1)
        await virtual_clock.advance(3)
        assert await handle.result() == "done"

    assert counter.records == [
        ("RunStarted", "flaky", "running", 0),
        ("RunWaits", "flaky", "pending", 0),
        ("RunStarted", "flaky", "running", 1_000_000),
        ("RunSucceeded", "flaky", "succeeded", 1_000_000),
    ]
    assert counter.kinds() == [SchedulerStarted, SchedulerStopped]
    assert ear.kinds() == [SchedulerStarted, RunStarted, RunWaits, RunStarted, RunSucceeded, SchedulerStopped]
    assert [run.result for run in ear.finished()] == ["done"]
    assert caplog.text.count("failed at RunWaits; it is kept") == 1


async def test_events_are_heard_in_the_context_of_the_scheduler(make_scheduler: Make) -> None:
    heard: list[tuple[str, str]] = []
    scheduler = make_scheduler(observers=[lambda event: heard.append((type(event).__name__, _where.get()))])

    @scheduler.job(retry=Retry(attempts=2, delay=1))
    async def job() -> None:
        _where.set("the job")
        if current_run().attempt == 1:
            raise ValueError

    @scheduler.interval(hours=1)
    async def hourly() -> None: ...

    _where.set("the scheduler")
    async with scheduler:
        _where.set("a caller")
        await (await scheduler.schedule_once(job)).result()
        await scheduler.pause("hourly")
    kinds = {kind for kind, _ in heard}
    assert kinds >= {"RunStarted", "RunWaits", "RunSucceeded", "SchedulePaused", "SchedulerStopped"}
    assert {where for _, where in heard} == {"the scheduler"}


async def test_an_observer_hears_the_life_of_a_run(make_scheduler: Make) -> None:
    ear = Ear()
    scheduler = make_scheduler(observers=[ear])

    @scheduler.job(retry=Retry(attempts=2, delay=1))
    async def job() -> None:
        if current_run().attempt == 1:
            raise ValueError

    async with scheduler:
        await (await scheduler.schedule_once(job)).wait()
    assert ear.kinds() == [
        SchedulerStarted, RunStarted, RunWaits, RunStarted, RunSucceeded, SchedulerStopped,
    ]  # fmt: skip
    waits = next(event for event in ear.heard if isinstance(event, RunWaits))
    assert (waits.run.state, waits.run.why, waits.run.error_type) == ("pending", "retry", "ValueError")


async def test_every_end_is_heard_exactly_once_whatever_brought_it(
    make_scheduler: Make, virtual_clock: VirtualClock
) -> None:
    ear = Ear()
    scheduler = make_scheduler(observers=[ear])

    @scheduler.job(timeout=5, rate_limit=RateLimit("4/h", drop=True))
    async def job(how: str) -> None:
        if how == "fails":
            raise ValueError
        if how == "hangs":
            await anyio.sleep_forever()

    @scheduler.interval(seconds=10, overlap="replace", retry=Retry(attempts=2, delay=100, jitter="none"))
    async def replaced() -> None:
        raise ValueError

    async with scheduler:
        for how in ("works", "fails", "hangs"):
            await scheduler.schedule_once(job, how)
        pending = await scheduler.schedule_once(job, "works", delay=50)
        running = await scheduler.schedule_once(job, "hangs")
        dropped = await scheduler.schedule_once(job, "works")
        await virtual_clock.advance(1)
        await pending.cancel()
        await running.cancel()
        await pending.cancel()
        await virtual_clock.advance(30)
        outcomes = sorted((run.job, run.state, run.why) for run in ear.finished())
        recorded = await scheduler.runs(state=("succeeded", "failed", "timed_out", "cancelled"))
        assert sorted(run.id for run in ear.finished()) == sorted(run.id for run in recorded)
        assert (await dropped.status()).why == "rate_limited"
    assert outcomes == [
        ("job", "cancelled", "cancelled"), ("job", "cancelled", "cancelled"), ("job", "cancelled", "rate_limited"),
        ("job", "failed", ""), ("job", "succeeded", ""), ("job", "timed_out", ""),
        ("replaced", "cancelled", "replaced"), ("replaced", "cancelled", "replaced"),
    ]  # fmt: skip


async def test_skipped_slots_and_pauses_are_heard(make_scheduler: Make, virtual_clock: VirtualClock) -> None:
    ear = Ear()
    scheduler = make_scheduler(observers=[ear])

    @scheduler.interval(seconds=10, pause_after=2)
    async def job() -> None:
        await anyio.sleep(15)
        raise ValueError

    @scheduler.interval(hours=1, id="other")
    async def other() -> None: ...

    async with scheduler:
        await virtual_clock.advance(100)
        await scheduler.pause("other", "by hand", "ada")
    skipped = [event for event in ear.heard if isinstance(event, SlotsSkipped)]
    assert [(event.schedule, event.reason, event.count) for event in skipped] == [("job", "overlap", 1)] * 2
    pauses = [event for event in ear.heard if isinstance(event, SchedulePaused)]
    assert [(event.schedule, event.note, event.by) for event in pauses] == [
        ("job", "paused after 2 failures in a row", "asyncsched"), ("other", "by hand", "ada"),
    ]  # fmt: skip


async def test_slots_skipped_by_the_hundred_make_a_line_a_minute_and_none_is_left_out(
    make_scheduler: Make, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    ear = Ear()
    scheduler = make_scheduler(observers=[ear])

    @scheduler.interval(seconds=0.5)
    async def slow() -> None:
        await anyio.sleep(1.2)

    @scheduler.interval(minutes=1, overlap="skip")
    async def hanging() -> None:
        await anyio.sleep_forever()

    async with scheduler:
        await virtual_clock.advance(150)
        await scheduler.pause("slow")
        await virtual_clock.advance(200)
        lines = [record.getMessage() for record in caplog.records if "got no run" in record.getMessage()]
        assert [line.split()[2] for line in lines if "'slow'" in line] == ["its", "80", "80", "39"]
    lines = [record.getMessage() for record in caplog.records if "got no run: overlap" in record.getMessage()]
    said = sum(int(found[1]) if (found := re.search(r"(\d+) slots", line)) else 1 for line in lines)
    assert said == sum(event.count for event in ear.heard if isinstance(event, SlotsSkipped))
    assert len(lines) < 12


async def test_an_observer_hears_only_what_it_wants(make_scheduler: Make) -> None:
    class Failures(Ear):
        wants = (RunUnsuccessful,)

    ear = Failures()
    scheduler = make_scheduler(observers=[ear])

    @scheduler.job()
    async def job(fails: bool) -> None:
        if fails:
            raise ValueError

    async with scheduler:
        for fails in (False, True, False):
            await (await scheduler.schedule_once(job, fails)).wait()
    assert ear.kinds() == [RunUnsuccessful]


async def test_an_observer_that_fails_is_named_in_the_log_and_never_fatal(
    make_scheduler: Make, caplog: pytest.LogCaptureFixture
) -> None:
    ear = Ear()

    def broken(event: Event) -> None:
        raise RuntimeError("no")

    async def broken_too(event: Event) -> None:
        raise RuntimeError("no")

    scheduler = make_scheduler(observers=[broken, broken_too, ear])

    @scheduler.job()
    async def job() -> str:
        return "done"

    async with scheduler:
        assert await (await scheduler.schedule_once(job)).result() == "done"
    named = [record.getMessage() for record in caplog.records if record.name == "asyncsched.observer"]
    assert sum("broken at" in line for line in named) == sum("broken_too at" in line for line in named) >= 3
    assert ear.kinds() == [SchedulerStarted, RunStarted, RunSucceeded, SchedulerStopped]


async def test_an_async_observer_may_be_slow_and_what_it_misses_is_counted(
    make_scheduler: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncsched._engine.event_bus.QUEUE", 10)
    heard: list[Event] = []

    async def slow(event: Event) -> None:
        await anyio.sleep(0.001)
        heard.append(event)

    scheduler = make_scheduler(observers=[slow])

    @scheduler.job()
    async def job() -> None: ...

    async with scheduler:
        handles = [await scheduler.schedule_once(job) for _ in range(100)]
        for handle in handles:
            await handle.wait()
    lines = [record.getMessage() for record in caplog.records if record.name == "asyncsched.observer"]
    assert any("too slow: events are dropped" in line for line in lines)
    missed = next(int(line.split(" events in all")[0].split()[-1]) for line in lines if "in all" in line)
    assert len(heard) + missed == 2 * 100 + 2


@pytest.mark.real_time  # a blocked loop is a matter of the machine's own time
@pytest.mark.blocking_ok
async def test_an_observer_that_blocks_is_named_in_the_log(
    make_scheduler: Make, caplog: pytest.LogCaptureFixture
) -> None:
    def blocks(event: Event) -> None:
        if isinstance(event, RunSucceeded):
            time.sleep(0.08)

    scheduler = make_scheduler(clock=None, observers=[blocks])

    @scheduler.job()
    async def job() -> None: ...

    async with scheduler:
        await (await scheduler.schedule_once(job)).wait()
    (line,) = [r.getMessage() for r in caplog.records if r.name == "asyncsched.observer"]
    assert "blocks" in line and "blocked the event loop for" in line and "RunSucceeded" in line


async def test_what_the_end_of_the_process_cut_off_is_a_warning(
    make_scheduler: Make, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = make_scheduler(shutdown_timeout=1)

    @scheduler.job()
    async def long() -> None:
        await anyio.sleep(60)

    async with scheduler:
        await scheduler.schedule_once(long)
        await anyio.sleep(0.1)
    (line,) = [r for r in caplog.records if r.name == "asyncsched.job"]
    assert line.levelname == "WARNING" and line.getMessage().endswith("of job 'long' was cancelled: shutdown")


async def test_a_timeout_is_told_in_one_line(make_scheduler: Make, caplog: pytest.LogCaptureFixture) -> None:
    scheduler = make_scheduler()

    @scheduler.job(timeout=1)
    async def slow() -> None:
        await anyio.sleep(60)

    async with scheduler:
        await (await scheduler.schedule_once(slow)).wait()
    (line,) = [r.getMessage() for r in caplog.records if r.name == "asyncsched.job"]
    assert line.endswith(
        "of job 'slow' timed out: TimeoutError: the attempt did not end within its timeout of 1 s"
    )


# ── policies ─────────────────────────────────────────────────────────────────────────────────


class Say:
    """Writes down when it begins and ends."""

    def __init__(self, name: str, said: list[str]) -> None:
        self.name = name
        self.said = said

    def wrap(self, call: Call) -> Call:
        async def wrapped(run: Any) -> Any:
            self.said.append(f"{self.name} {run.job} {run.attempt}")
            try:
                return await call(run)
            finally:
                self.said.append(f"{self.name} ends")

        return wrapped


async def test_policies_wrap_every_attempt_the_first_outermost(scheduler: Scheduler) -> None:
    said: list[str] = []

    @scheduler.job(policies=[Say("outer", said), Say("inner", said)], retry=Retry(attempts=2, delay=0))
    async def job() -> str:
        said.append("job")
        if current_run().attempt == 1:
            raise ValueError
        return "done"

    async with scheduler:
        assert await (await scheduler.schedule_once(job)).result() == "done"
    assert said == [
        "outer job 1", "inner job 1", "job", "inner ends", "outer ends",
        "outer job 2", "inner job 2", "job", "inner ends", "outer ends",
    ]  # fmt: skip


async def test_a_policy_may_change_the_value_or_swallow_the_failure(scheduler: Scheduler) -> None:
    class Default:
        def wrap(self, call: Call) -> Call:
            async def wrapped(run: Any) -> Any:
                try:
                    return await call(run)
                except ValueError:
                    return "default"

            return wrapped

    @scheduler.job(policies=[Default()])
    async def job() -> str:
        raise ValueError

    async with scheduler:
        assert await (await scheduler.schedule_once(job)).result() == "default"


async def test_a_policy_that_raises_fails_the_run_and_the_scheduler_goes_on(scheduler: Scheduler) -> None:
    class Broken:
        def wrap(self, call: Call) -> Call:
            async def wrapped(run: Any) -> Any:
                raise LookupError("the policy is broken")

            return wrapped

    @scheduler.job(policies=[Broken()])
    async def job() -> None: ...

    @scheduler.job()
    async def other() -> str:
        return "fine"

    async with scheduler:
        with pytest.raises(RunFailed, match="the policy is broken"):
            await (await scheduler.schedule_once(job)).result()
        assert await (await scheduler.schedule_once(other)).result() == "fine"


async def test_a_policy_that_returns_nonsense_when_called_fails_the_run_by_name(scheduler: Scheduler) -> None:
    class Nonsense:
        def wrap(self, call: Call) -> Any:
            return lambda run: 42

        def __repr__(self) -> str:
            return "<Nonsense>"

    @scheduler.job(policies=[Nonsense()])
    async def job() -> None: ...

    async with scheduler:
        run = await (await scheduler.schedule_once(job)).wait()
    assert run.state == "failed"
    assert "job 'job': its policies (<Nonsense>) returned 42" in run.message


@pytest.mark.parametrize("broken", [lambda call: 1 / 0, lambda call: 42, lambda call: None])
async def test_a_policy_that_cannot_wrap_fails_the_start_with_one_clear_error(
    scheduler: Scheduler, broken: Callable[[Any], Any]
) -> None:
    class Policy:
        def wrap(self, call: Call) -> Any:
            return broken(call)

    @scheduler.job(policies=[Policy()])
    async def job() -> None: ...

    with pytest.raises(ConfigurationError, match=r"job 'job': policy .*wrap"):
        async with scheduler:
            pass


async def test_logs_of_the_scheduler_carry_run_id_and_job(
    scheduler: Scheduler, caplog: pytest.LogCaptureFixture
) -> None:
    @scheduler.job()
    async def job() -> None:
        raise ValueError("no")

    async with scheduler:
        with caplog.at_level(logging.ERROR, "asyncsched.job"):
            handle = await scheduler.schedule_once(job)
            await handle.wait()
    (record,) = [r for r in caplog.records if r.name == "asyncsched.job"]
    assert (record.run_id, record.job) == (handle.id, "job")  # type: ignore[attr-defined]
    assert record.exc_info is not None
    assert 'raise ValueError("no")' in caplog.text


@pytest.fixture
def disable_loggers() -> Iterator[Callable[[], None]]:
    """Return what configures logging as many an app does, which disables the loggers that are there already."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("asyncsched")]
    root = (logging.root.level, list(logging.root.handlers))
    yield lambda: logging.config.dictConfig({"version": 1})
    for name in names:
        logging.getLogger(name).disabled = False
    logging.root.level, logging.root.handlers[:] = root


@pytest.mark.parametrize("first", [True, False])
async def test_disabled_loggers_are_told_of_once(
    virtual_clock: VirtualClock, disable_loggers: Callable[[], None], first: bool
) -> None:
    scheduler = Scheduler(clock=virtual_clock)

    @scheduler.job()
    async def broken() -> None:
        raise ValueError

    async def fail_thrice() -> None:
        if first:
            disable_loggers()
        async with scheduler:
            disable_loggers()
            for _ in range(3):
                await (await scheduler.schedule_once(broken)).wait()

    with pytest.warns(RuntimeWarning, match="disable_existing_loggers") as told:
        await fail_thrice()
    assert len(told) == 1


async def test_loggers_that_the_configuration_leaves_alone_are_not_told_of(
    virtual_clock: VirtualClock,
) -> None:
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
    async with Scheduler(clock=virtual_clock):
        pass


async def test_a_run_that_is_cancelled_twice_at_one_moment_is_told_of_once(make_scheduler: Make) -> None:
    ear = Ear()
    scheduler = make_scheduler(observers=[ear])

    @scheduler.job(rate_limit=RateLimit("1/h", drop=True))
    async def seldom() -> None: ...

    async with scheduler:
        handles = [await scheduler.schedule_once(seldom, delay=delay) for delay in (0, 0, 9, 9)]
        async with anyio.create_task_group() as group:
            for handle in handles * 2:
                group.start_soon(handle.cancel)
        for handle in handles:
            await handle.wait()
    assert sorted(run.id for run in ear.finished()) == sorted(handle.id for handle in handles)
