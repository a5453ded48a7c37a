"""A person reads, acts, is refused, signs in, and loses the connection."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Console, Server
from tests.docs import pages
from tests.waiting import until

PAGES = (
    "/", "/schedules/push_to_crm", "/schedules/report", "/jobs/report", "/runs", "/failures", "/timeline",
    "/instances", "/activity",
)  # fmt: skip


def test_a_slot_is_explained_for_a_moment_that_is_typed(server: Server, page: Any, console: Console) -> None:
    page.goto(f"{server.page}/schedules/report")
    page.get_by_label("Why did it not run at").fill("2026-01-05 06:30")
    page.get_by_role("button", name="Explain").click()
    page.locator("#explain", has_text="the schedule was not known yet").wait_for()
    assert console.complaints == []


def test_a_group_of_failures_is_run_again_with_a_note(server: Server, page: Any, console: Console) -> None:
    page.goto(f"{server.page}/schedules/push_to_crm")
    page.locator("header[data-live=on]").wait_for()
    for count in (1, 2):
        page.get_by_role("button", name="Run now").click()
        page.locator("#needs, #body").filter(has_text="RuntimeError").first.wait_for()
        until(
            lambda count=count: (
                page.locator("#body tbody tr", has_text="Failed").count() >= count
                or page.wait_for_timeout(50)
            )
        )
    row = page.locator("#body tbody tr", has_text="Failed").first
    row.get_by_role("button", name=re.compile("More actions of the run of push_to_crm at")).click()
    menu = page.get_by_role("menu", name="More actions")
    menu.get_by_role("menuitem", name="Dismiss…").wait_for()
    assert menu.get_by_role("menuitem").all_inner_texts() == ["Run again", "Dismiss…"]
    page.keyboard.press("Escape")
    page.goto(f"{server.page}/failures")
    page.get_by_role("button", name=re.compile("Retry all 2")).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("2 runs of push_to_crm begin again").wait_for()
    dialog.get_by_label("Note (optional)").fill("the CRM is back")
    dialog.get_by_role("button", name="Retry").click()
    page.get_by_text("Requeue: 2 runs").wait_for()
    page.goto(f"{server.page}/activity")
    page.locator("#activity tbody", has_text="the CRM is back").wait_for()
    assert page.locator("#activity tbody", has_text="anna").count() == 1
    assert console.complaints == []


def test_open_details_focus_and_text_survive_an_update(server: Server, page: Any) -> None:
    page.goto(f"{server.page}/")
    page.locator("header[data-live=on]").wait_for()
    field = page.get_by_placeholder("Filter")
    field.fill("heart")
    before = page.locator("#j-heartbeat .last time").get_attribute("data-t")
    until(
        lambda: (
            page.locator("#j-heartbeat .last time").get_attribute("data-t") != before
            or page.wait_for_timeout(50)
        )
    )
    assert field.input_value() == "heart"
    assert page.evaluate("document.activeElement.name") == "q"


def test_all_that_match_are_chosen_and_paused_with_progress(
    server: Server, page: Any, console: Console
) -> None:
    page.goto(f"{server.page}/?q=monitor&sort=name")
    page.locator("header[data-live=on]").wait_for()
    page.get_by_label("Choose monitor-07").check()
    page.get_by_label("Choose monitor-09").check()
    bar = page.get_by_role("region", name="Chosen schedules")
    bar.get_by_text("2 selected").wait_for()
    bar.get_by_role("button", name="Select all 60 that match").click()
    bar.get_by_text("All 60 that match").wait_for()
    bar.get_by_role("button", name="Pause").click()
    dialog = page.get_by_role("dialog", name="Pause 60 schedules?")
    assert page.evaluate("document.activeElement.textContent") == "Cancel"
    dialog.get_by_label("Note (optional)").fill("they move")
    dialog.get_by_role("button", name="Pause").click()
    page.get_by_text("Pause: 60 schedules").wait_for()
    assert page.locator(".bulk").count() == 0
    page.locator("#j-monitor-59", has_text="Paused").wait_for()
    page.locator("th[aria-sort=ascending] a").click()
    page.wait_for_url("**/?q=monitor&sort=-name")
    assert page.locator("#rows tr").first.get_attribute("id") == "j-monitor-59"
    assert page.locator("th[aria-sort=descending]").count() == 1
    page.get_by_label("Choose all on this page").check()
    bar.get_by_role("button", name="Resume").click()
    page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    page.get_by_text("Resume: 60 schedules").wait_for()
    page.locator("#j-monitor-59", has_text="On time").wait_for()
    assert console.complaints == []


def test_axe_finds_nothing_on_any_page(server: Server, page: Any) -> None:
    found = pytest.importorskip("axe_playwright_python", reason="pip install axe-playwright-python")
    axe = next(Path(found.__file__).parent.rglob("axe.min.js")).read_text("utf-8")
    runs = page.request.get(f"{server.page}/api/v1/runs?schedule=push_to_crm").json()["runs"]
    violations = []

    def look(where: str) -> None:
        for one in page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]:
            violations.append((where, one["id"], one["nodes"][0]["html"]))

    # Each page in one of two windows: axe takes half a second of a processor for a page.
    for place, path in enumerate((*PAGES, *(f"/runs/{run['id']}" for run in runs[:1]))):
        page.set_viewport_size({"width": (1440, 390)[place % 2], "height": 900})
        page.emulate_media(color_scheme=("light", "dark")[place % 2])
        page.goto(f"{server.page}{path}")
        page.evaluate(axe)
        look(path)
    page.goto(f"{server.page}/?q=monitor-0")
    page.get_by_role("button", name="More actions of monitor-01").click()
    page.get_by_role("menu").wait_for()
    page.evaluate(axe)
    look("an open menu")
    assert violations == []


def test_the_page_comes_back_when_the_server_does(server: Server, page: Any) -> None:
    page.goto(f"{server.page}/")
    page.locator("header[data-live=on]").wait_for()
    server.stop()
    page.locator("header[data-live=off]").wait_for()
    page.get_by_text("Reconnecting…").wait_for()
    server.start()
    page.locator("header[data-live=on]").wait_for()


def test_the_keys_move_and_open(server: Server, page: Any, console: Console) -> None:
    page.goto(f"{server.page}/")
    page.locator("#rows tr").first.wait_for()
    page.keyboard.press("/")
    page.keyboard.type("monitor-0")  # letters in a field are no commands
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=monitor-0")
    page.locator("header[data-live=on]").wait_for()
    for key in ("j", "j", "k", "j"):
        page.keyboard.press(key)
    chosen = page.locator("tr.at")
    assert chosen.count() == 1
    page.keyboard.press("x")
    page.get_by_text("1 selected").wait_for()
    page.keyboard.press("x")
    page.keyboard.press("p")
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    page.locator("tr.at", has_text="Paused").wait_for()
    page.keyboard.press("p")
    page.locator("tr.at", has_text="On time").wait_for()
    page.keyboard.press("r")
    page.get_by_text("will run now").wait_for()
    page.keyboard.press("Escape")
    assert page.locator("tr.at").count() == 0
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/schedules/monitor-0*")
    page.get_by_label("More actions").click()
    page.get_by_role("button", name="Backfill…").wait_for()
    page.keyboard.press("Escape")
    assert page.locator("details.menu[open]").count() == 0
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.keyboard.press("g")
    page.keyboard.press("t")
    page.wait_for_url("**/scheduler/timeline")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert console.complaints == []


def test_all_actions_of_a_row_are_in_its_menu(server: Server, page: Any, console: Console) -> None:
    page.goto(f"{server.page}/?q=monitor-04")
    page.locator("header[data-live=on]").wait_for()
    opener = page.get_by_role("button", name="More actions of monitor-04")
    opener.focus()
    page.keyboard.press("Enter")
    menu = page.get_by_role("menu", name="More actions of monitor-04")
    page.locator(":focus", has_text="Run now").wait_for()
    assert menu.get_by_role("menuitem").all_inner_texts() == [
        "Run now", "Run with arguments…", "Pause", "Skip next", "Backfill…", "Reschedule…", "Forget history…",
    ]  # fmt: skip
    for key, name in (
        ("ArrowUp", "Forget history…"),
        ("Home", "Run now"),
        ("ArrowDown", "Run with arguments…"),
    ):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.textContent") == name
    page.keyboard.press("Escape")
    menu.wait_for(state="detached")
    page.locator("[data-more]:focus").wait_for()
    page.keyboard.press(" ")
    menu.get_by_role("menuitem", name="Skip next").click()
    dialog = page.get_by_role("dialog", name="Skip the next slot of monitor-04?")
    dialog.get_by_role("button", name="Cancel").click()
    page.locator("[data-more]:focus").wait_for()
    page.keyboard.press("j")
    page.keyboard.press("m")
    menu.get_by_role("menuitem", name="Skip next").click()
    dialog.get_by_role("button", name="Skip").click()
    page.get_by_text("monitor-04 skips").wait_for()
    assert menu.count() == 0
    assert console.complaints == []


def test_the_actions_of_a_row_are_reached_without_a_script(server: Server, chromium: Any) -> None:
    context = chromium.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(f"{server.page}/?q=monitor-05")
        page.get_by_role("link", name="More actions of monitor-05").press("Enter")
        page.wait_for_url("**/schedules/monitor-05")
        page.get_by_role("button", name="Pause").wait_for()
        page.get_by_label("More actions").press("Enter")
        page.get_by_role("button", name="Skip next").wait_for()
    finally:
        context.close()


def test_a_page_without_a_stream_is_loaded_again_after_an_operation_on_many(
    server: Server, page: Any
) -> None:
    page.add_init_script("delete window.EventSource")
    page.goto(f"{server.page}/?q=monitor")
    page.get_by_text("Not live").wait_for()
    page.get_by_label("Choose all on this page").check()
    bar = page.get_by_role("region", name="Chosen schedules")
    for action, state in (("Pause", "Paused"), ("Resume", "On time")):
        page.get_by_label("Choose all on this page").check()
        bar.get_by_role("button", name=action).click()
        page.get_by_role("dialog").get_by_role("button", name=action).click()
        page.locator("#j-monitor-59", has_text=state).wait_for()
        page.get_by_text(f"{action}: 60 schedules").wait_for()


def test_the_keys_are_for_the_subject_of_the_page(server: Server, page: Any, console: Console) -> None:
    page.goto(f"{server.page}/schedules/monitor-01")
    page.locator("header[data-live=on]").wait_for()
    page.keyboard.press("p")
    dialog = page.get_by_role("dialog", name="Pause monitor-01?")
    dialog.get_by_role("button", name="Cancel").click()
    page.keyboard.press("r")
    page.get_by_text("monitor-01 will run now").wait_for()
    page.goto(f"{server.page}/")
    page.locator("#j-heartbeat").get_by_label("Pause heartbeat?").click()
    page.get_by_text("More than 100 due times an hour will be skipped").wait_for()
    assert console.complaints == []


def test_a_person_signs_in(server: Server, chromium: Any) -> None:
    context = chromium.new_context(http_credentials={"username": "anna", "password": "s3cret"})
    try:
        page = context.new_page()
        assert page.goto(f"{server.url}/closed/").status == 200
        page.locator("#verdict").wait_for()
    finally:
        context.close()
    context = chromium.new_context()
    try:
        assert context.request.get(f"{server.url}/closed/").status == 401
    finally:
        context.close()


def test_every_page_fits_its_window_and_keeps_the_rules(server: Server, page: Any, console: Console) -> None:
    page.goto(f"{server.page}/")
    for width in (390, 1024, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        for path in PAGES:
            page.goto(f"{server.page}{path}")
            page.locator("h1").first.wait_for()
            assert page.locator("h1").count() == 1, path
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{path} is {wide} px wide in a window of {width}"
            hidden = page.evaluate(
                "[...document.querySelectorAll('.scroll')].filter((el) => el.scrollWidth > el.clientWidth).length"
            )
            assert not hidden, f"a table of {path} is cut off in a window of {width}"
    assert console.complaints == []
    assert all(url.startswith((server.url, "data:")) for url in console.requests)


def test_the_readmes_lines_show_the_progress_of_a_run_on_a_page_of_ones_own(
    server: Server, page: Any, console: Console
) -> None:
    (block,) = pages.blocks("js", pages.PAGES[0])
    page.goto(f"{server.page}/jobs/rebuild")
    run = page.request.post(f"{server.page}/api/v1/jobs/rebuild/run", data={}, headers={"X-Asyncsched": "1"})
    page.evaluate(
        f"""(id) => {{
          const [bar, label] = [document.createElement("progress"), document.createElement("p")]
          bar.id = "bar"
          label.id = "label"
          document.body.replaceChildren(bar, label)
          {block.text}
        }}""",
        run.json()["run_id"],
    )
    page.locator("#label", has_text="shard 2").wait_for()
    assert page.locator("#bar").evaluate("bar => bar.value") == 0.5
    gate = server.folder / "gate"
    gate.touch()
    page.locator("#label", has_text="shard 4").wait_for()
    assert page.locator("#bar").evaluate("bar => bar.value") == 1
    gate.unlink()
    assert console.complaints == []
