"""How a worker process ends: killed, crashed, retired, or with its parent. Nothing is left of it."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from asyncsched import Scheduler
from asyncsched.executors import ProcessExecutor
from asyncsched.executors.process import WorkerDied
from asyncsched.executors.process.worker import WorkerProcess
from tests.executors import jobs
from tests.executors.conftest import on_every_loop
from tests.executors.helpers import Attempt, attempts, begun, call
from tests.leftovers import eventually
from tests.waiting import PATIENCE, soon

pytestmark = pytest.mark.real_time  # processes end in real time

ROOT = str(Path(__file__).parents[3])


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def pid_in(path: Path) -> int:
    assert eventually(lambda: path.exists() and path.read_text() != "")
    return int(path.read_text())


# Killed.


@pytest.mark.anyio
async def test_cancelling_a_run_kills_its_worker_and_the_next_run_gets_a_new_one(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    async with ProcessExecutor(1) as executor:
        async with attempts() as start:
            attempt = start(call(executor, jobs.nap, 60, str(marker)))
            await begun(marker)
            attempt.cancel()
            await attempt.ended()
        assert isinstance(attempt.error, anyio.get_cancelled_exc_class())
        assert not psutil.pid_exists(pid_in(marker))  # dead and buried when the run has ended
        assert executor.busy == 0
        assert await call(executor, jobs.pid) != pid_in(marker)


@on_every_loop
@pytest.mark.anyio
async def test_a_worker_that_ignores_the_signal_is_killed_after_the_grace(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    async with ProcessExecutor(1, kill_grace=0.1) as executor, attempts() as start:
        attempt = start(call(executor, jobs.stubborn, str(marker)))
        await begun(marker)
        began = time.monotonic()
        attempt.cancel()
        for _ in range(5):  # whoever asks again and again must not get past the grave
            await anyio.sleep(0.01)
            attempt.cancel()
        await attempt.ended()
        assert 0.05 < time.monotonic() - began < PATIENCE
        assert not psutil.pid_exists(pid_in(marker))


@pytest.mark.anyio
async def test_a_worker_that_is_ended_may_clean_up(tmp_path: Path) -> None:
    marker, left = tmp_path / "pid", tmp_path / "left"
    async with ProcessExecutor(1, kill_grace=5) as executor, attempts() as start:
        attempt = start(call(executor, jobs.tidy, str(marker), str(left)))
        await begun(marker)
        attempt.cancel()
        await attempt.ended()
        assert left.read_text() == "cleaned up"


@pytest.mark.anyio
async def test_at_shutdown_no_job_is_said_to_go_on_whose_process_is_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    marker = tmp_path / "pid"
    # Longer than a run has at shutdown until its outcome is recorded, as on a machine that is busy.
    executors = {"process": ProcessExecutor(1, kill_grace=0.6)}
    scheduler = Scheduler(executors=executors, shutdown_timeout=0, stall_threshold=None)
    scheduler.job(executor="process")(jobs.stubborn)
    async with scheduler:
        handle = await scheduler.schedule_once(jobs.stubborn, str(marker))
        await begun(marker)
    run = await handle.status()
    assert (run.state, run.why) == ("cancelled", "shutdown")
    assert "goes on" not in caplog.text
    assert not psutil.pid_exists(pid_in(marker))


@pytest.mark.anyio
async def test_what_a_killed_job_has_started_is_killed_with_it(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    async with ProcessExecutor(1) as executor, attempts() as start:
        attempt = start(call(executor, jobs.with_child, str(marker)))
        await begun(marker)
        attempt.cancel()
        await attempt.ended()
    assert eventually(lambda: not alive(pid_in(marker)))


@pytest.mark.anyio
async def test_a_signal_from_anybody_else_does_not_end_a_worker(tmp_path: Path) -> None:
    # A service manager signals every process of a service; the parent then ends its jobs in order.
    marker = tmp_path / "pid"
    async with ProcessExecutor(1) as executor, attempts() as start:
        attempt = start(call(executor, jobs.nap, 0.3, str(marker)))
        await begun(marker)
        os.kill(pid_in(marker), signal.SIGTERM)
        assert (await attempt.ended()).value == pid_in(marker)


@pytest.mark.anyio
async def test_a_run_cancelled_while_it_waits_costs_no_worker(tmp_path: Path) -> None:
    over = tmp_path / "over"
    async with ProcessExecutor(1) as executor:
        worker = await call(executor, jobs.pid)
        async with attempts() as start:
            first = start(call(executor, jobs.tells_and_waits, str(over)))
            await soon(lambda: executor.busy == 1)
            second = start(call(executor, jobs.pid))
            third = start(call(executor, jobs.pid))
            await soon(lambda: executor.busy == 3)
            second.cancel()
            await second.ended()
            assert isinstance(second.error, anyio.get_cancelled_exc_class())
            over.touch()
            assert (await first.ended()).error is None
            assert (await third.ended()).value == worker


@on_every_loop
@pytest.mark.anyio
async def test_a_storm_of_cancellations_leaves_the_pool_whole() -> None:
    async with ProcessExecutor(2, kill_grace=0.05) as executor:
        async with attempts() as start:
            started: list[Attempt] = []
            for _ in range(30):
                started.append(start(call(executor, jobs.nap, 0.005)))
                await anyio.sleep(0)
            for n, attempt in enumerate(started):
                if n % 3 == 0:
                    attempt.cancel()
                    await anyio.sleep(0.01)
        for n, attempt in enumerate(started):
            assert attempt.value or (
                n % 3 == 0 and isinstance(attempt.error, anyio.get_cancelled_exc_class())
            )
        assert executor.busy == 0
        assert len(executor.workers) <= 2
        assert await call(executor, jobs.add, 1) == 1


@on_every_loop
@pytest.mark.anyio
async def test_runs_that_are_still_there_when_the_executor_closes_end_with_their_workers(
    tmp_path: Path,
) -> None:
    marker = tmp_path / "pid"
    async with attempts() as start:
        async with ProcessExecutor(1) as executor:
            running = start(call(executor, jobs.nap, 60, str(marker)))
            await begun(marker)
            waiting = start(call(executor, jobs.pid))
            await soon(lambda: executor.busy == 2)
    assert isinstance(running.error, WorkerDied)
    assert "is not open" in str(waiting.error)
    assert not psutil.pid_exists(pid_in(marker))


@pytest.mark.anyio
async def test_leaving_the_executor_while_being_cancelled_leaves_nothing() -> None:
    async def short_life() -> None:
        async with ProcessExecutor(1, warm=1) as executor:
            workers.extend(executor.workers)
            await anyio.sleep_forever()

    workers: list[int] = []
    async with attempts() as start:
        attempt = start(short_life())
        await soon(lambda: bool(workers))
        attempt.cancel()
        await anyio.sleep(0.001)
        attempt.cancel()
        await attempt.ended()
        assert isinstance(attempt.error, anyio.get_cancelled_exc_class())
        assert not psutil.pid_exists(workers[0])


@pytest.mark.anyio
async def test_workers_that_were_replaced_are_forgotten() -> None:
    def known() -> int:
        return sum(type(one) is WorkerProcess for one in gc.get_objects())

    before = known()
    async with ProcessExecutor(1, max_tasks_per_worker=1) as executor:
        for _ in range(8):
            await call(executor, jobs.noop)
        await soon(lambda: gc.collect() >= 0 and known() - before <= 3)


# Crashed.


@on_every_loop
@pytest.mark.anyio
async def test_a_segfault_costs_its_run_and_names_the_signal(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    async with ProcessExecutor(2) as executor, attempts() as start:
        neighbour = start(call(executor, jobs.nap, 0.35, str(marker)))
        await soon(marker.exists)
        with pytest.raises(
            WorkerDied, match=r"worker process \d+ died: SIGSEGV while running job 'crash'"
        ) as died:
            await call(executor, jobs.segfault, job="crash")
        assert (died.value.signal, died.value.exitcode) == ("SIGSEGV", None)
        assert "in segfault" in died.value.__notes__[0]  # faulthandler's word
        assert await call(executor, jobs.add, 1) == 1
        assert (await neighbour.ended()).value == pid_in(marker)


@pytest.mark.anyio
async def test_a_hard_exit_names_its_code() -> None:
    async with ProcessExecutor(1) as executor:
        with pytest.raises(WorkerDied, match=r"exited with code 7 while running job 'job'") as died:
            await call(executor, jobs.exit_hard, 7)
        assert (died.value.signal, died.value.exitcode) == (None, 7)
        with pytest.raises(WorkerDied, match="SIGKILL while running job 'job', most likely because memory"):
            await call(executor, jobs.kill_self, signal.SIGKILL)


@pytest.mark.anyio
async def test_an_idle_worker_that_dies_is_told_of_and_replaced(caplog: pytest.LogCaptureFixture) -> None:
    async with ProcessExecutor(1) as executor:
        worker = await call(executor, jobs.pid)
        os.kill(worker, signal.SIGKILL)
        await soon(lambda: executor.workers == [])
        await soon(lambda: "SIGKILL while idle" in caplog.text)
        assert await call(executor, jobs.pid) != worker


@pytest.mark.anyio
async def test_a_system_without_room_for_processes_fails_the_run_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_room(*args: Any, **kwargs: Any) -> None:
        raise BlockingIOError("no room")

    async with ProcessExecutor(1) as executor:
        with monkeypatch.context() as patch:
            patch.setattr(subprocess, "Popen", no_room)
            with pytest.raises(BlockingIOError):
                await call(executor, jobs.noop)
        assert await call(executor, jobs.add, 2) == 2


# With its parent.


@pytest.mark.parametrize("options", [{}, {"use_uvloop": True}], ids=["asyncio", "uvloop"])
def test_workers_end_when_their_loop_ends_without_closing_them(options: dict[str, Any]) -> None:
    async def forgetful() -> int:
        executor = await ProcessExecutor(1).__aenter__()
        return int(await call(executor, jobs.pid))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        worker = anyio.run(forgetful, backend_options=options)
        assert eventually(lambda: gc.collect() >= 0 and not alive(worker))


PARENT = """
    import signal, sys, anyio
    from asyncsched.executors import ProcessExecutor
    from tests.executors import jobs
    from tests.executors.helpers import call

    # A shell gives what it starts in the background a SIGINT that is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    async def main():
        async with ProcessExecutor(2, warm=2) as executor:
            await call(executor, jobs.{job}, {args})

    if __name__ == "__main__":
        anyio.run(main, backend=sys.argv[1])
