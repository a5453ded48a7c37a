"""The server that a lifespan runs in, and whether it is going down: known under uvicorn only.

Uvicorn ends a lifespan only after the last connection has closed. Its signal handler is a method of the
server, installed before the lifespan starts, so the server object can be found. Under any other server,
the lifespan's end is the only sign.
"""

from __future__ import annotations

import signal
from typing import Any


class Server:
    """A server without an exit flag: it never says that it is going down."""

    def leaving(self) -> bool:
        """Whether the server has begun to go down, so that no more runs are to be begun."""
        return False


class UvicornServer(Server):
    """Uvicorn's server. The engine reads its exit flag before each claim."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def leaving(self) -> bool:
        """Whether SIGTERM or SIGINT has come."""
        return bool(self._server.should_exit)


def current_server() -> Server:
    """Return the server that the calling lifespan runs in, or one without an exit flag if it cannot be found."""
    try:
        server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    except ValueError:
        server = None
    if isinstance(getattr(server, "should_exit", None), bool) and hasattr(server, "started"):
        return UvicornServer(server)
    return Server()
