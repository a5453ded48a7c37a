"""The JSON twin: the same answers for programs, with cursors, problems, and a document that says so."""

from __future__ import annotations

import json
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI

from asyncsched import Interval, Scheduler, current_run
from asyncsched.dashboard import api_router
from tests.dashboard.conftest import WRITES, Look

pytestmark = pytest.mark.anyio


async def test_status_says_in_json_what_the_page_says(scheduler: Scheduler, look: Look) -> None:
    @scheduler.interval(minutes=1)
    async def push() -> None:
        raise RuntimeError("503")

    async with scheduler, look(scheduler) as client:
        await anyio.sleep(125)
        found = (await client.get("/api/v1/status")).json()
        assert (found["state"], found["text"]) == ("failing", "1 schedule failing")
        assert found["needs"][0]["name"] == "push"
        assert found["needs"][0]["detail"] == "RuntimeError: 503"
        assert found["statistics"]["day"]["states"]["failed"] == 2
        assert found["at"].endswith("Z")


async def test_lists_are_paged_by_cursors_of_their_own(scheduler: Scheduler, look: Look) -> None:
    @scheduler.job()
    async def job() -> None: ...

    for number in range(6):

        @scheduler.job(name=f"j{number}")
        async def other() -> None: ...

    async with scheduler, look(scheduler) as client:
        for number in range(7):
            await scheduler.add_schedule(job, Interval(hours=1), id=f"s{number}")
            await scheduler.run_now(f"s{number}")
        await anyio.sleep(1)
        for name in ("schedules", "runs", "activity", "jobs"):
            seen: list[str] = []
            cursor = None
            while True:
                params: dict[str, Any] = {"limit": 3, **({"cursor": cursor} if cursor else {})}
                page = (await client.get(f"/api/v1/{name}", params=params)).json()
                seen += [one["name" if name == "jobs" else "id"] for one in page[name]]
                cursor = page["next_cursor"]
                if cursor is None:
                    break
                last = cursor
            assert len(seen) == len(set(seen)) == 7, name
            other = "runs" if name != "runs" else "schedules"
            wrongs = (
                ({"cursor": last, "limit": 3}, 404),
                ({"cursor": "nonsense"}, 404),
                ({"cursor": "ä"}, 422),
            )
            for wrong, status in wrongs:
                answer = await client.get(f"/api/v1/{other}", params=wrong)
                assert answer.status_code == status, wrong
                assert answer.json()["title"] == "Wrong cursor"


@pytest.mark.parametrize(
    "path",
    [
        "/runs?state=nonsense", "/runs?limit=0", "/runs?limit=abc", "/runs?since=yesterday", "/runs?what=1",
        "/schedules?state=nonsense", "/schedules/job/explain", "/schedules/job/explain?at=x", "/failures?by=colour",
        "/runs?job=%00", "/timeline?hours=100000",
    ],
)  # fmt: skip
async def test_a_wrong_query_is_a_problem_that_names_it(scheduler: Scheduler, look: Look, path: str) -> None:
    @scheduler.interval(hours=1)
    async def job() -> None: ...

    async with scheduler, look(scheduler) as client:
        answer = await client.get(f"/api/v1{path}")
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]


async def test_the_document_names_every_route_and_every_route_answers(
    scheduler: Scheduler, look: Look
) -> None:
    @scheduler.interval(hours=1)
    async def job(x: int = 1) -> int:
        return x

    async with scheduler, look(scheduler) as client:
        run = await scheduler.run_now("job")
        await run.wait()
        document = (await client.get("/api/v1/openapi.json")).json()
        assert document["openapi"] == "3.1.0"
        for path, methods in document["paths"].items():
            if "get" not in methods:
                continue
            real = path.replace("{id}", run.id if path.startswith("/runs") else "job")
            query = {"at": "2026-01-01T00:00:00Z"} if path.endswith("explain") else {}
            answer = await client.get(f"/api/v1{real}", params=query)
            assert answer.status_code == 200, (path, answer.text)
            assert isinstance(answer.json(), dict)


async def test_a_run_with_arguments_and_a_backfill_by_the_api(scheduler: Scheduler, look: Look) -> None:
    @scheduler.interval(minutes=10)
    async def double(x: int = 1) -> int:
        return 2 * x

    async with scheduler, look(scheduler) as client:
        answer = await client.post("/api/v1/schedules/double/run", json={"kwargs": {"x": 21}})
        assert await scheduler.handle(answer.json()["run_id"]).result() == 42
        wrong = await client.post("/api/v1/schedules/double/run", json={"kwargs": {"y": 21}})
        assert (wrong.status_code, wrong.json()["title"]) == (422, "Wrong arguments")
        await scheduler.pause("double")
        await anyio.sleep(3600)
        await scheduler.resume("double")
        stretch = {"start": "2026-01-01T00:05:00Z", "end": "2026-01-01T00:45:00Z"}
        counted = await client.post("/api/v1/schedules/double/backfill", json={**stretch, "dry_run": True})
        assert counted.json()["count"] == 4
        assert await scheduler.runs(origin="backfill") == []
        done = await client.post("/api/v1/schedules/double/backfill", json=stretch)
        assert done.status_code == 202
        await anyio.sleep(1)
        assert len(await scheduler.runs(origin="backfill", state="succeeded")) == 4


