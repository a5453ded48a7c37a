"""The pulse of a worker: when it last took a turn, when it promised the next one, and how late it came."""

from __future__ import annotations

from collections.abc import Callable

from asyncsched._core.instants import SECOND
from asyncsched.abc import Clock

OVERDUE = 30.0
"""Seconds after the promised turn from which a worker counts as dead."""

TOLD_EVERY = 1.0
"""Seconds between two reports of the pulse to its listeners."""

WINDOW = 15.0
"""Seconds for which the longest lag is remembered, and then for as long again as the one before."""


class Pulse:
    """Watches the turns of one worker from within. A loop that stands still is told by its silence.

    Args:
        clock: the scheduler's clock.

    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._promised = clock.monotonic()
        self._asleep = False
        self._listeners: list[Callable[[float, float], None]] = []
        self._told = float("-inf")
        self._lag = self._lag_before = 0.0
        self._window = self._promised
        self.ticked_at = clock.wall()
        """The wall time of the last turn."""

    @property
    def lag(self) -> float:
        """The seconds by which the loop woke the worker too late, the most of the last quarter to half minute."""
        return max(self._lag, self._lag_before)

    @property
    def overdue(self) -> float:
        """The seconds since the promised turn; 0 while it lies ahead."""
        return max(0.0, self._clock.monotonic() - self._promised)

    def listen(self, call: Callable[[float, float], None]) -> None:
        """Call ``call`` at most once a second with the wall time of the last turn and the lag, in seconds."""
        self._listeners.append(call)

    def woken(self, promised: float) -> None:
        """Note that a task was woken by its timer, which was set for the moment ``promised``."""
        self._lag = max(self._lag, self._clock.monotonic() - promised)

    def promise(self, until: float) -> float:
        """Note that the worker sleeps, and return until when."""
        self._promised, self._asleep = until, True
        return until

    def tick(self) -> None:
        """Note that the worker takes a turn."""
        now = self._clock.monotonic()
        if self._asleep and now > self._promised:
            self._lag = max(self._lag, now - self._promised)
        self._promised, self._asleep = now, False
        if now - self._told >= TOLD_EVERY:
            self._tell(now)

    def _tell(self, now: float) -> None:
        self._told = now
        self.ticked_at = self._clock.wall()
        if now - self._window > WINDOW:
            self._window, self._lag_before, self._lag = now, self._lag, 0.0
        for call in self._listeners:
            call(self.ticked_at / SECOND, self.lag)
