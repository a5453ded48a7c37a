"""Connections to PostgreSQL, and the meaning of their errors."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.errors import InvalidPassword

from asyncsched._core.errors import ArgumentError, SchemaError, StoreError, StoreUnavailable

Connection = psycopg.Connection[Any]

_NAME = "asyncsched"
_TIMEOUTS = ("statement_timeout", "idle_in_transaction_session_timeout")
# Statements here are short: to compile one takes longer than to run it. And the statistics of a queue
# are always old: a plan made by them may read a whole table, while every statement here is a few probes
# of an index.
_PLANS = ("jit", "enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_bitmapscan")
_REPEATED = ("40001", "40P01")  # serialisation failure, deadlock
_LOCKED = "55P03"
_CONNECTION_LOST = ("08", "57P", "53300")  # connection trouble, the server's shutdown, too many clients
_REFUSED = ("22", "23", _LOCKED)  # invalid data, constraints, a row that another transaction has locked
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


def connect(dsn: str, name: str, timeout: float) -> Connection:
    """Return a new connection, in autocommit mode. Blocks."""
    connection = psycopg.connect(dsn, autocommit=True, application_name=f"{_NAME} {name}")
    try:
        millis = str(int(timeout * 1000))
        given = {**dict.fromkeys(_TIMEOUTS, millis), **dict.fromkeys(_PLANS, "off")}
        # The statements are few and repeated: each one is planned once, at its first execution.
        given["plan_cache_mode"] = "force_generic_plan"
        # Less than the callers' timeout: only the caller that waits for a foreign transaction's lock fails.
        given["lock_timeout"] = str(int(timeout * 400))
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


def is_gone(error: BaseException, connection: Connection | None) -> bool:
    """Whether an error means that the connection cannot be used any more."""
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
        return StoreUnavailable("another transaction holds the lock of the same key or run, and does not end")
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
