"""Many rows as one statement: arrays for what differs, plain values for what all of them share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

_ROWS = re.compile(r"\bunnest\(([^)]*)\)\s+AS t\(([^)]*)\)")


def at_once(sql: str, rows: Sequence[Any]) -> tuple[str, list[Any]]:
    """Return a statement over ``unnest(?::text[], …) AS t(name, …)`` for these rows, and its parameters.

    Rows that are written together are alike but for a few columns. The server takes an array apart
    for half of what it takes to write the row, so what is the same in all of them is sent once.
    """
    columns = list(zip(*rows, strict=True))
    differ = tuple(column.count(column[0]) != len(column) for column in columns)
    if not any(differ):
        differ = (True, *differ[1:])
    params: list[Any] = [column[0] for column, differs in zip(columns, differ, strict=True) if not differs]
    params += [_array(column) for column, differs in zip(columns, differ, strict=True) if differs]
    return _shaped(sql, differ), params


@cache
def _shaped(sql: str, differ: tuple[bool, ...]) -> str:
    found = _ROWS.search(sql)
    assert found is not None, sql
    types = [one.strip().removeprefix("?::").removesuffix("[]") for one in found[1].split(",")]
    named = list(zip((name.strip() for name in found[2].split(",")), types, differ, strict=True))
    same = [f"?::{type} AS {name}" for name, type, differs in named if not differs]
    listed = [name for name, _, differs in named if differs]
    arrays = ", ".join(f"?::{type}[]" for _, type, differs in named if differs)
    columns = ", ".join([*same, *(f"u.{name}" for name in listed)])
    rows = f"(SELECT {columns} FROM unnest({arrays}) AS u({', '.join(listed)})) AS t"
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
