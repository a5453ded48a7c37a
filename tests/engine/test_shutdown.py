"""Stop claiming, wait, cancel, release, and leave nothing behind."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsched import Once, Retry, RunHandle, Scheduler, SchedulerClosed, SchedulerStateError, current_run
from asyncsched._core.instants import Now
from asyncsched._core.requests import Claim, Claimed
from asyncsched.events import Event, RunUnsuccessful, RunWaits, SchedulerStopped
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio


class Ears:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.heard.append(event)

    def ends(self) -> list[tuple[str, str, str]]:
        """Return job, state and reason of the runs that did not succeed, in order."""
        return [
            (event.run.job, event.run.state, event.run.why)
            for event in self.heard
            if isinstance(event, RunUnsuccessful | RunWaits)
        ]


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
def scheduler(virtual_clock: VirtualClock, ears: Ears) -> Scheduler:
    return Scheduler(clock=virtual_clock, observers=[ears], shutdown_timeout=10)


async def sleep(seconds: float) -> float:
    await anyio.sleep(seconds)
    return seconds


# ── drain ────────────────────────────────────────────────────────────────────────────────────


async def test_a_draining_scheduler_begins_nothing_and_lets_go_on_what_runs(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    ticks: list[int] = []

    @scheduler.interval(seconds=1)
    async def tick() -> None:
        ticks.append(1)

    async with scheduler:
        running = await scheduler.schedule_once(sleep, 5)
        await virtual_clock.advance(2.5)
        scheduler.drain()
        scheduler.drain()
        pending = await scheduler.schedule_once(sleep, 0)
        await virtual_clock.advance(10)
        assert await running.result() == 5
        assert (await pending.status()).state == "pending"
        assert len(ticks) == 2


async def test_a_scheduler_that_does_not_run_cannot_drain(scheduler: Scheduler) -> None:
    with pytest.raises(SchedulerStateError, match="not been started"):
        scheduler.drain()


# ── what runs ────────────────────────────────────────────────────────────────────────────────


async def test_a_run_that_ends_within_the_shutdown_timeout_succeeds(
    scheduler: Scheduler, virtual_clock: VirtualClock, ears: Ears
) -> None:
    async with scheduler:
        handle = await scheduler.schedule_once(sleep, 8)
        await anyio.sleep(1)
        began = virtual_clock.monotonic()
    assert virtual_clock.monotonic() - began == pytest.approx(7, abs=0.1)
    assert (await handle.status()).state == "succeeded"
    assert ears.ends() == []


async def test_a_longer_one_is_cancelled_when_the_timeout_is_over(
    scheduler: Scheduler, virtual_clock: VirtualClock, ears: Ears
) -> None:
    async with scheduler:
        await scheduler.schedule_once(sleep, 60)
        await anyio.sleep(1)
        began = virtual_clock.monotonic()
    assert virtual_clock.monotonic() - began == pytest.approx(10, abs=0.1)
    assert ears.ends() == [("sleep", "cancelled", "shutdown")]


async def test_one_with_retry_is_released_and_no_attempt_is_spent(scheduler: Scheduler, ears: Ears) -> None:
    scheduler.job(retry=Retry(attempts=2))(sleep)
    async with scheduler:
        handle = await scheduler.schedule_once(sleep, 60)
        await anyio.sleep(1)
    assert ears.ends() == [("sleep", "pending", "shutdown")]
    run = await handle.status()
    assert (run.state, run.attempt) == ("pending", 0)


async def test_one_that_never_began_is_released_too(virtual_clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=virtual_clock, shutdown_timeout=0)
    async with scheduler:
        handle = await scheduler.schedule_once(sleep, 60)
        line = scheduler._running().main
        claimed = await line.engine.turn()
        assert claimed is not None
        line._take(claimed)  # its task has had no turn yet
        if any(live.phase != "new" for live in line.runner.running.values()):
            pytest.skip("from Python 3.12 on, asyncio begins a task at once")
        assert (await handle.status()).state == "running"
    run = await handle.status()
    assert (run.state, run.attempt) == ("pending", 0)


class LateClaims(SqliteStore):
    """A store whose answer to a claim that brought something comes when the scheduler is ending."""

    worker: Any = None

    async def claim(self, claim: Claim, now: Now) -> Claimed:
        claimed = await super().claim(claim, now)
        while claimed.runs and self.worker is not None and not self.worker._closing:
            await anyio.sleep(0.01)
        return claimed


async def test_what_a_claim_brings_after_the_end_is_left_to_others(
    virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    began: list[int] = []

    async def job() -> None:
        began.append(current_run().attempt)

    store = LateClaims(tmp_path / "jobs.db")
    scheduler = Scheduler(store, clock=virtual_clock, shutdown_timeout=1)
    scheduler.job()(job)
    async with scheduler:
        store.worker = scheduler._running().main
        handle = await scheduler.schedule_once(job)
        await anyio.sleep(1)
    assert not began
    store.worker = None
    async with scheduler:
        assert await scheduler.instances() != []
        run = await scheduler.handle(handle.id).wait()
        assert (run.state, run.attempt) == ("succeeded", 1)
        assert len(await scheduler.instances()) == 1
    assert began == [1]


async def test_of_many_that_were_claimed_those_that_never_began_are_released(
    virtual_clock: VirtualClock, tmp_path: Path, ears: Ears, anyio_backend_name: str
) -> None:
    began: list[str] = []

    async def job() -> None:
        began.append(current_run().id)
        scope.cancel()
        await anyio.sleep_forever()

    scheduler = Scheduler(f"sqlite:///{tmp_path / 'jobs.db'}", clock=virtual_clock, observers=[ears])
    scheduler.job()(job)
    with anyio.CancelScope() as scope:
        async with scheduler:
            await scheduler.schedule_many([Once(job) for _ in range(200)])
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.3)  # what was claimed is cancelled from outside before we end it
    ends = Counter(ears.ends())
    assert ends["job", "cancelled", "shutdown"] == len(began)
    assert ends["job", "pending", "shutdown"] == ends.total() - len(began)
    if anyio_backend_name == "trio":  # where our tasks stand under the scope, too
        assert 0 < len(began) < ends.total()


async def test_the_job_may_clean_up_and_its_failure_is_kept(scheduler: Scheduler, ears: Ears) -> None:
    async def careless() -> None:
        try:
            await anyio.sleep(60)
        finally:
            raise RuntimeError("the clean-up failed")

    async with scheduler:
        handle = await scheduler.schedule_once(careless)
        await anyio.sleep(1)
    run = await handle.status()
    assert (run.state, run.why, run.message) == ("cancelled", "shutdown", "the clean-up failed")


async def test_a_job_that_swallows_cancellation_costs_less_than_a_second_more(
    scheduler: Scheduler, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def stubborn() -> None:
        try:
            await anyio.sleep(60)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.9)
            raise

    async with scheduler:
        handle = await scheduler.schedule_once(stubborn)
        await anyio.sleep(0.1)
        began = virtual_clock.monotonic()
    assert virtual_clock.monotonic() - began < 11
    run = await handle.status()
    assert (run.state, run.why) == ("cancelled", "shutdown")
    assert "job 'stubborn' did not end within 0.4 s of its cancellation (shutdown)" in caplog.text


async def test_what_waits_in_memory_is_named_when_it_is_lost(
    scheduler: Scheduler, ears: Ears, caplog: pytest.LogCaptureFixture
) -> None:
    async with scheduler:
        await scheduler.schedule_once(sleep, 0, delay=60)
    assert "1 runs were pending at shutdown and are gone" in caplog.text
    stopped = ears.heard[-1]
    assert isinstance(stopped, SchedulerStopped)
    assert stopped.unfinished == 1


# ── being cancelled ──────────────────────────────────────────────────────────────────────────


async def test_a_cancelled_lifespan_cancels_everything_at_once_and_records_it(
    scheduler: Scheduler, virtual_clock: VirtualClock, ears: Ears
) -> None:
    with anyio.move_on_after(1) as scope:
        async with scheduler:
            await scheduler.schedule_once(sleep, 60)
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert virtual_clock.monotonic() == pytest.approx(1, abs=0.1)
    assert ears.ends() == [("sleep", "cancelled", "shutdown")]


async def test_a_cancellation_while_it_waits_ends_the_patience(
    scheduler: Scheduler, virtual_clock: VirtualClock, ears: Ears
) -> None:
    with anyio.move_on_after(3) as scope:
        async with scheduler:
            await scheduler.schedule_once(sleep, 60)
            await anyio.sleep(1)
    assert scope.cancelled_caught
    assert virtual_clock.monotonic() == pytest.approx(3, abs=0.1)
    assert ears.ends() == [("sleep", "cancelled", "shutdown")]


async def test_a_cancelled_asyncio_task_ends_the_patience_too(
    scheduler: Scheduler, virtual_clock: VirtualClock, ears: Ears, anyio_backend_name: str
) -> None:
    if anyio_backend_name != "asyncio":
        return  # trio has no cancellation but that of scopes

    async def live() -> None:
        async with scheduler:
            await scheduler.schedule_once(sleep, 60)
            await anyio.sleep(1)

    task = asyncio.create_task(live())
    await anyio.sleep(3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert virtual_clock.monotonic() == pytest.approx(3, abs=0.1)
    assert ears.ends() == [("sleep", "cancelled", "shutdown")]


async def test_an_error_in_the_block_comes_through_after_an_orderly_end(
    scheduler: Scheduler, ears: Ears
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with scheduler:
            handle = await scheduler.schedule_once(sleep, 5)
            await anyio.sleep(1)
            raise ZeroDivisionError
    assert (await handle.status()).state == "succeeded"
    assert isinstance(ears.heard[-1], SchedulerStopped)


# ── who waits ────────────────────────────────────────────────────────────────────────────────


async def test_who_waits_for_a_run_hears_of_the_end(scheduler: Scheduler) -> None:
    raised: list[BaseException] = []

    async def wait(handle: RunHandle[Any]) -> None:
        try:
            await handle.result()
        except SchedulerClosed as error:
            raised.append(error)

    async with anyio.create_task_group() as group:
        async with scheduler:
            handle = await scheduler.schedule_once(sleep, 0, delay=60)
            group.start_soon(wait, handle)
            await anyio.sleep(1)
    assert "had not ended when the scheduler was closed" in str(raised[0])


async def test_a_slow_async_observer_has_a_moment_for_its_last_events(virtual_clock: VirtualClock) -> None:
    heard: list[str] = []

    async def slow(event: Event) -> None:
        await anyio.sleep(0.05)
        heard.append(type(event).__name__)

    async with Scheduler(clock=virtual_clock, observers=[slow]):
        pass
    assert heard == ["SchedulerStarted", "SchedulerStopped"]


async def test_an_observer_that_never_returns_holds_nobody_up(virtual_clock: VirtualClock) -> None:
    async def stuck(event: Event) -> None:
        await anyio.sleep_forever()

    async with Scheduler(clock=virtual_clock, observers=[stuck]):
        began = virtual_clock.monotonic()
    assert virtual_clock.monotonic() - began < 1


@pytest.mark.parametrize("anyio_backend", ["trio"])
@pytest.mark.real_time  # it is about what holds up a real shutdown, and takes half a second
async def test_on_trio_what_shields_itself_holds_the_shutdown_up_and_is_named(
    anyio_backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    let_go = anyio.Event()
    scheduler = Scheduler(shutdown_timeout=0)

    async def shielded() -> None:
        with anyio.CancelScope(shield=True):
            await let_go.wait()

    async def end_it() -> None:
        while "tasks do not end" not in caplog.text:
            await anyio.sleep(0.01)
        let_go.set()

    async with anyio.create_task_group() as group:
        async with scheduler:
            await scheduler.schedule_once(shielded)
            await anyio.sleep(0.01)
            group.start_soon(end_it)
    assert "job 'shielded' did not end within 0.4 s of its cancellation (shutdown)" in caplog.text
    assert "1 tasks do not end although they were cancelled, because they shield themselves" in caplog.text


INTERRUPTED = """
import signal
import sys
import anyio
from asyncsched import Once, Scheduler

