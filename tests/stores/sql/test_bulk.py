"""Many rows as one statement: whatever they have in common, what arrives is what was given."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncsched.stores.sql.bulk import _SHAPES, _with_arrays, _with_values, by_arrays, by_values
from tests.postgres import Server

Row = tuple[int, str | None, str | None, int | None, int | None]

_TABLE = (
    "CREATE TABLE rows (number bigint NOT NULL, name text, twin text, due bigint, ready bigint, state text)"
)
_COLUMNS = "number, name, twin, due, ready, state"
_VALUES = f"INSERT INTO rows ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, 'pending')\nON CONFLICT DO NOTHING"
_ARRAYS = f"""INSERT INTO rows ({_COLUMNS}) SELECT t.number, t.name, t.twin, t.due, t.ready, 'pending'
FROM unnest(?::bigint[], ?::text[], ?::text[], ?::bigint[], ?::bigint[]) AS t(number, name, twin, due, ready)"""

texts = st.none() | st.sampled_from(["", "NULL", "null", "a,b", '"', "\\", "{}", "'", "é\n", " x ", "?"])
numbers = st.none() | st.integers(-(2**63), 2**63 - 1)


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    """Draw rows with columns that are all the same, that are another's, or that are neither."""
    made = []
    name, due = draw(texts), draw(numbers)
    same_name, same_due, twins, at_once = (draw(st.booleans()) for _ in range(4))
    for _ in range(draw(st.integers(1, 150))):
        one = name if same_name else draw(texts)
        when = due if same_due else draw(numbers)
        number = draw(st.integers(0, 3))
        made.append((number, one, one if twins else draw(texts), when, when if at_once else draw(numbers)))
    return made


def arrived(rows: list[Row]) -> list[Any]:
    """Return what a table has in the end, without its order."""
    return sorted([(*row, "pending") for row in rows], key=repr)


@settings(max_examples=60, deadline=None)
@given(rows())
def test_a_list_of_values_inserts_what_was_given(given_rows: list[Row]) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(_TABLE)
        counts = [connection.execute(sql, params).rowcount for sql, params in by_values(_VALUES, given_rows)]
        assert sum(counts) == len(given_rows)
        assert sorted(connection.execute("SELECT * FROM rows").fetchall(), key=repr) == arrived(given_rows)


def test_statements_are_kept_within_bounds_whatever_differs() -> None:
    names = [f"c{number}" for number in range(10)]
    values = f"INSERT INTO rows ({', '.join(names)}) VALUES ({', '.join('?' * 10)})"
    arrays = f"SELECT * FROM unnest({', '.join(['?::text[]'] * 10)}) AS t({', '.join(names)})"
    for which in range(1, 1 << 10):
        rows = [[f"{row} {at}" if which >> at & 1 else "" for at in range(10)] for row in range(3)]
        list(by_values(values, rows))
        by_arrays(arrays, rows)
    assert _with_values.cache_info().currsize <= _SHAPES
    assert _with_arrays.cache_info().currsize <= _SHAPES


def test_what_rows_have_in_common_is_sent_once() -> None:
    many = [(number, "a", "a", 5 + number, 5 + number) for number in range(64)]
    ((_, params),) = by_values(_VALUES, many)
    assert len(params) == 2 + 2 * 64  # both names once; the numbers, and the due times for two columns
    _, arrays = by_arrays(_ARRAYS, many)
    assert arrays[:2] == ["a", "a"] and len(arrays) == 4


def test_columns_of_two_types_are_kept_apart_though_their_values_are_equal() -> None:
    sql = "SELECT * FROM unnest(?::boolean[], ?::bigint[]) AS t(yes, number)"
    shaped, arrays = by_arrays(sql, [(True, 1), (False, 0)])
    assert arrays == ["{True,False}", "{1,0}"]
    assert "boolean[]" in shaped and "bigint[]" in shaped


@pytest.fixture
def connection(pg_server: Server, pg_database: str) -> Iterator[Any]:
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(pg_server.dsn(pg_database), autocommit=True) as made:
        made.execute(_TABLE)
        yield made


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows())
def test_arrays_insert_what_was_given(connection: Any, given_rows: list[Row]) -> None:
    connection.execute("TRUNCATE rows")
    sql, params = by_arrays(_ARRAYS, given_rows)
    assert connection.execute(sql.replace("?", "%s"), params).rowcount == len(given_rows)
    found = connection.execute("SELECT * FROM rows").fetchall()
    assert sorted(found, key=repr) == arrived(given_rows)
