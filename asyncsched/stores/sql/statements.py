"""SQL by name: each statement stands in a ``.sql`` file, named and described in comments above it.

The statements in ``sql/common`` are the same for every database; those in ``<dialect>/sql`` differ by database.

``{run}`` and ``{schedule}`` stand for the columns of ``rows``, so their order is written down once, and
``{dead_letter}`` for the condition of ``rules/retention``.
Parameters are ``:name``, or ``?`` where many rows go in at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from asyncsched._core.rules.retention import dead_letter_sql
from asyncsched.stores.sql.rows import RUN_COLUMNS, SCHEDULE_COLUMNS

_COMMON = Path(__file__).parent / "common"
_STORES = Path(__file__).parents[1]
_PARTS = {
    "{run}": RUN_COLUMNS,
    "{schedule}": SCHEDULE_COLUMNS,
    "{dead_letter}": f"({dead_letter_sql('r')})",
}
_HEAD = re.compile(r"^-- name: (\w+)\n((?:--.*\n)*)", re.MULTILINE)


class Migration(NamedTuple):
    """One numbered file: it brings the schema of the number before to this number."""

    number: int
    name: str
    sql: str


def parse(text: str) -> dict[str, str]:
    """Return the statements of one file by name."""
    heads = list(_HEAD.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    found = {}
    for head, end in zip(heads, ends, strict=True):
        sql = text[head.end() : end].strip().removesuffix(";")
        for part, written in _PARTS.items():
            sql = sql.replace(part, written)
        found[head[1]] = sql
    return found


@cache
def load(dialect: str, adapt: Callable[[str], str] | None = None) -> Mapping[str, str]:
    """Return all named statements of a dialect, each through ``adapt``."""
    found: dict[str, str] = {}
    for folder in (_COMMON, _STORES / dialect / "sql"):
        for file in sorted(folder.glob("[a-z]*.sql")):
            found.update(parse(file.read_text("utf-8")))
    return found if adapt is None else {name: adapt(sql) for name, sql in found.items()}


@cache
def migrations(dialect: str) -> tuple[Migration, ...]:
    """Return the numbered files of a dialect, in order."""
    files = sorted((_STORES / dialect / "sql").glob("[0-9]*.sql"))
    return tuple(Migration(int(file.name[:4]), file.stem, file.read_text("utf-8")) for file in files)
