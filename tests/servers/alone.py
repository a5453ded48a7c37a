"""A scheduler without any ASGI app: ``anyio.run(scheduler.run_forever)``."""

from __future__ import annotations

import sys
from typing import Any

import anyio

from asyncsched import Scheduler
from tests.servers.app import scheduler, write

leave = Scheduler.__aexit__


async def say_and_leave(self: Scheduler, *error: Any) -> bool | None:
    """Say that the first signal has been heard: one that comes before is the same signal still."""
    write("closing")
    return await leave(self, *error)


Scheduler.__aexit__ = say_and_leave  # type: ignore[method-assign]


@scheduler.interval(seconds=100, immediate=True)
async def sleeper() -> None:
    write("sleeper begins")
    try:
        await anyio.sleep(60)
    finally:
        write("sleeper ends")


if __name__ == "__main__":
    anyio.run(scheduler.run_forever, backend=sys.argv[1])
    write("over")
