"""Take the pictures of the README: ``python -m tests.browser.pictures``. They need a Chromium and a minute.

A day passes in virtual time first, so that there is something to see; then the app is served as it is.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
from playwright.sync_api import sync_playwright

from asyncsched.testing import VirtualClock
from tests.browser.conftest import CHROMIUM, Server

FOLDER = Path(__file__).parents[2] / "examples" / "guide" / "pictures"
SHOTS = (("overview", "/"), ("schedule", "/schedules/push_to_crm"), ("timeline", "/timeline"))
DAY = timedelta(hours=26)
FILLING = timedelta(seconds=45)
"""The time that the day takes to pass: the history ends when the server begins."""


def main() -> None:
    """Let the day pass, serve the app, and take the pictures, light and dark."""
    parser = argparse.ArgumentParser("python -m tests.browser.pictures", description=__doc__)
    parser.add_argument("--end", help=argparse.SUPPRESS)
    end = parser.parse_args().end
    if end is not None:
        fill(datetime.fromisoformat(end))
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        end_at = datetime.now(UTC) + FILLING
        broken = {"PAGE_BROKEN_SINCE": (end_at - timedelta(minutes=68)).isoformat()}
        command = [sys.executable, "-m", "tests.browser.pictures", "--end", end_at.isoformat()]
        environment = {**os.environ, "PAGE_DB": f"sqlite:///{folder}/jobs.db", **broken}
        subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
        time.sleep(max(0.0, (end_at - datetime.now(UTC)).total_seconds()))
        server = Server(Path(folder), app="tests.browser.shown:app", **broken)
        try:
            time.sleep(5)
            take(server.page)
        finally:
            server.stop()


def fill(end: datetime) -> None:
    """Let a day pass that ends at a moment."""
    from tests.browser.shown import made

    between = timedelta(seconds=15)  # no slot falls into the moment in which the server begins
    clock = VirtualClock(end - DAY - between)
    scheduler = made(clock)

    async def pass_by() -> None:
        async with scheduler:
            await scheduler.run_job("send_welcome", kwargs={"to": "ann@example.test"})
            await anyio.sleep(DAY.total_seconds() / 2)
            await scheduler.pause("rotate_api_keys", note="until the audit", by="anna")
            await anyio.sleep(DAY.total_seconds() / 2 + between.total_seconds())

    clock.run(pass_by)


def take(page_url: str) -> None:
    """Take all pictures of a running app."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for scheme in ("light", "dark"):
            context = browser.new_context(viewport={"width": 1280, "height": 860}, color_scheme=scheme)
            tab = context.new_page()
            for name, path in SHOTS:
                tab.goto(f"{page_url}{path}")
                tab.locator("header[data-live=on]").wait_for()
                tab.screenshot(path=FOLDER / f"{name}-{scheme}.png")
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
