"""The app: its jobs, and the handlers that schedule them. ``UPTIME_*`` variables set its times."""

import os
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Annotated, Any

import httpcore  # noqa: F401 - httpx would load it with its first client, inside the event loop
import httpx
from anyio import sleep, to_thread
from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field, HttpUrl

from asyncsched import Interval, Provide, Retry, Scheduler
from examples.uptime.chart import draw_chart
from examples.uptime.database import Database
from examples.uptime.mail import MailSink, send
from examples.uptime.page import render_page

PATH = os.environ.get("UPTIME_DB", "uptime.db")
OWN_URL = os.environ.get("UPTIME_URL")
DIGEST = os.environ.get("UPTIME_DIGEST", "* * * * *")  # each minute, so that you need not wait for it
CHART_EVERY = float(os.environ.get("UPTIME_CHART_SECONDS", "5"))
WELCOME_DELAY = float(os.environ.get("UPTIME_WELCOME_SECONDS", "5"))
CHECK_TIMEOUT = float(os.environ.get("UPTIME_TIMEOUT_SECONDS", "5"))
SMTP_SERVER = os.environ.get("UPTIME_SMTP")
TLS = ssl.create_default_context()

scheduler = Scheduler()
database = Database(PATH)
sink = MailSink()


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────


async def http_client() -> AsyncIterator[httpx.AsyncClient]:
    headers = {"user-agent": "asyncsched-uptime"}
    async with httpx.AsyncClient(timeout=CHECK_TIMEOUT, verify=TLS, headers=headers) as client:
        yield client


@scheduler.job(timeout=CHECK_TIMEOUT + 1, max_running=50)
async def check(
    monitor: int, url: str, client: Annotated[httpx.AsyncClient, Provide(http_client)]
) -> int | None:
    """Request one address. That it is down is a finding, not a failure of the job."""
    began, status, error = perf_counter(), None, None
    try:
        status = (await client.get(url)).status_code
        error = f"HTTP {status}" if status >= 400 else None
    except httpx.HTTPError as caught:
        error = f"{type(caught).__name__}: {caught}"[:200]
    await database.add_check(monitor, (perf_counter() - began) * 1000, status, error)
    return status


@scheduler.cron(DIGEST, retry=Retry(attempts=3))
async def mail_digest() -> int:
    """Tell every subscriber how the monitors are."""
    lines = [
        f"{'DOWN' if one['error'] else 'up':<6}{one['ms']:6.0f} ms  {one['url']}"
        for one in await database.monitors()
        if one["checks"]
    ]
    to = [row["email"] for row in await database.query("select email from subscriber")]
    for email in to if lines else ():
        await to_thread.run_sync(send, smtp_server(), email, "Uptime digest", "\n".join(lines))
    return len(to)


@scheduler.job(retry=Retry(attempts=3))
def send_welcome(email: str) -> None:  # a plain function: it runs in a thread
    send(smtp_server(), email, "Welcome", "You will hear from us when the digest is due.")


# CPU work: a process draws the chart, and the run's result is the picture.
scheduler.interval(seconds=CHART_EVERY, immediate=True, executor="process", timeout=30, args=(PATH,))(
    draw_chart
)


def smtp_server() -> tuple[str, int]:
    host, _, port = (SMTP_SERVER or "").rpartition(":")
    return (host, int(port)) if host else sink.address


async def watch(monitor: int, url: str, every: float) -> None:
    """Give a monitor its schedule."""
    trigger = Interval(seconds=every, immediate=True)
    await scheduler.add_schedule(check, trigger, id=f"monitor-{monitor}", args=(monitor, url), replace=True)


# ── the app ──────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    async with database.opened(), sink.listening(), scheduler.lifespan(app) as state:
        known = await database.monitors()
        for one in known:  # the scheduler is in memory, the monitors are not
            await watch(one["id"], one["url"], one["every"])
        for path in ("/health", "/demo") if OWN_URL and not known else ():
            await add_monitor(Monitor(url=HttpUrl(f"{OWN_URL}{path}"), every=2))
        yield state


app = FastAPI(title="Uptime", lifespan=lifespan)


class Monitor(BaseModel):
    url: HttpUrl
    every: float = Field(default=10, ge=0.1, le=86_400, description="seconds between checks")


class Subscriber(BaseModel):
    email: str = Field(pattern=r"^[^@\s<>]+@[^@\s<>]+$", max_length=254)


@app.post("/monitors", status_code=201)
async def add_monitor(monitor: Monitor) -> dict[str, int]:
    """Watch an address from now on."""
    sql = "insert into monitor (url, every) values (?, ?) on conflict do update set every = excluded.every returning id"
    id = (await database.query(sql, str(monitor.url), monitor.every))[0]["id"]
    await watch(id, str(monitor.url), monitor.every)
    return {"id": id}


@app.get("/monitors")
async def monitors() -> list[dict[str, Any]]:
    """Return the monitors with what their last check found."""
    return await database.monitors()


@app.delete("/monitors/{id}", status_code=204)
async def remove_monitor(id: int) -> None:
    """Watch an address no longer."""
    if not await database.query("delete from monitor where id = ? returning id", id):
        raise HTTPException(404, f"there is no monitor {id}")
    await scheduler.remove(f"monitor-{id}")


@app.post("/signup", status_code=202)
async def signup(subscriber: Subscriber) -> dict[str, Any]:
    """Subscribe to the digest. The welcome mail follows, once a day at most."""
    await database.query("insert or ignore into subscriber values (?)", subscriber.email)
    run = await scheduler.schedule_once(
        send_welcome, subscriber.email, delay=WELCOME_DELAY, key=subscriber.email, key_ttl=86_400
    )
    return {"run": run.id, "created": run.created}


@app.get("/mail")
async def mails() -> list[dict[str, str]]:
    """Return the mails that our own server received, newest first."""
    return [
        {"to": mail["To"], "subject": mail["Subject"], "text": str(mail.get_content())} for mail in sink.mails
    ]


async def newest_chart() -> str | None:
    runs = await scheduler.runs(job="draw_chart", state="succeeded", limit=1)
    return runs[0].result if runs else None


@app.get("/chart.svg")
async def chart() -> Response:
    """Return the newest chart."""
    svg = await newest_chart()
    if svg is None:
        raise HTTPException(404, "the first chart is not drawn yet")
    return Response(svg, media_type="image/svg+xml")


@app.get("/", response_class=HTMLResponse, include_in_schema=False)
async def page() -> str:
    return render_page(await database.monitors(), await newest_chart(), await mails())


@app.get("/health", include_in_schema=False)
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/demo", include_in_schema=False)
async def demo() -> dict[str, str]:
    """Be something to watch: slow at times, and one time in fifteen broken."""
    await sleep(random.expovariate(12))
    if random.random() < 1 / 15:
        raise HTTPException(503, "a bad moment")
    return {"status": "ok"}
