"""Many schedules and failed runs: sorted, counted ahead, chosen by a filter, and operated on at once."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from asyncsched import ConfigurationError, Interval, Scheduler
from tests.dashboard.conftest import Look

pytestmark = pytest.mark.anyio

START = datetime(2026, 1, 1, tzinfo=UTC)


def rows(page: str) -> list[str]:
    return re.findall(r'<tr id="j-([^"]+)"', page)


def bodies(page: str) -> list[dict[str, Any]]:
    """Return what the buttons for many would send."""
    found = re.findall(r'data-post="bulk"[^>]* data-body="([^"]+)"', page)
    return [
        json.loads(one.replace("&#34;", '"').replace("&amp;", "&").replace("&#39;", "'")) for one in found
    ]


async def test_the_table_is_sorted_by_its_columns(scheduler: Scheduler, look: Look) -> None:
    @scheduler.job()
    async def check(seconds: float) -> None:
        await anyio.sleep(seconds)

    async with scheduler, look(scheduler) as client:
        for name, minutes, seconds in (("b", 3, 1), ("a", 9, 2), ("c", 6, 0)):
            await scheduler.add_schedule(check, Interval(minutes=minutes), id=name, args=(seconds,))
        await scheduler.add_schedule(check, Interval(hours=9), id="new", args=(0,))
        await anyio.sleep(9 * 60 + 30)
        page = (await client.get("/", params={"sort": "name"})).text
        assert rows(page) == ["a", "b", "c", "new"]
        assert 'aria-sort="ascending"' in page
        assert 'href="/scheduler/?sort=-name"' in page
        assert rows((await client.get("/?sort=-name")).text) == ["new", "c", "b", "a"]
        assert rows((await client.get("/?sort=next")).text) == ["b", "c", "a", "new"]
        assert rows((await client.get("/?sort=p95")).text) == [
            "a",
            "b",
            "c",
            "new",
        ]  # without a run: the last
        assert rows((await client.get("/?sort=-p95")).text) == ["c", "b", "a", "new"]
        assert len(rows((await client.get("/?sort=nonsense")).text)) == 4


async def test_the_due_times_of_the_whole_next_hour_are_counted(scheduler: Scheduler) -> None:
    @scheduler.interval(seconds=1)
    async def often() -> None: ...

    @scheduler.interval(minutes=30)
    async def rarely() -> None: ...

    @scheduler.interval(minutes=1)
    async def paused() -> None: ...

    async with scheduler:
        await scheduler.pause("paused")
        hour, half = timedelta(hours=1), timedelta(seconds=30)
        counts = await scheduler.due_counts(START + half, START + half + hour, half)
        assert len(counts) == 120
        assert counts[0] == counts[60] == 30
        assert [place for place, count in enumerate(counts) if count == 31] == [59, 119]
        with pytest.raises(ConfigurationError, match="due_counts"):
            await scheduler.due_counts(START + hour, START, half)


async def test_of_very_many_schedules_the_rate_is_taken_to_go_on(scheduler: Scheduler) -> None:
    @scheduler.job()
    async def check(number: int) -> None: ...

    async with scheduler:
        for number in range(2500):
            await scheduler.add_schedule(check, Interval(seconds=60), id=f"m{number}", args=(number,))
        minute = timedelta(minutes=1)
        counts = await scheduler.due_counts(START, START + 60 * minute, minute)
        assert sum(counts) == pytest.approx(59 * 2500, rel=0.02)
        assert all(count == pytest.approx(2500, rel=0.02) for count in counts[1:])


async def test_all_that_match_a_filter_are_paused_with_their_number(scheduler: Scheduler, look: Look) -> None:
    @scheduler.job()
    async def check(number: int) -> None: ...

    async with scheduler, look(scheduler) as client:
        for number in range(90):
            await scheduler.add_schedule(check, Interval(hours=5), id=f"m{number:02}", args=(number,))
        page = (await client.get("/", params={"q": "m1"})).text
        chosen = re.search(r'data-chosen="([^"]+)"', page)
        assert chosen is not None
        found = json.loads(chosen[1].replace("&#34;", '"'))
        assert found == {"filter": {"state": "", "q": "m1", "all": False}, "count": 10}
        body = {"action": "pause", "filter": found["filter"], "expected": 10, "note": "they move"}
        answer = await client.post("/api/v1/bulk", json=body)
        assert (answer.status_code, answer.json()["done"]) == (200, 10)
        assert len(await scheduler.schedules(paused=True)) == 10
        body = {"action": "resume", "filter": {"all": True}, "expected": 70}
        refused = await client.post("/api/v1/bulk", json=body)
        assert refused.status_code == 409
        assert refused.json()["matching"] == 90
        assert len(await scheduler.schedules(paused=True)) == 10
        nothing = await client.post("/api/v1/bulk", json={**body, "filter": {}})
        assert nothing.status_code == 422
        # A filter that the operation does not know is refused, and not left out: more would be paused than was meant.
        for filter in ({"all": True, "job": "other"}, {"q": "m1", "error_type": "KeyError"}, {"q": "  "}):
            refused = await client.post("/api/v1/bulk", json={**body, "filter": filter})
            assert refused.status_code == 422, filter
        ids = [f"m{number:0199}" for number in range(1000)]
        long = await client.post("/api/v1/bulk", json={**body, "filter": {"ids": ids}, "expected": 1000})
        assert (long.status_code, long.json()["of"], long.json()["done"]) == (200, 1000, 0)


async def test_the_progress_of_an_operation_on_many_is_told(
    scheduler: Scheduler, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    @scheduler.job()
    async def check(number: int) -> None: ...

    async with scheduler, look(scheduler) as client:
        for number in range(60):
            await scheduler.add_schedule(check, Interval(hours=5), id=f"m{number:02}", args=(number,))
        pause = scheduler.pause

        async def slow(id: str, note: str = "", by: str = "") -> None:
            await anyio.sleep(0.05)
            await pause(id, note, by)

        monkeypatch.setattr(scheduler, "pause", slow)
        body = {"action": "pause", "filter": {"all": True}, "expected": 60}
        answer = await client.post("/api/v1/bulk", json=body, headers={"Accept": "application/x-ndjson"})
        lines = [json.loads(line) for line in answer.text.splitlines()]
        assert lines[0] == {"done": 0, "of": 60}
        assert 10 <= len(lines) <= 20
        assert [line["done"] for line in lines] == sorted(line["done"] for line in lines)
        assert lines[-1] == {"message": "Pause: 60 schedules", "done": 60, "of": 60, "refused": []}
        assert len(await scheduler.activity(action="pause")) == 60


async def test_failures_of_a_group_and_of_the_page_are_run_again(scheduler: Scheduler, look: Look) -> None:
    broken = True

    @scheduler.job()
    async def send(number: int) -> None:
        if broken and number % 2:
            raise ValueError(f"{number} is odd")
        if broken:
            raise KeyError(number)

    async with scheduler, look(scheduler) as client:
        for number in range(7):
            run = await scheduler.schedule_once(send, number)
            await run.wait()
        page = (await client.get("/failures")).text
        assert "7 failed runs in 2 groups" in page
        everything, even, *_ = bodies(page)
        assert (everything["action"], everything["expected"]) == ("requeue", 7)
        assert (even["filter"]["error_type"], even["expected"]) == ("KeyError", 4)
        broken = False
        grown = {**even, "expected": 3}
        assert (await client.post("/api/v1/bulk", json=grown)).status_code == 409
        answer = await client.post("/api/v1/bulk", json={**even, "note": "mended"})
        assert (answer.status_code, answer.json()["done"]) == (200, 4)
        await anyio.sleep(1)
        page = (await client.get("/failures")).text
        assert "3 failed runs in 1 group" in page
        answer = await client.post("/api/v1/bulk", json={**everything, "expected": 3})
        assert answer.json()["done"] == 3
        await anyio.sleep(1)
        assert "Nothing has failed" in (await client.get("/failures")).text
        assert len(await scheduler.runs(state="succeeded")) == 7


async def test_a_run_that_failed_in_the_first_moment_of_its_second_is_run_again_too(
    scheduler: Scheduler, look: Look
) -> None:
    @scheduler.job()
    async def send() -> None:
        raise ValueError

    async with scheduler, look(scheduler) as client:
        await anyio.sleep(5)
        run = await scheduler.schedule_once(send)
        await run.wait()
        body, _ = bodies((await client.get("/failures")).text)
        await anyio.sleep(0.5)  # the page's snapshot is older than the present
        assert (await client.post("/api/v1/bulk", json=body)).json()["done"] == 1
