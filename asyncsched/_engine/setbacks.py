"""Turns of the worker that failed: told once, and followed by pauses that grow while the store is away."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from asyncsched._core.errors import StoreUnavailable
from asyncsched._core.events import StoreFailed
from asyncsched._core.instants import to_datetime
from asyncsched._core.requests import Fenced

if TYPE_CHECKING:
    from asyncsched._backends.clock import Timeline
    from asyncsched._engine.event_bus import EventBus

logger = logging.getLogger("asyncsched.scheduler")


class Setbacks:
    """Counts the failures in a row."""

    def __init__(self, timeline: Timeline, bus: EventBus) -> None:
        self._timeline = timeline
        self._bus = bus
        self._in_a_row = 0

    def pause_after(self, error: Exception) -> float:
        """Log a failure, and return how many seconds to pause: longer each time while the store is away."""
        away = isinstance(error, (StoreUnavailable, Fenced))
        if self._bus.wants(StoreFailed):
            self._bus.emit(StoreFailed(to_datetime(self._timeline.now().wall), str(error)))
        if not away:
            logger.error("a turn of the scheduler failed; the next one comes in a second", exc_info=error)
        elif not self._in_a_row:
            logger.warning("no run is begun while the store accepts no claim: %s", error)
        pause = min(0.1 * 2**self._in_a_row, 2.0) if away else 1.0
        self._in_a_row = min(self._in_a_row + 1, 10)
        return pause

    def over(self) -> None:
        """Note that a turn went well."""
        self._in_a_row = 0
