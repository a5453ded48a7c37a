"""The overview of many schedules with many runs is light: to make, to load, and to keep live."""

from __future__ import annotations

import re

import anyio
import pytest

from asyncsched import Interval, Scheduler
from asyncsched.abc import RunQuery, RunRecord
from tests.dashboard.conftest import Look

SCHEDULES, RUNS = 102, 24

pytestmark = pytest.mark.anyio


async def check(url: str) -> int:
    await anyio.sleep(1.5)
    return 200


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_the_overview_of_many_is_light(
    scheduler: Scheduler, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler.job(tags=("checks",))(check)
    async with scheduler, look(scheduler) as client:
        for number in range(SCHEDULES):
            id = f"monitor-{number:03}"
            await scheduler.add_schedule(check, Interval(minutes=1), id=id, args=(f"https://{id}.example",))
            await anyio.sleep(0.5)
        await anyio.sleep(RUNS * 60)
        looked_at: list[RunRecord] = []
        matches = RunQuery.matches

        def counted(self: RunQuery, run: RunRecord) -> bool:
            looked_at.append(run)
            return matches(self, run)

        monkeypatch.setattr(RunQuery, "matches", counted)
        page = await client.get("/")
        assert len(re.findall(r'<tr id="j-', page.text)) == 100
        assert len(page.content) < 150_000
        assert len(looked_at) < 50  # the figures of 2,400 runs are kept as the runs end

        live = await client.get("/events", params={"page": "/"})
        assert live.headers["content-encoding"] == "gzip"
        assert live.text.count("data: ") > 20
        assert live.text.count("monitor-") > 100
        assert live.num_bytes_downloaded / 25 < 10_000


async def test_a_stream_is_plain_to_those_who_take_no_other(scheduler: Scheduler, look: Look) -> None:
    @scheduler.job()
    async def wait() -> None:
        await anyio.sleep(3)

    async with scheduler, look(scheduler) as client:
        run = await scheduler.run_job(wait)
        for taken in ("identity", "gzip;q=0, deflate"):
            answer = await client.get(f"/api/v1/runs/{run.id}/events", headers={"Accept-Encoding": taken})
            assert "content-encoding" not in answer.headers
            assert answer.content.startswith(b"retry: 1500")
        again = await client.get(f"/api/v1/runs/{run.id}/events")
        assert (again.headers["content-encoding"], again.headers["vary"]) == ("gzip", "accept-encoding")
        assert again.text == answer.text
