"""The lines at the beginning and the end of a run, and the fields of each."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio
import pytest

from asyncsched import Retry, Scheduler, current_run
from asyncsched.observers.log import RunLog
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio

Make = Callable[..., Scheduler]


async def test_a_run_begins_and_ends_in_the_log_with_its_figures(
    make_scheduler: Make, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scheduler = make_scheduler(observers=[RunLog()])

    @scheduler.interval(minutes=1, retry=Retry(attempts=2, delay=1, jitter="none"))
    async def job() -> None:
        await anyio.sleep(2)
        if current_run().attempt == 1:
            raise ValueError("no")

    async with scheduler:
        await virtual_clock.advance(70)
        (run,) = await scheduler.runs()
    lines = [record for record in caplog.records if record.name == "asyncsched.job"]
    assert [record.getMessage().partition(" of job 'job' ")[2].split(",")[0] for record in lines] == [
        "begins", "failed in attempt 1 of 2", "begins in attempt 2", "succeeded in 2.000 s",
    ]  # fmt: skip
    fields = [vars(record) for record in lines]
    assert {one["run_id"] for one in fields} == {run.id}
    assert [(one["job"], one["schedule"], one["attempt"]) for one in fields] == [
        ("job", "job", 1), ("job", "job", 1), ("job", "job", 2), ("job", "job", 2),
    ]  # fmt: skip
    assert run.late is not None
    assert (fields[0]["late"], fields[0]["due"]) == (run.late.total_seconds(), run.scheduled_for.isoformat())
    assert (fields[3]["outcome"], fields[3]["took"]) == ("succeeded", pytest.approx(2, abs=0.05))
    stopped = [record for record in caplog.records if record.getMessage() == "the scheduler has stopped"]
    assert len(stopped) == 1


async def test_without_it_a_success_makes_no_line(
    virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "asyncsched")
    scheduler = Scheduler(clock=virtual_clock)

    @scheduler.interval(minutes=1)
    async def job() -> None: ...

    async with scheduler:
        await virtual_clock.advance(600)
    assert [record for record in caplog.records if record.name == "asyncsched.job"] == []
