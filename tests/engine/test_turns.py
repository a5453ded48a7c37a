"""One turn of the loop starts only so many runs, that others get theirs; nothing is left behind by it."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from asyncsched import Once, Scheduler
from asyncsched._engine.engine import AT_ONCE
from asyncsched._scheduler.enqueue import ONE_TURN
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio

MANY = 3 * AT_ONCE + 1


async def test_more_runs_than_a_turn_starts_all_start_at_their_due_time(virtual_clock: VirtualClock) -> None:
    started = []

    async def job() -> None:
        started.append(virtual_clock.now())

    async with Scheduler(clock=virtual_clock) as scheduler:
        began = virtual_clock.now()
        await scheduler.schedule_many([Once(job)] * MANY)
        await virtual_clock.advance(0)
        assert started == [began] * MANY


async def test_more_held_back_runs_than_a_turn_starts_all_start_when_their_job_is_resumed(
    virtual_clock: VirtualClock,
) -> None:
    started = []
    scheduler = Scheduler(clock=virtual_clock)

    @scheduler.job()
    async def job() -> None:
        started.append(virtual_clock.now())

    async with scheduler:
        await scheduler.pause_job("job")
        await scheduler.schedule_many([Once(job)] * MANY)
        await virtual_clock.advance(1)
        assert not started
        await scheduler.resume_job("job")
        resumed = virtual_clock.now()
        await virtual_clock.advance(0)
        assert started == [resumed] * MANY


@pytest.mark.parametrize("kept_in", ["memory", "a file"])
async def test_a_long_list_leaves_others_their_turns(
    kept_in: str, tmp_path: Path, virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = Scheduler(
        None if kept_in == "memory" else f"sqlite:///{tmp_path}/jobs.db", clock=virtual_clock
    )
    turn = 0
    made: Counter[tuple[str, int]] = Counter()

    def counted(module: str, name: str) -> None:
        plain = getattr(import_module(module), name)

        def make(*args: Any, **more: Any) -> Any:
            made[name, turn] += 1
            return plain(*args, **more)

        monkeypatch.setattr(f"{module}.{name}", make)

    @scheduler.job()
    async def job() -> None: ...

    async def others() -> None:
        nonlocal turn
        while True:
            turn += 1
            await checkpoint()

    counted("asyncsched._scheduler.face", "make_run")
    counted("asyncsched._scheduler.enqueue", "put_off")
    counted("asyncsched._scheduler.face", "RunHandle")
    if kept_in == "a file":  # those in memory are alive: a list of them shows one moment
        counted("asyncsched._scheduler.queries", "view_here")
    async with scheduler, anyio.create_task_group() as group:
        group.start_soon(others)
        await scheduler.schedule_many([Once(job)] * MANY, over=10)
        assert len(await scheduler.runs(limit=MANY)) == MANY
        group.cancel_scope.cancel()
    assert made.total() == MANY * len({name for name, _ in made})
    assert max(made.values()) <= 2 * ONE_TURN  # trio shuffles who is first in a turn


async def test_of_many_that_are_cancelled_on_their_way_the_first_start_when_they_are_due(
    virtual_clock: VirtualClock,
) -> None:
    started = []

    async def job() -> None:
        started.append(virtual_clock.now())

    async with Scheduler(clock=virtual_clock) as scheduler:
        await virtual_clock.advance(1)  # it sleeps, and for nothing
        items = [Once(job, delay=5)] * (5 * MANY)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(scheduler.schedule_many, items)
                while not await scheduler.runs(limit=1):
                    await checkpoint()
                scope.cancel()
        due = virtual_clock.now() + timedelta(seconds=5)
        await virtual_clock.advance(5)
        assert 0 < len(started) < len(items)
        assert set(started) == {due}
