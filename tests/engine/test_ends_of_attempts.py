"""How attempts in threads and processes end at a timeout or a cancel, seen from the scheduler.

Threads and processes live in the machine's own time, so these tests do too; each takes a few tenths of a second.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import anyio
import pytest
from structlog.contextvars import bind_contextvars, bound_contextvars, get_contextvars

from asyncsched import ConfigurationError, RunIdFilter, Scheduler, current_run
from asyncsched.executors import ProcessExecutor, ThreadExecutor
from asyncsched.observers.log import structlog_context
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.anyio, pytest.mark.real_time, pytest.mark.blocking_ok]


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    """Lets go of whatever thread a test has left hanging."""
    event = threading.Event()
    yield event
    event.set()


async def test_a_thread_that_outlives_its_timeout_frees_its_place_and_is_counted(
    stop: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    threads = ThreadExecutor(1)
    scheduler = Scheduler(executors={"thread": threads}, shutdown_timeout=0)

    @scheduler.interval(seconds=0.3, timeout=0.1)
    def hangs() -> None:
        stop.wait()

    @scheduler.job()
    def quick() -> str:
        return "has the place"

    async with scheduler:
        while not threads.abandoned:  # on a busy machine a timeout may come before the thread begins
            await anyio.sleep(0.02)
        while not await scheduler.runs(job="hangs", state="timed_out"):
            await anyio.sleep(0.02)
        assert threads.abandoned == 1
        assert await (await scheduler.schedule_once(quick)).result(timeout=PATIENCE) == "has the place"
        while len(await scheduler.runs(job="hangs")) < 2:  # a hung run never stops its schedule
            await anyio.sleep(0.02)
    assert any("'hangs' was ended but goes on in its thread" in r.getMessage() for r in caplog.records)


async def test_a_thread_is_asked_to_end_and_can_look(stop: threading.Event) -> None:
    scheduler = Scheduler()
    seen: list[bool] = []

    @scheduler.job(timeout=0.1)
    def polite() -> None:
        run = current_run()
        while not run.cancelled:
            time.sleep(0.005)
        seen.append(run.cancelled)
        stop.set()

    async with scheduler:
        while not seen:  # on a busy machine a timeout may come before the thread begins
            assert (await (await scheduler.schedule_once(polite)).wait()).state == "timed_out"
            await anyio.to_thread.run_sync(stop.wait, 1)
    assert set(seen) == {True}


async def test_a_thread_can_extend_its_timeout_and_report_progress() -> None:
    scheduler = Scheduler()

    @scheduler.job(timeout=1)  # within which a thread begins on a busy machine, too
    def longer() -> str:
        current_run().extend_timeout(PATIENCE)
        for _ in current_run().track(range(4)):
            time.sleep(0.3)
        return current_run().id

    async with scheduler:
        handle = await scheduler.schedule_once(longer)
        heard = [update.done async for update in handle.updates()]
        assert await handle.result() == handle.id
    assert heard[-1] == 4


def sleeps_for_ever(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)


def logs_and_tells() -> str:
    current_run().progress(1, 2, "half")
    logging.getLogger("app").warning("from the process")
    return current_run().id


TRACE = ContextVar[Any]("trace")
SECRET = ContextVar("secret", default="none")


def tells_its_trace(add: str = "") -> list[Any]:
    found = [TRACE.get("no trace"), SECRET.get(), add]
    TRACE.set("spoilt for the next one")
    return found


async def test_named_context_variables_go_along_into_a_process() -> None:
    scheduler = Scheduler()
    scheduler.job(executor="process", carry=[TRACE])(tells_its_trace)
    async with scheduler:
        SECRET.set("the request's own")
        assert await (await scheduler.schedule_once(tells_its_trace)).result() == ["no trace", "none", ""]
        TRACE.set({"id": 7})
        context_vars = await scheduler.schedule_once(tells_its_trace, "x")
        assert await context_vars.result() == [{"id": 7}, "none", "x"]
        TRACE.set(object())
        refused = await (await scheduler.schedule_once(tells_its_trace)).wait()
        assert "the context variable 'trace' is <object object at" in refused.message
        TRACE.set("ada")
        handle = await scheduler.schedule_once(tells_its_trace, threading.Lock())  # type: ignore[arg-type]
        assert "argument 'add' of job 'tells_its_trace' cannot be sent" in (await handle.wait()).message


def tells_what_is_bound() -> dict[str, Any]:
    bound = dict(get_contextvars())
    bind_contextvars(request="spoilt for the next one")
    return bound


async def test_what_structlog_has_bound_goes_along_into_a_process() -> None:
    scheduler = Scheduler()
    scheduler.job(executor="process", carry=[structlog_context])(tells_what_is_bound)
    async with scheduler:
        with bound_contextvars(request="r1", user=7):
            run = await scheduler.schedule_once(tells_what_is_bound)
        assert await run.result() == {"request": "r1", "user": 7}
        assert await (await scheduler.schedule_once(tells_what_is_bound)).result() == {}


async def test_a_context_variable_that_no_process_could_find_is_refused_at_the_start() -> None:
    nowhere = ContextVar[str]("nowhere")
    scheduler = Scheduler()
    scheduler.job(executor="process", carry=[nowhere])(tells_its_trace)
    with pytest.raises(ConfigurationError, match="the context variable 'nowhere' stands in no module"):
        async with scheduler:
            pass


async def test_a_process_is_killed_at_its_timeout(tmp_path: Path) -> None:
    scheduler = Scheduler(executors={"process": ProcessExecutor(1)})
    scheduler.job(executor="process", timeout=1)(sleeps_for_ever)
    scheduler.job(executor="process")(os.getpid)
    async with scheduler:
        pid = await (await scheduler.schedule_once(os.getpid)).result(PATIENCE)  # its only worker has started
        run = await (await scheduler.schedule_once(sleeps_for_ever, str(tmp_path / "pid"))).wait(
            timeout=PATIENCE
        )
        assert (run.state, run.error_type) == ("timed_out", "TimeoutError")
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_process_is_killed_by_a_cancel_that_waits_for_its_end(tmp_path: Path) -> None:
    scheduler = Scheduler()
    scheduler.job(executor="process")(sleeps_for_ever)
    path = tmp_path / "pid"
    async with scheduler:
        handle = await scheduler.schedule_once(sleeps_for_ever, str(path))
        while not path.exists() or not path.read_text():
            await anyio.sleep(0.02)
        assert await handle.cancel()
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.read_text()), 0)


async def test_a_job_in_a_process_knows_its_run_and_its_logs_carry_it() -> None:
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keep()
    handler.addFilter(RunIdFilter())
    app = logging.getLogger("app")
    app.addHandler(handler)
    scheduler = Scheduler()
    scheduler.job(executor="process")(logs_and_tells)
    try:
        async with scheduler:
            handle = await scheduler.schedule_once(logs_and_tells)
            assert await handle.result() == handle.id
            progress = (await handle.status()).progress
    finally:
        app.removeHandler(handler)
    assert progress is not None and (progress.done, progress.total, progress.message) == (1, 2, "half")
    (record,) = [r for r in records if r.getMessage() == "from the process"]
    assert (record.run_id, record.job) == (handle.id, "logs_and_tells")  # type: ignore[attr-defined]
