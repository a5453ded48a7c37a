"""The server that a lifespan runs in: whether it is going down, and how many processes serve its app.

Uvicorn ends a lifespan only after the last connection has closed. Its signal handler is a method of the
server, installed before the lifespan starts, so the server object can be found. Hypercorn's process shares an
event with its workers, and gunicorn's worker is an object: both stand in the frames below any code of the app.
Under any other server, the lifespan's end is the only sign.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any, cast

import anyio

_LOOKS = 0.1
"""Seconds between two looks at what hypercorn's processes share: as often as hypercorn's own."""


class Server:
    """A server without an exit flag: it never says that it is going down."""

    def leaving(self) -> bool:
        """Whether the server has begun to go down, so that no more runs are to be begun."""
        return False

    def processes(self) -> int:
        """Return how many processes serve the app, as far as that can be seen: under gunicorn, or by WEB_CONCURRENCY."""
        found = _gunicorn_workers()
        if found is not None:
            return found
        given = os.environ.get("WEB_CONCURRENCY", "")
        return int(given) if given.isdecimal() else 1


class UvicornServer(Server):
    """Uvicorn's server. The engine reads its exit flag before each claim."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def leaving(self) -> bool:
        """Whether SIGTERM or SIGINT has come."""
        return bool(self._server.should_exit)

    def processes(self) -> int:
        found = _gunicorn_workers()
        if found is not None:
            return found
        workers = getattr(getattr(self._server, "config", None), "workers", None)
        # In the only process, the number stands in the configuration too, and nothing comes of it.
        process = sys.modules.get("multiprocessing.process")
        alone = process is None or process.parent_process() is None
        return workers if isinstance(workers, int) and not alone else 1


class HypercornServer(Server):
    """A worker of hypercorn's. The event by which its process ends it is set at once, and the lifespan ends seconds later."""

    def __init__(self, event: Any, workers: int) -> None:
        self._event = event
        self._workers = workers
        self._leaving = False
        self._look_at = 0.0

    def leaving(self) -> bool:
        """Whether SIGTERM, SIGINT or a reload has come."""
        now = anyio.current_time()
        if not self._leaving and now >= self._look_at:
            self._look_at = now + _LOOKS
            self._leaving = bool(self._event.is_set())
        return self._leaving

    def processes(self) -> int:
        return self._workers


def current_server() -> Server:
    """Return the server that the calling code runs in, or one without an exit flag if it cannot be found."""
    try:
        server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    except ValueError:
        server = None
    if isinstance(getattr(server, "should_exit", None), bool) and hasattr(server, "started"):
        return UvicornServer(server)
    return _hypercorn() or Server()


def _hypercorn() -> HypercornServer | None:
    """Return the server if this process is a worker of hypercorn's: its main function has the event and the configuration."""
    if "hypercorn.config" in sys.modules:
        for frame in _frames():
            if frame.f_globals.get("__name__") in ("hypercorn.asyncio.run", "hypercorn.trio.run"):
                event, config = frame.f_locals.get("shutdown_event"), frame.f_locals.get("config")
                if event is not None and config is not None:
                    return HypercornServer(event, config.workers)
    return None


def _gunicorn_workers() -> int | None:
    """Return the number of gunicorn's workers, if this process is one of them."""
    base = sys.modules.get("gunicorn.workers.base")
    if base is not None:
        for frame in _frames():
            worker: Any = frame.f_locals.get("self")
            if isinstance(worker, base.Worker):
                return int(cast("Any", worker).cfg.workers)
    return None


def _frames() -> Iterator[FrameType]:
    """Yield the frames below the caller's, down to the one in which the process began."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back
