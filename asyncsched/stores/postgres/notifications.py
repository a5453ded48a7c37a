"""LISTEN and NOTIFY: notifications are quicker than polling, and may be lost.

A separate thread receives and sends them on a separate connection, so that no commit waits for a
notification: NOTIFY takes one lock for the whole server. Changes are gathered, and sent at most once in
:data:`EVERY` seconds.
"""

from __future__ import annotations

import logging
import selectors
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
"""The payload that announces work and names no run."""

ASK = 30.0
"""Seconds without a notification after which the server is asked whether it is still there."""

EVERY = 0.01
MOST_RUNS = 128
"""The most runs that one notification names; beyond that its payload is "many", and all waiters query."""

_END = 0.2
"""Seconds in which the thread ends; one that connects at this moment may take longer, and ends by itself."""

_PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts to listen again. Polling goes on meanwhile."""


def channel_of(namespace: str) -> str:
    """Return the channel of a namespace: its name always fits into PostgreSQL's 63 bytes."""
    return f"asyncsched_{blake2b(namespace.encode(), digest_size=16).hexdigest()}"


class Notifications:
    """Sends and receives notifications that work may be due, and that runs have changed.

    Args:
        line: makes its separate connections.
        channel: the channel to listen to.
        heard: called in this thread with whether there is work, and the changed runs (``None``: maybe all).

    """

    def __init__(self, line: link.Line, channel: str, heard: Callable[[bool, set[int] | None], None]) -> None:
        self._line = line
        self._channel = channel
        self._heard = heard
        self._lock = threading.Lock()
        self._work = False
        self._changed: set[int] = set()
        self._closing = False
        self._own = 0
        self._connection: link.Connection | None = None
        self._bell, self._button = socket.socketpair()
        self._button.setblocking(False)
        self._thread = threading.Thread(target=self._main, name="asyncsched-notifications", daemon=True)
        self._thread.start()

    def say(self, work: bool, changed: set[int]) -> None:
        """Have a notification sent. From any thread; never blocks."""
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
        if (connection := self._connection) is not None:
            connection.give_up()

    async def ended(self) -> None:
        """Wait a moment for the thread's end, after :meth:`stop`."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._thread.join, _END)

    def _ring(self) -> None:
        try:
            self._button.send(b"x")
        except OSError:  # full: the thread wakes anyway; or closed: a notification may be lost
            pass

    # ── in the thread ────────────────────────────────────────────────────────────────────────

    def _main(self) -> None:
        try:
            self._serve()
        finally:
            self._bell.close()
            self._button.close()

    def _serve(self) -> None:
        failures = 0
        while not self._closing:
            try:
                with self._line.connect() as connection:
                    self._connection = connection
                    connection.execute(f'LISTEN "{self._channel}"'.encode())
                    self._own = connection.info.backend_pid
                    if failures:
                        logger.info("the connection that listens for PostgreSQL notifications is back")
                    failures = 0
                    # Notifications that were sent meanwhile are not repeated.
                    self._heard(True, None)
                    self._send_and_receive(connection)
            except (psycopg.Error, OSError) as error:
                if not failures:
                    logger.warning(
                        "the connection that listens for PostgreSQL notifications failed; polling goes on: %s",
                        link.in_words(error),
                    )
                self._sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
                failures += 1
            except Exception:  # one failure must not end all notifications
                logger.exception("the thread that listens for PostgreSQL notifications failed; it goes on")
                self._sleep(_PAUSES[-1])

    def _send_and_receive(self, connection: link.Connection) -> None:
        while not self._closing:
            self._say(connection)
            for notice in connection.notifies(timeout=0):
                self._hear(notice)
            if not self._sleep(ASK, connection):
                connection.execute("SELECT 1")  # no answer would be a silent connection's

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
        # A notification may be lost, so the commit need not wait for the disk.
        connection.execute(
            "SELECT set_config('synchronous_commit', 'off', false), pg_notify(%s, %s)",
            (self._channel, f"{'w' if work else ''}:{named}"),
        )
        time.sleep(EVERY)

    def _sleep(self, seconds: float, connection: link.Connection | None = None) -> bool:
        """Sleep until a notification has come or is to be sent; return False if the time is over."""
        with selectors.DefaultSelector() as selector:  # select() refuses descriptors from 1024 on
            selector.register(self._bell, selectors.EVENT_READ)
            if connection is not None:
                selector.register(connection.fileno(), selectors.EVENT_READ)
            ready = [key.fileobj for key, _ in selector.select(seconds)]
        if self._bell in ready:
            self._bell.recv(4096)
        return bool(ready)
