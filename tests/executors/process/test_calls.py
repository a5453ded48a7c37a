"""What a worker process does with a call: values, errors, refusals, output, the run it is in."""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsched._core.context import _current
from asyncsched._core.errors import (
    ArgumentError,
    ConfigurationError,
    SchedulerClosed,
    SchedulerStateError,
    Snooze,
)
from asyncsched.executors import ProcessExecutor
from asyncsched.executors.process import RemoteError
from asyncsched.executors.process import calls as packing
from tests.executors import jobs
from tests.executors.conftest import on_every_loop
from tests.executors.helpers import Attempt, Holding, Link, attempts, begun, call, new_run
from tests.waiting import soon

on_one = pytest.mark.only_on("asyncio")
"""What a call carries is the affair of the worker, which knows of no event loop."""

pytestmark = pytest.mark.real_time  # processes work in real time


@pytest.fixture
async def executor() -> AsyncIterator[ProcessExecutor]:
    async with ProcessExecutor(1) as executor:
        yield executor


@pytest.fixture
def without_cloudpickle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)


# Running.


@on_every_loop
@pytest.mark.anyio
async def test_a_function_runs_in_another_process_and_gives_its_value() -> None:
    async with ProcessExecutor(2) as executor:
        assert await call(executor, jobs.add, 1, b=2) == 3
        assert await call(executor, jobs.noop) is None
        worker = await call(executor, jobs.pid)
        assert worker != os.getpid()
        assert executor.workers == [worker]
    assert executor.workers == []


@on_every_loop
@pytest.mark.anyio
async def test_a_hundred_calls_at_once_share_the_workers() -> None:
    async with ProcessExecutor(2) as executor, attempts() as start:
        started = [start(call(executor, jobs.echo, n)) for n in range(100)]
        assert [(await attempt.ended()).value for attempt in started] == list(range(100))
        assert len(executor.workers) <= 2
        assert executor.busy == 0


@pytest.mark.anyio
async def test_large_arguments_and_values_travel_whole() -> None:
    large = os.urandom(3_000_000)
    async with ProcessExecutor(1) as executor:
        assert await call(executor, jobs.echo, large) == large
        assert await call(executor, jobs.echo, b"small") == b"small"


@on_one
@pytest.mark.anyio
async def test_a_worker_sees_the_directory_the_path_and_the_arguments_of_the_parent(
    executor: ProcessExecutor,
) -> None:
    assert await call(executor, jobs.where) == (os.getcwd(), [p or os.getcwd() for p in sys.path], sys.argv)


@on_one
@pytest.mark.anyio
async def test_a_worker_imports_no_more_than_it_needs(executor: ProcessExecutor) -> None:
    # Its start costs four times the CPU otherwise.
    loaded = await call(executor, jobs.loaded)
    scheduler = {f"asyncsched.{name}" for name in ("_scheduler", "_engine", "_backends", "abc", "stores")}
    assert not loaded & {"asyncio", "anyio", "pydantic", "starlette", "croniter", *scheduler}


@on_one
@pytest.mark.anyio
async def test_whatever_can_be_pickled_can_be_called(executor: ProcessExecutor) -> None:
    calls: list[tuple[Any, int, int]] = [
        (functools.partial(jobs.add, b=5), 1, 6),
        (jobs.Box(3).times, 4, 12),
        (jobs.Box(3), 4, 7),
        (lambda a: a + 1, 1, 2),  # by cloudpickle
        (abs, -4, 4),
    ]
    for func, argument, value in calls:
        executor.check(func, "job")
        assert await call(executor, func, argument) == value


@on_one
@pytest.mark.anyio
async def test_the_initializer_runs_once_in_each_worker() -> None:
    async with ProcessExecutor(1, initializer=jobs.initialize, initargs=("blue",)) as prepared:
        worker = await call(prepared, jobs.pid)
        assert await call(prepared, jobs.what_started) == [("blue", worker)]


@on_one
@pytest.mark.anyio
async def test_a_failing_initializer_fails_the_run_with_its_reason() -> None:
    async with ProcessExecutor(1, initializer=jobs.fail_to_initialize, name="reports") as broken:
        for _ in range(2):
            with pytest.raises(
                ConfigurationError, match=r"'reports' failed: ValueError: no licence"
            ) as raised:
                await call(broken, jobs.noop)
            assert "in fail_to_initialize" in str(raised.value.__cause__)


