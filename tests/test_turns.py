"""One turn of the loop starts only so many runs, that others get theirs; nothing is left behind by it."""

from __future__ import annotations

import pytest

from asyncsched import Once, Scheduler
from asyncsched._engine import AT_ONCE
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
        await scheduler.pause("job")
        await scheduler.schedule_many([Once(job)] * MANY)
        await virtual_clock.advance(1)
        assert not started
        await scheduler.resume("job")
        resumed = virtual_clock.now()
        await virtual_clock.advance(0)
        assert started == [resumed] * MANY
