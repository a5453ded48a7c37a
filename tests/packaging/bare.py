"""What the wheel must do with its core dependencies only. ``.ci/run`` runs it; it needs no pytest."""

from __future__ import annotations

import importlib.util
import math
import sys
from importlib.metadata import version

import anyio

import asyncsched
from asyncsched import Cron, Interval, Scheduler
from asyncsched.asgi import get_scheduler as get_scheduler

ticks: list[float] = []
scheduler = Scheduler()
scheduler.job(executor="process")(math.sqrt)


@scheduler.interval(seconds=0.05)
async def tick() -> None:
    ticks.append(anyio.current_time())


@scheduler.job()
def in_a_thread(a: int, b: int) -> int:
    return a + b


async def main() -> None:
    async with scheduler:
        assert await (await scheduler.schedule_once(in_a_thread, 1, 2, delay=0.05)).result(10) == 3
        assert await (await scheduler.schedule_once("sqrt", 9.0)).result(30) == 3.0
        await scheduler.add_schedule(in_a_thread, Interval(seconds=1), id="added", args=(1, 2))
        with anyio.fail_after(10):
            while len(ticks) < 3:
                await anyio.sleep(0.05)  # a real interval, in a real loop
    assert Cron("@daily").describe()


def check_environment() -> None:
    for name in ("trio", "fastapi", "psycopg", "cloudpickle", "sqlalchemy", "pytest"):
        assert importlib.util.find_spec(name) is None, f"{name} is here: this is no bare environment"
    assert "site-packages" in (asyncsched.__file__ or ""), asyncsched.__file__


if __name__ == "__main__":
    check_environment()
    anyio.run(main)
    print(
        f"asyncsched {version('asyncsched')} works with its core dependencies on Python {sys.version.split()[0]}"
    )
