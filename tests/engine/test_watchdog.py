from __future__ import annotations

import functools
import logging
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

import anyio
import pytest

from asyncsched import Provide, Scheduler
from asyncsched._core.context import _current
from asyncsched._core.errors import ConfigurationError
from asyncsched._core.records import RunRecord
from asyncsched._engine import watchdog as stall
from asyncsched._engine.watchdog import StallWatcher
from asyncsched.events import LoopStalled
from tests.executors.conftest import on_every_loop
from tests.executors.helpers import attempts, new_run
from tests.waiting import PATIENCE, soon

pytestmark = [
    pytest.mark.real_time,  # what is measured is how long the loop really stands still
    pytest.mark.blocking_ok,
    pytest.mark.usefixtures("nothing_is_left_behind"),
]

Told = list[tuple[str | None, str | None, int, str]]


class Watched:
    def __init__(self, **more: Any) -> None:
        self.told: Told = []
        self.watcher = StallWatcher(0.05, on_stall=lambda *what: self.told.append(what), **more)

    async def run(self, func: Callable[[], Awaitable[Any]], job: str) -> str:
        """Run ``func`` as a job that the watcher knows of; return the run's id."""
        run = new_run(job)
        async with attempts() as start:
            start(self._run(run, func))
        return run.id

    async def _run(self, run: Any, func: Callable[[], Awaitable[Any]]) -> None:
        _current.set(run)
        self.watcher.busy()
        try:
            await func()
        finally:
            self.watcher.idle()


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    watched = Watched()
    watched.watcher.start()
    yield watched
    watched.watcher.stop()


samples: list[None] = []
"""An entry for each sample that a watcher has taken."""


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    take = StallWatcher._sample

    def sample(watcher: StallWatcher, into: Any) -> None:
        take(watcher, into)
        samples.append(None)

    monkeypatch.setattr(StallWatcher, "_sample", sample)


async def blocks(enough: int = 8) -> None:
    """Block the loop until so many samples of it were taken, one each 12.5 ms or later."""
    end, before = time.monotonic() + PATIENCE, len(samples)
    while len(samples) - before < enough and time.monotonic() < end:
        time.sleep(0.01)


