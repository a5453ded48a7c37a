"""Results that are larger than what is kept: the same on every store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from asyncsched import ConfigurationError, Scheduler, StoreError
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio

Make = Callable[..., Scheduler]


class Page(BaseModel):
    text: str


LARGE = [
    "x" * 70_000,
    "ä" * 40_000,
    list(range(100_000)),
    {"rows": [{"name": "x" * 100}] * 1000},
    Page(text="x" * 70_000),
]


@pytest.mark.parametrize("number", range(len(LARGE)))
async def test_a_large_result_is_not_kept_and_its_run_succeeds_all_the_same(
    make_scheduler: Make, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    value = LARGE[number]
    scheduler = make_scheduler()

    @scheduler.job()
    async def large(number: int) -> str | list[int] | dict[str, list[dict[str, str]]] | Page:
        return value  # type: ignore[no-any-return]

    async with scheduler:
        handle = await scheduler.schedule_once(large, number)
        run = await handle.wait()
        assert (run.state, run.why) == ("succeeded", "result not kept: larger than 65536 bytes")
        assert run.result is None
        assert await handle.result() == value  # in the process that ran it
        assert await scheduler.dead_letters() == []
    assert "job 'large': its result is larger than the limit of 65536 bytes" in caplog.text


async def test_after_a_restart_the_handle_says_that_the_result_was_not_kept(make_scheduler: Make) -> None:
    def declare(scheduler: Scheduler) -> Any:
        @scheduler.job()
        async def large() -> str:
            return "x" * 70_000

        return large

    first, second = make_scheduler(), make_scheduler()
    large = declare(first)
    declare(second)
    async with first:
        handle = await first.schedule_once(large)
        await handle.wait()
        durable = first._running().main.store.durable
    if not durable:
        return
    async with second:
        with pytest.raises(
            StoreError,
            match="of job 'large' succeeded; its result is gone: result not kept: larger than 65536",
        ):
            await second.handle(handle.id).result()


async def test_the_limit_is_an_option(make_scheduler: Make) -> None:
    for limit, size, kept in ((100, 90, True), (100, 200, False), (0, 1, False), (None, 2_000_000, True)):
        scheduler = make_scheduler(result_limit=limit)

        @scheduler.job()
        async def text(size: int) -> str:
            return "x" * size

        @scheduler.job()
        async def nothing() -> None: ...

        async with scheduler:
            run = await (await scheduler.schedule_once(text, size)).wait()
            assert (run.result is not None) == kept
            assert run.state == "succeeded"
            assert (await (await scheduler.schedule_once(nothing)).wait()).why == ""


@pytest.mark.parametrize("limit", [-1, 1.5, "1 MB", True])
async def test_a_limit_that_is_no_number_of_bytes_is_refused(limit: Any) -> None:
    with pytest.raises(ConfigurationError, match="result_limit must be a whole number from 0 to"):
        Scheduler(result_limit=limit)


async def test_an_object_counts_by_what_it_says_of_its_own_size(virtual_clock: VirtualClock) -> None:
    class Frame:
        def __init__(self, size: int) -> None:
            self.size = size

        def __sizeof__(self) -> int:
            if not self.size:
                raise OSError("gone")
            return self.size

    scheduler = Scheduler(clock=virtual_clock)

    @scheduler.job()
    async def frame(size: int) -> Frame:
        return Frame(size)

    async with scheduler:
        for size, kept in ((1000, True), (10**6, False), (0, True)):
            run = await (await scheduler.schedule_once(frame, size)).wait()
            assert (run.result is not None) == kept
