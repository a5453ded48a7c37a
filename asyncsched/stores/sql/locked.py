"""Requests that met a lock of another transaction wait here, and are tried again until their callers' time is up.

A database thread waits for no lock longer than another instance's transaction holds one: whatever else holds
a lock is a stranger, who may hold it for hours. Requests about one thing wait together, so that only one of
them is tried; things take turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncsched.stores.sql.request import Request

PAUSES = (0.03, 0.06, 0.12, 0.25)
"""Seconds between two tries of what met a lock."""

MOST_MET = 2
"""How many locks one batch meets; the requests that are left of it come with the next batch."""

LEAVE_OUT = "leave out"
"""What a request is about that can be done without its locked rows: it is done once more, without them."""

DIVIDE = "divide"
"""What a request is about whose caller asks again for each part of it, if there is an error."""


class _Thing:
    """What some requests are about, and a transaction has locked."""

    def __init__(self) -> None:
        self.requests: deque[Request] = deque()
        self.tries = 0
        self.next = 0.0
        self.tried = False
        self.obstacle = ""


class Locked:
    """The waiting requests. The thread adds and takes them; the loop removes them, in one atomic step."""

    def __init__(self) -> None:
        self._things: dict[Hashable, _Thing] = {}

    def __bool__(self) -> bool:
        return bool(self._things)

    def __contains__(self, about: Hashable) -> bool:
        """Whether requests about this wait already."""
        return about in self._things

    def put(self, request: Request, now: float) -> None:
        """Have a request wait that met a lock, or that is about a thing that is locked."""
        thing = self._things.setdefault(_about(request), _Thing())
        if request.met_lock:
            request.met_lock = False
            thing.next = now + PAUSES[min(thing.tries, len(PAUSES) - 1)]
            thing.tries += 1
            thing.tried = False
            thing.obstacle = request.obstacle
            thing.requests.appendleft(request)
        else:
            request.obstacle = thing.obstacle
            thing.requests.append(request)
        if request.lost:  # its time was up at this moment
            with suppress(ValueError, IndexError):
                self.remove(request)

    def remove(self, request: Request) -> None:
        """Remove a request.

        Raises:
            ValueError, IndexError: it is not here, or the thread took a request at this moment.

        """
        thing = self._things.get(_about(request))
        if thing is None:
            raise ValueError
        thing.requests.remove(request)

    def due(self, now: float) -> list[Request]:
        """Take the first request about a thing whose pause is over."""
        for about, thing in list(self._things.items()):
            if not thing.requests and not thing.tried:
                del self._things[about]
            elif thing.next <= now and not thing.tried:
                self._things[about] = self._things.pop(about)  # things take turns
                with suppress(IndexError):  # removed just now
                    taken = [thing.requests.popleft()]
                    thing.tried = True
                    return taken
        return []

    def free(self, request: Request) -> Iterator[Request]:
        """Yield the requests that waited for the same lock, after one of them did not meet it any more."""
        thing = self._things.pop(_about(request), None)
        while thing is not None and thing.requests:
            with suppress(IndexError):
                yield thing.requests.popleft()

    def pause(self, now: float) -> float | None:
        """Return the seconds until a request is due; ``None`` if none waits."""
        moments = [thing.next for thing in list(self._things.values()) if thing.requests]
        return max(0.0, min(moments) - now) if moments else None


def _about(request: Request) -> Hashable:
    return id(request) if request.about in (None, LEAVE_OUT, DIVIDE) else request.about
