"""The ledger through a connection of the user's: its rows commit with the rest of the user's transaction.

psycopg (sync and async), SQLAlchemy (``Session``, ``AsyncSession``, ``Connection``,
``AsyncConnection``) and ``sqlite3``. None of them is imported: a connection is recognised by its class.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from asyncsched._core.errors import ArgumentError
from asyncsched._core.text import safe_repr

_STYLES: dict[str, Callable[[int], str]] = {
    "qmark": lambda number: "?",
    "format": lambda number: "%s",
    "pyformat": lambda number: "%s",
    "numeric": lambda number: f":{number}",
    "numeric_dollar": lambda number: f"${number}",
}

_MAKERS = {
    "Engine", "AsyncEngine", "sessionmaker", "async_sessionmaker", "ConnectionPool", "AsyncConnectionPool",
}  # fmt: skip
"""The classes of SQLAlchemy and psycopg_pool that are easily given in place of a connection."""

Statement = tuple[str, Sequence[Any]]
Take = Callable[[Any], Any]
"""Reads the result of the last statement from its cursor."""


def in_style(sql: str, paramstyle: str) -> str:
    """Return SQL, whose parameters are written ``?``, in another of the styles of PEP 249."""
    number = 0

    def placeholder(_: re.Match[str]) -> str:
        nonlocal number
        number += 1
        return _STYLES[paramstyle](number)

    return re.sub(r"\?", placeholder, sql)


def execute(connection: Any, dialect: str, statements: Sequence[Statement]) -> Any:
    """Execute statements with ``?`` on a user's connection, in its transaction.

    Args:
        connection: the user's connection.
        dialect: the database for which the statements are written: ``sqlite`` or ``postgresql``.
        statements: each with its parameters.

    Returns:
        The number of rows that the last one touched; on an async connection, an awaitable of it.

    Raises:
        ArgumentError: the connection is of an unknown kind, or is to another kind of database.

    """
    return _execute(connection, dialect, statements, lambda cursor: cursor.rowcount)


def rows_of(connection: Any, dialect: str, statement: Statement) -> Any:
    """Return the rows that a query finds on a user's connection; awaitable like the count of :func:`execute`."""
    return _execute(connection, dialect, [statement], lambda cursor: cursor.fetchall())


def _execute(connection: Any, dialect: str, statements: Sequence[Statement], take: Take) -> Any:
    family = _family(connection)
    if {kind.__name__ for kind in type(connection).__mro__} & _MAKERS:
        raise ArgumentError(
            f"connection: {safe_repr(connection)} makes connections and has no transaction of its own; give the "
            "session or connection whose transaction the run is to be part of, such as that of "
            "`with engine.begin() as connection:` or `with pool.connection() as connection:`"
        )
    if family == "sqlalchemy":
        return _by_sqlalchemy(connection, dialect, statements, take)
    expected = "sqlite3" if dialect == "sqlite" else "psycopg"
    if family != expected:
        raise ArgumentError(
            f"connection: {safe_repr(connection)} is not to a database of the store's kind; the store is "
            f"{dialect}, so give a connection of {expected}, or a session or connection of SQLAlchemy"
        )
    style = "qmark" if dialect == "sqlite" else "format"
    cursor = _cursor_of(getattr(connection, "connection", connection), family)
    if inspect.iscoroutinefunction(cursor.execute):
        return _await_each(cursor, style, statements, take)
    for sql, params in statements:
        cursor.execute(in_style(sql, style), tuple(params))
    return take(cursor)


def _family(connection: Any) -> str:
    for kind in type(connection).__mro__:
        package = kind.__module__.partition(".")[0]
        if package in ("sqlite3", "psycopg", "sqlalchemy"):
            return package
    return ""


def _cursor_of(connection: Any, family: str) -> Any:
    """Return a plain cursor: the connection's own cursor may have other placeholders, or rows of another shape."""
    if family == "sqlite3":
        cursor = connection.cursor()
        cursor.row_factory = None
        return cursor
    psycopg = sys.modules["psycopg"]
    asynchronous = isinstance(connection, psycopg.AsyncConnection)
    kind = psycopg.AsyncCursor if asynchronous else psycopg.Cursor
    return kind(connection, row_factory=psycopg.rows.tuple_row)


async def _await_each(cursor: Any, style: str, statements: Sequence[Statement], take: Take) -> Any:
    for sql, params in statements:
        await cursor.execute(in_style(sql, style), tuple(params))
    taken = take(cursor)
    return await taken if inspect.isawaitable(taken) else taken


def _by_sqlalchemy(connection: Any, dialect: str, statements: Sequence[Statement], take: Take) -> Any:
    names = {kind.__name__ for kind in type(connection).__mro__}
    if names & {"AsyncSession", "AsyncConnection", "async_scoped_session"}:
        return _by_async_sqlalchemy(connection, dialect, statements, take)
    real = connection.connection() if hasattr(connection, "get_bind") else connection
    style = _style_of(real, dialect)
    taken = None
    for sql, params in statements:
        taken = take(real.exec_driver_sql(in_style(sql, style), tuple(params)))
    return taken


async def _by_async_sqlalchemy(
    connection: Any, dialect: str, statements: Sequence[Statement], take: Take
) -> Any:
    real = await connection.connection() if hasattr(connection, "get_bind") else connection
    style = _style_of(real, dialect)
    taken = None
    for sql, params in statements:
        taken = take(await real.exec_driver_sql(in_style(sql, style), tuple(params)))
    return taken


def _style_of(connection: Any, dialect: str) -> str:
    found = connection.dialect
    if found.name != dialect:
        raise ArgumentError(
            f"connection: it is to a {found.name} database, and the store is {dialect}: one transaction cannot "
            "span both"
        )
    return str(found.paramstyle)
