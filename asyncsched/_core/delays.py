"""The delays that jobs ask for, which often come from elsewhere: from a server's ``Retry-After``, say.

A job's work must not be lost for a number that somebody else has written, so such a delay is clamped: below zero it
is none, beyond a year it is a year, and a text is read as a number of seconds.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from asyncsched._core.instants import MINUTE, SECOND, YEAR, to_micros

LONGEST = YEAR
"""Microseconds that a job's own delay is at most."""

INSTEAD = MINUTE
"""Microseconds that a snooze lasts whose delay cannot be read."""


def clamped(delay: Any) -> int | None:
    """Return a job's delay in microseconds, from none to a year; ``None`` if it is no stretch of time."""
    if isinstance(delay, str):
        try:
            delay = float(delay)
        except ValueError:
            return None
    if isinstance(delay, timedelta):
        delay = delay.total_seconds()
    if isinstance(delay, bool) or not isinstance(delay, (int, float)) or delay != delay:
        return None
    return to_micros(min(max(delay, 0), LONGEST / SECOND), "delay")
