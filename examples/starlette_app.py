"""A Starlette app that works in the background and tells how far it is.

Run it with ``uvicorn examples.starlette_app:app``, then
``curl -X POST localhost:8000/reports/30`` and ``curl localhost:8000/runs/<the id>``.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from asyncsched import Retry, Scheduler, UnknownRun, current_run
from asyncsched.asgi import get_scheduler

scheduler = Scheduler()


@scheduler.job(timeout=60, retry=Retry(attempts=3), max_running=2)
async def write_report(pages: int) -> str:
    for _ in current_run().track(range(pages)):
        await anyio.sleep(0.1)
    return f"a report of {pages} pages"


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    # A lifespan of your own: open what the jobs need before it, so that it is closed after them.
    async with scheduler.lifespan(app) as state:
        yield state


async def start(request: Request) -> JSONResponse:
    pages = request.path_params["pages"]
    # The same report asked for twice is written once: the key belongs to the run while it is live.
    run = await scheduler.schedule_once(write_report, pages, key=f"report-{pages}")
    return JSONResponse({"run": run.id, "created": run.created}, 202)


async def look(request: Request) -> JSONResponse:
    try:
        run = await get_scheduler(request).run(request.path_params["id"])
    except UnknownRun as error:
        return JSONResponse({"error": str(error)}, 404)
    done = run.progress.done if run.progress else 0
    return JSONResponse({"state": run.state, "done": done, "result": run.result})


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/reports/{pages:int}", start, methods=["POST"]),
        Route("/runs/{id}", look),
    ],
)
