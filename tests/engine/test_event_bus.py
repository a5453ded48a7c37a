"""The end of the event bus: what happens afterwards is told nobody, and is no fault of an observer's."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

import anyio
import pytest

from asyncsched._backends.current import current_backend
from asyncsched._engine.event_bus import EventBus
from asyncsched.events import Event, LoopStalled, SchedulerStopped

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.anyio
async def test_that_the_scheduler_has_stopped_is_the_last_that_observers_hear(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[Event] = []

    async def later(event: Event) -> None:
        heard.append(event)

    bus = EventBus([heard.append, later], time.monotonic)
    async with current_backend() as backend:
        bus.start(backend)
        bus.emit(last := SchedulerStopped(MOMENT, 0))
        bus.stop()
        bus.emit(LoopStalled(MOMENT, None, None, 150, "the loop was blocked as the scheduler stopped"))
        with anyio.fail_after(5):
            while len(heard) < 2:
                await anyio.sleep(0)
    assert heard == [last, last]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
