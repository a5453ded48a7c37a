"""The stall watcher's thread outlives whatever goes wrong during a look at the loop's frames."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from asyncsched._core.context import _current
from asyncsched._engine.watchdog import StallWatcher
from tests.executors.helpers import attempts, new_run
from tests.waiting import PATIENCE, soon

pytestmark = [
    pytest.mark.real_time,  # what is watched is how long the loop really stands still
    pytest.mark.blocking_ok,
    pytest.mark.anyio,
]


class Watched:
    def __init__(self) -> None:
        self.jobs: list[str | None] = []
        self.watcher = StallWatcher(0.05, on_stall=lambda job, *_: self.jobs.append(job))
        self.watcher.register(self.blocks, "crunch")
        self.samples = 0
        take = self.watcher._sample

        def sample(into: Any) -> None:
            take(into)
            self.samples += 1

        self.watcher._sample = sample  # type: ignore[method-assign]

    async def blocks(self, enough: Callable[[], bool]) -> None:
        _current.set(new_run("crunch"))
        self.watcher.busy()
        end = time.monotonic() + PATIENCE
        try:
            while not enough() and time.monotonic() < end:
                time.sleep(0.01)
        finally:
            self.watcher.idle()

    async def block(self, enough: Callable[[], bool] | None = None) -> None:
        """Block the loop until it is enough: until it was sampled for longer than a stall's threshold."""
        upto = self.samples + 8
        async with attempts() as start:
            start(self.blocks(enough or (lambda: self.samples >= upto)))


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    watched = Watched()
    watched.watcher.start()
    yield watched
    watched.watcher.stop()


class Ended:
    """A frame whose function has returned since it was found."""

    @property
    def f_back(self) -> Any:
        raise KeyError("attempt")

    f_code = f_locals = f_globals = f_lineno = f_back


async def test_a_frame_that_ends_while_it_is_read_costs_no_later_stall_its_name(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def vanished() -> dict[int, Any]:
        nonlocal looks
        looks += 1
        return {watched.watcher._loop_thread: Ended()}

    with monkeypatch.context() as patch:
        patch.setattr(sys, "_current_frames", vanished)
        await watched.block(lambda: looks > 1)  # the first of them was survived
    await watched.block()
    await soon(lambda: "crunch" in watched.jobs)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_frame_that_ends_between_two_samples_leaves_the_job_its_name(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    current_frames = sys._current_frames
    looks = 0

    def now_and_then() -> dict[int, Any]:
        nonlocal looks
        looks += 1
        frames = current_frames()
        if looks % 3 == 0:
            frames[watched.watcher._loop_thread] = Ended()  # type: ignore[assignment]
        return frames

    monkeypatch.setattr(sys, "_current_frames", now_and_then)
    await watched.block()
    await watched.block()
    await soon(lambda: "crunch" in watched.jobs)


async def test_a_log_filter_that_raises_costs_no_later_stall_its_name(watched: Watched) -> None:
    raised: list[str] = []

    def refuse(record: logging.LogRecord) -> bool:
        raised.append(record.getMessage())
        raise ValueError("a filter of the app's")

    logger = logging.getLogger("asyncsched.stall")
    logger.addFilter(refuse)
    try:
        await watched.block()
        await soon(lambda: bool(raised))
    finally:
        logger.removeFilter(refuse)
    await watched.block()
    await soon(lambda: "crunch" in watched.jobs)
