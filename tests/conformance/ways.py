"""Eight ways to run something every second. Also a program: ``python ways.py NAME SECONDS`` prints the times of the calls.

It imports nothing of the project, so that it runs in an environment that has only the library tried. The call that
each way makes takes five milliseconds of the thread, as work does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

Call = Callable[[], None]
Way = Callable[[Call, float], Awaitable[None]]

WORK = 0.005
"""Seconds that a call takes."""


async def sleep_after(call: Call, seconds: float) -> None:
    """``await asyncio.sleep(1)`` after each call."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                call()
                await asyncio.sleep(1)


async def sleep_until(call: Call, seconds: float) -> None:
    """A loop that adds a second to its last due time, and sleeps the rest."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                call()
                due += 1
                await asyncio.sleep(max(0, due - loop.time()))


async def repeat_every(call: Call, seconds: float) -> None:
    """``@repeat_every(seconds=1)`` of fastapi-utils."""
    from fastapi_utils.tasks import repeat_every as every

    @every(seconds=1)
    async def repeated() -> None:
        call()

    task = asyncio.create_task(repeated())
    await asyncio.sleep(seconds)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    others = [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]
    for one in others:
        one.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def timer_chain(call: Call, seconds: float) -> None:
    """A ``threading.Timer`` that starts the next one when its call has ended."""
    over = threading.Event()

    def fire() -> None:
        call()
        if not over.is_set():
            following = threading.Timer(1, fire)
            following.daemon = True
            following.start()

    fire()
    await asyncio.sleep(seconds)
    over.set()
    await asyncio.sleep(1.2)


async def schedule_library(call: Call, seconds: float) -> None:
    """``schedule.every(1).seconds`` with the loop of its documentation, which sleeps a second."""
    import schedule

    schedule.every(1).seconds.do(call)
    over = time.monotonic() + seconds

    def pending() -> None:
        while time.monotonic() < over:
            schedule.run_pending()
            time.sleep(1)

    await asyncio.to_thread(pending)


async def apscheduler3(call: Call, seconds: float) -> None:
    """APScheduler 3: ``AsyncIOScheduler`` with an interval of a second."""
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

    async def job() -> None:
        call()

    scheduler = AsyncIOScheduler()
    scheduler.add_job(job, "interval", seconds=1)
    scheduler.start()
    await asyncio.sleep(seconds)
    scheduler.shutdown(wait=False)


async def apscheduler4(call: Call, seconds: float) -> None:
    """APScheduler 4: ``AsyncScheduler`` with an interval of a second."""
    from apscheduler import AsyncScheduler
    from apscheduler.triggers.interval import IntervalTrigger

    global _now

    async def main() -> None:
        async with AsyncScheduler() as scheduler:
            await scheduler.configure_task("tick", func=_ticked)
            await scheduler.add_schedule("tick", IntervalTrigger(seconds=1))
            await scheduler.start_in_background()
            await asyncio.sleep(seconds)

    _now = call
    await main()


_now: Call = time.monotonic  # type: ignore[assignment]


async def _ticked() -> None:
    _now()


async def asyncsched(call: Call, seconds: float, clock: Any = None) -> None:
    """asyncsched: ``@scheduler.interval(seconds=1)``."""
    from asyncsched import Scheduler

    scheduler = Scheduler() if clock is None else Scheduler(clock=clock)

    @scheduler.interval(seconds=1, immediate=True)
    async def job() -> None:
        call()

    async with scheduler:
        await asyncio.sleep(seconds)


WAYS: dict[str, tuple[str, Way]] = {
    "asyncio.sleep(1) after each call": ("", sleep_after),
    "asyncio.sleep until the next second": ("", sleep_until),
    "threading.Timer, one after another": ("", timer_chain),
    "repeat_every of fastapi-utils": ("fastapi-utils", repeat_every),
    "schedule": ("schedule", schedule_library),
    "APScheduler 3": ("apscheduler", apscheduler3),
    "APScheduler 4": ("apscheduler", apscheduler4),
    "asyncsched": ("asyncsched", asyncsched),
}
"""Each way by its name in the report: its distribution, if it is none of Python's own, and the function."""


def main() -> None:
    """Run one way for some seconds of real time, and print its version and the times of the calls."""
    from importlib import import_module
    from importlib.metadata import PackageNotFoundError, version

    name, seconds = sys.argv[1], float(sys.argv[2])
    starts: list[float] = []

    def call() -> None:
        starts.append(time.monotonic())
        time.sleep(WORK)

    distribution, way = WAYS[name]
    try:
        known = version(distribution) if distribution else f"Python {sys.version.split()[0]}"
        if name == "asyncsched":
            known = import_module(name).__version__
    except PackageNotFoundError:
        return
    asyncio.run(way(call, seconds))
    print(json.dumps([known, starts]), flush=True)


if __name__ == "__main__":
    main()
