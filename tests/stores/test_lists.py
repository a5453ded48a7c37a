"""Lists of very many runs: what a person sees of a long queue, and what the host app feels of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsched import Cron, Scheduler
from asyncsched._core.requests import RunQuery
from asyncsched.stores.memory import MemoryStore
from asyncsched.testing import VirtualClock
from asyncsched.testing.conformance import Stage
from tests.each_store import POSTGRES, SQLITE, sqlite_file

pytestmark = pytest.mark.anyio

MANY = 20_000
"""Runs of one job: ten times as many as are read in one turn of the loop."""


@pytest.fixture(params=[None, SQLITE, POSTGRES])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """The URL of each store."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_dsn"))
    return f"sqlite:///{sqlite_file(tmp_path)}" if request.param else None


class Turns:
    """Counts the turns that another task of the loop gets while a call is on."""

    def __init__(self) -> None:
        self.count = 0

    async def during(self, call: Any) -> Any:
        done = False

        async def count() -> None:
            while not done:
                self.count += 1
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as group:
            group.start_soon(count)
            answer = await call
            done = True
        return answer


@pytest.mark.parametrize(
    "filters",
    [{"job": "job"}, {"job": "none"}, {"states": ("failed",)}, {"origin": "manual"}, {"end": 0}, {}],
    ids=str,
)
async def test_a_list_over_all_runs_in_memory_lets_other_tasks_go_on(
    filters: dict[str, Any], virtual_clock: VirtualClock
) -> None:
    async with Stage(MemoryStore, virtual_clock) as stage:
        await stage.add(*(stage.run(delay=number % 7) for number in range(MANY)))
        every = await stage.store.runs(RunQuery(limit=MANY))
        turns = Turns()
        found = await turns.during(stage.store.runs(RunQuery(**filters)))
        assert [run.id for run in found] == [run.id for run in RunQuery(**filters).select(every)]
        assert turns.count >= MANY // 2000 - 1


@pytest.mark.parametrize(
    "filters",
    [
        {"key": "rare"},
        {"tag": "rare"},
        {"schedule": "s"},
        {"dead_letters": True},
        {"dead_letters": True, "job": "job"},
    ],
    ids=str,
)
async def test_a_filter_with_an_index_reads_only_its_runs_in_memory(
    filters: dict[str, Any], virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = 0
    matches = RunQuery.matches

    def counted(query: RunQuery, run: Any) -> bool:
        nonlocal read
        read += 1
        return matches(query, run)

    async with Stage(MemoryStore, virtual_clock) as stage:
        rare = stage.run(key="rare", tags=("rare",), origin="backfill", schedule="s", slot=stage.at)
        await stage.add(rare)
        (begun,) = (await stage.claim()).runs
        await stage.end(begun, "failed")
        await stage.add(*(stage.run() for _ in range(MANY)))
        monkeypatch.setattr(RunQuery, "matches", counted)
        assert [run.id for run in await stage.store.runs(RunQuery(**filters))] == [rare.id]
        assert read == 1


async def test_removing_one_of_two_schedules_cancels_its_waiting_runs_only(
    place: Any, virtual_clock: VirtualClock
) -> None:
    scheduler = Scheduler(place, clock=virtual_clock)

    @scheduler.job(overlap="allow", max_running=1)
    async def work() -> None:
        await anyio.sleep(10_000)

    async with scheduler:
        for id in ("one", "two"):
            await scheduler.add_schedule(work, Cron("* * * * *"), id=id)
        await virtual_clock.advance(300)
        await scheduler.remove("one")
        assert {run.why for run in await scheduler.runs(schedule="one", state="cancelled")} == {"removed"}
        assert await scheduler.runs(schedule="one", state="pending") == []
        assert len(await scheduler.runs(schedule="two")) == 6
        assert await scheduler.runs(schedule="two", state="cancelled") == []
