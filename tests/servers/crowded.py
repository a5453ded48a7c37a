"""An app over a SQLite file, whose schedules were added at run time: what a worker process says of its start."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from asyncsched import Scheduler

log = Path(os.environ["SERVER_LOG"])
scheduler = Scheduler(os.environ["CROWDED_STORE"])


@scheduler.job()
async def remind(user: int) -> None: ...


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    began = perf_counter()
    async with scheduler:
        found = len(await scheduler.schedules(limit=100_000))
        with log.open("a") as file:
            file.write(f"{found} schedules {perf_counter() - began:.3f}\n")
        yield


async def get(request: Request) -> Response:
    return Response()


app = Starlette(routes=[Route("/", get)], lifespan=lifespan)
