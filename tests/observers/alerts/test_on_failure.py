"""A hook hears of failures in a row, of the first one's time, and of the recovery, on every store."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from asyncsched import Retry, Scheduler, SchedulerStateError
from asyncsched.observers.alerts import Failure, OnFailure
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio

Make = Callable[..., Scheduler]


async def test_failures_in_a_row_since_when_and_the_recovery(
    make_scheduler: Make, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler()
    told: list[Failure] = []
    number = 0

    @scheduler.interval(minutes=1, retry=Retry(attempts=2, delay=1, jitter="none"))
    async def push_to_crm() -> None:
        nonlocal number
        number += 1
        if 2 < number <= 8:  # the second, third and fourth run fail, in both attempts
            raise ConnectionError("503 Service Unavailable")

    @scheduler.on_failure
    async def tell(failure: Failure) -> None:
        told.append(failure)

    async with scheduler:
        await virtual_clock.advance(400)
        failed = await scheduler.runs(state="failed")
    assert [(one.in_a_row, one.recovered) for one in told] == [(1, False), (2, False), (3, False), (3, True)]
    first = min(run.finished_at for run in failed if run.finished_at)
    assert {one.since for one in told} == {first}
    assert [one.run.id for one in told[:3]] == [run.id for run in reversed(failed)]
    when = f"{first:%Y-%m-%d %H:%M:%S}"
    assert told[0].text == "push_to_crm failed once: ConnectionError: 503 Service Unavailable"
    assert told[2].text == (
        f"push_to_crm failed 3 times in a row, since {when} UTC: ConnectionError: 503 Service Unavailable"
    )
    assert (
        told[3].text == f"push_to_crm succeeded again, after it had failed 3 times in a row, since {when} UTC"
    )


async def test_each_schedule_of_a_job_and_its_one_offs_are_counted_apart(
    make_scheduler: Make, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler()
    told: list[tuple[str | None, int]] = []

    @scheduler.job()
    async def send(well: bool) -> None:
        if not well:
            raise ValueError

    scheduler.on_failure(lambda failure: told.append((failure.schedule, failure.in_a_row)))
    from asyncsched import Interval

    async with scheduler:
        await scheduler.add_schedule(send, Interval(minutes=1), id="bad", args=(False,))
        await scheduler.add_schedule(send, Interval(minutes=1), id="good", args=(True,))
        await scheduler.schedule_once(send, False, delay=30)
        await scheduler.schedule_once(send, False, delay=90)
        await virtual_clock.advance(125)
        await anyio.sleep(0.1)
    assert sorted(told, key=str) == [("bad", 1), ("bad", 2), (None, 1), (None, 2)]


async def test_the_count_is_the_page_s_and_begins_anew_at_a_resume(
    make_scheduler: Make, virtual_clock: VirtualClock
) -> None:
    scheduler = make_scheduler()
    told: list[tuple[str, int]] = []

    @scheduler.interval(minutes=1, pause_after=2)
    async def job() -> None:
        raise ValueError

    scheduler.on_failure(lambda failure: told.append((failure.run.origin, failure.in_a_row)))
    async with scheduler:
        await virtual_clock.advance(185)
        await scheduler.resume("job")
        await virtual_clock.advance(60)
        assert (await scheduler.schedule("job")).failures == 1
        await (await scheduler.run_now("job")).wait()
        await virtual_clock.advance(1)
    assert told == [("schedule", 1), ("schedule", 2), ("schedule", 1), ("manual", 1)]


async def test_a_timeout_and_a_cancel(make_scheduler: Make, virtual_clock: VirtualClock) -> None:
    scheduler = make_scheduler()
    told: list[str] = []

    @scheduler.job(timeout=5)
    async def hangs() -> None:
        await anyio.sleep_forever()

    @scheduler.on_failure
    async def tell(failure: Failure) -> None:
        told.append(failure.text)

    async with scheduler:
        run = await scheduler.schedule_once(hangs)
        await virtual_clock.advance(1)
        await run.cancel()
        await scheduler.schedule_once(hangs)
        await virtual_clock.advance(10)
    assert len(told) == 1
    assert told[0].startswith("hangs timed out once: ")


async def test_a_recovery_on_another_instance_is_told_there(
    tmp_path: Path, virtual_clock: VirtualClock
) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    told: list[tuple[int, int, bool]] = []
    well = False

    def instance(number: int) -> Scheduler:
        scheduler = Scheduler(url, clock=virtual_clock)

        @scheduler.interval(minutes=1)
        async def job() -> None:
            if not well:
                raise ValueError

        scheduler.on_failure(lambda failure: told.append((number, failure.in_a_row, failure.recovered)))
        return scheduler

    async with instance(1):
        await virtual_clock.advance(125)
    well = True
    async with instance(2):
        await virtual_clock.advance(125)
    assert told == [(1, 1, False), (1, 2, False), (2, 2, True)]


async def test_a_run_lost_with_its_instance_is_told_by_the_one_that_declares_it_dead(
    tmp_path: Path, virtual_clock: VirtualClock
) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    told: list[str] = []

    async def job() -> None:
        await anyio.sleep_forever()

    first = Scheduler(url, clock=virtual_clock, shutdown_timeout=0)
    first.job()(job)
    async with first:
        run = await first.schedule_once(job)
        await virtual_clock.advance(2)
        first._running().main.membership.close()  # type: ignore[union-attr]  # it beats no more, as if frozen
        second = Scheduler(url, clock=virtual_clock, role="run")
        second.job()(job)

        @second.on_failure
        async def tell(failure: Failure) -> None:
            told.append(f"{failure.run.id} {failure.text}")

        async with second:
            await virtual_clock.advance(60)
            assert (await second.run(run.id)).state == "lost"
    assert len(told) == 1
    assert told[0].startswith(f"{run.id} job was lost once: ")


async def test_a_plain_hook_runs_in_a_thread_and_one_that_fails_is_logged(
    virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    threads: list[int] = []
    scheduler = Scheduler(clock=virtual_clock)

    @scheduler.job()
    async def fails() -> None:
        raise ValueError

    @scheduler.on_failure
    def mail(failure: Failure) -> None:
        threads.append(threading.get_ident())
        raise ConnectionError("the mail server is away")

    async with scheduler:
        await scheduler.schedule_once(fails)
        await virtual_clock.advance(1)
        await scheduler.schedule_once(fails)
        await virtual_clock.advance(1)
    assert len(threads) == 2 and threading.get_ident() not in threads
    lines = [record for record in caplog.records if "the mail server is away" in str(record.exc_info)]
    assert len(lines) == 2 and lines[0].levelno == logging.ERROR


async def test_a_success_costs_no_query_and_no_place_in_the_queue(virtual_clock: VirtualClock) -> None:
    hook = OnFailure(lambda failure: None)
    scheduler = Scheduler(clock=virtual_clock, observers=[hook])

    @scheduler.interval(seconds=1)
    async def works() -> None: ...

    async with scheduler:
        await virtual_clock.advance(timedelta(hours=1).total_seconds())
        assert len(await scheduler.runs(limit=5000)) == 3600
    assert hook.lost == 0


async def test_it_is_said_that_a_hook_comes_too_late(virtual_clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=virtual_clock)
    async with scheduler:
        with pytest.raises(SchedulerStateError, match="call it before the start"):
            scheduler.on_failure(lambda failure: None)
