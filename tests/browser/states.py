"""Pictures of every page in every state, to look at: ``python -m tests.browser.states FOLDER [state …]``.

A state is a scheduler in virtual time. Its pages are drawn once, and served to the browser from memory: no server,
no waiting, and the same picture each time.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import anyio
import httpx
from starlette.applications import Starlette

from asyncsched import Retry, Scheduler, StoreUnavailable, current_run
from asyncsched._core.records import ScheduleRecord
from asyncsched.dashboard import Dashboard
from asyncsched.stores.memory import MemoryStore
from asyncsched.testing import VirtualClock

HOST = "http://127.0.0.1:8000"
ROOT = f"{HOST}/scheduler"
START = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
LONG = "reconcile_" + "the_ledger_of_all_accounts_" * 8
HOSTILE = '"><img src=x onerror=alert(1)> </script> 𝕏'
BACKWARDS = HOSTILE + " \u202egnp.exe \u0301\u0301\x07"
WIDTHS = (390, 1024, 1440)
LOOKS = """
window.EventSource = class {
  constructor() { setTimeout(() => this.onopen && this.onopen(), 0); }
  addEventListener() {}
  close() {}
};
"""
"""A stream that is open and says nothing: the page counts as live, and stays as it was drawn."""


class Drawn(NamedTuple):
    """The answers of a state by their addresses, the moment that they are of, and the pages to look at."""

    answers: dict[str, httpx.Response]
    at: datetime
    pages: dict[str, str]


class Leaving(MemoryStore):
    """A store that can be away."""

    away = False

    async def schedules(self, ids: Collection[str] | None = None) -> list[ScheduleRecord]:
        if self.away:
            raise StoreUnavailable("the store gave no answer within 5 s (connection refused)")
        return await super().schedules(ids)

    async def runs(self, query: Any) -> Any:
        if self.away:
            raise StoreUnavailable("the store gave no answer within 5 s (connection refused)")
        return await super().runs(query)


Fill = Callable[[Scheduler], Awaitable[None]]


async def nothing(scheduler: Scheduler) -> None:
    await anyio.sleep(1)


async def three(scheduler: Scheduler) -> None:
    await anyio.sleep(4 * 3600 + 100)


async def failing(scheduler: Scheduler) -> None:
    await anyio.sleep(4 * 3600 + 100)
    for run in (await scheduler.dead_letters())[:1]:
        await scheduler.dismiss(run.id, "the CRM was moved", "bert")
    await scheduler.pause("nightly_report", note="until the audit", by="anna")
    await scheduler.run_now("push_to_crm", by="anna", note="is it back?")
    await scheduler.skip_next("push_to_crm", by="anna")
    await scheduler.run_job("send_welcome", kwargs={"to": "ann@example.test"})
    await anyio.sleep(5)


async def many(scheduler: Scheduler) -> None:
    await anyio.sleep(1800)
    for number in range(0, 3000, 37):
        await scheduler.pause(f"monitor-{number:04}", by="anna")


async def away(scheduler: Scheduler) -> None:
    await three(scheduler)


def well_jobs(scheduler: Scheduler) -> None:
    @scheduler.interval(minutes=5, tags=("crm",))
    async def sync_exchange_rates() -> None:
        """Fetch the day's rates."""
        await anyio.sleep(0.3)

    @scheduler.cron("30 2 * * *", timezone="Europe/Berlin", timeout=600)
    async def nightly_report(pages: int = 3) -> str:
        await anyio.sleep(96)
        return f"{pages} pages"

    @scheduler.interval(minutes=1)
    async def heartbeat() -> None:
        await anyio.sleep(0.01)


def failing_jobs(scheduler: Scheduler) -> None:
    @scheduler.interval(minutes=5, retry=Retry(attempts=3, delay=2, jitter="none"), tags=("crm", "outbound"))
    async def push_to_crm(account: str = "all", api_key: str = "s3cret") -> None:
        """Send new contacts to the CRM."""
        await anyio.sleep(0.21)
        raise ConnectionError("503 Service Unavailable for https://crm.example.test/v2/contacts")

    @scheduler.cron("30 2 * * *", timezone="Europe/Berlin", timeout=600)
    async def nightly_report() -> None: ...

    @scheduler.interval(minutes=10, timeout=30)
    async def rebuild() -> None:
        current_run().progress(3, 10, "shard 3")
        await anyio.sleep(40)

    @scheduler.job()
    async def send_welcome(to: str) -> None:
        await anyio.sleep(0.1)


def many_jobs(scheduler: Scheduler) -> None:
    async def monitor() -> None:
        await anyio.sleep(0.02)

    for number in range(3000):
        scheduler.interval(minutes=5 + number % 50, id=f"monitor-{number:04}")(monitor)


