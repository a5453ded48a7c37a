"""The app that the real servers serve. Jobs write what happens to them into $SERVER_LOG."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import sniffio
from fastapi import FastAPI, Request, WebSocket
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from asyncsched import Retry, Scheduler, current_run
from asyncsched.asgi import CurrentScheduler
from tests.waiting import PATIENCE

log = Path(os.environ["SERVER_LOG"])


def write(line: str) -> None:
    with log.open("a") as file:
        file.write(f"{line}\n")


def hear(event: Any) -> None:
    run = getattr(event, "run", None)
    write(
        f"event {type(event).__name__} {run.job if run else ''} {run.state if run else ''} {run.why if run else ''}"
    )


scheduler = Scheduler(shutdown_timeout=float(os.environ.get("SHUTDOWN_TIMEOUT", "0.5")), observers=[hear])


@scheduler.interval(seconds=0.2)
async def tick() -> None:
    write("tick")


@scheduler.interval(seconds=0.2)
async def broken() -> None:
    raise RuntimeError("a job that always fails")


@scheduler.job()
async def note(text: str) -> str:
    write(f"note {text}")
    return text.upper()


@scheduler.job()
def in_thread(text: str) -> str:
    return f"thread {text}"


@scheduler.job(executor="process")
def in_process() -> int:
    return os.getpid()


@scheduler.job()
def block() -> None:
    time.sleep(60)


@scheduler.job(executor="process")
def burn() -> None:
    time.sleep(60)


@scheduler.job()
async def long(seconds: float) -> None:
    write("long begins")
    try:
        await anyio.sleep(seconds)
    except BaseException:
        write("long cancelled")
        raise
    write("long ends")


@scheduler.job(retry=Retry(attempts=3))
async def patient() -> None:
    write(f"patient begins {current_run().attempt}")
    await anyio.sleep(60)


class Custom:
    """A pure ASGI middleware that copies scope and state, as some do."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            scope = {**scope, "state": {**scope["state"]}}
        await self.app(scope, receive, send)


async def plain(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    write("startup")
    try:
        async with scheduler.lifespan(app) as state:
            yield state
    finally:
        write("shutdown")


app = FastAPI(lifespan=lifespan)
app.add_middleware(BaseHTTPMiddleware, dispatch=plain)
app.add_middleware(Custom)


@app.get("/")
async def index() -> dict[str, Any]:
    return {"library": sniffio.current_async_library(), "loop": loop_name(), "pid": os.getpid()}


def loop_name() -> str:
    if sniffio.current_async_library() == "trio":
        return "trio"
    import asyncio

    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


@app.post("/run/{job}")
async def result(job: str, scheduler: CurrentScheduler, args: list[Any]) -> dict[str, Any]:
    handle = await scheduler.schedule_once(job, *args)
    return {"id": handle.id, "result": await handle.result(timeout=PATIENCE)}


@app.post("/later/{job}")
async def later(
    job: str, request: Request, args: list[Any], delay: float = 0.1, hang: float = 0
) -> dict[str, Any]:
    handle = await request.state.scheduler.schedule_once(job, *args, delay=delay)
    if hang:
        write(f"hangs for {hang:g} s")
        await anyio.sleep(hang)
    return {"id": handle.id}


@app.post("/sync/{job}")
def sync(job: str, scheduler: CurrentScheduler, args: list[Any]) -> dict[str, Any]:
    return {"id": scheduler.schedule_once_sync(job, *args).id}


@app.get("/wait/{run}")
async def wait(run: str, scheduler: CurrentScheduler) -> dict[str, Any]:
    ended = await scheduler.handle(run).wait(timeout=PATIENCE)
    return {"state": ended.state, "result": ended.result}


@app.get("/hold")
async def hold(seconds: float) -> str:
    write("holding")
    await anyio.sleep(seconds)
    return "held"


@app.websocket("/ws")
async def talk(websocket: WebSocket, scheduler: CurrentScheduler) -> None:
    await websocket.accept()
    handle = await scheduler.schedule_once(note, await websocket.receive_text())
    await websocket.send_text(await handle.result(timeout=PATIENCE))
    await websocket.close()
