"""The app: its jobs, and the handlers that schedule them. ``UPTIME_*`` variables set its times."""

import asyncio
import os
import random
import signal
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import httpcore  # noqa: F401 - httpx would load it with its first client, inside the event loop
import httpx
from anyio import sleep, to_thread
from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field, HttpUrl

from asyncsched import Interval, Provide, Retry, ScheduleExists, Scheduler, current_run
from asyncsched.dashboard import Dashboard
from asyncsched.events import Event, LoopStalled, RunStarted
from asyncsched.stores.sqlite import SqliteStore
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


async def tell(event: Event) -> None:
    """Note what the buttons of the page show: a blocked loop, and a run that is begun again."""
    me, now = f"process {os.getpid()}", time.time()
    if isinstance(event, LoopStalled):
        name = event.job or "code of no job"
        blocked = f"{me}: {name} blocked the event loop for {event.milliseconds:.0f} ms"
        await database.add_news(f"{blocked}; {await punctuality(now - 5)}")
    elif isinstance(event, RunStarted) and event.run.job == "audit" and event.run.attempt > 1:
        kills = await database.query(
            "select at from news where text like '%kill -9%' order by id desc limit 1"
        )
        killed = kills[0]["at"] if kills else now
        await database.add_news(
            f"{me} has begun the run of audit again: attempt {event.run.attempt}, {now - killed:.1f} s after the kill; "
            f"{await punctuality(killed)}"
        )


async def punctuality(since: float) -> str:
    """Return what became of the due times since a moment: none is run twice, and how late the latest began."""
    start = datetime.fromtimestamp(since, UTC)
    runs = await scheduler.runs(origin="schedule", start=start, limit=1000)
    twice = len(runs) - len({(run.schedule, run.scheduled_for) for run in runs})
    late = max((run.late.total_seconds() for run in runs if run.late is not None), default=0)
    return (
        f"{len(runs)} due times in the last {time.time() - since:.0f} s, {twice or 'none'} run twice, "
        f"the latest of them {late * 1000:.0f} ms late"
    )


# One file for all workers. A worker that was killed is noticed after 3 s here; the default is 15 s.
scheduler = Scheduler(
    SqliteStore(Path(PATH).with_suffix(".jobs.db"), lease=3, beat=1), observers=[tell], shutdown_timeout=1
)
database = Database(PATH)
sink = MailSink(database.add_mail)


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


@scheduler.interval(minutes=1, immediate=True, retry=Retry(attempts=20))
async def audit() -> str:
    """Work nearly all the time, so that there is a run to kill: another worker begins it again."""
    run = current_run()
    for step in range(100):
        run.progress(step + 1, 100, f"by process {os.getpid()}")
        await sleep(0.585)
    return f"attempt {run.attempt}, by process {os.getpid()}"


@scheduler.job()
async def block_the_loop(milliseconds: int) -> None:
    """Do what a job may not do: hold up the event loop. The scheduler measures it, and names the job."""
    time.sleep(milliseconds / 1000)  # noqa: ASYNC251 - that is what it shows


async def watch(monitor: int, url: str, every: float, replace: bool = False) -> None:
    """Give a monitor its schedule; the schedule that it has already stays, unless it is replaced."""
    trigger = Interval(seconds=every, immediate=True)
    with suppress(ScheduleExists):  # another worker was quicker
        await scheduler.add_schedule(
            check, trigger, id=f"monitor-{monitor}", args=(monitor, url), replace=replace
        )


# ── the app ──────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    async with database.opened(), sink.listening(), scheduler.lifespan(app) as state:
        for path in ("/health", "/demo") if OWN_URL and not await database.monitors() else ():
            await database.put_monitor(f"{OWN_URL}{path}", 2)
        for one in await database.monitors():
            await watch(one["id"], one["url"], one["every"])
        yield state


app = FastAPI(title="Uptime", lifespan=lifespan)
app.mount("/scheduler", Dashboard(scheduler, title="uptime · demo"))


class Monitor(BaseModel):
    url: HttpUrl
    every: float = Field(default=10, ge=0.1, le=86_400, description="seconds between checks")


class Subscriber(BaseModel):
    email: str = Field(pattern=r"^[^@\s<>]+@[^@\s<>]+$", max_length=254)


@app.post("/monitors", status_code=201)
async def add_monitor(monitor: Monitor) -> dict[str, int]:
    """Watch an address from now on."""
    id = await database.put_monitor(str(monitor.url), monitor.every)
    await watch(id, str(monitor.url), monitor.every, replace=True)
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
    return await database.query('select "to", subject, text from mail order by id desc limit 100')


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
    happened = await database.query("select at, text from news order by id desc limit 6")
    return render_page(
        await database.monitors(), await newest_chart(), await mails(), await workers(), happened
    )


async def workers() -> list[dict[str, Any]]:
    """Return the workers: the process, for how long nothing was heard of it, and the runs that it holds."""
    held: dict[str | None, list[str]] = {}
    for run in await scheduler.live_runs():
        if run.state == "running":
            done = run.progress and f": step {run.progress.done:.0f} of {run.progress.total:.0f}"
            again = f", attempt {run.attempt}" if run.attempt > 1 else ""
            held.setdefault(run.instance, []).append(f"{run.job}{again}{done or ''}")
    found = sorted(await scheduler.instances(), key=lambda one: one.started_at)
    found.sort(key=lambda one: "audit" not in str(held.get(one.id)))  # the one to kill stands first
    return [
        {"process": one.pid, "silent": time.time() - one.beat_at.timestamp(), "runs": sorted(held.get(one.id, []))}
        for one in found
    ]  # fmt: skip


# ── the buttons that show what the library is for ────────────────────────────────────────────


@app.post("/kill", status_code=202)
async def kill(process: int | None = None) -> dict[str, int]:
    """End a worker as a crash would, the one that runs ``audit`` if none is named. Uvicorn starts another."""
    holds = {one["process"]: one["runs"] for one in await workers()}
    chosen = process or next((one for one, runs in holds.items() if "audit" in str(runs)), os.getpid())
    if chosen not in holds:
        raise HTTPException(404, f"no worker is process {chosen}")
    held = (
        f"while it ran {' and '.join(holds[chosen])}"
        if holds[chosen]
        else "while it ran nothing, so no run is begun again"
    )
    await database.add_news(f"process {chosen} was killed by kill -9 {held}; it is missed after 3 s")
    asyncio.get_running_loop().call_later(0.1, end_at_once, chosen)
    return {"process": chosen}


def end_at_once(process: int) -> None:
    with suppress(ProcessLookupError):  # it was killed by somebody else meanwhile
        os.kill(process, signal.SIGKILL)


@app.post("/block", status_code=202)
async def block() -> dict[str, str]:
    """Have a job block the event loop of some worker for 300 ms."""
    run = await scheduler.schedule_once(block_the_loop, 300)
    return {"run": run.id}


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
