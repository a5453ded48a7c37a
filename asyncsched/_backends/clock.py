"""The one door to time: nothing else in the package reads a clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import anyio

from asyncsched._core.instants import SECOND, Instant, Now

if TYPE_CHECKING:
    from asyncsched.abc import Clock

LONGEST_NAP = 30.0
"""Seconds after which a sleeper looks at the wall clock again, so that a step is noticed."""


class SystemClock:
    """The machine's wall clock beside the event loop's monotonic clock.

    Args:
        monotonic: the event loop's time in seconds; its zero means nothing. The loop's own function,
            where it is known, spares anyio's search for the loop at every call (1.5 µs).

    """

    def __init__(self, monotonic: Callable[[], float] = anyio.current_time) -> None:
        self.monotonic = monotonic

    def wall(self) -> Instant:
        """Return the wall time in microseconds since the epoch."""
        return time.time_ns() // 1000

    def hold(self) -> AbstractContextManager[None]:
        """Do nothing: real time passes whether or not work goes on outside the loop."""
        return nullcontext()


_new = tuple.__new__


class Timeline:
    """Maps the loop's monotonic clock to instants; no other place does."""

    def __init__(self, clock: Clock) -> None:
        self._wall: Callable[[], Instant] = clock.wall
        self._monotonic: Callable[[], float] = clock.monotonic
        self._origin = clock.wall() - round(clock.monotonic() * SECOND)

    def now(self) -> Now:
        """Return this moment on both timelines."""
        # Made for every run: the named tuple's constructor costs twice as much.
        return _new(Now, (self._wall(), self._origin + round(self._monotonic() * SECOND)))


class ClusterTimeline(Timeline):
    """The store's time: the monotonic clock plus an offset that the store's answers refresh.

    The local wall clock plays no part, so neither its skew nor its steps do.
    """

    def refresh(self, store_time: Instant, sent: float, received: float) -> None:
        """Take over the store's time from the answer to a request sent at ``sent`` (monotonic seconds)."""
        middle = (sent + received) / 2
        self._origin = store_time - round(middle * SECOND)

    def now(self) -> Now:
        """Return this moment of the cluster, the same on both timelines."""
        at = self._origin + round(self._monotonic() * SECOND)
        return _new(Now, (at, at))


@contextmanager
def held(clock: Clock) -> Iterator[None]:
    """Tell the clock that work goes on outside the loop, so that virtual time waits for it."""
    with clock.hold():
        yield
