"""The app of the pictures in the README: a dozen schedules, of which some are not well."""

from __future__ import annotations

import os
import random

import anyio
from fastapi import FastAPI

from asyncsched import Retry, Scheduler
from asyncsched.dashboard import Dashboard

scheduler = Scheduler(os.environ["PAGE_DB"], shutdown_timeout=0.5)


@scheduler.cron("*/5 * * * * *", id="push_to_crm")
async def push_to_crm() -> None:
    if random.random() < 0.8:
        raise ConnectionError("503 Service Unavailable for https://crm.example.test/v2/contacts")


@scheduler.interval(seconds=45, timeout=300)
async def rebuild_search_index() -> None:
    await anyio.sleep(20)


@scheduler.interval(seconds=3, retry=Retry(attempts=3, delay=2, jitter="none"))
async def poll_partner_feed() -> None:
    await anyio.sleep(random.random() * 0.4)
    if random.random() < 0.2:
        raise ConnectionResetError("[Errno 104] Connection reset by peer")


@scheduler.interval(seconds=2)
async def heartbeat() -> None:
    await anyio.sleep(random.random() * 0.03)


@scheduler.interval(seconds=4)
async def sync_exchange_rates() -> None:
    await anyio.sleep(0.3 + random.random() * 0.5)


@scheduler.interval(seconds=6)
async def cleanup_sessions() -> None:
    await anyio.sleep(random.random() * 0.2)


@scheduler.cron("30 2 * * *", timezone="Europe/Berlin", tags=("nightly",))
async def nightly_report() -> None: ...


@scheduler.cron("0 7 * * mon-fri", timezone="Europe/Paris")
async def send_digest_email() -> None: ...


@scheduler.interval(minutes=2)
async def warm_cache() -> None:
    await anyio.sleep(0.17)


@scheduler.cron("0 4 1 * *")
async def rotate_api_keys() -> None: ...


@scheduler.job()
async def send_welcome(to: str) -> None: ...


app = FastAPI(lifespan=scheduler.lifespan)
app.mount("/scheduler", Dashboard(scheduler, title="billing-api · prod"))


@app.get("/health")
async def health() -> str:
    return "ok"
