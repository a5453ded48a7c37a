"""What is said of a failure: the exception stands in the log record and the event, and is the job's own."""

from __future__ import annotations

import io
import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from pythonjsonlogger.json import JsonFormatter

from asyncsched import Retry, RunFailed, Scheduler
from asyncsched.events import RunUnsuccessful
from asyncsched.testing import VirtualClock
from tests.waiting import soon

pytestmark = pytest.mark.anyio

Make = Callable[..., Scheduler]


async def test_a_failures_log_record_has_the_exception_with_the_jobs_own_frames(
    make_scheduler: Make, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = make_scheduler()

    @scheduler.job()
    async def broken() -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("no") from error

    @scheduler.job()
    def in_thread() -> None:
        raise ValueError("no")

    async with scheduler:
        for name in ("broken", "in_thread"):
            caplog.clear()
            handle = await scheduler.schedule_once(name)
            with pytest.raises(RunFailed) as caught:
                await handle.result()
            # The handle may have read the ledger before the log has been told.
            await soon(lambda: any(one.levelno == logging.ERROR for one in caplog.records))
            (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
            assert record.exc_info is not None and record.exc_info[2] is not None
            assert record.exc_info[0] is ValueError
            frames = traceback.extract_tb(record.exc_info[2])
            assert [frame.name for frame in frames] == [name]  # none of the scheduler's
            assert record.getMessage() == f"run {handle.id} of job {name!r} failed: ValueError: no"
            assert record.job == name  # type: ignore[attr-defined]
            assert caplog.text.count("raise ValueError") == 1  # the traceback stands there once
            assert isinstance(caught.value.__cause__, ValueError)
            assert caught.value.__cause__.__traceback__ is None  # its frames would hold the job's memory


async def test_a_json_log_has_the_exception_as_a_field(make_scheduler: Make) -> None:
    scheduler = make_scheduler()

    @scheduler.job()
    async def broken() -> None:
        raise ValueError("no")

    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter("%(message)s %(job)s %(run_id)s"))
    logger = logging.getLogger("asyncsched.job")
    logger.addHandler(handler)
    try:
        async with scheduler:
            await (await scheduler.schedule_once(broken)).wait()
    finally:
        logger.removeHandler(handler)
    assert '"job": "broken"' in written.getvalue()
    assert '"exc_info": "Traceback' in written.getvalue()


async def test_an_event_of_a_failure_has_the_exception_where_the_job_ran(make_scheduler: Make) -> None:
    heard: list[tuple[Any, bool]] = []

    def hear(event: RunUnsuccessful) -> None:
        error = event.exception
        heard.append((error, error is not None and error.__traceback__ is not None))

    hear.wants = RunUnsuccessful  # type: ignore[attr-defined]
    scheduler = make_scheduler(observers=[hear])

    @scheduler.job(retry=Retry(attempts=2, delay=1))
    async def broken() -> None:
        raise ValueError("no")

    @scheduler.job()
    async def cancelled() -> None: ...

    async with scheduler:
        await (await scheduler.schedule_once(broken)).wait()
        await (await scheduler.schedule_once(cancelled, delay=60)).cancel()
    (error, with_frames), (nothing, _) = heard
    assert (type(error), with_frames, nothing) == (ValueError, True, None)


async def test_stop_iteration_is_told_as_such(make_scheduler: Make, virtual_clock: VirtualClock) -> None:
    scheduler = make_scheduler()

    @scheduler.job(retry=Retry(attempts=2, delay=1, on=StopIteration))
    async def in_loop() -> None:
        next(iter(()))

    @scheduler.job()
    def in_thread() -> None:
        next(iter(()))

    async with scheduler:
        for job, attempts in ((in_loop, 2), (in_thread, 1)):
            run = await (await scheduler.schedule_once(job)).wait()
            assert (run.state, run.error_type, run.attempt) == ("failed", "StopIteration", attempts)
            assert "next(iter(()))" in run.traceback
