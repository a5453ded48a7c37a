"""The ways that sleep in an event loop, through a day of virtual time: timers are exact, and a call takes its time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from functools import partial
from importlib.util import find_spec
from typing import Any
from unittest.mock import patch

from asyncsched.testing import VirtualClock
from tests.conformance.asking import NEEDS, Drift
from tests.conformance.ways import WAYS, WORK

DAY = 86_400

OUTSIDE = {
    "threading.Timer, one after another": "waits in threads, outside the event loop",
    "schedule": "waits in a thread, outside the event loop",
    "APScheduler 4": "is in an environment of its own",
}
MODULES = {"repeat_every of fastapi-utils": "fastapi_utils", "APScheduler 3": "apscheduler"}


def day_of(name: str, seconds: float = DAY) -> Drift:
    """Run one way through virtual time."""
    if name in OUTSIDE:
        return Drift(skipped=OUTSIDE[name])
    if find_spec(MODULES.get(name, "asyncsched")) is None:
        return Drift(skipped=NEEDS[name])
    clock, starts = VirtualClock(), []

    def call() -> None:
        starts.append(clock.monotonic())
        clock.block(WORK)

    way: Any = WAYS[name][1]
    if name == "asyncsched":
        way = partial(way, clock=clock)
    with _wall_clock_of(name, clock):
        clock.run(way, call, seconds)
    return Drift(starts=starts)


@contextmanager
def _wall_clock_of(name: str, clock: VirtualClock) -> Iterator[None]:
    """Give APScheduler the virtual wall clock, which it reads by ``datetime.now``."""
    if name != "APScheduler 3":
        yield
        return

    class Now(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return clock.now().astimezone(tz)

    places = ("schedulers.base", "triggers.interval", "executors.base")
    patches = [patch(f"apscheduler.{place}.datetime", Now) for place in places]
    import apscheduler.executors.base
    import apscheduler.schedulers.asyncio
    import apscheduler.triggers.interval  # noqa: F401

    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()
