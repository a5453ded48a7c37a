"""The overview says how it stands, what is wrong, and what is next."""

from __future__ import annotations

import re

import anyio
import pytest

from asyncsched import Scheduler
from tests.dashboard.conftest import Look

pytestmark = pytest.mark.anyio


async def test_an_empty_scheduler_shows_how_to_add_a_job(scheduler: Scheduler, look: Look) -> None:
    async with scheduler, look(scheduler) as client:
        page = (await client.get("/")).text
        assert "Nothing is scheduled yet" in page
        assert "@scheduler.interval(minutes=5)" in page


async def test_all_well_is_said_in_green(scheduler: Scheduler, look: Look) -> None:
    @scheduler.interval(seconds=10)
    async def heartbeat() -> None: ...

    @scheduler.cron("0 * * * *", timezone="Europe/Berlin")
    async def hourly() -> None: ...

    async with scheduler, look(scheduler) as client:
        await anyio.sleep(35)
        page = (await client.get("/")).text
        assert "All 2 schedules on time" in page
        assert "<title>✓ asyncsched</title>" in page
        assert "Last 3 runs: none failed" in page
        assert "0 * * * * ·\N{NO-BREAK SPACE}Europe/Berlin" in page
        assert 'class="card needs"' not in page


async def test_a_job_that_fails_is_the_first_thing_said(scheduler: Scheduler, look: Look) -> None:
    @scheduler.interval(minutes=1)
    async def push_to_crm() -> None:
        raise RuntimeError("503 <b>Service</b> Unavailable")

    @scheduler.interval(seconds=10)
    async def heartbeat() -> None: ...

    async with scheduler, look(scheduler) as client:
        await anyio.sleep(14 * 60 + 5)
        page = (await client.get("/")).text
        assert "1 schedule failing" in page
        assert "failed 14 times in a row" in page
        assert "RuntimeError: 503 &lt;b&gt;Service&lt;/b&gt; Unavailable" in page
        assert "<title>✕1 asyncsched</title>" in page
        rows = re.findall(r'<tr id="j-([^"]+)"', page)
        assert rows == ["push_to_crm", "heartbeat"]


async def test_the_table_is_filtered_and_cut_into_pages_on_the_server(
    scheduler: Scheduler, look: Look
) -> None:
    @scheduler.job()
    async def check(number: int) -> None: ...

    from asyncsched import Interval

    async with scheduler, look(scheduler) as client:
        for number in range(230):
            await scheduler.add_schedule(check, Interval(hours=5), id=f"monitor-{number:03}", args=(number,))
        page = (await client.get("/")).text
        assert len(re.findall(r"<tr id=", page)) == 100
        assert "1–100 of 230" in page
        following = re.search(r'href="/scheduler(/\?from=100)"', page)
        assert following is not None
        page = (await client.get(following[1])).text
        assert "101–200 of 230" in page
        page = (await client.get("/", params={"q": "monitor-22"})).text
        assert len(re.findall(r"<tr id=", page)) == 10
        page = (await client.get("/", params={"q": "nonsense"})).text
        assert "No schedule matches “nonsense”" in page


async def test_run_now_and_pause_act_and_say_so(scheduler: Scheduler, look: Look) -> None:
    @scheduler.interval(hours=5)
    async def report() -> int:
        return 7

    async with scheduler, look(scheduler) as client:
        answer = await client.post("/api/v1/schedules/report/run", json={"note": "for the board"})
        assert answer.status_code == 202
        run_id = answer.json()["run_id"]
        assert await scheduler.handle(run_id).result() == 7
        answer = await client.post("/api/v1/schedules/report/pause", json={"note": "holiday"})
        assert answer.status_code == 200
        schedule = await scheduler.schedule("report")
        assert (schedule.paused, schedule.note, schedule.by) == (True, "holiday", "local")
        assert "Everything is paused" in (await client.get("/")).text
        assert (await client.post("/api/v1/schedules/report/resume")).status_code == 200
        assert not (await scheduler.schedule("report")).paused


@pytest.mark.parametrize(
    "sent, status, word",
    [
        (b"{", 400, "no JSON"),
        (b"[1]", 422, "dict"),
        (b'{"nope": 1}', 422, "nope"),
        (b'{"note": "' + b"x" * 70_000 + b'"}', 413, "64"),
        (b'{"note": 7}', 422, "note"),
    ],
)
async def test_a_wrong_body_is_a_clear_answer(
    scheduler: Scheduler, look: Look, sent: bytes, status: int, word: str
) -> None:
    @scheduler.interval(hours=5)
    async def report() -> None: ...

    async with scheduler, look(scheduler) as client:
        answer = await client.post("/api/v1/schedules/report/run", content=sent)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert word in str(answer.json()) or word == "64"
        assert await scheduler.runs() == []


async def test_what_is_unknown_is_said_to_be(scheduler: Scheduler, look: Look) -> None:
    async with scheduler, look(scheduler) as client:
        answer = await client.post("/api/v1/schedules/nosuch/run")
        assert answer.status_code == 404
        assert "nosuch" in answer.json()["detail"]
        assert (await client.get("/nosuch")).status_code == 404
        assert (await client.get("/events", params={"page": "/nosuch"})).status_code == 404


async def test_names_that_are_hostile_are_text(scheduler: Scheduler, look: Look) -> None:
    from asyncsched import Interval

    hostile = '<script>alert("x")</script>/../"><img src=x onerror=alert(1)>'

    @scheduler.job()
    async def check() -> None: ...

    async with scheduler, look(scheduler) as client:
        await scheduler.add_schedule(check, Interval(hours=5), id=hostile)
        page = (await client.get("/")).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        from urllib.parse import quote

        answer = await client.post(f"/api/v1/schedules/{quote(hostile, safe='')}/run")
        assert answer.status_code == 202


async def test_links_stay_below_the_mount(scheduler: Scheduler, look: Look) -> None:
    @scheduler.interval(hours=5)
    async def report() -> None: ...

    async with scheduler, look(scheduler, mount="/ops/sched") as client:
        page = (await client.get("/")).text
        links = re.findall(r'(?:href|src|action|data-events|data-href)="([^"#]+)"', page)
        inside = [link for link in links if not link.startswith("data:")]
        assert inside
        assert all(link.startswith("/ops/sched/") for link in inside), inside
