"""What the scenarios share: clocks, percentiles, memory, and how the peers are driven.

The time module is read directly here: the schedulers are measured from outside.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` (0 to 1) of the values lie; infinite if nothing ran."""
    if not values:
        return float("inf")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def moment(epoch: float) -> datetime:
    """Return seconds since the epoch as an aware datetime."""
    return datetime.fromtimestamp(epoch, UTC)


def resident() -> int:
    """Return the bytes of memory that this process holds."""
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def aps3(**options: Any) -> Any:
    """Return APScheduler 3 as its documentation sets it up for an application on asyncio."""
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

    return AsyncIOScheduler(timezone=UTC, **options)


class Cpu:
    """The CPU seconds of this process since it was made, all threads included."""

    def __init__(self) -> None:
        self._began = time.process_time()

    def spent(self) -> float:
        """Return the seconds."""
        return time.process_time() - self._began
