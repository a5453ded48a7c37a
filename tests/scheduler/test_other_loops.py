"""Calls from the event loop of another thread: refused at once, on every store, with the call to use instead."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from asyncsched import Interval, Once, RunHandle, Scheduler, SchedulerStateError
from tests.each_store import POSTGRES

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]


@pytest.fixture(params=["memory", "sqlite", POSTGRES])
def scheduler(request: pytest.FixtureRequest, tmp_path: Path) -> Scheduler:
    if request.param == "memory":
        return Scheduler()
    if request.param == "sqlite":
        return Scheduler(f"sqlite:///{tmp_path / 'jobs.db'}")
    return Scheduler(request.getfixturevalue("shared_dsn"))


async def in_another_loop(call: Callable[[], Any]) -> BaseException | None:
    """Await the call in an event loop of another thread; return what it raised."""
    raised: list[BaseException | None] = []

    def work() -> None:
        async def main() -> None:
            try:
                await call()
            except BaseException as error:
                raised.append(error)
            else:
                raised.append(None)

        anyio.run(main)

    thread = threading.Thread(target=work, name="web")
    thread.start()
    await anyio.to_thread.run_sync(thread.join)
    return raised[0]


@pytest.mark.blocking_ok
async def test_a_call_from_the_loop_of_another_thread_names_the_call_to_use(scheduler: Scheduler) -> None:
    ran: list[str] = []

    @scheduler.job()
    async def note(text: str) -> str:
        ran.append(text)
        return text

    async with scheduler:
        await scheduler.add_schedule(note, Interval(hours=1), id="hourly", args=("tick",))
        handle: RunHandle[str] = await scheduler.schedule_once(note, "here")
        await handle.wait()
        calls: dict[str, Callable[[], Any]] = {
            "schedule_once": lambda: scheduler.schedule_once(note, "there"),
            "schedule_many": lambda: scheduler.schedule_many([Once(note, ("there",))]),
            "add_schedule": lambda: scheduler.add_schedule(
                note, Interval(hours=1), id="more", args=("there",)
            ),
            "pause": lambda: scheduler.pause("hourly"),
            "run_now": lambda: scheduler.run_now("hourly"),
            "runs": lambda: scheduler.runs(),
            "result": lambda: handle.result(),
            "status": lambda: handle.status(),
            "cancel": lambda: handle.cancel(),
            "reschedule": lambda: handle.reschedule(delay=5),
            "handle": lambda: scheduler.handle(handle.id).wait(),
        }
        for name, call in calls.items():
            error = await in_another_loop(call)
            assert isinstance(error, SchedulerStateError), name
            assert "in an event loop of thread 'web'" in str(error)
            assert "use schedule_once_sync(...)" in str(error)
        made = await anyio.to_thread.run_sync(lambda: scheduler.schedule_once_sync(note, "from a thread"))
        assert await made.result() == "from a thread"
        assert await anyio.to_thread.run_sync(lambda: scheduler.health().ok)
    assert ran == ["here", "from a thread"]
