"""What a call costs does not grow with what is there already; counted in lines and calls, not in time."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

import pytest

from asyncsched import Cron, Scheduler


def _lines(call: Callable[[], object]) -> int:
    """Return the lines that a call executes."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def _declare(scheduler: Scheduler, number: int) -> None:
    @scheduler.interval(seconds=60, name=f"job-{number}")
    async def job() -> None: ...


def test_a_job_is_declared_at_the_same_cost_beside_a_thousand_others() -> None:
    scheduler = Scheduler()
    for number in range(10):
        _declare(scheduler, number)
    beside_few = _lines(lambda: _declare(scheduler, 10))
    for number in range(11, 1000):
        _declare(scheduler, number)
    assert 0 < _lines(lambda: _declare(scheduler, 1000)) < 1.1 * beside_few


async def _calls(call: Callable[[], Awaitable[object]]) -> int:
    """Return the Python functions that are called until a call has ended, by this thread."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        await call()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.anyio
async def test_fifty_thousand_schedules_are_added_to_memory_by_few_calls_each() -> None:
    scheduler = Scheduler(stall_threshold=None)  # its watching thread would be waited for at the end

    @scheduler.job()
    async def remind(user: int) -> None: ...

    def some(first: int) -> list[Any]:
        return [
            {"job": remind, "trigger": Cron("0 9 * * *"), "id": str(number), "args": (number,)}
            for number in range(first, first + 200)
        ]

    async with scheduler:
        items, more = some(0), some(200)
        beside_none = await _calls(lambda: scheduler.add_schedules(items))
        assert beside_none / 200 < 150
        assert await _calls(lambda: scheduler.add_schedules(more)) < 1.1 * beside_none
