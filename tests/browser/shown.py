"""The app of the pictures in the README: a dozen schedules, of which some are not well."""

from __future__ import annotations

import inspect
import os
import random
from datetime import UTC, datetime

import anyio
from fastapi import FastAPI

from asyncsched import Retry, Scheduler
from asyncsched.abc import Clock
from asyncsched.dashboard import Dashboard

BROKEN_SINCE = datetime.fromisoformat(os.environ.get("PAGE_BROKEN_SINCE", "2026-01-01T00:00:00+00:00"))
"""From then on one job fails: an hour before the pictures."""


def made(clock: Clock | None = None) -> Scheduler:
    """Return the scheduler; in virtual time, a day of it is the history of the pictures."""
    scheduler = Scheduler(os.environ["PAGE_DB"], shutdown_timeout=0.5, clock=clock)

    @scheduler.cron("*/5 * * * *", timeout=30, tags=("crm", "outbound"))
    async def push_to_crm() -> None:
        """Send new contacts to the CRM."""
        await anyio.sleep(0.2 + random.random() * 0.2)
        now = datetime.now(UTC) if clock is None else datetime.fromtimestamp(clock.wall() / 1e6, UTC)
        if now > BROKEN_SINCE:
            raise ConnectionError("503 Service Unavailable for https://crm.example.test/v2/contacts")

    @scheduler.cron("10 * * * *", timeout=3600)
    async def rebuild_search_index() -> None:
        await anyio.sleep(600 + random.random() * 180)

    @scheduler.interval(minutes=3, retry=Retry(attempts=3, delay=2, jitter="none"))
    async def poll_partner_feed() -> None:
        await anyio.sleep(random.random() * 0.4)
        if random.random() < 0.2:
            raise ConnectionResetError("[Errno 104] Connection reset by peer")

    @scheduler.interval(minutes=1)
    async def heartbeat() -> None:
        await anyio.sleep(random.random() * 0.03)

    @scheduler.interval(minutes=4)
    async def sync_exchange_rates() -> None:
        await anyio.sleep(0.3 + random.random() * 0.5)

    @scheduler.interval(minutes=15)
    async def cleanup_sessions() -> None:
        await anyio.sleep(random.random() * 60)

    @scheduler.cron("30 2 * * *", timezone="Europe/Berlin", tags=("nightly",))
    async def nightly_report() -> None:
        await anyio.sleep(96)

    @scheduler.cron("0 7 * * mon-fri", timezone="Europe/Paris")
    async def send_digest_email() -> None:
        await anyio.sleep(8)

    @scheduler.interval(minutes=2)
    async def warm_cache() -> None:
        await anyio.sleep(0.17)

    @scheduler.cron("0 4 1 * *")
    async def rotate_api_keys() -> None: ...

    @scheduler.interval(minutes=20, id="compact_shard_1")
    @scheduler.interval(minutes=25, id="compact_shard_2")
    async def compact() -> None:
        await anyio.sleep(20 + 60 * random.random())

    @scheduler.job()
    async def send_welcome(to: str) -> None: ...

    for name, job in [*locals().items()]:  # as they would stand in an app
        if inspect.isfunction(job):
            job.__module__, job.__qualname__ = "app.jobs", name
    return scheduler


scheduler = made()
app = FastAPI(lifespan=scheduler.lifespan)
app.mount("/scheduler", Dashboard(scheduler, title="billing-api · prod"))


@app.get("/health")
async def health() -> str:
    return "ok"
