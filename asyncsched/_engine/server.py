"""What can be seen of the server that a lifespan runs in: under uvicorn, that it is going down.

Uvicorn tells a lifespan of the end only after the last connection has closed. Its signal handler is a
method of the server, installed before the lifespan starts, so the server can be found. Under any other
server nothing is seen, and nothing is lost.
"""

from __future__ import annotations

import signal
from typing import Any


class Server:
    """A server that cannot be seen: it never says that it is going down."""

    def leaving(self) -> bool:
        """Whether it has begun to go down: nothing more is to be begun."""
        return False


class UvicornServer(Server):
    """Uvicorn's server, asked before each claim."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def leaving(self) -> bool:
        """Whether SIGTERM or SIGINT has come."""
        return bool(self._server.should_exit)


def current_server() -> Server:
    """Return the server that the calling lifespan runs in, as far as it can be seen."""
    try:
        server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    except ValueError:
        server = None
    if isinstance(getattr(server, "should_exit", None), bool) and hasattr(server, "started"):
        return UvicornServer(server)
    return Server()
