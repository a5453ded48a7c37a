"""The signals to go down, from the user or from the server."""

from __future__ import annotations

import logging

import anyio

from asyncsched._engine.server import Server

logger = logging.getLogger("asyncsched.scheduler")


class Shutdown:
    """Tells whether more runs may be begun, and whether running attempts may go on.

    Args:
        server: the server that the lifespan runs in.

    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._draining = False
        self._wait: anyio.CancelScope | None = None
        self.forced = False
        """Whether running attempts are to be cancelled at once."""
        self.stopped = anyio.Event()
        """Set when the user or a signal has asked for the end."""

    def draining(self) -> bool:
        """Whether no more runs are to be begun."""
        if not self._draining and self._server.leaving():
            logger.info("the server is going down: no more runs are begun")
            self._draining = True
        return self._draining

    def drain(self) -> None:
        """Begin no more runs; running attempts go on."""
        self._draining = True

    def stop(self) -> None:
        """Begin no more runs, and end what runs until then."""
        self._draining = True
        self.stopped.set()

    def force(self) -> None:
        """Stop waiting for running attempts: while the scheduler closes, cancel them at once."""
        self.forced = True
        if self._wait is not None:
            self._wait.cancel()

    def wait(self, seconds: float) -> anyio.CancelScope:
        """Return a cancel scope for a wait while closing: it ends after ``seconds``, or when :meth:`force` is called."""
        self._wait = anyio.move_on_after(seconds)
        return self._wait
