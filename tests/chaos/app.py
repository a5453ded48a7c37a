"""The app under chaos: twenty schedules at 1 to 5 Hz, and one-offs from a handler.

Every attempt appends one line to a file, in one write, so that what really ran can be held against
what the ledger says.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from asyncsched import Retry, Scheduler, current_run
from tests.chaos.clock import SkewedClock
from tests.chaos.ledger import ledger

LOG = os.environ["CHAOS_LOG"]
_FILE = os.environ.get("CHAOS_VERSION_FILE")
VERSION = int(Path(_FILE).read_text() if _FILE else os.environ.get("CHAOS_VERSION", "1"))
SKEW = float(os.environ.get("CHAOS_SKEW", "0"))

scheduler = Scheduler(
    ledger(os.environ["CHAOS_STORE"], float(os.environ.get("CHAOS_LEASE", "15"))),
    shutdown_timeout=2,
    clock=SkewedClock(SKEW) if SKEW else None,
)


def write(kind: str, name: str) -> None:
    run = current_run()
    slot = round(run.scheduled_for.timestamp() * 1_000_000)
    line = f"{time.time_ns() // 1000} {kind} {name} {slot} {run.id} {run.attempt} {os.getpid()}\n"
    file = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def declare(number: int) -> None:
    # From 1 to 5 Hz. A new version changes most periods a little: a rolling deploy in mid-flight.
    period = 1.0 / (1 + number % 5) + (0.05 if VERSION % 2 == 0 and number % 5 else 0.0)

    @scheduler.interval(seconds=period, name=f"tick{number}", retry=Retry(attempts=20, delay=0.1))
    async def tick() -> None:
        write("begin", f"tick{number}")
        await anyio.sleep(period * (number % 4) / 4)  # so that deaths find something running
        write("end", f"tick{number}")


for number in range(20):
    declare(number)


@scheduler.job(retry=Retry(attempts=20, delay=0.1))
async def once(number: int) -> int:
    write("begin", f"once-{number}")
    await anyio.sleep(2.0 if number % 10 == 0 else 0.05)
    write("end", f"once-{number}")
    return number


async def add(request: Request) -> JSONResponse:
    number = int(request.path_params["number"])
    handle = await scheduler.schedule_once(once, number, key=str(number), delay=number % 3)
    return JSONResponse({"id": handle.id, "pid": os.getpid()})


async def health(request: Request) -> JSONResponse:
    return JSONResponse({"pid": os.getpid()})


app = Starlette(
    routes=[Route("/once/{number:int}", add, methods=["POST"]), Route("/health", health)],
    lifespan=scheduler.lifespan,
)
