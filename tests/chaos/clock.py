"""A node whose wall clock is wrong."""

from __future__ import annotations

from asyncsched._backends.clock import SystemClock


class SkewedClock(SystemClock):
    """The machine's clock with its wall moved by some seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._skew = round(seconds * 1_000_000)

    def wall(self) -> int:
        return super().wall() + self._skew
