"""Connections to PostgreSQL, and the meaning of their errors."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg import generators
from psycopg.errors import InvalidPassword
from psycopg.pq import ExecStatus

from asyncsched._core.errors import ArgumentError, SchemaError, StoreError, StoreUnavailable

if TYPE_CHECKING:
    from psycopg.abc import RV, PQGen

_NAME = "asyncsched"
_TIMEOUTS = ("statement_timeout", "idle_in_transaction_session_timeout")
# Statements here are short: to compile one takes longer than to run it. And the statistics of a queue
# are always old: a plan made by them may read a whole table, while every statement here is a few probes
# of an index.
_PLANS = ("jit", "enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_bitmapscan")
_REPEATED = ("40001", "40P01")  # serialisation failure, deadlock
_LOCKED = "55P03"
# Connection trouble, the server's shutdown, too many clients; and a server that was demoted to a replica: a new
# connection looks for the one that can be written to.
_CONNECTION_LOST = ("08", "57P", "53300", "25006")
_REFUSED = ("22", "23")  # invalid data, constraints
_LOGIN_REFUSED = ("28", "3D")
_OTHER_TABLES = ("42P01", "42703", "42804")  # no such table or column, another type
_UNWRITABLE = ("22021", "22P05")  # bytes that are no text, a character that the database's encoding lacks
# A failed attempt to connect carries no SQLSTATE, only the server's message.
_LOGIN_MESSAGES = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "is not permitted to log in",
)

LOCK_WAIT = 0.025
"""Seconds that a statement waits for a lock: about as long as another instance's transaction holds one. Who holds
a lock for longer is a stranger, and nothing else may wait for the end of its transaction."""

_SILENT = 2
"""After how many times the server's own limit for a statement a connection without an answer is dead."""


class Connection(psycopg.Connection[Any]):
    """A connection that is cut when the server has been silent for too long.

    A middlebox between the two may acknowledge everything that is sent, and pass none of it on. What was cut
    here is a lost connection like any other.
    """

    limit = inf
    """Seconds that one statement takes at most."""

    def wait(self, gen: PQGen[RV], *args: Any, **options: Any) -> RV:
        """Run a generator that waits for the server. psycopg calls this for all that is sent and received."""
        return super().wait(self._watched(gen, time.monotonic() + self.limit), *args, **options)

    def _watched(self, gen: PQGen[RV], deadline: float) -> PQGen[RV]:
        try:
            waits = next(gen)
            while True:
                ready = yield waits
                if not ready and time.monotonic() > deadline:  # psycopg comes back every 0.1 s
                    self._cut()
                waits = gen.send(ready)
        except StopIteration as end:
            returned: RV = end.value
            return returned

    def give_up(self) -> None:
        """Have the statement under way fail, as if the connection were lost. From any thread."""
        self.limit = -inf

    def _cut(self) -> None:
        with socket.fromfd(self.pgconn.socket, socket.AF_INET, socket.SOCK_STREAM) as same:
            same.shutdown(socket.SHUT_RDWR)

    def undo(self, command: bytes = b"ROLLBACK") -> None:
        """Roll back, and keep the prepared statements: psycopg would have all of them planned again.

        It does so because a table may be gone with the transaction. Here no transaction makes one but a migration.
        """
        self.pgconn.send_query(command)
        (result,) = self.wait(generators.execute(self.pgconn))
        if result.status != ExecStatus.COMMAND_OK:
            raise psycopg.OperationalError(f"{command.decode()} failed")

    @contextmanager
    def together(self) -> Iterator[None]:
        """Send the statements of the block without waiting for each answer.

        An error inside ends the block: psycopg would report in its log that the end of the pipeline fails, too.
        """
        failed: BaseException | None = None
        try:
            with self.pipeline():
                try:
                    yield
                except psycopg.Error as error:
                    failed = error
        except psycopg.Error as end:
            raise (failed or end) from None
        if failed is not None:
            raise failed


class Line(NamedTuple):
    """How a connection is made, and for how long it waits."""

    dsn: str
    name: str
    """Its name in the server's list of connections."""
    timeout: float
    """Seconds for one statement."""
    lock_wait: float = LOCK_WAIT
    """Seconds that a statement waits for a lock."""

    def connect(self) -> Connection:
        """Return a new connection, in autocommit mode. Blocks."""
        connection = Connection.connect(self.dsn, autocommit=True, application_name=f"{_NAME} {self.name}")
        try:
            connection.limit = _SILENT * self.timeout
            given = {
                **dict.fromkeys(_TIMEOUTS, str(int(self.timeout * 1000))), **dict.fromkeys(_PLANS, "off"),
                # The statements are few and repeated: each one is planned once, at its first execution.
                "plan_cache_mode": "force_generic_plan",
                "lock_timeout": str(max(1, int(self.lock_wait * 1000))),
            }  # fmt: skip
            settings = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in given.items())
            connection.execute(f"SELECT {settings}".encode())
            connection.prepare_threshold = 0
        except BaseException:
            connection.close()
            raise
        return connection


