"""An executor, a trigger, a clock and an observer of one's own, written with ``asyncsched.abc`` and public names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from asyncsched.abc import CurrentRun, Event, Executor, ExecutorTraits, Instant, to_instant
from asyncsched.events import RunFinished


class BorrowedThreads(Executor):
    """Runs plain functions in anyio's worker threads."""

    traits = ExecutorTraits(cancellable=False)

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._limiter = anyio.CapacityLimiter(capacity)

    async def run(
        self, run: CurrentRun, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        call = partial(func, *args, **kwargs)
        return await anyio.to_thread.run_sync(call, limiter=self._limiter, abandon_on_cancel=True)


@dataclass(frozen=True)
class Doubling:
    """Due one minute after ``start``, and again each time twice as much time has passed since."""

    start: datetime

    def next(self, after: datetime) -> datetime:
        due = timedelta(minutes=1)
        while self.start + due <= after:
            due *= 2
        return self.start + due

    def describe(self) -> str:
        return f"1, 2, 4, 8 … minutes after {self.start:%Y-%m-%d %H:%M}"


class LoopClock:
    """Shows a wall time that runs as the event loop's own clock does."""

    def __init__(self, start: datetime) -> None:
        self._start = to_instant(start)

    def wall(self) -> Instant:
        return self._start + round(anyio.current_time() * 1_000_000)

    def monotonic(self) -> float:
        return anyio.current_time()

    def hold(self) -> AbstractContextManager[None]:
        return nullcontext()


class Outcomes:
    """Remembers how runs ended."""

    wants = RunFinished

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def __call__(self, event: Event) -> None:
        assert isinstance(event, RunFinished)
        self.seen.append((event.run.job, event.run.state))