def long_jobs(scheduler: Scheduler) -> None:
    def deep(text: str, left: int) -> None:
        if left:
            deep(text, left - 1)
        raise ValueError(text)

    @scheduler.interval(minutes=5, id=LONG[:200], name="a" * 200, tags=("t" * 120, "outbound"))
    async def long(**arguments: Any) -> None:
        deep("no " * 9000 + "x" * 20_000, 3)

    @scheduler.interval(
        minutes=5, id=HOSTILE, args=(BACKWARDS, {"password": "s3cret", "k" * 300: "v" * 3000})
    )
    async def hostile(*arguments: Any) -> str:
        return BACKWARDS * 20

    @scheduler.interval(hours=1)
    async def fine() -> None: ...

    @scheduler.cron("*/5 8-18 * * mon,wed,fri", timezone="America/Argentina/Buenos_Aires")
    async def far_away() -> None: ...


async def long(scheduler: Scheduler) -> None:
    await anyio.sleep(3 * 3600 + 100)
    await scheduler.pause(HOSTILE, note=BACKWARDS + " and " + "w" * 400, by=HOSTILE)
    await anyio.sleep(1)


STATES: dict[str, tuple[Callable[[Scheduler], None] | None, Fill]] = {
    "empty": (None, nothing), "well": (well_jobs, three), "failing": (failing_jobs, failing), "many": (many_jobs, many),
    "away": (well_jobs, away), "long": (long_jobs, long),
}  # fmt: skip


def draw(state: str) -> Drawn:
    """Draw all pages of a state."""
    declare, fill = STATES[state]
    clock = VirtualClock(START, patience=60)
    store = Leaving()
    scheduler = Scheduler(store, clock=clock)
    if declare is not None:
        declare(scheduler)
    app = Starlette()
    app.mount("/scheduler", Dashboard(scheduler, title="billing-api · prod"))
    answers: dict[str, httpx.Response] = {}
    pages: dict[str, str] = {}

    async def pass_by() -> datetime:
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 5000))
        async with scheduler, httpx.AsyncClient(transport=transport, base_url=ROOT) as client:
            await fill(scheduler)
            runs = await scheduler.runs(limit=200)
            pages.update(
                await _addresses(scheduler, [run.id for run in runs if run.traceback or not run.finished])
            )
            if state == "away":
                await client.get("/")
                store.away = True
                await anyio.sleep(12)
            for address in pages.values():
                answers[f"{ROOT}{address}"] = answer = await client.get(f"{ROOT}{address}")
                for name in re.findall(r"/scheduler(/static/[^\"]+)", answer.text):
                    answers.setdefault(f"{ROOT}{name}", await client.get(f"{ROOT}{name}"))
            store.away = False
            return clock.now()

    at = clock.run(pass_by)
    return Drawn(answers, at, pages)


async def _addresses(scheduler: Scheduler, runs: list[str]) -> dict[str, str]:
    found = {
        "overview": "/", "runs": "/runs", "failures": "/failures", "timeline": "/timeline", "instances": "/instances",
        "activity": "/activity", "filtered": "/?q=nosuch", "missing": "/schedules/nosuch",
    }  # fmt: skip
    schedules = await scheduler.schedules()
    for number, one in enumerate(schedules[:3]):
        found[f"schedule{number}"] = f"/schedules/{quote(one.id, safe='')}"
        found[f"job{number}"] = f"/jobs/{quote(one.job, safe='')}"
    for number, id in enumerate((runs[:1] + runs[-1:]) if runs else ()):
        found[f"run{number}"] = f"/runs/{id}"
    return found


def open_tab(browser: Any, drawn: Drawn, width: int, scheme: str) -> Any:
    """Return a tab that gets all answers from memory, at the moment that they are of."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_default_timeout(30_000)

    def answer(route: Any) -> None:
        found = drawn.answers.get(route.request.url)
        if found is None:
            route.fulfill(status=404, body="")
        else:
            route.fulfill(status=found.status_code, body=found.content, headers=dict(found.headers))

    context.route("**", answer)
    context.add_init_script(LOOKS)
    tab = context.new_page()
    tab.clock.set_fixed_time(drawn.at)
    return tab


def main() -> None:
    """Take the pictures."""
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import CHROMIUM

    parser = argparse.ArgumentParser("python -m tests.browser.states", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("states", nargs="*", choices=[*STATES, []])
    parser.add_argument("--page", help="only this page")
    parser.add_argument("--width", type=int, help="only this width")
    parser.add_argument("--scheme", help="only light or dark")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    drawings = {state: draw(state) for state in given.states or STATES}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for state, drawn in drawings.items():
            for width in [given.width] if given.width else WIDTHS:
                for scheme in [given.scheme] if given.scheme else ("light", "dark"):
                    tab = open_tab(browser, drawn, width, scheme)
                    for name, address in drawn.pages.items():
                        if given.page in (None, name):
                            tab.goto(f"{ROOT}{address}")
                            tab.screenshot(
                                path=given.folder / f"{state}-{name}-{width}-{scheme}.png", full_page=True
                            )
                    tab.context.close()
        browser.close()


if __name__ == "__main__":
    main()
