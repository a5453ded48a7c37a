"""The requests to a database thread that callers wait for: virtual time waits with them, and each expires in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from contextvars import Context
from math import inf

from asyncsched._backends.base import Port, Task
from asyncsched.abc import Clock, DrivenClock
from asyncsched.stores.sql.request import Request

FROZEN = 1.0
"""Seconds by which the loop must come too late to a timer for the process to count as having been stopped."""


class UnderWay:
    """The requests in the order in which they expire, with one timer for all. Used in the loop's thread.

    Args:
        clock: the clock; a virtual one stands still as long as there are requests.
        port: sets the timer.
        timeout: seconds after which a request expires.
        expire: called with a request that has expired and was not answered; removes it.

    """

    def __init__(self, clock: Clock, port: Port, timeout: float, expire: Callable[[Request], None]) -> None:
        self._clock = clock
        self._port = port
        self._timeout = timeout
        self._expire = expire
        self._requests: dict[Request, None] = {}
        self._timer: Task | None = None
        # A driven clock would jump to a timer for nothing, and so bring rounds back that it leaves out.
        self._stops_timer = isinstance(clock, DrivenClock)
        self._outside: AbstractContextManager[None] | None = None
        self._context = Context()
        self.deadline = inf
        """The loop's time at which all requests expire at the latest, while the store is being closed."""

    def __iter__(self) -> Iterator[Request]:
        return iter(list(self._requests))

    def __len__(self) -> int:
        return len(self._requests)

    def expires(self) -> float:
        """Return when a request expires that is made now."""
        return min(self._clock.monotonic() + self._timeout, self.deadline)

    def add(self, request: Request) -> None:
        """Add a request."""
        if not self._requests:
            self._outside = self._clock.hold()
            self._context.run(self._outside.__enter__)
        self._requests[request] = None
        if self._timer is None:
            self._set_timer()

    def remove(self, request: Request) -> None:
        """Remove a request whose caller waits no more."""
        if self._requests.pop(request, 0) is None and not self._requests and self._outside is not None:
            outside, self._outside = self._outside, None
            self._context.run(outside.__exit__, None, None, None)
            if self._stops_timer:
                self._stop_timer()

    def hurry(self, seconds: float) -> None:
        """Have all requests expire within ``seconds``, those to come included."""
        self.deadline = self._clock.monotonic() + seconds
        for request in self._requests:
            request.expires = min(request.expires, self.deadline)
        self._stop_timer()
        self._set_timer()

    def close(self) -> None:
        """Set no more timers."""
        self._stop_timer()
        self._timer = _NEVER

    def _set_timer(self) -> None:
        """Set the timer of the next request to expire."""
        first = next(iter(self._requests), None)
        self._timer = None
        if first is not None:
            expires = first.expires
            self._timer = self._port.call_at(expires, lambda: self._due(expires))

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _due(self, now: float) -> None:
        # The time is not read from the clock: a clock that reads anyio's time has none outside a task.
        if self._port.time() - now > FROZEN:
            self._put_off()
        for request in self:
            if request.expires <= now and not request.answered:
                self._expire(request)
        self._set_timer()

    def _put_off(self) -> None:
        """Give all requests the whole timeout anew, because the thread may have been stopped with the loop."""
        expires = min(self._port.time() + self._timeout, self.deadline)
        for request in self:
            request.expires = max(request.expires, expires)


class _Never:
    def cancel(self) -> None:
        """Do nothing."""


_NEVER = _Never()
