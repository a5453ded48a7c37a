"""The ledger in PostgreSQL: for instances on any number of hosts; it loses nothing at ``kill -9``.

One thread writes, with group commit, and another adds runs while the first is in a transaction; one reads; one beats,
so that nothing else makes a beat late; one receives and sends notifications (``LISTEN`` and ``NOTIFY``). Polling finds
every change, a notification only makes it quicker.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from asyncsched._backends.clock import SystemClock
from asyncsched._backends.current import current_port
from asyncsched._core.errors import StoreUnavailable
from asyncsched._core.instants import SECOND, Instant, Now
from asyncsched._core.requests import Changes, Claim, Watch
from asyncsched.stores.postgres.connection import Ghosts, Line
from asyncsched.stores.postgres.notifications import WORK, Notifications, channel_of
from asyncsched.stores.postgres.session import PostgresSession
from asyncsched.stores.postgres.url import conninfo as conninfo
from asyncsched.stores.postgres.url import place_of
from asyncsched.stores.sql import schema
from asyncsched.stores.sql.open_transactions import OpenTransactions
from asyncsched.stores.sql.operations import instances as members
from asyncsched.stores.sql.rows import Quarantine
from asyncsched.stores.sql.session import Session
from asyncsched.stores.sql.store import SqlStore

_BUSY = 1.0
"""Seconds without a word in a transaction for which every instance is allowed to be busy, however short its lease."""

_FRESH = 1.0
"""Seconds after a beat in which the server's time is not queried again."""


class PostgresStore(SqlStore):
    """A ledger in a PostgreSQL database, for instances on any number of hosts.

    The tables are in the schema that is first on the connection's ``search_path``.

    Args:
        url: ``postgresql://user:password@host:port/database?options``, as libpq reads it.
        namespace, timeout, lease, beat, poll, migrate: see :class:`asyncsched.stores.sql.store.SqlStore`.

    Raises:
        ConfigurationError: the URL cannot be read.

    """

    dialect = "postgresql"
    folder = "postgres"
    paramstyle = "format"

    def __init__(self, url: str, namespace: str = "default", *, poll: float = 1.0, **options: Any) -> None:
        super().__init__(namespace, poll=poll, **options)
        holds = "its locks are held, and calls about the same key or run wait until their time is up"
        self._transactions = OpenTransactions(self.lease / 3, holds, self._has_open_transaction)
        self._dsn = conninfo(url, self.timeout)
        self._notifications: Notifications | None = None
        self._ghosts = Ghosts()
        self._notices = 0
        self._cut_off_sought = time.monotonic()
        self._time = (0, float("-inf"))  # the server's time, and the monotonic time of its answer

    def _make_session(self, quarantine: Quarantine, writes: bool) -> Session:
        return self._session("writer" if writes else "reader", quarantine)

    def _make_adding_session(self, quarantine: Quarantine) -> Session:
        return self._session("adder", quarantine)

    def _session(self, name: str, quarantine: Quarantine) -> Session:
        return PostgresSession(
            Line(self._dsn, name, self.timeout), self.namespace, self._triggers, quarantine, self._committed,
            self._beaten, self._ghosts,
        )  # fmt: skip

    def _make_beating_session(self) -> Session | None:
        # Short enough that a beat finds its way around a silent connection within the lease. Nothing waits behind
        # a beat, so it may wait for a lock.
        limit = min(self.timeout, self.beat_every) / 2
        line = Line(self._dsn, "beats", limit, limit)
        return PostgresSession(line, self.namespace, self._triggers, Quarantine(), beaten=self._beaten)

    def _prepare(self, session: Session) -> None:
        schema.prepare(session, self.timeout, self.migrates)
        assert isinstance(session, PostgresSession)
        session.check_pooler()

    async def open(self, notify: Callable[[], None]) -> None:
        await super().open(notify)
        port = current_port()

        def heard(work: bool, runs: set[int] | None) -> None:
            try:
                port.call_soon(lambda: self._heard(work, runs))
            except RuntimeError:
                pass  # the loop has ended

        line = Line(self._dsn, "notifications", self.timeout)
        self._notifications = Notifications(line, channel_of(self.namespace), heard)

    async def close(self) -> None:
        notifications, self._notifications = self._notifications, None
        if notifications is not None:
            notifications.stop()
        await super().close()
        if notifications is not None:
            await notifications.ended()

    async def beat(self, incarnation: int, now: Now, lag: int = 0) -> bool:
        if self._beater is None:
            raise StoreUnavailable("the store is not open")
        beating = members.Beating(incarnation, now, lag)
        alive: bool = await self._beater.submit("beat", lambda session: members.beat(session, beating))
        return alive

    def _has_open_transaction(self, session: Session) -> bool:
        return bool(session.one("open_transactions", seconds=self.lease / 3)[0])

    def _announcing(self) -> list[Any]:
        return [("SELECT pg_notify(?, ?)", (channel_of(self.namespace), WORK))]

    def _committed(self, work: bool, runs: set[int]) -> None:
        """Notify the other instances of a commit. In the writer's thread."""
        notifications = self._notifications  # read once, because the loop may be closing the store
        if notifications is not None:
            notifications.say(work, runs)

    def _beaten(self, at: Instant) -> None:
        """Keep the server's time that a beat returned. In the writer's thread."""
        self._time = (at, time.monotonic())

    def _heard(self, work: bool, runs: set[int] | None) -> None:
        if work:
            self._notify()
        self.notified(work, runs)

    def _poll(self, session: Session, watch: Watch, wanted: Claim | None) -> Changes | None:
        self._transactions.look(session)
        self._end_cut_off(session)
        executors, jobs = ((), ()) if wanted is None else (wanted.free, wanted.jobs or ())
        rows = session.all(
            "poll", holder=watch.holder, now=self._wall(), executors=session.array(executors),
            jobs=session.array(jobs),
        )  # fmt: skip
        own, beats = members.ledger(rows)
        self._notices += own[1]
        return members.changes(session, watch, (own[0], self._notices, *own[2:]), beats)

    def _end_cut_off(self, session: Session) -> None:
        """Free the locks of an instance whose host or network ended in the middle of a transaction, every few seconds."""
        seconds = max(self.lease / 3, _BUSY)
        if time.monotonic() > self._cut_off_sought + seconds:
            self._cut_off_sought = time.monotonic()
            session.all("end_cut_off", seconds=seconds)

    def _wall(self) -> Instant | None:
        """Return the virtual clock's time, or ``None`` where the server's clock is the cluster's."""
        return None if isinstance(self.clock, SystemClock) else self.clock.wall()

    async def time(self) -> Instant:
        """Return the server's time, or the virtual clock's."""
        virtual = self._wall()
        if virtual is not None:
            return virtual
        answered, at_monotonic = self._time
        elapsed = time.monotonic() - at_monotonic
        if elapsed < _FRESH:
            return answered + round(elapsed * SECOND)
        at: Instant = await self._read(lambda session: session.time())
        return at

    async def held(self, incarnation: int) -> dict[int, Instant]:
        def see_off(session: Session) -> None:
            assert isinstance(session, PostgresSession)
            session.see_off()

        # This comes first: a commit of a lost connection after this query is in the answer to the next.
        await self._read(see_off)
        return await super().held(incarnation)

    def confirm(self, lost_answers: int) -> None:
        if not self._ghosts:
            super().confirm(lost_answers)

    def __repr__(self) -> str:
        return f"<PostgresStore {place_of(self._dsn)!r} namespace {self.namespace!r}>"