@pytest.mark.anyio
async def test_a_failing_initializer_of_a_warm_worker_is_logged_before_any_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with ProcessExecutor(1, initializer=jobs.fail_to_initialize, name="reports", warm=1):
        await soon(lambda: "'reports' failed: ValueError: no licence" in caplog.text)


@on_one
@pytest.mark.anyio
async def test_an_initializer_that_cannot_be_sent_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigurationError, match="initializer of process executor 'process' cannot be sent"):
        async with ProcessExecutor(1, initializer=jobs.initialize, initargs=(threading.Lock(),)):
            pass


@pytest.mark.anyio
async def test_warm_workers_are_there_before_the_first_run() -> None:
    async with ProcessExecutor(2, warm=5) as executor:
        ready = executor.workers
        assert len(ready) == 2
        assert await call(executor, jobs.pid) in ready


@pytest.mark.anyio
async def test_a_worker_is_replaced_after_its_tasks() -> None:
    async with ProcessExecutor(1, max_tasks_per_worker=2) as executor:
        pids = [await call(executor, jobs.pid) for _ in range(3)]
        assert pids[0] == pids[1] != pids[2]


# Errors.


@on_one
@pytest.mark.anyio
async def test_an_exception_comes_back_as_itself_with_the_remote_traceback() -> None:
    async with ProcessExecutor(1) as executor:
        with pytest.raises(ValueError, match="no such report") as raised:
            await call(executor, jobs.value_error, "no such report")
        assert "jobs.py" in str(raised.value.__cause__)
        assert "process/child.py" not in str(raised.value.__cause__)
        with pytest.raises(RuntimeError) as raised_too:
            await call(executor, jobs.noted)
        assert raised_too.value.__notes__ == ["look at the log"]


@on_one
@pytest.mark.anyio
async def test_an_exception_that_makes_its_own_text_keeps_it(executor: ProcessExecutor) -> None:
    with pytest.raises(jobs.Rebuilt) as raised:
        await call(executor, jobs.raises, jobs.Rebuilt, "paper")
    assert str(raised.value) == "no paper"
    with pytest.raises(Snooze) as snoozed:
        await call(executor, jobs.snooze)
    assert (snoozed.value.delay, str(snoozed.value)) == (5, "the queue is closed")


@on_one
@pytest.mark.anyio
async def test_an_exception_that_cannot_travel_is_replaced_by_its_text(executor: ProcessExecutor) -> None:
    with pytest.raises(RemoteError) as raised:
        await call(executor, jobs.raises, jobs.Unpicklable)
    assert str(raised.value) == "tests.executors.jobs.Unpicklable: holds a lock"
    assert raised.value.error_type == "tests.executors.jobs.Unpicklable"
    assert "in raises" in raised.value.traceback
    assert await call(executor, jobs.noop) is None


@pytest.mark.anyio
async def test_an_exception_that_ends_whoever_reads_it_ends_only_the_worker(
    executor: ProcessExecutor,
) -> None:
    with pytest.raises(Exception, match="exited with code 3"):
        await call(executor, jobs.raises, jobs.Poison)
    assert await call(executor, jobs.noop) is None


@pytest.mark.anyio
async def test_sys_exit_in_a_job_reaches_its_run_and_keeps_the_worker(executor: ProcessExecutor) -> None:
    worker = await call(executor, jobs.pid)
    with pytest.raises(SystemExit) as raised:
        await call(executor, jobs.exit_softly, 4)
    assert raised.value.code == 4
    assert await call(executor, jobs.pid) == worker


# Refusals.


@on_one
@pytest.mark.anyio
async def test_an_argument_that_cannot_be_sent_is_named(executor: ProcessExecutor) -> None:
    lock = threading.Lock()
    with pytest.raises(
        ArgumentError, match=r"argument 'b' of job 'sum' cannot be sent .*its lock.*plain data"
    ):
        await call(executor, jobs.add, 1, lock, job="sum")
    with pytest.raises(ArgumentError, match=r"argument 'a' of job 'sum'"):
        await call(executor, jobs.add, a=lock, job="sum")
    with pytest.raises(ArgumentError, match=r"argument 'number 2' of job 'max'"):
        await call(executor, max, 1, lock, job="max")
    with pytest.raises(ConfigurationError, match=r"job 'bound' cannot be sent to a worker process"):
        await call(executor, functools.partial(jobs.echo, lock), job="bound")
    assert executor.busy == 0
    assert executor.workers == []


