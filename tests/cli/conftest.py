"""A folder with an app of a user, and a store in which its scheduler has run for a while."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from asyncsched import Scheduler

SHOP = """
import os

from asyncsched import Retry, Scheduler, current_run

scheduler = Scheduler(os.environ.get("SHOP_STORE", "sqlite:///shop.db"))


@scheduler.interval(minutes=5)
async def push_to_crm() -> None:
    raise ConnectionError("503 Service Unavailable")


@scheduler.interval(hours=1, id="rates-hourly")
async def refresh_rates() -> int:
    return 7


@scheduler.cron("30 2 * * *", timezone="Europe/Berlin")
async def nightly_report() -> None: ...


@scheduler.job(retry=Retry(attempts=2), timeout=30)
async def send_mail(to: str, copies: int = 1, password: str = "") -> str:
    return f"{copies} to {to}"


@scheduler.job()
def fail(reason: str) -> None:
    raise ValueError(reason)
"""


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``shop.py`` and ``shop.db``: a schedule that fails, one that is paused, a mail that was sent."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(SHOP)
    names: dict[str, object] = {"__name__": "shop_of_the_tests"}
    exec(SHOP.replace('"sqlite:///shop.db"', repr(f"sqlite:///{folder}/shop.db")), names)
    scheduler = names["scheduler"]
    assert isinstance(scheduler, Scheduler)

    async def live() -> None:
        async with scheduler:
            await (await scheduler.run_now("rates-hourly")).wait()
            for _ in range(2):
                await (await scheduler.run_now("push_to_crm")).wait()
            mail = await scheduler.schedule_once("send_mail", "ann", kwargs={"password": "hunter2"})  # type: ignore[call-overload]
            await mail.wait()
            await (await scheduler.schedule_once("fail", "no reason")).wait()  # type: ignore[call-overload]
            await scheduler.pause("nightly_report", note="the printer is away", by="ann")

    asyncio.run(live())
    sys.modules.pop("shop", None)
    return folder


@pytest.fixture
def copy_of_shop(shop: Path, tmp_path: Path) -> Path:
    """A copy of the shop's folder, to change."""
    for name in ("shop.py", "shop.db"):
        (tmp_path / name).write_bytes((shop / name).read_bytes())
    return tmp_path
