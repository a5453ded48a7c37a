"""What can be seen of the server that a lifespan runs in: under uvicorn, that it is going down.

Uvicorn tells a lifespan of the end only after the last connection has closed, and one that is forced
(a second signal) not at all. Its signal handler is a method of the server, installed before the
lifespan starts, so the server can be found. Under any other server nothing is seen, and nothing is lost.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import Any


class Server:
    """A server that cannot be seen: it never says that it is going down."""

    seen = False

    def leaving(self) -> bool:
        """Whether it has begun to go down: nothing more is to be begun."""
        return False

    def forced(self) -> bool:
        """Whether it was told to go down at once: there is no time left."""
        return False

    def at_end(self, force: Callable[[], Awaitable[None]]) -> bool:
        """Have ``force`` awaited before a server that is forced ends its process. False: not yet."""
        return True


class UvicornServer(Server):
    """Uvicorn's, asked before each claim and while we close; nothing polls it otherwise."""

    seen = True

    def __init__(self, server: Any) -> None:
        self._server = server

    def leaving(self) -> bool:
        """Whether SIGTERM or SIGINT has come."""
        return bool(self._server.should_exit)

    def forced(self) -> bool:
        """Whether SIGINT has come a second time, or after SIGTERM."""
        return bool(getattr(self._server, "force_exit", False))

    def at_end(self, force: Callable[[], Awaitable[None]]) -> bool:
        """Stand among the sockets that uvicorn closes and waits for; it does so when forced, too.

        After SIGTERM and SIGINT its process ends by the signal, without one ``finally``.
        """
        if not self._server.started:
            return False
        listening = getattr(self._server, "servers", None)
        if isinstance(listening, list):
            # In front: the real ones wait for open connections from Python 3.12 on.
            listening.insert(0, _Last(self, force, listening[0] if listening else None))
        return True


class _Last:
    """Has the two methods that uvicorn calls of an ``asyncio.Server``; else it is the one it stands before."""

    def __init__(self, server: Server, force: Callable[[], Awaitable[None]], before: Any) -> None:
        self._server = server
        self._force = force
        self._before = before

    def __getattr__(self, name: str) -> Any:
        # Whoever asks `server.servers[0].sockets` for the port gets it.
        return getattr(self._before, name)

    def close(self) -> None:
        return

    async def wait_closed(self) -> None:
        if self._server.forced():
            await self._force()


def current_server() -> Server:
    """Return the server that the calling lifespan runs in, as far as it can be seen."""
    try:
        server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    except ValueError:
        server = None
    if isinstance(getattr(server, "should_exit", None), bool) and hasattr(server, "started"):
        return UvicornServer(server)
    return Server()