@on_one
@pytest.mark.anyio
async def test_a_value_that_cannot_be_sent_or_read_is_refused_in_words(executor: ProcessExecutor) -> None:
    with pytest.raises(ConfigurationError, match=r"job 'job' returned a lock that cannot be sent back"):
        await call(executor, jobs.returns_lock)
    with pytest.raises(
        ConfigurationError, match=r"cannot be read in this process \(RuntimeError: this value"
    ):
        await call(executor, jobs.unreadable)
    with pytest.raises(ConfigurationError, match=r"returned a coroutine.*async def"):
        await call(executor, jobs.returns_coroutine)
    assert await call(executor, jobs.noop) is None


@on_one
@pytest.mark.anyio
async def test_a_function_whose_module_a_worker_cannot_import_is_refused_in_words(
    executor: ProcessExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def job():\n    return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_here  # type: ignore[import-not-found]

    monkeypatch.undo()
    with pytest.raises(
        ConfigurationError, match=r"job 'lost' could not be loaded.*No module named 'only_here'"
    ):
        await call(executor, only_here.job, job="lost")
    assert await call(executor, jobs.noop) is None


async def coroutine_function() -> None: ...


@pytest.mark.parametrize(
    "func, words",
    [
        (coroutine_function, 'coroutine function.*executor="loop"'),
        (lambda: None, r"is a lambda.*asyncsched\[process\]"),
        (functools.partial(lambda: None), "is a lambda"),
        (functools.partial(jobs.echo, threading.Lock()), "cannot be sent to a worker process"),
    ],
    ids=["coroutine function", "lambda", "partial of a lambda", "partial of a lock"],
)
@pytest.mark.usefixtures("without_cloudpickle")
def test_without_cloudpickle_what_cannot_be_imported_is_refused_in_words(func: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=f"job 'report'.*{words}"):
        ProcessExecutor().check(func, "report")


@pytest.mark.usefixtures("without_cloudpickle")
def test_without_cloudpickle_a_local_function_and_a_prompt_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def local() -> None: ...

    with pytest.raises(ConfigurationError, match="defined inside another function"):
        ProcessExecutor().check(local, "report")
    monkeypatch.setattr(jobs.noop, "__module__", "__main__")
    packing.check(jobs.noop, "report", main_is_a_file=True)
    with pytest.raises(ConfigurationError, match="defined at a prompt"):
        packing.check(jobs.noop, "report", main_is_a_file=False)


@pytest.mark.parametrize(
    "options", [{"capacity": 0}, {"warm": -1}, {"max_tasks_per_worker": 0}, {"kill_grace": -1}]
)
def test_numbers_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        ProcessExecutor(**options)


@pytest.mark.anyio
async def test_a_closed_executor_says_so() -> None:
    executor = ProcessExecutor(1)
    with pytest.raises(SchedulerClosed, match="'process' is not open"):
        await call(executor, jobs.noop)
    async with executor:
        with pytest.raises(SchedulerStateError, match="started already"):
            await executor.__aenter__()
    async with executor:
        assert await call(executor, jobs.add, 1) == 1


# Output.


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "asyncsched.job"]