_STILL_THERE = (
    "unnest(%s::int[], %s::text[]) AS ghost(pid, start) JOIN pg_stat_activity AS a ON a.pid = ghost.pid "
    "AND extract(epoch FROM a.backend_start)::text = ghost.start AND a.usename = current_user"
)
# A transaction that has begun to commit is not stopped by it: its process ends after the commit.
_END = "SELECT ghost.pid, ghost.start, pg_terminate_backend(a.pid) FROM {living}"


class Ghosts:
    """Lost connections whose server process may live on, and may still commit its last statements.

    The server process of a connection that was cut notices the cut only when it sends an answer. Until
    that process has ended, the effect of its last statements is not known.
    """

    def __init__(self) -> None:
        self._processes: set[tuple[int, str]] = set()  # server processes: their ids and start times

    def __bool__(self) -> bool:
        return bool(self._processes)

    def add(self, process: tuple[int, str]) -> None:
        """Add the server process of a connection that was lost."""
        self._processes.add(process)

    def see_off(self, connection: Connection) -> None:
        """Terminate the server processes that still run, and forget those that have ended."""
        known = list(self._processes)
        if not known:
            return
        found = connection.execute(
            _END.format(living=_STILL_THERE).encode(),
            ([pid for pid, _ in known], [start for _, start in known]),
        )
        self._processes.difference_update(set(known) - {(pid, start) for pid, start, *_ in found})


def server_process(connection: Connection) -> tuple[int, str]:
    """Return the id and start time of the server process of a connection."""
    row = connection.execute(
        "SELECT pid, extract(epoch FROM backend_start)::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def is_locked(error: BaseException) -> bool:
    """Whether another transaction holds a lock that the statement needs."""
    return isinstance(error, psycopg.Error) and error.sqlstate == _LOCKED


def is_gone(error: BaseException, connection: Connection | None) -> bool:
    """Whether an error means that the connection is dead: lost, silent for too long, or to a read-only server."""
    if not isinstance(error, psycopg.Error):
        return False
    state = error.sqlstate or ""
    if connection is not None and (connection.closed or connection.broken):
        return True
    return state.startswith(_CONNECTION_LOST) or (not state and isinstance(error, psycopg.OperationalError))


def will_pass(error: BaseException) -> bool:
    """Whether the statement may succeed when it is tried again."""
    if not isinstance(error, psycopg.Error) or is_shut_out(error):
        return False
    state = error.sqlstate or ""
    return state.startswith((*_REPEATED, *_CONNECTION_LOST)) or (
        not state and isinstance(error, psycopg.OperationalError)
    )


def is_item(error: BaseException) -> bool:
    """Whether an error is about the values that were written, not about the database."""
    if not isinstance(error, psycopg.Error):
        return not isinstance(error, (OSError, MemoryError))
    return (error.sqlstate or "").startswith(_REFUSED) or isinstance(
        error, (psycopg.DataError, psycopg.IntegrityError)
    )


def is_shut_out(error: psycopg.Error) -> bool:
    """Whether the server refuses the login: a wrong password or role, or no such database."""
    if isinstance(error, InvalidPassword) or (error.sqlstate or "").startswith(_LOGIN_REFUSED):
        return True
    said = str(error)
    return not error.sqlstate and (
        any(words in said for words in _LOGIN_MESSAGES) or (": FATAL:" in said and "does not exist" in said)
    )


def explain(error: BaseException) -> Exception:
    """Return the error of asyncsched that has the same meaning."""
    if isinstance(error, UnicodeEncodeError):
        return ArgumentError(f"the store cannot keep this text: {error.reason}")
    if not isinstance(error, psycopg.Error):
        return error if isinstance(error, Exception) else StoreError(repr(error))
    state, words = error.sqlstate or "", in_words(error)
    if state in _UNWRITABLE or (not state and isinstance(error, psycopg.DataError)):
        return ArgumentError(f"the database cannot keep this text: {error.diag.message_primary or words}")
    if is_shut_out(error):
        return StoreUnavailable(f"PostgreSQL refused the login: {words}")
    if state == _LOCKED:
        return StoreUnavailable("another transaction holds a lock on the same key or row, and does not end")
    if state == "57014":
        return StoreUnavailable(f"PostgreSQL took too long: {words}")
    if state == "42501":
        return StoreError(f"PostgreSQL refused: {words}; the role needs rights on the asyncsched tables")
    if state in _OTHER_TABLES:
        return SchemaError(f"the tables are not those of this version: {words}")
    if will_pass(error) or state.startswith(("53", "25")):
        return StoreUnavailable(f"PostgreSQL cannot answer at the moment: {words}")
    return StoreError(f"PostgreSQL refused: {words}")


def in_words(error: BaseException) -> str:
    """Return the text of an error, on one line."""
    return " ".join(str(error).split())