"""


@contextmanager
def script(tmp_path: Path, text: str, *args: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a program that is killed, and its workers with it, if the test has not ended it."""
    path = tmp_path / "app.py"
    path.write_text(textwrap.dedent(text))
    environment = {**os.environ, "PYTHONPATH": ROOT}
    with subprocess.Popen(
        [sys.executable, str(path), *args],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                for worker in psutil.Process(process.pid).children(recursive=True):
                    worker.kill()
                process.kill()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_workers_end_when_their_parent_is_killed_in_the_middle_of_a_job(tmp_path: Path, backend: str) -> None:
    marker = tmp_path / "pid"
    with script(tmp_path, PARENT.format(job="stubborn", args=repr(str(marker))), backend) as parent:
        running = pid_in(marker)
        workers = [child.pid for child in psutil.Process(parent.pid).children()]
        assert running in workers
        assert len(workers) == 2
        parent.kill()
        parent.wait()
        assert eventually(lambda: not any(alive(worker) for worker in workers))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_ctrl_c_reaches_only_the_parent_which_ends_its_workers(tmp_path: Path, backend: str) -> None:
    marker = tmp_path / "pid"
    text = PARENT.format(job="nap", args=f"60, {str(marker)!r}")
    with script(tmp_path, text, backend, start_new_session=True) as parent:
        running = pid_in(marker)
        os.killpg(parent.pid, signal.SIGINT)
        _, errors = parent.communicate(timeout=PATIENCE)
        assert parent.returncode != 0
        assert "KeyboardInterrupt" in errors
        assert not alive(running)


SCRIPT = """
    import sys, anyio
    from asyncsched.executors import ProcessExecutor
    from tests.executors.helpers import call

    print("main runs as", __name__, flush=True)
    FACTOR = 2

    class Box:
        def __init__(self, value): self.value = value

    def double(box):
        return Box(FACTOR * box.value)

    async def main():
        async with ProcessExecutor(1) as executor:
            executor.check(double, "double")
            box = await call(executor, double, Box(4))
            print("value", box.value, type(box) is Box, flush=True)
            {more}

    {guard}anyio.run(main, backend=sys.argv[1])
"""
GUARD = 'if __name__ == "__main__": '


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_functions_and_classes_of_a_script_work(tmp_path: Path, backend: str) -> None:
    more = 'print("lambda", await call(executor, lambda: FACTOR + 1), flush=True)'
    with script(tmp_path, SCRIPT.format(guard=GUARD, more=more), backend) as parent:
        output, errors = parent.communicate(timeout=PATIENCE)
    assert errors == ""
    assert output.splitlines() == [
        "main runs as __main__",
        "main runs as __mp_main__",  # in the worker, relayed
        "value 8 True",
        "lambda 3",
    ]


def test_a_script_that_is_run_as_a_module_works(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "app.py").write_text(textwrap.dedent(SCRIPT.format(guard=GUARD, more="")))
    done = subprocess.run(
        [sys.executable, "-m", "package.app", "asyncio"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "value 8 True"


WINDOWS = """
    import sys
    for name in ("fcntl", "termios"):
        sys.modules[name] = None
    from asyncsched import Scheduler
    sys.platform = "win32"
    Scheduler().job(executor="process", name="report")(print)
"""


def test_a_process_job_on_windows_is_refused_in_words(tmp_path: Path) -> None:
    with script(tmp_path, WINDOWS) as parent:
        _, errors = parent.communicate(timeout=PATIENCE)
    assert "job 'report': process executors need a POSIX system; use executor=\"thread\"" in errors


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    with script(tmp_path, SCRIPT.format(guard="", more=""), "asyncio") as parent:
        _, errors = parent.communicate(timeout=PATIENCE)
    assert parent.returncode == 1
    assert "job 'job' could not be loaded in a worker process" in errors
    assert errors.splitlines()[-1].count('under if __name__ == "__main__":') == 1, "the remedy is told once"
    assert "a script guards" not in errors
