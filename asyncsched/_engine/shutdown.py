"""How a scheduler is told to go down: by its user, by its server, or by a server that is forced."""

from __future__ import annotations

import logging

import anyio

from asyncsched._engine.server import Server

logger = logging.getLogger("asyncsched.scheduler")

POLL = 0.1
"""Seconds between two looks, while closing, at whether the server was forced to end."""


class Shutdown:
    """Whether nothing more is to be begun, and whether running attempts may go on.

    Args:
        server: the server that the lifespan runs in.

    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._draining = False
        self._forced = False
        self._wait: anyio.CancelScope | None = None

    def draining(self) -> bool:
        """Whether nothing more is to be begun."""
        if not self._draining and self.server.leaving():
            logger.info("the server is going down: no more runs are begun")
            self._draining = True
        return self._draining

    def drain(self) -> None:
        """Begin nothing more; running attempts go on."""
        self._draining = True

    def forced(self) -> bool:
        """Whether running attempts are to be cancelled at once."""
        return self._forced or self.server.forced()

    def force(self) -> None:
        """Wait no longer for running attempts: when closing, cancel them at once."""
        self._forced = True
        if self._wait is not None:
            self._wait.cancel()

    def wait(self, seconds: float) -> anyio.CancelScope:
        """Return a scope for a wait while closing: it ends after so many seconds, and when :meth:`force` is called.

        Under a server that can be seen it ends sooner, so that the server is looked at again.
        """
        self._wait = anyio.move_on_after(min(seconds, POLL) if self.server.seen else seconds)
        return self._wait
