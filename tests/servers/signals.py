"""The app whose signals are read from outside: metrics and probes, over the store in $SERVER_STORE."""

from __future__ import annotations

import os
import time
from pathlib import Path

from fastapi import FastAPI

from asyncsched import Scheduler
from asyncsched.asgi import CurrentScheduler, probe_routes
from asyncsched.observers.metrics import PrometheusMetrics

metrics = PrometheusMetrics()
scheduler = Scheduler(os.environ.get("SERVER_STORE"), shutdown_timeout=0.5, observers=[metrics])


@scheduler.interval(seconds=0.5)
async def tick() -> None: ...


@scheduler.cron("0 3 * * *")
async def nightly() -> None: ...


@scheduler.interval(seconds=0.5)
async def broken() -> None:
    raise RuntimeError("a job that always fails")


@scheduler.job()
async def note() -> int:
    return os.getpid()


@scheduler.job()
def hold(file: str) -> None:
    Path(file).write_text(str(os.getpid()))
    time.sleep(600)


app = FastAPI(lifespan=scheduler.lifespan)
app.add_route("/metrics", metrics.endpoint)
app.router.routes.extend(probe_routes(scheduler))


@app.get("/")
async def index() -> int:
    return os.getpid()


@app.post("/note")
async def add(scheduler: CurrentScheduler) -> int:
    return await (await scheduler.schedule_once(note)).result(timeout=45)


@app.post("/hold")
async def begin(scheduler: CurrentScheduler, file: str) -> str:
    return (await scheduler.schedule_once(hold, file)).id
