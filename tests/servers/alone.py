"""A scheduler without any ASGI app: ``anyio.run(scheduler.run_forever)``."""

from __future__ import annotations

import sys

import anyio

from tests.servers.app import scheduler, write


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