@on_every_loop
@pytest.mark.anyio
async def test_a_job_that_blocks_the_loop_is_named_with_its_time_and_its_stack(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.watcher.register(functools.partial(blocks), "crunch")
    began = time.monotonic()
    run_id = await watched.run(blocks, "crunch")
    await soon(lambda: bool(watched.told))
    (told,) = [one for one in watched.told if one[0] is not None]  # a busy machine makes stalls of its own
    job, told_id, milliseconds, stack = told
    assert job == "crunch"
    assert told_id == run_id or (sys.version_info < (3, 12) and told_id is None)
    assert 60 < milliseconds < (time.monotonic() - began) * 1000
    assert "time.sleep(0.01)" in stack
    (record,) = [
        one for one in caplog.records if one.name == "asyncsched.stall" and "job 'crunch'" in one.message
    ]
    assert record.levelno == logging.WARNING
    assert (
        f"job 'crunch'{f' (run {told_id})' if told_id else ''} blocked the event loop for" in record.message
    )
    assert "time.sleep(0.01)" in record.message
    assert (
        "anyio.to_thread.run_sync" in record.message
    )  # what a coroutine can do: it may have no executor="thread"
    assert 'executor="thread"' not in record.message
    assert (record.__dict__["job"], record.__dict__["run_id"]) == ("crunch", told_id)


@on_every_loop
@pytest.mark.anyio
async def test_code_outside_any_job_is_told_of_differently_and_seldom(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.watcher.busy()
    for n in range(2):
        await blocks()
        await soon(lambda n=n: len(watched.told) > n)  # type: ignore[misc]
    watched.watcher.idle()
    assert {told[:2] for told in watched.told} == {(None, None)}
    texts = [record.message for record in caplog.records if record.name == "asyncsched.stall"]
    assert len(texts) == 1
    assert "outside any job" in texts[0]


@on_every_loop
@pytest.mark.anyio
async def test_a_loop_that_waits_is_never_woken(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[object] = []
    await watched.run(functools.partial(anyio.sleep, 0.1), "settle in")
    monkeypatch.setattr(watched.watcher._port, "call_soon", calls.append)
    await watched.run(functools.partial(anyio.sleep, 0.2), "sleeper")
    stalls = sum(
        one.name == "asyncsched.stall" for one in caplog.records
    )  # a busy machine's own: asked for, and told
    assert len(calls) <= 1 + 2 * stalls  # one if it looked in the very moment in which the sleeper began


@pytest.mark.anyio
async def test_a_loop_that_is_busy_with_short_pieces_blames_nobody(watched: Watched) -> None:
    longest = 0.0

    async def short() -> None:
        nonlocal longest
        for _ in range(100):
            began = time.monotonic()
            time.sleep(0.002)
            await anyio.sleep(0)
            longest = max(longest, time.monotonic() - began)

    await watched.run(short, "polite")
    await anyio.sleep(0.1)
    assert watched.told == [] or longest > 0.025, longest  # a busy machine makes stalls of its own


@pytest.mark.anyio
async def test_without_runs_the_watcher_sleeps_and_a_run_wakes_it(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stall, "LINGER", 0.05)
    with anyio.fail_after(PATIENCE):
        while "early riser" not in [
            job for job, *_ in watched.told
        ]:  # a busy machine makes stalls of its own
            await soon(lambda: watched.watcher._parked)
            await watched.run(blocks, "early riser")
            await anyio.sleep(0.05)
    await soon(lambda: watched.watcher._parked)


@pytest.mark.anyio
async def test_a_loop_that_does_not_come_back_is_told_of_before_it_does(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stall, "STILL_BLOCKED", 0.1)
    await watched.run(functools.partial(blocks, 20), "endless")
    await soon(lambda: bool(watched.told))
    first, second = [record.message for record in caplog.records if "job 'endless'" in record.message]
    assert "ms and still is" in first
    assert "still is" not in second
    assert [job for job, *_ in watched.told].count("endless") == 1


@pytest.mark.anyio
async def test_a_callback_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fails(*what: object) -> None:
        raise ValueError("no")

    watched = Watched()
    watched.watcher._on_stall = fails
    watched.watcher.start()
    await watched.run(blocks, "crunch")
    await soon(lambda: "callback failed" in caplog.text)
    watched.watcher.stop()


@on_every_loop
@pytest.mark.anyio
async def test_a_watcher_can_be_stopped_at_any_time_and_started_again() -> None:
    watcher = StallWatcher(0.05)
    for _ in range(2):
        watcher.start()
        watcher.start()
        watcher.busy()
        await anyio.sleep(0.04)
        watcher.idle()
        watcher.stop()
        watcher.stop()


@pytest.mark.anyio
async def test_a_watcher_that_is_not_enabled_starts_nothing() -> None:
    watcher = StallWatcher(enabled=False)
    watcher.start()
    watcher.busy()
    assert watcher._thread is None
    watcher.idle()
    watcher.stop()


def test_a_threshold_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="threshold"):
        StallWatcher(0)


def factory() -> int:
    end, before = time.monotonic() + PATIENCE, len(samples)
    while len(samples) - before < 8 and time.monotonic() < end:
        time.sleep(0.01)
    return 7


@on_every_loop
async def test_a_job_is_named_by_what_is_opened_for_it_and_only_its_own_frames_are_shown(
    anyio_backend: object,
) -> None:
    told: list[LoopStalled] = []

    def observer(event: object) -> None:
        if isinstance(event, LoopStalled):
            told.append(event)

    scheduler = Scheduler(observers=[observer], stall_threshold=0.05)

    @scheduler.job()
    async def opened(number: Annotated[int, Provide(factory)]) -> None:
        await soon(lambda: told)

    @scheduler.job()
    async def early() -> None:
        await soon(lambda: told)  # the watcher is awake as long as a run is under way

    async with scheduler:
        await scheduler.schedule_once(early)
        run = await scheduler.schedule_once(opened)
        await run.wait()
    assert (told[0].job, told[0].run_id) == ("opened", run.id)
    files = re.findall(r'File "([^"]+)", line \d+, in (\w+)', told[0].stack)
    assert files == [(__file__, "factory")]


@on_every_loop
@pytest.mark.anyio
async def test_a_run_is_found_by_the_code_that_executes_its_attempt_whatever_that_is_called() -> None:
    run = RunRecord(7, "crunch", 0)

    async def anything() -> None:
        await blocks()

    watched = Watched(run_in=lambda frame: run if frame.f_code is anything.__code__ else None)
    watched.watcher.start()
    watched.watcher.busy()
    await anything()
    await soon(lambda: bool(watched.told))
    watched.watcher.idle()
    watched.watcher.stop()
    assert watched.told[0][:2] == ("crunch", f"{7:032x}")


STOPPED = """
import logging, sys, time, anyio
from asyncsched import Scheduler

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
scheduler = Scheduler(stall_threshold=0.5, shutdown_timeout=0)

@scheduler.job()
async def work() -> None:
    print("begun", flush=True)
    while True:
        time.sleep(0.05)
        await anyio.sleep(0)

async def main() -> None:
    async with scheduler:
        await scheduler.schedule_once(work)
        await anyio.to_thread.run_sync(sys.stdin.read)

anyio.run(main)
"""


def test_a_process_that_was_stopped_blames_no_job() -> None:
    command = [sys.executable, "-c", STOPPED]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "has started" in process.stdout.readline()
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.3)  # it is at work, and watched
        process.send_signal(signal.SIGSTOP)
        time.sleep(2)
        process.send_signal(signal.SIGCONT)
        said = ""
        while "suspended" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        time.sleep(0.2)  # blame would follow at once
        said += process.communicate("")[0]
    assert re.search(r"the process was suspended for \d\.\d s, and its event loop with it", said), said
    # A busy machine may keep it waiting now and then, but not for as long as it was stopped.
    assert all(int(ms) < 1500 for ms in re.findall(r"blocked the event loop for (\d+) ms", said)), said
