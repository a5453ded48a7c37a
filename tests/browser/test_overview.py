"""A person looks at the overview, and acts."""

from __future__ import annotations

from typing import Any

from tests.browser.conftest import Console, Server


def test_a_run_is_watched_to_its_end_live(server: Server, page: Any, console: Console) -> None:
    page.goto(f"{server.page}/")
    page.locator("header[data-live=on]").wait_for()
    page.locator("#j-report").get_by_role("button", name="Run report now").click()
    page.get_by_text("report will run now").wait_for()
    page.locator("#j-report", has_text="Running").wait_for()
    page.locator("#j-report", has_text="so far").wait_for()
    (server.folder / "gate").touch()
    page.locator("#j-report", has_text="took").wait_for()
    page.locator("#j-report", has_text="On time").wait_for()
    assert console.complaints == []
    assert all(url.startswith((server.url, "data:")) for url in console.requests)


def test_a_schedule_is_paused_with_a_note_and_goes_on(server: Server, page: Any, console: Console) -> None:
    page.goto(f"{server.page}/")
    page.locator("#j-heartbeat").get_by_role("button", name="Pause heartbeat?").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("due times an hour will be skipped").wait_for()
    dialog.get_by_label("Note (optional)").fill("the store is moved")
    dialog.get_by_role("button", name="Pause").click()
    page.locator("#j-heartbeat", has_text="Paused").wait_for()
    page.locator("#j-heartbeat").get_by_role("button", name="Resume heartbeat").click()
    page.locator("#j-heartbeat", has_text="On time").wait_for()
    assert console.complaints == []
