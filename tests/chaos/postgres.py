"""A PostgreSQL server under chaos: all that servers, networks and strangers do to it while its clients work."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

from tests.chaos.fleet import Fleet
from tests.postgres import Server, open_server
from tests.proxy import Proxy

logger = logging.getLogger(__name__)

_STATEMENT = 5.0
"""Seconds that a statement has by default; a connection without an answer is dead after twice that."""

_ENDS = 2.0 + 2.0 + 1.0 + 2.0
"""Seconds in which a process ends at SIGTERM: the server's graceful time, the scheduler's, its last second, and what a
busy machine takes."""

_LOCKS = (
    ("rows", "select id::text, schedule from asyncsched_runs where state in ('pending', 'running') limit 10 for update"),
    ("keys", "delete from asyncsched_runs where id in (select id from asyncsched_runs where held_key is not null "
     "limit 5) returning id::text, schedule"),
    ("schedules", "select '', id from asyncsched_schedules order by random() limit 3 for update"),
    ("limits and instances", "select '', '' from asyncsched_limits for update"),
)  # fmt: skip
"""What strangers lock, with the ids of the runs and of the schedules that are held back by it."""


class Troubles:
    """What befalls the database.

    Args:
        server: the server.
        name: of the database.

    """

    def __init__(self, server: Server, name: str) -> None:
        self._server = server
        self._name = name
        self._proxy = Proxy(server)
        self._threads: list[threading.Thread] = []
        self.dsn = self._proxy.dsn(name)
        """The URL that the processes have: it leads through a proxy."""
        self.own_dsn = server.dsn(name)
        """The URL of those that watch."""
        self.done: Counter[str] = Counter()
        self.held_back: dict[str, float] = {}
        """Runs and schedules that a stranger had locked, each with when that was over."""
        self.late_ends: list[str] = []
        """Processes that did not end in time."""

    def strike(self, dice: random.Random, fleet: Fleet) -> float:
        """Do something to the database; return when it can be reached again, as far as this is concerned."""
        kinds: list[Callable[[random.Random, Fleet], float]] = [
            self._outage, self._lock, self._lock, self._read_only, self._silence, self._freeze_at_an_end,
        ]  # fmt: skip
        kind = dice.choice(kinds)
        logger.info("trouble:%s", kind.__name__.replace("_", " "))
        self.done[kind.__name__.strip("_").replace("_", " ")] += 1
        return kind(dice, fleet)

    def _outage(self, dice: random.Random, fleet: Fleet) -> float:
        """Cut all connections, or crash the server; one that is not ours is never stopped."""
        if not self._server.can_restart or dice.random() < 0.5:
            self._server.cut_connections(self._name)
        else:
            self._server.stop()
            time.sleep(dice.choice((0.0, 2.0, 8.0)))  # the outage's real time
            self._server.start()
        return time.time()

    def _lock(self, dice: random.Random, fleet: Fleet) -> float:
        """Lock rows in a stranger's transaction, which is rolled back some seconds later, beside all else."""
        what, statement = dice.choice(_LOCKS)
        table, seconds = dice.random() < 0.15, dice.uniform(2.0, 12.0)
        if table:  # as CREATE INDEX does: all writes of runs wait, and only the beats go on
            what, statement, seconds = "a table", "lock table asyncsched_runs in share mode", seconds / 2
        logger.info("a stranger locks %s for %.1f s", what, seconds)
        thread = threading.Thread(target=self._hold, args=(statement, seconds))
        self._threads.append(thread)
        thread.start()
        if table:
            thread.join()
        return time.time() if table else 0.0

    def _hold(self, statement: str, seconds: float) -> None:
        import psycopg

        held: list[str] = []
        try:
            # If others hold a lock for ever, that is to be counted, and not to be waited for.
            limit = "-c lock_timeout=30s"
            with psycopg.connect(self.own_dsn, application_name="a stranger", options=limit) as connection:
                cursor = connection.execute(statement.encode())
                if cursor.description:
                    held = [id.replace("-", "") for row in cursor.fetchall() for id in row if id]
                self.held_back.update(dict.fromkeys(held, inf))
                time.sleep(seconds)  # the lock's real time
                connection.rollback()
        except psycopg.Error as error:  # the server went away meanwhile, or it was a deadlock
            logger.info("the stranger's lock is gone: %s", error)
        self.held_back.update(dict.fromkeys(held, time.time()))

    def _read_only(self, dice: random.Random, fleet: Fleet) -> float:
        """Let the server be read-only for a while, as after a failover."""
        setting = f"database {self._name} {{}} default_transaction_read_only"
        self._server.run(f"alter {setting.format('set')} = on")
        self._server.cut_connections(self._name)
        time.sleep(dice.uniform(1.0, 8.0))  # the replica's real time
        self._server.run(f"alter {setting.format('reset')}")
        return time.time()

    def _silence(self, dice: random.Random, fleet: Fleet) -> float:
        """Let some connections be silent for ever."""
        self._proxy.silence(lambda: dice.random() < 0.5)
        return time.time() + 2 * _STATEMENT + 1

    def _freeze_at_an_end(self, dice: random.Random, fleet: Fleet) -> float:
        """Freeze the database, and end a process meanwhile."""
        self._proxy.freeze()
        try:
            time.sleep(dice.uniform(0.0, 2.0))  # the frozen server's real time
            if living := fleet.alive():
                took = fleet.terminate(dice.choice(living), 4 * _ENDS)
                if took > _ENDS:
                    self.late_ends.append(f"{took:.1f} s")
        finally:
            self._proxy.thaw()
        return time.time() + 2 * _STATEMENT + 1

    def end(self) -> None:
        """Wait until nothing is in the way any more."""
        for thread in self._threads:
            thread.join()

    def close(self) -> None:
        """Close what leads to the server."""
        self._proxy.close()


@contextmanager
def server() -> Iterator[Troubles]:
    """Yield the troubles of a server with an empty database."""
    own = open_server()
    try:
        name = own.create_database()
        troubles = Troubles(own, name)
        try:
            yield troubles
        finally:
            troubles.close()
            own.drop_database(name)
    finally:
        own.close()
