"""LISTEN and NOTIFY: hints that make things quicker than polling, and that may be lost.

A thread of its own hears and sends, on a connection of its own, so that no commit waits for a
notification: its lock is one for the whole server. What is to be said is gathered, and said at most
once in :data:`EVERY` seconds.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import anyio
import anyio.to_thread
import psycopg

from asyncsched.stores.postgres import connection as link

logger = logging.getLogger("asyncsched.store")

WORK = "w:"
"""What says that there may be something to do, and names no run."""

EVERY = 0.01
MOST_RUNS = 128
"""How many runs one notification names; above that it says "many", and all who wait look."""

_PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts to listen again. Without listening, polling goes on."""


def channel_of(namespace: str) -> str:
    """Return the channel of a namespace: every name fits into PostgreSQL's 63 bytes."""
    return f"asyncsched_{blake2b(namespace.encode(), digest_size=16).hexdigest()}"


class Notifications:
    """Sends and hears hints: that something may be due, and that runs have changed.

    Args:
        dsn: of the server, for a connection that nobody else uses.
        timeout: seconds for one statement.
        channel: what is listened to.
        heard: called in this thread with whether there is work, and the changed runs (``None``: perhaps any).

    """

    def __init__(
        self, dsn: str, timeout: float, channel: str, heard: Callable[[bool, set[int] | None], None]
    ) -> None:
        self._dsn = dsn
        self._timeout = timeout
        self._channel = channel
        self._heard = heard
        self._lock = threading.Lock()
        self._work = False
        self._changed: set[int] = set()
        self._closing = False
        self._own = 0
        self._bell, self._button = socket.socketpair()
        self._button.setblocking(False)
        self._thread = threading.Thread(target=self._main, name="asyncsched-notifications", daemon=True)
        self._thread.start()

    def say(self, work: bool, changed: set[int]) -> None:
        """Have a hint sent. From any thread; never blocks."""
        with self._lock:
            silent = not (self._work or self._changed)
            self._work = self._work or work
            if len(self._changed) <= MOST_RUNS:
                self._changed |= changed
        if silent:
            self._ring()

    def stop(self) -> None:
        """End the thread; returns at once."""
        self._closing = True
        self._ring()

    async def ended(self, timeout: float) -> None:
        """Wait for the thread's end, after :meth:`stop`."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._thread.join, timeout)
        if not self._thread.is_alive():
            self._bell.close()
            self._button.close()

    def _ring(self) -> None:
        try:
            self._button.send(b"x")
        except (
            OSError
        ):  # full: it is going to wake anyway; or closed: a hint may be lost, and nobody fails for it
            pass

    # ── in the thread ────────────────────────────────────────────────────────────────────────

    def _main(self) -> None:
        failures = 0
        while not self._closing:
            try:
                with link.connect(self._dsn, "notifications", self._timeout) as connection:
                    connection.execute(f'LISTEN "{self._channel}"'.encode())
                    self._own = connection.info.backend_pid
                    if failures:
                        logger.info("PostgreSQL is listened to again")
                    failures = 0
                    # What was said while nobody listened is not said again.
                    self._heard(True, None)
                    self._converse(connection)
            except (psycopg.Error, OSError) as error:
                if not failures:
                    logger.warning("PostgreSQL is not listened to, polling goes on: %s", link.in_words(error))
                self._sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
                failures += 1
            except Exception:  # never without hints for ever
                logger.exception("the thread that listens to PostgreSQL failed; it goes on")
                self._sleep(_PAUSES[-1])

    def _converse(self, connection: link.Connection) -> None:
        while not self._closing:
            self._say(connection)
            for notice in connection.notifies(timeout=0):
                self._hear(notice)
            self._sleep(None, connection)

    def _hear(self, notice: Any) -> None:
        if notice.pid == self._own:
            return
        work, _, named = notice.payload.partition(":")
        runs = None if named == "many" else {int(run, 16) for run in named.split(",") if run}
        self._heard(work == "w", runs)

    def _say(self, connection: link.Connection) -> None:
        with self._lock:
            work, changed = self._work, self._changed
            self._work, self._changed = False, set()
        if not work and not changed:
            return
        named = "many" if len(changed) > MOST_RUNS else ",".join(f"{run:x}" for run in changed)
        # It may be lost, so it need not be on disk before it is sent.
        connection.execute(
            "SELECT set_config('synchronous_commit', 'off', false), pg_notify(%s, %s)",
            (self._channel, f"{'w' if work else ''}:{named}"),
        )
        time.sleep(EVERY)

    def _sleep(self, seconds: float | None, connection: link.Connection | None = None) -> None:
        """Sleep until there is something to hear or to say."""
        bell = self._bell.fileno()
        ears = [bell] if connection is None else [bell, connection.fileno()]
        ready, _, _ = select.select(ears, (), (), seconds)
        if bell in ready:
            self._bell.recv(4096)