async def test_an_action_on_what_has_ended_says_what_it_is_now(scheduler: Scheduler, look: Look) -> None:
    @scheduler.job()
    async def job() -> None: ...

    async with scheduler, look(scheduler) as client:
        run = await scheduler.run_job("job")
        await run.wait()
        answer = await client.post(f"/api/v1/runs/{run.id}/cancel")
        assert answer.status_code == 409
        assert "succeeded" in answer.json()["detail"]
        answer = await client.post(f"/api/v1/runs/{run.id}/requeue")
        assert answer.status_code == 409


async def test_an_action_on_a_schedule_that_was_removed_meanwhile_says_by_whom(
    scheduler: Scheduler, look: Look
) -> None:
    @scheduler.job()
    async def job() -> None: ...

    async with scheduler, look(scheduler) as client:
        await scheduler.add_schedule(job, Interval(hours=1), id="added")
        await scheduler.remove("added", by="anna")
        for action in ("run", "pause", "skip"):
            answer = await client.post(f"/api/v1/schedules/added/{action}")
            assert answer.status_code == 409
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["detail"] == "added was removed at 2026-01-01 00:00:00 UTC by anna"
        await scheduler.add_schedule(job, Interval(hours=1), id="added")
        assert (await client.post("/api/v1/schedules/added/run")).status_code == 202


async def test_a_history_is_forgotten_after_its_number_was_shown(scheduler: Scheduler, look: Look) -> None:
    @scheduler.interval(minutes=1)
    async def job() -> None: ...

    async with scheduler, look(scheduler) as client:
        await anyio.sleep(180)
        page = (await client.get("/schedules/job")).text
        assert "Deletes 3 runs that ended" in page
        answer = await client.post("/api/v1/schedules/job/forget", json={"note": "test data"})
        assert answer.json() == {"message": "3 runs of job are forgotten", "count": 3}
        page = (await client.get("/schedules/job")).text
        assert "Deletes 0 runs that ended" in page
        assert "First run" in page
        assert (await client.post("/api/v1/schedules/nosuch/forget", json={})).status_code == 404


async def test_a_trigger_is_exchanged_and_a_schedule_removed(scheduler: Scheduler, look: Look) -> None:
    @scheduler.job()
    async def job() -> None: ...

    async with scheduler, look(scheduler) as client:
        await scheduler.add_schedule(job, Interval(hours=1), id="added")
        cron = {"cron": "0 7 * * *", "timezone": "Europe/Berlin"}
        assert (await client.post("/api/v1/schedules/added/reschedule", json=cron)).status_code == 200
        assert "07:00" in (await scheduler.schedule("added")).describe
        for wrong in (
            {},
            {"cron": "nonsense"},
            {"cron": "0 7 * * *", "timezone": "Mars"},
            {"every_seconds": -1},
        ):
            assert (await client.post("/api/v1/schedules/added/reschedule", json=wrong)).status_code == 422
        assert (await client.post("/api/v1/schedules/added/remove", json={"note": "over"})).status_code == 200
        assert await scheduler.schedules() == []


async def test_the_api_is_a_router_of_the_apps_own(scheduler: Scheduler) -> None:
    @scheduler.interval(hours=1)
    async def job() -> int:
        return 7

    app = FastAPI()
    app.include_router(api_router(scheduler), prefix="/internal")
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    async with (
        scheduler,
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/internal/scheduler") as client,
    ):
        assert (await client.get("/schedules")).json()["schedules"][0]["id"] == "job"
        assert (await client.post("/schedules/job/run")).status_code == 403
        answer = await client.post("/schedules/job/run", headers=WRITES)
        assert await scheduler.handle(answer.json()["run_id"]).result() == 7
        paths = (await client.get("http://127.0.0.1/openapi.json")).json()["paths"]
        assert "/internal/scheduler/schedules/{id}/run" in paths


async def test_the_progress_of_a_run_is_streamed_to_its_end(scheduler: Scheduler, look: Look) -> None:
    @scheduler.job()
    async def work() -> str:
        for done in range(4):
            current_run().progress(done + 1, 4)
            await anyio.sleep(1)
        return "done"

    async with scheduler, look(scheduler) as client:
        run = await scheduler.run_job("work")
        text = (await client.get(f"/api/v1/runs/{run.id}/events")).text
        events = [
            json.loads(line.removeprefix("data: "))
            for line in text.splitlines()
            if line.startswith('data: {"id"')
        ]
        assert [one["state"] for one in events][-1] == "succeeded"
        assert [one["progress"]["done"] for one in events if one["progress"]][-1] == 4
        assert len(events) >= 4
        assert "event: ended" in text
        assert (await client.get("/api/v1/runs/nosuch/events")).status_code == 404