@on_every_loop
@pytest.mark.anyio
async def test_what_a_job_prints_becomes_log_lines_of_its_run(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with ProcessExecutor(1) as executor:
        run = new_run("printer")
        await executor.run(run, jobs.prints, (), {})
    assert sorted(lines(caplog)) == [
        "from a shell",
        "from descriptor 1",
        "from print",
        "from stderr",
        "without an end",
    ]
    for record in caplog.records:
        assert (record.__dict__["job"], record.__dict__["run_id"]) == ("printer", run.id)


@on_one
@pytest.mark.anyio
async def test_a_line_without_end_is_cut(executor: ProcessExecutor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await call(executor, jobs.prints_long, 20_000)
    assert [len(line) for line in lines(caplog)] == [8192, 8192, 3616]


@pytest.mark.anyio
async def test_much_output_arrives_whole_and_before_the_value(
    executor: ProcessExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await call(executor, jobs.prints_much, 2000)
    assert lines(caplog) == [f"line {n}" for n in range(2000)]


@on_one
@pytest.mark.anyio
async def test_where_nobody_set_up_logging_a_print_stays_a_print(
    executor: ProcessExecutor, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "level", logging.WARNING)
    await call(executor, jobs.prints_much, 2)
    assert capsys.readouterr().out == "line 0\nline 1\n"
    monkeypatch.setattr(logging.getLogger("asyncsched.job"), "level", logging.ERROR)
    logging.getLogger("asyncsched.job").manager._clear_cache()  # type: ignore[attr-defined]
    await call(executor, jobs.prints_much, 2)
    assert capsys.readouterr().out == ""


@pytest.mark.anyio
async def test_what_a_job_logs_is_logged_here(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with ProcessExecutor(1) as executor:
        await call(executor, jobs.logs, job="logger")
    first, second = caplog.records
    assert (first.name, first.levelname, first.getMessage()) == ("tests.remote", "INFO", "count 3")
    assert (first.__dict__["colour"], first.__dict__["job"]) == ("green", "logger")
    assert first.process != os.getpid()
    assert second.levelname == "ERROR"
    assert second.exc_text is not None
    assert "ZeroDivisionError" in second.exc_text


@on_one
@pytest.mark.anyio
async def test_a_warning_in_a_job_is_not_lost(
    executor: ProcessExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await call(executor, jobs.warns)
    assert "take care" in caplog.text


# The run.


@pytest.mark.anyio
async def test_current_run_works_in_a_worker(executor: ProcessExecutor) -> None:
    run = new_run("nightly", key="k-1")
    assert await executor.run(run, jobs.about_run, (), {}) == {
        "id": run.id,
        "job": "nightly",
        "attempt": 2,
        "key": "k-1",
        "scheduled_for": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
    }


@pytest.mark.anyio
async def test_progress_is_thinned_out_and_its_latest_arrives() -> None:
    async with ProcessExecutor(1) as executor:
        run = new_run()
        await executor.run(run, jobs.tells, (500,), {})
        link = run._link
        assert isinstance(link, Link)
        assert link.told[:2] == [("began",), ("progress", 0, 500, "under way")]
        assert link.told[-2:] == [("extend", 1_500_000), ("progress", 499, 500, "under way")]
        assert len(link.told) < 20


@pytest.mark.anyio
async def test_the_start_of_a_worker_is_over_when_its_run_has_begun(executor: ProcessExecutor) -> None:
    cold, warm = new_run(), new_run()
    for run in (cold, warm):
        link = run._link
        assert isinstance(link, Link)
        async with attempts() as start:
            start(executor.run(run, jobs.nap, (0.05,), {}))
            await anyio.sleep(0.01)
            assert link.told == ([] if run is cold else [("began",)])
        assert link.told == [("began",)]


@pytest.mark.anyio
async def test_the_latest_progress_arrives_while_the_job_goes_on(
    executor: ProcessExecutor, tmp_path: Path
) -> None:
    run, seen = new_run(), tmp_path / "seen"
    link = run._link
    assert isinstance(link, Link)
    async with attempts() as start:
        start(executor.run(run, jobs.tells_and_waits, (str(seen),), {}))
        await soon(lambda: ("progress", 1, 2, "half") in link.told)
        seen.touch()


@pytest.mark.anyio
async def test_a_job_in_a_worker_sees_that_it_was_asked_to_end(tmp_path: Path) -> None:
    marker, seen = tmp_path / "pid", tmp_path / "seen"
    async with ProcessExecutor(1, kill_grace=10) as executor, attempts() as start:
        attempt = start(call(executor, jobs.until_cancelled, str(marker), str(seen)))
        await begun(marker)
        attempt.cancel()
        await attempt.ended()
        assert seen.read_text() == "False True"


@pytest.mark.anyio
async def test_complete_in_is_refused_in_words(executor: ProcessExecutor) -> None:
    with pytest.raises(SchedulerStateError, match=r"complete_in\(\) cannot be called in a process job"):
        await call(executor, jobs.completes)


@pytest.mark.anyio
async def test_a_link_that_fails_costs_nothing_but_its_message(
    executor: ProcessExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    run = new_run()
    run._link = None  # type: ignore[assignment]
    await executor.run(run, jobs.tells, (1,), {})
    assert "could not handle a message" in caplog.text


@pytest.mark.anyio
async def test_the_clock_is_held_while_processes_work() -> None:
    clock = Holding()
    executor = ProcessExecutor(1)
    executor.use_clock(clock)
    async with executor:
        assert _current.get(None) is None
        async with attempts() as start:
            started: list[Attempt] = [start(call(executor, jobs.noop)) for _ in range(3)]
            await soon(lambda: clock.held == 3)
            for attempt in started:
                await attempt.ended()
            assert clock.held == 0
    assert clock.held == 0
    assert anyio.current_time() > 0
