"""The app that the browser looks at. Jobs wait for a file, so that a test decides when they end."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
from fastapi import FastAPI, Request
from starlette.types import Receive, Scope, Send

from asyncsched import Scheduler, current_run
from asyncsched.dashboard import Access, Dashboard, basic

GATE = Path(os.environ["PAGE_DB"].removeprefix("sqlite:///")).parent / "gate"

scheduler = Scheduler(os.environ["PAGE_DB"], shutdown_timeout=0.5)


@scheduler.interval(seconds=1)
async def heartbeat() -> None: ...


@scheduler.cron("0 7 * * *", timezone="Europe/Berlin", tags=("daily",))
async def report(pages: int = 3, api_key: str = "hidden") -> str:
    """Write the report."""
    while not GATE.exists():
        await anyio.sleep(0.02)
    return f"{pages} pages"


@scheduler.interval(minutes=20)
async def push_to_crm() -> None:
    raise RuntimeError("503 Service Unavailable for https://crm.example.test/v2/contacts")


@scheduler.job()
async def rebuild() -> None:
    """Tell how far it is, and wait at the half for the gate."""
    for done in range(1, 5):
        current_run().progress(done, 4, f"shard {done}")
        while done == 2 and not GATE.exists():
            await anyio.sleep(0.02)


async def monitor() -> None: ...


for number in range(60):
    scheduler.interval(hours=5, id=f"monitor-{number:02}")(monitor)


def auth(request: Request) -> Access:
    """Give the right that the address of the app names: a test looks as one or the other."""
    return Access(os.environ.get("PAGE_ROLE", "admin"), user="anna")  # type: ignore[arg-type]


dashboard = Dashboard(scheduler, auth=auth, title="billing-api · test")
app = FastAPI(lifespan=scheduler.lifespan)
app.mount("/scheduler", dashboard)
app.mount("/closed", Dashboard(scheduler, auth=basic("anna", "s3cret")))


@app.get("/health")
async def health() -> str:
    return "ok"


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve the page alone, without an app before it that answers for some addresses itself."""
    page = dashboard if scope["type"] == "http" and scope["path"] != "/health" else app
    await page(scope, receive, send)
