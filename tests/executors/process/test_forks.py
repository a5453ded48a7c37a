"""Processes that a job starts, and processes that the app starts: what they share with a worker, and their end."""

from __future__ import annotations

import functools
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from asyncsched import Scheduler
from asyncsched.executors import ProcessExecutor
from asyncsched.executors.process import WorkerDied
from tests.executors import forks, jobs
from tests.executors.helpers import attempts, begun, call
from tests.executors.process.test_ends import alive, pid_in, script
from tests.leftovers import eventually

pytestmark = pytest.mark.real_time  # processes end in real time


@pytest.fixture
async def executor() -> AsyncIterator[ProcessExecutor]:
    async with ProcessExecutor(1) as executor:
        yield executor


@contextmanager
def killed_afterwards(marker: Path) -> Iterator[None]:
    """Kill the process that a test lets live."""
    yield
    if alive(pid_in(marker)):
        os.kill(pid_in(marker), signal.SIGKILL)


# A worker dies, and a child of its job lives.


@pytest.mark.parametrize("start", [forks.with_process, forks.with_fork, forks.with_detached_fork])
@pytest.mark.anyio
async def test_a_killed_worker_ends_its_run_at_once_whatever_the_job_has_forked(
    executor: ProcessExecutor, tmp_path: Path, start: Any
) -> None:
    marker = tmp_path / "pid"
    with killed_afterwards(marker), anyio.fail_after(20), pytest.raises(WorkerDied, match="SIGKILL"):
        await call(executor, forks.and_is_killed, start, str(marker))
    assert await call(executor, jobs.add, 1) == 1


@pytest.mark.blocking_ok  # the scheduler joins its watchdog
@pytest.mark.anyio
async def test_an_interval_whose_worker_is_killed_beside_a_forked_child_goes_on(tmp_path: Path) -> None:
    scheduler = Scheduler()
    scheduler.interval(seconds=0.05, executor="process", name="tick")(
        functools.partial(forks.ticks, str(tmp_path))
    )
    with anyio.fail_after(20):
        async with scheduler:
            while len(list(tmp_path.iterdir())) < 4:
                await anyio.sleep(0.02)


# A child of a job has nothing of the worker's.


@pytest.mark.anyio
async def test_a_child_that_a_job_forks_can_be_terminated(executor: ProcessExecutor) -> None:
    assert await call(executor, forks.terminates) == -signal.SIGTERM


@pytest.mark.anyio
async def test_a_forked_child_has_the_usual_handlers_and_hands_its_own_on(executor: ProcessExecutor) -> None:
    assert await call(executor, forks.handlers_of_child_and_grandchild) == [True, True]


@pytest.mark.anyio
async def test_a_pool_that_a_job_opens_closes(executor: ProcessExecutor) -> None:
    with anyio.fail_after(50):
        assert await call(executor, forks.pools, 40) == 40


@pytest.mark.anyio
async def test_what_forked_children_log_is_output_of_the_job(
    executor: ProcessExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with anyio.fail_after(50):
        assert await call(executor, forks.children_log, 3, 300_000) == [0, 0, 0]
    assert sum(record.getMessage().count("x") for record in caplog.records) == 900_000
    assert {record.name for record in caplog.records} == {"asyncsched.job"}


@pytest.mark.anyio
async def test_the_current_run_says_in_a_forked_child_that_it_is_the_parents(
    executor: ProcessExecutor,
) -> None:
    with anyio.fail_after(50):
        answers = await call(executor, forks.children_poll, 8)
    assert len(answers) == 8
    for words in answers:
        assert words.startswith("SchedulerStateError: current_run() belongs to the parent of this process")
    for words in await call(executor, forks.child_reports, job="report"):
        assert words.startswith("report: current_run() belongs to the parent of this process")


@pytest.mark.anyio
async def test_a_child_that_leaves_the_jobs_function_gives_no_second_answer(
    executor: ProcessExecutor,
) -> None:
    worker = await call(executor, jobs.pid)
    assert await call(executor, forks.child_returns_too) == ("from the worker", 0)
    assert await call(executor, jobs.pid) == worker


# The app forks.


@contextmanager
def fork_of_the_app() -> Iterator[None]:
    child = os.fork()
    if not child:
        signal.pause()
        os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.anyio
async def test_a_fork_of_the_app_costs_a_cancelled_job_nothing(tmp_path: Path) -> None:
    marker, left = tmp_path / "pid", tmp_path / "left"
    async with ProcessExecutor(2, kill_grace=10) as executor, attempts() as start:
        await call(executor, jobs.pid)
        attempt = start(call(executor, jobs.tidy, str(marker), str(left)))
        await begun(marker)
        with fork_of_the_app():
            attempt.cancel()
            await attempt.ended()
    assert left.read_text() == "cleaned up"


@pytest.mark.anyio
async def test_a_fork_of_the_app_does_not_delay_the_executors_end() -> None:
    async with ProcessExecutor(1) as executor:
        await call(executor, jobs.pid)
        with fork_of_the_app():
            began = time.monotonic()
            await executor.__aexit__(None, None, None)
            assert time.monotonic() - began < 1.5


# Nothing is left of what a worker has started.


@pytest.mark.parametrize("start", [forks.with_process, forks.with_fork, forks.with_subprocess])
@pytest.mark.anyio
async def test_what_a_job_has_started_ends_with_a_worker_that_dies_by_itself(
    executor: ProcessExecutor, tmp_path: Path, start: Any
) -> None:
    marker = tmp_path / "pid"
    with pytest.raises(WorkerDied, match="exited with code 3"):
        await call(executor, forks.and_exits, start, str(marker))
    assert eventually(lambda: not alive(pid_in(marker)))


@pytest.mark.anyio
async def test_what_a_job_has_started_ends_with_the_executor(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    async with ProcessExecutor(1) as executor:
        await call(executor, forks.with_subprocess, str(marker))
        assert alive(pid_in(marker))
    assert eventually(lambda: not alive(pid_in(marker)))


APP = """
    import os, signal, sys, time, anyio
    from asyncsched.executors import ProcessExecutor
    from tests.executors import forks, jobs
    from tests.executors.helpers import call

    async def main():
        async with ProcessExecutor(1) as executor:
            await call(executor, jobs.noop)
            if "fork" in sys.argv:
                if not os.fork():
                    for fd in (1, 2): os.close(fd)
                    open(sys.argv[1] + ".fork", "w").write(str(os.getpid()))
                    time.sleep(60)
            await call(executor, getattr(forks, sys.argv[2]), forks.with_subprocess, sys.argv[1])

    if __name__ == "__main__":
        anyio.run(main)
"""


@pytest.mark.parametrize("job", [forks.and_sleeps, forks.and_never_lets_go])
@pytest.mark.parametrize("fork", [[], ["fork"]], ids=["", "with a fork of the app"])
def test_what_a_job_has_started_ends_with_an_app_that_is_killed(
    tmp_path: Path, job: Any, fork: list[str]
) -> None:
    marker = tmp_path / "pid"
    with script(tmp_path, APP, str(marker), job.__name__, *fork) as app:
        started = pid_in(marker)
        workers = [child.pid for child in psutil.Process(app.pid).children(recursive=True)]
        assert started in workers
        forked = pid_in(tmp_path / "pid.fork") if fork else 0
        app.kill()
        app.wait()
        try:
            assert eventually(lambda: not any(alive(pid) for pid in workers if pid != forked))
        finally:
            if fork:
                os.kill(forked, signal.SIGKILL)
