"""The tables of a store: planned, printed as SQL, and made."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from asyncsched.stores.migrations import plan
from tests.cli.terminal import piped

STORE = ("--store", "sqlite:///new.db")


def test_the_tables_are_planned_and_made_and_then_up_to_date(tmp_path: Path) -> None:
    steps = [step.name for step in plan("sqlite:///x.db")]
    planned = piped("db", "plan", *STORE, cwd=tmp_path)
    assert (planned.code, planned.out.split()) == (1, steps)
    assert not (tmp_path / "new.db").exists()
    made = piped("db", "upgrade", *STORE, cwd=tmp_path)
    assert (made.code, made.out) == (0, f"applied {len(steps)} migrations\n")
    assert piped("db", "plan", *STORE, cwd=tmp_path).code == 0
    assert piped("db", "upgrade", *STORE, cwd=tmp_path).out == "the tables were up to date\n"


def test_the_sql_makes_the_tables(tmp_path: Path) -> None:
    text = piped("db", "sql", *STORE, "--after", "0", cwd=tmp_path).out
    with closing(sqlite3.connect(tmp_path / "new.db")) as connection:
        connection.executescript(text)
    assert piped("db", "plan", *STORE, cwd=tmp_path).code == 0


def test_without_a_store_it_says_what_to_give(tmp_path: Path) -> None:
    answer = piped("db", "plan", cwd=tmp_path)
    assert answer.code == 2
    assert "ASYNCSCHED_STORE" in answer.err
