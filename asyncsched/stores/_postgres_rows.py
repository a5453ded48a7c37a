"""Many rows as one statement: arrays for what differs, plain values for what all of them share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

_ROWS = re.compile(r"\bunnest\(([^)]*)\)\s+AS t\(([^)]*)\)")


def at_once(sql: str, rows: Sequence[Any]) -> tuple[str, list[Any]]:
    """Return a statement over arrays for these rows, and its parameters.

    Where it begins with ``unnest(?::text[], …) AS t(name, …)``, what is the same in all rows is sent once:
    those that are written together are alike but for a few columns, and the server takes half as long to
    take the arrays apart as to write the rows.
    """
    columns = list(zip(*rows, strict=True))
    if _ROWS.search(sql) is None:  # it takes the arrays as they are
        return sql, [_array(column) for column in columns]
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
