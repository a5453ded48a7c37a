"""Connections to PostgreSQL, and what their errors mean."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.errors import InvalidPassword

from asyncsched._core.errors import ArgumentError, SchemaError, StoreError, StoreUnavailable

Connection = psycopg.Connection[Any]

_NAME = "asyncsched"
_TIMEOUTS = ("statement_timeout", "idle_in_transaction_session_timeout")
# Short statements: compiling one takes longer than running it. And the statistics of a queue are
# always old: by them a plan may read a whole table, while every statement here is a few probes of an
# index.
_PLANS = ("jit", "enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_bitmapscan")
_REPEATED = ("40001", "40P01")  # serialisation failure, deadlock
_LOCKED = "55P03"
_GOING = ("08", "57P", "53300")  # connection trouble, the server's shutdown, too many clients
_REFUSED = ("22", "23", _LOCKED)  # data that cannot be, constraints, a row that somebody holds fast
_CLOSED_DOOR = ("28", "3D")
_OTHER_TABLES = ("42P01", "42703", "42804")  # no such table or column, another type
_UNWRITABLE = ("22021", "22P05")  # bytes that are no text, a character that the database's encoding lacks
# A failed attempt to connect carries no SQLSTATE, only what the server said.
_SAID = (
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
        # Few statements, each again and again: every one is planned once, at its first time.
        given["plan_cache_mode"] = "force_generic_plan"
        # Less than the callers' patience: whoever waits for a stranger's lock waits alone.
        given["lock_timeout"] = str(int(timeout * 400))
        settings = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in given.items())
        connection.execute(f"SELECT {settings}".encode())
        connection.prepare_threshold = 0
    except BaseException:
        connection.close()
        raise
    return connection


_LIVING = (
    "unnest(%s::int[], %s::text[]) AS ghost(pid, start) JOIN pg_stat_activity AS a ON a.pid = ghost.pid "
    "AND extract(epoch FROM a.backend_start)::text = ghost.start AND a.usename = current_user"
)
# What has begun to commit is not stopped by it: its process ends when it has committed.
_END = "SELECT ghost.pid, ghost.start, pg_terminate_backend(a.pid) FROM {living}"


class Ghosts:
    """Lost connections whose server process may live on, and may commit yet what it was last told to.

    The server's process of a connection that was cut notices it only when it wants to answer. Until it
    is gone nobody knows what it has done.
    """

    def __init__(self) -> None:
        self._there: set[tuple[int, str]] = set()  # a process of the server: its number, and since when

    def __bool__(self) -> bool:
        return bool(self._there)

    def add(self, ghost: tuple[int, str]) -> None:
        """Note the server's process of a connection that was lost."""
        self._there.add(ghost)

    def see_off(self, connection: Connection) -> None:
        """End those that are still there, and forget those that are gone."""
        cancel_requested = list(self._there)
        if not cancel_requested:
            return
        found = connection.execute(
            _END.format(living=_LIVING).encode(),
            ([pid for pid, _ in cancel_requested], [start for _, start in cancel_requested]),
        )
        self._there.difference_update(set(cancel_requested) - {(pid, start) for pid, start, *_ in found})


def server_process(connection: Connection) -> tuple[int, str]:
    """Return which process of the server serves a connection."""
    row = connection.execute(
        "SELECT pid, extract(epoch FROM backend_start)::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def is_gone(error: BaseException, connection: Connection | None) -> bool:
    """Whether an error means that the connection is of no use any more."""
    if not isinstance(error, psycopg.Error):
        return False
    state = error.sqlstate or ""
    if connection is not None and (connection.closed or connection.broken):
        return True
    return state.startswith(_GOING) or (not state and isinstance(error, psycopg.OperationalError))


def will_pass(error: BaseException) -> bool:
    """Whether the same may succeed when it is tried again."""
    if not isinstance(error, psycopg.Error) or is_shut_out(error):
        return False
    state = error.sqlstate or ""
    return state.startswith((*_REPEATED, *_GOING)) or (
        not state and isinstance(error, psycopg.OperationalError)
    )


def is_item(error: BaseException) -> bool:
    """Whether an error is about what was written, not about the database."""
    if not isinstance(error, psycopg.Error):
        return not isinstance(error, (OSError, MemoryError))
    return (error.sqlstate or "").startswith(_REFUSED) or isinstance(
        error, (psycopg.DataError, psycopg.IntegrityError)
    )


def is_shut_out(error: psycopg.Error) -> bool:
    """Whether the server knows us not: a wrong password or role, no such database."""
    if isinstance(error, InvalidPassword) or (error.sqlstate or "").startswith(_CLOSED_DOOR):
        return True
    said = str(error)
    return not error.sqlstate and (
        any(words in said for words in _SAID) or (": FATAL:" in said and "does not exist" in said)
    )


def explain(error: BaseException) -> Exception:
    """Return the error of ours that says the same."""
    if isinstance(error, UnicodeEncodeError):
        return ArgumentError(f"the store cannot keep this text: {error.reason}")
    if not isinstance(error, psycopg.Error):
        return error if isinstance(error, Exception) else StoreError(repr(error))
    state, words = error.sqlstate or "", in_words(error)
    if state in _UNWRITABLE or (not state and isinstance(error, psycopg.DataError)):
        return ArgumentError(f"the database cannot keep this text: {error.diag.message_primary or words}")
    if is_shut_out(error):
        return StoreUnavailable(f"PostgreSQL does not let us in: {words}")
    if state == _LOCKED:
        return StoreUnavailable("another transaction holds the same key or run, and does not end")
    if state == "57014":
        return StoreUnavailable(f"PostgreSQL took too long: {words}")
    if state == "42501":
        return StoreError(f"PostgreSQL refused: {words}; the role needs rights on the asyncsched tables")
    if state in _OTHER_TABLES:
        return SchemaError(f"the tables are not those of this version: {words}")
    if will_pass(error) or state.startswith(("53", "25")):
        return StoreUnavailable(f"PostgreSQL cannot at the moment: {words}")
    return StoreError(f"PostgreSQL refused: {words}")


def in_words(error: BaseException) -> str:
    """Return what an error says, on one line."""
    return " ".join(str(error).split())
