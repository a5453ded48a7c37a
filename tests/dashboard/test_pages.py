"""Every page answers its question, whatever the names, arguments and tracebacks are."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import anyio
import pytest

from asyncsched import ConfigurationError, Interval, Misfire, Scheduler, StoreUnavailable
from asyncsched._core.instants import to_datetime, to_instant
from asyncsched.abc import InstanceRecord, Now, RunQuery, RunRecord, ScheduleRecord
from asyncsched.dashboard import Access, Dashboard
from asyncsched.stores.memory import MemoryStore
from asyncsched.testing import VirtualClock
from tests.dashboard.conftest import Look

pytestmark = pytest.mark.anyio

PAGES = ("/", "/runs", "/failures", "/timeline", "/instances", "/activity")


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_stands_with_nothing_in_it(scheduler: Scheduler, look: Look, path: str) -> None:
    async with scheduler, look(scheduler) as client:
        answer = await client.get(path)
        assert answer.status_code == 200
        assert answer.text.count("<h1") == 1


async def test_a_schedule_tells_what_became_of_each_slot_and_why(scheduler: Scheduler, look: Look) -> None:
    @scheduler.cron("*/10 * * * *", timezone="Europe/Berlin")
    async def report() -> None:
        """Write the report."""
        if fail:
            raise ValueError("no <paper>")

    fail = False
    async with scheduler, look(scheduler) as client:
        await anyio.sleep(1)
        await scheduler.skip_next("report", by="anna")
        await anyio.sleep(25 * 60)
        await scheduler.pause("report", note="holiday", by="bert")
        await anyio.sleep(30 * 60)
        await scheduler.resume("report")
        fail = True
        await anyio.sleep(10 * 60)
        page = (await client.get("/schedules/report")).text
        assert "somebody skipped it" in page
        assert "3 slots: the schedule was paused" in page
        assert "ValueError: no &lt;paper&gt;" in page
        assert "Write the report." in page
        assert "Europe/Berlin" in page
        assert "Copy traceback" in page
        assert page.count('aria-label="2026-01-01') > 20
        assert "p95" in page


async def test_slots_that_failed_alike_are_one_row_and_what_is_skipped_ahead_lies_ahead(
    scheduler: Scheduler, look: Look
) -> None:
    @scheduler.cron("*/10 * * * *")
    async def report() -> None:
        if not well:
            raise ValueError("no paper")

    well = False
    async with scheduler, look(scheduler) as client:
        await anyio.sleep(31 * 60)
        well = True
        await anyio.sleep(10 * 60)
        well = False
        await anyio.sleep(10 * 60)
        await scheduler.skip_next("report", by="anna")
        page = (await client.get("/schedules/report")).text
        line, _, rows = page.partition('<table class="cards why">')
        rows = rows.partition("</table>")[0]
        assert rows.count("<tr>") - 1 == 3
        assert "4 slots: ValueError: no paper" in rows
        assert "to 2026-01-01 00:30:00 UTC" in rows
        assert "somebody skipped it" in rows
        # The line of now lies before the slot that will be skipped, and after those that were.
        marks = re.findall(r'<rect x="([\d.]+)%"', line.partition('class="chart slots"')[2])
        now = float(re.findall(r'<line x1="([\d.]+)%"', line)[-1])
        assert float(marks[5]) < now < float(marks[6])


async def test_a_line_tells_the_day_of_slots_of_another_day_and_why_none_is_to_come(
    scheduler: Scheduler, look: Look
) -> None:
    @scheduler.cron("30 2 * * *")
    async def nightly() -> None: ...

    async with scheduler, look(scheduler) as client:
        await anyio.sleep(26 * 3600)
        assert ">2026-01-25 02:30 UTC</text>" in (await client.get("/schedules/nightly")).text
        await scheduler.pause("nightly")
        await anyio.sleep(2)
        assert ">paused</text>" in (await client.get("/schedules/nightly")).text


async def test_the_default_of_a_secret_parameter_is_not_shown(scheduler: Scheduler, look: Look) -> None:
    @scheduler.job()
    async def push(account: str = "all", api_key: str = "s3cret") -> None: ...

    async with scheduler, look(scheduler) as client:
        page = (await client.get("/jobs/push")).text
        assert "str = &#39;all&#39;" in page  # as in the code, without quotes around the annotation
        assert "str = •••" in page
        answer = (await client.get("/api/v1/jobs/push")).json()
        assert answer["parameters"] == {"account": "account: str = 'all'", "api_key": "api_key: str = •••"}
        assert "s3cret" not in page + str(answer)


async def test_a_schedule_with_max_runs_tells_how_many_it_had_and_that_it_has_ended(
    scheduler: Scheduler, look: Look
) -> None:
    @scheduler.interval(minutes=10, max_runs=2)
    async def greet() -> None: ...

    async with scheduler, look(scheduler) as client:
        await anyio.sleep(15 * 60)
        assert "1 of 2" in (await client.get("/schedules/greet")).text
        await anyio.sleep(15 * 60)
        page = (await client.get("/schedules/greet", params={"at": "2026-01-01 00:50"})).text
        for said in (
            "2 of 2",
            "Ended",
            "it has had its 2 runs",
            "the schedule has ended, because it has had the 2 runs",
        ):
            assert said in page, said


async def test_explain_answers_for_any_moment_that_somebody_types(scheduler: Scheduler, look: Look) -> None:
    @scheduler.cron("0 * * * *")
    async def report() -> None: ...

    async with scheduler, look(scheduler) as client:
        await anyio.sleep(2 * 3600 + 60)
        assert 'placeholder="2026-01-01 02:00:00"' in (await client.get("/schedules/report")).text
        for at, said in (
            ("2026-01-01 01:00", "it ran"),
            ("2026-01-01T01:00:00Z", "it ran"),
            ("2026-01-01T02:00:00+01:00", "it ran"),
            ("2026-01-01 01:30", "not a slot"),
            ("2026-01-01 09:00", "it lies ahead"),
            ("yesterday <b>", "“yesterday &lt;b&gt;” is no moment"),
        ):
            page = (await client.get("/schedules/report", params={"at": at})).text
            assert said in page, at


async def test_a_run_has_its_attempts_arguments_and_traceback(scheduler: Scheduler, look: Look) -> None:
    @scheduler.job()
    async def send(to: str, api_key: str) -> None:
        raise ConnectionError(f"no route to {to}")

    async with scheduler, look(scheduler) as client:
        run = await scheduler.run_job("send", kwargs={"to": "<anna>", "api_key": "hush"})
        await run.wait()
        page = (await client.get(f"/runs/{run.id}")).text
        assert "ConnectionError: no route to &lt;anna&gt;" in page
        assert "Traceback (most recent call last)" in page
        assert "hush" not in page
        assert "•••" in page
        assert "Run again" in page
        assert run.id in (await client.get("/runs", params={"state": "failed"})).text
        assert (
            "No run matches state “succeeded”"
            in (await client.get("/runs", params={"state": "succeeded"})).text
        )
        assert "state must be one of" in (await client.get("/runs", params={"state": "nonsense"})).text


async def test_failures_are_grouped_by_error_and_retried_together(scheduler: Scheduler, look: Look) -> None:
    broken = [True]

    @scheduler.job()
    async def push(number: int) -> None:
        if broken[0]:
            raise KeyError("crm") if number % 2 else ConnectionError("503")

    async with scheduler, look(scheduler) as client:
        for number in range(5):
            await scheduler.schedule_once(push, number)
        await anyio.sleep(1)
        page = (await client.get("/failures")).text
        assert "5 failed runs in 2 groups" in page
        assert "Retry all 3" in page
        broken[0] = False
        letters = await scheduler.dead_letters()
        wanted = {"job": "push", "error_type": "ConnectionError"}
        refused = await client.post(
            "/api/v1/bulk", json={"action": "requeue", "filter": wanted, "expected": 1}
        )
        assert refused.status_code == 409
        assert refused.json()["matching"] == 3
        assert await scheduler.dead_letters() == letters
        done = await client.post(
            "/api/v1/bulk", json={"action": "requeue", "filter": wanted, "expected": 3, "note": "503 is over"}
        )
        assert done.json()["done"] == 3
        await anyio.sleep(1)
        assert len(await scheduler.dead_letters()) == 2
        ids = [run.id for run in await scheduler.dead_letters()]
        done = await client.post(
            "/api/v1/bulk", json={"action": "dismiss", "filter": {"ids": ids}, "expected": 2, "note": "known"}
        )
        assert done.json()["done"] == 2
        assert "No failures" in (await client.get("/failures")).text


async def test_the_activity_says_who_did_what_from_where(scheduler: Scheduler, look: Look) -> None:
    @scheduler.interval(hours=1)
    async def report() -> None: ...

    async with scheduler, look(scheduler, auth=lambda request: Access("admin", user="anna")) as client:
        page = {"X-Asyncsched-Via": "page"}
        await client.post("/api/v1/schedules/report/pause", json={"note": "<i>holiday</i>"}, headers=page)
        await client.post("/api/v1/schedules/report/resume")
        await client.post("/api/v1/schedules/nosuch/run")
        text = (await client.get("/activity")).text
        assert "anna" in text
        assert "from the page" in text
        assert "from the API" in text
        assert "&lt;i&gt;holiday&lt;/i&gt;" in text
        assert "refused:" in text
        assert "Nothing matches" in (await client.get("/activity", params={"by": "eve"})).text


async def test_everything_is_paused_and_resumed(scheduler: Scheduler, look: Look) -> None:
    @scheduler.interval(hours=1)
    async def one() -> None: ...

    @scheduler.interval(hours=1)
    async def two() -> None: ...

    async with scheduler, look(scheduler) as client:
        assert (await client.post("/api/v1/everything/pause", json={"note": "move"})).json()["done"] == 2
        assert all(schedule.paused for schedule in await scheduler.schedules())
        assert (await client.post("/api/v1/everything/resume")).json()["done"] == 2
        assert not any(schedule.paused for schedule in await scheduler.schedules())
        assert (await client.post("/api/v1/everything/nonsense")).status_code == 404


async def test_the_timeline_has_a_lane_for_each_schedule(scheduler: Scheduler, look: Look) -> None:
    @scheduler.interval(seconds=20)
    async def often() -> None: ...

    @scheduler.cron("30 2 * * *")
    async def nightly() -> None: ...

    async with scheduler, look(scheduler) as client:
        await anyio.sleep(2 * 3600)
        page = (await client.get("/timeline")).text
        assert "often: 360 runs" in page
        assert "1 schedule with many due times is drawn as density" in page
        assert "02:30" in page


async def test_a_long_name_and_a_long_traceback_are_shown(scheduler: Scheduler, look: Look) -> None:
    @scheduler.job()
    async def deep() -> None:
        raise ValueError("x" * 50_000)

    name = "n" * 200
    async with scheduler, look(scheduler) as client:
        await scheduler.add_schedule(deep, Interval(minutes=1), id=name)
        await anyio.sleep(61)
        for path in ("/", f"/schedules/{name}", "/runs", "/failures", "/timeline"):
            assert (await client.get(path)).status_code == 200


async def test_one_schedule_that_cannot_be_shown_hides_no_other(scheduler: Scheduler, look: Look) -> None:
    class Broken:
        def next(self, after: object) -> object:
            return after + timedelta(hours=1)  # type: ignore[operator]

        def describe(self) -> str:
            raise RuntimeError("no words")

        @property
        def expression(self) -> str:
            raise RuntimeError("no expression")

    @scheduler.job()
    async def job() -> None: ...

    async with scheduler, look(scheduler) as client:
        await scheduler.add_schedule(job, Broken(), id="broken")
        await scheduler.add_schedule(job, Interval(hours=1), id="whole")
        page = await client.get("/")
        assert page.status_code == 200
        assert "whole" in page.text
        assert "broken" in page.text
        assert (await client.get("/schedules/broken")).status_code == 200


@pytest.mark.parametrize("path", ["/schedules/nosuch", "/jobs/nosuch", "/runs/nosuch", f"/runs/{'0' * 32}"])
async def test_what_is_not_there_is_a_page_that_says_so(scheduler: Scheduler, look: Look, path: str) -> None:
    async with scheduler, look(scheduler) as client:
        answer = await client.get(path)
        assert answer.status_code == 404
        assert "<h1>Not found</h1>" in answer.text
        assert (await client.get(f"/api/v1{path}")).status_code == 404


async def test_an_id_with_slashes_has_its_page(scheduler: Scheduler, look: Look) -> None:
    @scheduler.job()
    async def job() -> None: ...

    async with scheduler, look(scheduler) as client:
        await scheduler.add_schedule(job, Interval(hours=1), id="shop/7/run")
        assert (await client.get(f"/schedules/{quote('shop/7/run', safe='')}")).status_code == 200
        assert (await client.post(f"/api/v1/schedules/{quote('shop/7/run', safe='')}/run")).status_code == 202


async def test_a_run_links_to_its_lines_and_its_trace(scheduler: Scheduler, look: Look) -> None:
    from asyncsched.observers.tracing import trace_id

    @scheduler.job()
    async def job() -> None: ...

    links = {
        "Logs": "https://logs.example/?q={run_id}&job={job}",
        "Trace": "https://traces.example/{trace_id}",
    }
    async with scheduler, look(scheduler, links=links) as client:
        run = await scheduler.schedule_once(job)
        await run.wait()
        page = (await client.get(f"/runs/{run.id}")).text
        assert f'href="https://logs.example/?q={run.id}&amp;job=job"' in page
        assert f'href="https://traces.example/{trace_id(run.id)}"' in page


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "https://x/{nope}", "https://x/{", "https://x/{0}", 7]
)
def test_a_wrong_link_is_refused(scheduler: Scheduler, address: str) -> None:
    with pytest.raises(ConfigurationError, match="links\\['Logs'\\]"):
        Dashboard(scheduler, links={"Logs": address})


async def test_the_instances_and_a_late_schedule_tell_which_loop_was_blocked(
    virtual_clock: VirtualClock, tmp_path: Path, look: Look
) -> None:
    scheduler = Scheduler(f"sqlite:///{tmp_path}/jobs.db", clock=virtual_clock)

    @scheduler.interval(seconds=30, misfire=Misfire("none", grace=1))
    async def often() -> None: ...

    async with scheduler, look(scheduler) as client:
        await anyio.sleep(31)
        virtual_clock.block(41.2)  # as a job does that never awaits
        await anyio.sleep(6)
        (me,) = await scheduler.instances()
        assert 36 < me.loop_lag.total_seconds() <= 41.2
        shown = f"{me.loop_lag.total_seconds():.1f}\u202fs"
        assert f"{shown}</td>" in (await client.get("/instances")).text
        answer = (await client.get("/api/v1/instances")).json()
        assert answer["instances"][0]["loop_lag_seconds"] == me.loop_lag.total_seconds()
        page = (await client.get("/")).text
        assert "1 schedule late" in page
        assert f"was blocked for {shown}" in page


async def test_the_lateness_of_all_starts_is_told_with_its_distribution(
    scheduler: Scheduler, look: Look, virtual_clock: VirtualClock
) -> None:
    @scheduler.interval(minutes=1)
    async def first() -> None: ...

    @scheduler.interval(minutes=1)
    async def second() -> None: ...

    async with scheduler, look(scheduler) as client:
        assert "Lateness of all starts" not in (await client.get("/instances")).text
        await anyio.sleep(9 * 60 + 30)
        virtual_clock.block(32.5)
        await anyio.sleep(1)
        page = (await client.get("/instances")).text
        assert "Lateness of 20 starts in 24 hours" in page
        assert re.search("p50 [0-9]+\u202f.s · p95 2\\.[0-9]\u202fs · p99 3\\.[0-9]\u202fs", page)


async def test_an_instance_that_was_killed_is_told_of_before_and_after_it_is_declared_dead(
    virtual_clock: VirtualClock, tmp_path: Path, look: Look
) -> None:
    scheduler = Scheduler(f"sqlite:///{tmp_path}/jobs.db", clock=virtual_clock)
    async with scheduler, look(scheduler) as client:
        store = scheduler._runtime.main.store  # type: ignore[union-attr]
        wall = to_instant(virtual_clock.now())
        killed = InstanceRecord(7, "web-2", 4711, "1", "both", frozenset(), frozenset())
        await store.join(killed, Now(wall, wall))  # type: ignore[attr-defined]
        await virtual_clock.advance(6)
        assert "silent" not in (await client.get("/instances")).text
        await virtual_clock.advance(6)
        page = (await client.get("/instances")).text
        assert page.count("silent") == 1
        assert "web-2:4711</b> has not been heard of for" in (await client.get("/")).text
        await virtual_clock.advance(15)
        (me,) = await scheduler.instances()
        assert me.pid != 4711
        said = f"last heard of {to_datetime(wall):%Y-%m-%d %H:%M:%S} UTC; it held no runs"
        page = (await client.get("/instances")).text
        assert "Declared dead" in page
        assert "<b>web-2:4711</b></td>" in page
        assert said in page
        (dead,) = (await client.get("/api/v1/instances")).json()["declared_dead"]
        assert (dead["name"], dead["text"]) == ("web-2:4711", said)
        assert "from the other instances" in (await client.get("/activity")).text


async def test_the_timeline_of_a_new_scheduler_shows_an_hour(scheduler: Scheduler, look: Look) -> None:
    @scheduler.interval(minutes=7)
    async def job() -> None: ...

    async with scheduler, look(scheduler) as client:
        await anyio.sleep(20 * 60)
        page = (await client.get("/timeline")).text
        assert "<h1>2 hours</h1>" in page
        assert re.findall(r">(\d\d:\d\d)</text>", page) == [
            "23:30", "23:45", "00:00", "00:15", "00:30", "00:45", "01:00", "01:15",
        ]  # fmt: skip
        await anyio.sleep(3600)
        page = (await client.get("/timeline")).text
        assert "<h1>24 hours</h1>" in page
        assert re.findall(r">(\d\d:\d\d)</text>", page)[:3] == ["15:00", "18:00", "21:00"]


async def test_while_the_store_is_away_the_last_state_is_shown_and_said_to_be(
    virtual_clock: VirtualClock, look: Look
) -> None:
    away = False

    class Leaving(MemoryStore):
        async def schedules(self, ids: Collection[str] | None = None) -> list[ScheduleRecord]:
            if away:
                raise StoreUnavailable("the store gave no answer within 5 s")
            return await super().schedules(ids)

        async def runs(self, query: RunQuery) -> list[RunRecord]:
            if away:
                raise StoreUnavailable("the store gave no answer within 5 s")
            return await super().runs(query)

    scheduler = Scheduler(Leaving(), clock=virtual_clock)

    @scheduler.interval(minutes=7)
    async def job() -> None: ...

    async with scheduler, look(scheduler) as client:
        await anyio.sleep(60)
        due = "8 are due in the next hour"
        assert due in (await client.get("/")).text
        away = True
        await anyio.sleep(30)
        page = (await client.get("/")).text
        assert "Store unreachable – shown is the state of 00:01:00 UTC: the store gave no answer" in page
        assert "<title>✕ asyncsched</title>" in page
        assert due in page
        assert "shown is the state of 00:01:00 UTC" in (await client.get("/instances")).text
        for path in ("/runs", "/failures"):
            answer = await client.get(path)
            assert answer.status_code == 503
            assert 'href="/scheduler/timeline"' in answer.text, "the other pages are a click away"
            assert 'data-again="5"' in answer.text
            assert (await client.get(f"/api/v1{path}")).status_code == 503
        away = False
        await anyio.sleep(2)
        assert "The schedule is on time" in (await client.get("/")).text
