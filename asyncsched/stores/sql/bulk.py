"""Many rows as one statement.

A value that all rows share is sent once, and so is a column that equals another: rows that are written
together differ in few columns, and a value costs more on its way into the table than in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import chain
from typing import Any

_ARRAYS = re.compile(r"\bunnest\(([^)]*)\)\s+AS t\(([^)]*)\)")
_VALUES = re.compile(r"\bVALUES \(([^)]*)\)")

_SHARED = -1
MOST = 64
"""How many rows one statement with a list of values inserts: SQLite's module releases the interpreter's lock for
each statement, and waits for it again."""

_STEP = 8
"""The number of rows of such a statement is a multiple of this: few of them are prepared, however many rows come."""

_SHAPES = 256
"""How many statements are cached: the columns that differ depend on the data, so there can be thousands."""

_Shape = tuple[int, ...]
"""For each column, the number of the sent list that has its values; :data:`_SHARED` if all its values are the same."""


def _split_columns(
    rows: Sequence[Any], kinds: Sequence[str]
) -> tuple[_Shape, list[Any], list[tuple[Any, ...]]]:
    """Return the shape of rows, the values that all rows share, and the lists of the other columns.

    Args:
        rows: at least one row.
        kinds: the columns' types; columns of different types never share a list.

    """
    shape: list[int] = []
    shared: list[Any] = []
    lists: list[tuple[Any, ...]] = []
    found: list[tuple[str, tuple[Any, ...]]] = []
    for kind, column in zip(kinds, zip(*rows, strict=True), strict=True):
        if column.count(column[0]) == len(column):
            shape.append(_SHARED)
            shared.append(column[0])
        elif (one := (kind, column)) in found:
            shape.append(found.index(one))
        else:
            shape.append(len(lists))
            found.append(one)
            lists.append(column)
    if not lists:  # the number of rows is the length of a list, so there must be one
        shape[0] = 0
        lists.append((shared.pop(0),) * len(rows))
    return tuple(shape), shared, lists


# ── a list of values, for SQLite ─────────────────────────────────────────────────────────────────


def by_values(sql: str, rows: Sequence[Any]) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield statements, with their parameters, that together equal an ``INSERT … VALUES (…)`` of each row."""
    found = _VALUES.search(sql)
    assert found is not None, sql
    shape, shared, lists = _split_columns(rows, [""] * len(rows[0]))
    full = next((place for place, column in enumerate(lists) if None not in column), None)
    values = list(zip(*lists, strict=True))
    at = 0
    while at < len(values):
        some = values[at : at + MOST]
        at += MOST
        if full is not None:  # padded with rows of NULLs, which the WHERE leaves out again
            some += [(None,) * len(lists)] * (-len(some) % _STEP)
        yield _with_values(sql, shape, len(some), full), (*shared, *chain.from_iterable(some))


@lru_cache(_SHAPES)
def _with_values(sql: str, shape: _Shape, many: int, full: int | None) -> str:
    found = _VALUES.search(sql)
    assert found is not None, sql
    places = iter(shape)
    columns = [
        one if one != "?" or (place := next(places)) == _SHARED else f"v.column{place + 1}"
        for one in map(str.strip, found[1].split(","))
    ]
    one = "(" + ", ".join("?" * (max(shape) + 1)) + ")"
    rows = f"(VALUES {', '.join([one] * many)}) AS v"
    # Without a WHERE, SQLite takes the ON of ON CONFLICT for a join's: https://sqlite.org/lang_upsert.html, 2.2
    there = "true" if full is None else f"v.column{full + 1} IS NOT NULL"
    return f"{sql[: found.start()]}SELECT {', '.join(columns)} FROM {rows} WHERE {there}{sql[found.end() :]}"


# ── arrays, for PostgreSQL ───────────────────────────────────────────────────────────────────────


def by_arrays(sql: str, rows: Sequence[Any]) -> tuple[str, list[Any]]:
    """Return a statement over arrays for these rows, and its parameters.

    A statement with ``unnest(?::text[], …) AS t(name, …)`` is reduced to the arrays that differ: the
    server takes half as long to unnest arrays as to write the rows.
    """
    types = _types(sql)
    if not types:  # the statement takes the arrays unchanged
        return sql, [_array(column) for column in zip(*rows, strict=True)]
    shape, shared, lists = _split_columns(rows, types)
    return _with_arrays(sql, shape), [*shared, *map(_array, lists)]


@cache
def _types(sql: str) -> tuple[str, ...]:
    found = _ARRAYS.search(sql)
    return tuple(re.findall(r"\?::(\w+)\[\]", found[1])) if found else ()


@lru_cache(_SHAPES)
def _with_arrays(sql: str, shape: _Shape) -> str:
    found = _ARRAYS.search(sql)
    assert found is not None, sql
    named = list(zip((name.strip() for name in found[2].split(",")), _types(sql), shape, strict=True))
    same = [f"?::{type} AS {name}" for name, type, place in named if place == _SHARED]
    taken = [f"u.c{place} AS {name}" for name, _, place in named if place != _SHARED]
    lists = {place: type for _, type, place in named if place != _SHARED}
    arrays = ", ".join(f"?::{type}[]" for type in lists.values())
    names = ", ".join(f"c{place}" for place in lists)
    rows = f"(SELECT {', '.join([*same, *taken])} FROM unnest({arrays}) AS u({names})) AS t"
    return sql[: found.start()] + rows + sql[found.end() :]


def _array(values: Iterable[Any]) -> str:
    """Return an array as PostgreSQL reads it: psycopg's own way of writing one takes ten times as long."""
    return "{" + ",".join([_item(value) for value in values]) + "}"


def _item(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value)
