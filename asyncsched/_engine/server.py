"""The server that a lifespan runs in: whether it is going down, and how many processes serve its app.

Uvicorn ends a lifespan only after the last connection has closed. Its signal handler is a method of the
server, installed before the lifespan starts, so the server object can be found. Under any other server,
the lifespan's end is the only sign. Gunicorn's worker stands in the frames below the lifespan.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, cast


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


def current_server() -> Server:
    """Return the server that the calling lifespan runs in, or one without an exit flag if it cannot be found."""
    try:
        server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    except ValueError:
        server = None
    if isinstance(getattr(server, "should_exit", None), bool) and hasattr(server, "started"):
        return UvicornServer(server)
    return Server()


def _gunicorn_workers() -> int | None:
    """Return the number of gunicorn's workers, if this process is one of them."""
    base = sys.modules.get("gunicorn.workers.base")
    frame = None if base is None else sys._getframe()
    while base is not None and frame is not None:
        worker: Any = frame.f_locals.get("self")
        if isinstance(worker, base.Worker):
            return int(cast("Any", worker).cfg.workers)
        frame = frame.f_back
    return None
