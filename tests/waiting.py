"""Waiting, in the machine's own time, for what processes, threads and databases do.

A bound is no measurement: it is reached only where what is waited for does not come at all, however
busy the machine is. Where time is the promise, a test measures it and says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import anyio

PATIENCE = 45.0
"""Seconds after which what has not come does not come. What must not be waited for takes a minute."""

T = TypeVar("T")


def until(happened: Callable[[], T], otherwise: Callable[[], str] = str) -> T:
    """Look again and again until there is a true answer; return it. ``otherwise`` says what there is instead."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := happened()):
        assert time.monotonic() < deadline, f"in vain waited {PATIENCE:g} s. {otherwise()}"
        time.sleep(0.01)
    return answer


async def soon(happened: Callable[[], object]) -> None:
    """Look again and again, and let the loop go on meanwhile, until there is a true answer."""
    with anyio.fail_after(PATIENCE):
        while not happened():
            await anyio.sleep(0.005)
