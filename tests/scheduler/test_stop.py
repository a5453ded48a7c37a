"""``stop()`` ends ``run_forever``: from another thread, from a job, and where no signal can arrive."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest

from asyncsched import Scheduler, SchedulerStateError

# run_forever has an event loop of its own, and real time: so it has a watchdog, whose thread is joined at the end.
pytestmark = [pytest.mark.real_time, pytest.mark.blocking_ok]

PATIENCE = 30


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_runs_in_a_thread_and_is_stopped_from_another(backend: str) -> None:
    scheduler, ran = Scheduler(), threading.Event()

    @scheduler.interval(hours=1, immediate=True)
    async def work() -> None:
        ran.set()

    failures: list[BaseException] = []

    def serve() -> None:
        try:
            anyio.run(scheduler.run_forever, backend=backend)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    assert ran.wait(PATIENCE), failures
    scheduler.stop()
    thread.join(PATIENCE)
    assert (thread.is_alive(), failures) == (False, [])
    scheduler.stop()  # once more, after the end


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_job_may_stop_the_scheduler_that_runs_it_and_ends_as_usual(backend: str) -> None:
    scheduler = Scheduler()
    done: list[Any] = []

    @scheduler.interval(hours=1, immediate=True)
    async def last() -> None:
        scheduler.stop()
        await anyio.sleep(0.01)
        done.append("worked to its end")

    anyio.run(scheduler.run_forever, backend=backend)
    assert done == ["worked to its end"]


def test_before_the_start_it_says_so() -> None:
    with pytest.raises(SchedulerStateError, match="has not been started"):
        Scheduler().stop()
