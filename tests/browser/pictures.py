"""Take the pictures of the README: ``python -m tests.browser.pictures [--seconds 90]``. They need a Chromium."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import httpx
from playwright.sync_api import sync_playwright

from tests.browser.conftest import CHROMIUM, Server

FOLDER = Path(__file__).parents[2] / "examples" / "guide" / "pictures"
SHOTS = (("overview", "/"), ("schedule", "/schedules/push_to_crm"), ("timeline", "/timeline?hours=6"))


def main() -> None:
    """Run the app for a while, so that there is something to see, and take the pictures, light and dark."""
    parser = argparse.ArgumentParser("python -m tests.browser.pictures", description=__doc__)
    parser.add_argument("--seconds", type=float, default=90, help="how long the app runs before")
    seconds = parser.parse_args().seconds
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), app="tests.browser.shown:app")
        try:
            httpx.post(
                f"{server.page}/api/v1/schedules/rotate_api_keys/pause", json={"note": "until the audit"},
                headers={"X-Asyncsched": "1"}, trust_env=False,
            )  # fmt: skip
            time.sleep(seconds)
            take(server.page)
        finally:
            server.stop()


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
