"""A process that runs a scheduler until a signal: ``python -m tests.stores.scripts.forever asyncio URL``."""

from __future__ import annotations

import sys

import anyio

from asyncsched import Scheduler

backend, url = sys.argv[1:]
scheduler = Scheduler(url, shutdown_timeout=1, store_timeout=60)


@scheduler.interval(seconds=0.1)
async def tick() -> None:
    print("tick", flush=True)


@scheduler.interval(seconds=0.1, overlap="allow")
async def stay() -> None:
    await anyio.sleep_forever()


anyio.run(scheduler.run_forever, backend=backend)