def hear(event):
    run = getattr(event, "run", None)
    print(type(event).__name__, *(() if run is None else (run.job, run.state)))

scheduler = Scheduler(*sys.argv[2:], observers=[hear])

@scheduler.job()
async def stop():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a loop's own handler would interrupt no job
    signal.raise_signal(signal.SIGINT)

@scheduler.job()
async def sleeper():
    await anyio.sleep_forever()

async def main():
    async with scheduler:
        await scheduler.schedule_many([Once(sleeper), Once(stop), Once(sleeper)])
        await anyio.sleep_forever()

anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.parametrize("url", [(), ("sqlite:///{}/jobs.db",)], ids=["memory", "sqlite"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_interrupt_in_a_job_s_first_step_ends_the_process_in_order(
    backend: str, url: tuple[str, ...], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", INTERRUPTED, backend, *(one.format(tmp_path) for one in url)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    heard = ended.stdout.splitlines()
    assert heard.count("RunStarted sleeper running") == heard.count("RunUnsuccessful sleeper cancelled") == 2
    assert "RunUnsuccessful stop failed" in heard
    assert heard[-1] == "SchedulerStopped"
    assert "KeyboardInterrupt" in ended.stderr
    assert ended.returncode == (-signal.SIGINT if backend == "asyncio" else 1)  # trio raises a group of it
    for trouble in ("never retrieved", "never awaited", "did not end"):
        assert trouble not in ended.stderr
