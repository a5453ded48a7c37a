"""Every operation leaves a record of who did what; figures are counted as runs end; one slot can be skipped."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import anyio
import pytest

from asyncsched import At, Interval, NotCancellable, Scheduler, SchedulerStateError, UnknownSchedule

pytestmark = pytest.mark.anyio
Make = Callable[..., Scheduler]


async def test_what_people_did_is_told_newest_first(make_scheduler: Make) -> None:
    scheduler = make_scheduler()

    @scheduler.interval(hours=1)
    async def report() -> None: ...

    async with scheduler:
        await scheduler.pause("report", note="holiday", by="anna")
        await scheduler.resume("report", by="bert")
        handle = await scheduler.run_now("report", note="for the board", by="anna")
        with pytest.raises(UnknownSchedule):
            await scheduler.pause("nosuch", by="eve")
        found = await scheduler.activity()
        assert [(one.action, one.subject, one.by, one.note, one.ok) for one in found] == [
            ("pause", "nosuch", "eve", "", False),
            ("run_now", "report", "anna", "for the board", True),
            ("resume", "report", "bert", "", True),
            ("pause", "report", "anna", "holiday", True),
        ]
        assert found[1].result == f"run {handle.id}"
        assert "nosuch" in found[0].result
        assert {one.via for one in found} == {"code"}
        assert [one.action for one in await scheduler.activity(by="anna")] == ["run_now", "pause"]
        assert [
            one.action for one in await scheduler.activity(action=("pause", "resume"), subject="report")
        ] == [
            "resume",
            "pause",
        ]
        rest = await scheduler.activity(limit=2, before=found[1].id)
        assert [one.action for one in rest] == ["resume", "pause"]


async def test_a_job_is_run_by_hand_with_arguments_and_a_run_is_cancelled(make_scheduler: Make) -> None:
    scheduler = make_scheduler()

    @scheduler.job()
    async def add(x: int, y: int = 1) -> int:
        return x + y

    @scheduler.job()
    async def wait() -> None:
        await anyio.sleep(3600)

    @scheduler.interval(hours=1, args=(3,))
    async def double(x: int) -> int:
        return 2 * x

    async with scheduler:
        run = await scheduler.run_job("add", kwargs={"x": 2, "y": 5}, by="anna")
        assert await run.result() == 7
        assert (await run.status()).origin == "manual"
        assert await (await scheduler.run_now("double")).result() == 6
        assert await (await scheduler.run_now("double", kwargs={"x": 10})).result() == 20
        assert (await scheduler.schedule("double")).args == (3,)
        waiting = await scheduler.run_job(wait)
        await anyio.sleep(1)
        assert [one.id for one in await scheduler.live_runs()] == [waiting.id]
        await scheduler.cancel(waiting.id, by="anna", note="not now")
        await waiting.wait()
        assert (await waiting.status()).state == "cancelled"
        with pytest.raises(NotCancellable):
            await scheduler.cancel(waiting.id)
        assert await scheduler.live_runs() == []


async def test_the_next_slot_is_skipped_with_its_record(make_scheduler: Make) -> None:
    scheduler = make_scheduler()
    ran: list[int] = []

    @scheduler.cron("*/10 * * * *")
    async def report() -> None:
        ran.append(1)

    async with scheduler:
        await anyio.sleep(1)
        ran.clear()
        first = (await scheduler.schedule("report")).next_due
        assert first is not None
        assert await scheduler.skip_next("report", by="anna", note="the database moves") == first
        assert (await scheduler.schedule("report")).next_due == first + timedelta(minutes=10)
        explained = await scheduler.explain("report", first)
        assert (explained.verdict, explained.text) == ("skipped", "it got no run: somebody skipped it")
        coming = await scheduler.timeline(first - timedelta(seconds=1), first + timedelta(minutes=15))
        assert [one.at for one in coming] == [first + timedelta(minutes=10)]
        await anyio.sleep(20 * 60)
        assert len(ran) == 1
        assert [one.scheduled_for for one in await scheduler.runs(start=first)] == [
            first + timedelta(minutes=10)
        ]
        await scheduler.pause("report")
        with pytest.raises(SchedulerStateError, match="paused"):
            await scheduler.skip_next("report")


async def test_a_schedule_without_a_further_slot_has_none_to_skip(make_scheduler: Make) -> None:
    scheduler = make_scheduler()

    @scheduler.job()
    async def once() -> None: ...

    async with scheduler:
        at = (await scheduler.statistics()).at + timedelta(minutes=1)
        await scheduler.add_schedule(once, At(at))
        await scheduler.skip_next("once")
        with pytest.raises(SchedulerStateError, match="no further slot"):
            await scheduler.skip_next("once")


async def test_figures_are_counted_as_runs_end(make_scheduler: Make) -> None:
    scheduler = make_scheduler()
    broken = [False]

    @scheduler.interval(minutes=1)
    async def report() -> None:
        await anyio.sleep(2)
        if broken[0]:
            raise ValueError("no")

    @scheduler.job()
    async def once() -> None: ...

    async with scheduler:
        await scheduler.schedule_once(once)
        await anyio.sleep(5 * 60 + 5)
        broken[0] = True
        await anyio.sleep(3 * 60)
        found = await scheduler.statistics()
        of_report = found.schedule("report")
        assert of_report.states == {"succeeded": 5, "failed": 3}
        took = of_report.took.percentile(0.95)
        assert took is not None
        assert timedelta(seconds=1.9) < took < timedelta(seconds=2.6)
        assert of_report.late.count == 8
        assert of_report.took.counts(1, 10) == [0, 8, 0]
        assert found.one_offs("once").runs == 1
        assert found.total().states == {"succeeded": 6, "failed": 3, "cancelled": 0}
        assert found.total().took.counts(1, 10) == [1, 8, 0]
        tally = found.book.tallies["schedule:report"]
        assert [one.state for one in tally.recent] == ["succeeded"] * 5 + ["failed"] * 3
        assert tally.failed == 3
        assert tally.error is not None
        assert (tally.error.type, tally.error.message) == ("ValueError", "no")
        broken[0] = False
        await anyio.sleep(60)
        assert (await scheduler.statistics()).book.tallies["schedule:report"].failing_since is None


async def test_figures_and_records_survive_the_process_where_the_store_does(
    make_scheduler: Make, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["make_store"] == "memory":
        pytest.skip("memory does not")
    for _ in range(2):
        scheduler = make_scheduler()

        @scheduler.job()
        async def work() -> None: ...

        async with scheduler:
            await scheduler.run_job("work", by="anna")
            await anyio.sleep(5)
    async with make_scheduler() as scheduler:
        assert (await scheduler.statistics()).one_offs("work").runs == 2
        assert [one.by for one in await scheduler.activity()] == ["anna", "anna"]


async def test_missed_slots_are_counted(make_scheduler: Make) -> None:
    scheduler = make_scheduler()

    @scheduler.interval(seconds=10)
    async def slow() -> None:
        await anyio.sleep(25)

    async with scheduler:
        await scheduler.add_schedule(slow, Interval(hours=5), id="rare")
        await anyio.sleep(65)
        statistics = await scheduler.statistics()
        assert statistics.schedule("slow").skipped == {"overlap": 4}
        await scheduler.pause("slow")
        await anyio.sleep(20)
        await scheduler.resume("slow")
        total = (await scheduler.statistics()).total(1).skipped
        assert {**total, "paused": 0} == {"missed": 0, "overlap": 4, "paused": 0}
        assert total == {"missed": 0, **(await scheduler.statistics()).schedule("slow").skipped}


async def test_the_history_of_a_schedule_is_forgotten_and_nothing_else(make_scheduler: Make) -> None:
    scheduler = make_scheduler()

    @scheduler.interval(minutes=1)
    async def report() -> None: ...

    @scheduler.interval(minutes=2)
    async def other() -> None: ...

    @scheduler.interval(minutes=3)
    async def long() -> None:
        await anyio.sleep(100)

    async with scheduler:
        first = (await scheduler.schedule("report")).next_due
        assert first is not None
        await scheduler.skip_next("report")
        await anyio.sleep(10 * 60 + 30)
        await scheduler.run_now("report")
        await anyio.sleep(5)
        kept = len(await scheduler.runs(schedule="other"))
        count = len(await scheduler.runs(schedule="report"))
        assert count == 10
        assert await scheduler.forget_history("report", by="anna", note="test data") == count
        assert await scheduler.runs(schedule="report") == []
        assert await scheduler.skipped("report", first, first + timedelta(hours=1)) == []
        assert (await scheduler.explain("report", first + timedelta(minutes=1))).verdict == "pruned"
        assert len(await scheduler.runs(schedule="other")) == kept
        statistics = await scheduler.statistics()
        assert statistics.schedule("report").runs == 0
        assert statistics.schedule("other").runs == kept
        assert statistics.total().runs >= count
        (record,) = await scheduler.activity(by="anna")
        assert (record.action, record.result) == ("forget_history", f"{count} runs")
        assert await scheduler.forget_history("report") == 0
        assert len(await scheduler.runs(schedule="long", state="running")) == 1
        await scheduler.forget_history("long")
        assert len(await scheduler.runs(schedule="long")) == 1, "what runs goes on"
        await anyio.sleep(60)
        assert len(await scheduler.runs(schedule="report")) == 1
        assert (await scheduler.statistics()).schedule("report").runs == 1
        with pytest.raises(UnknownSchedule):
            await scheduler.forget_history("nosuch")
