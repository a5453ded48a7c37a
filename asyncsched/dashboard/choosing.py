"""Which schedules a list shows, and in what order: by their state, by a text, and by a column."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asyncsched.dashboard.snapshot import ORDER, Row, Snapshot

PAGE = 100
"""The most rows of one page."""

_RANK = {name: place for place, name in enumerate(ORDER)}


def _last(row: Row) -> int | None:
    return row.tally.recent[-1].finished if row.tally.recent else None


SORTS: dict[str, tuple[Callable[[Row], Any], bool]] = {
    "name": (lambda row: row.id, False),
    "next": (lambda row: None if row.state == "paused" else row.schedule.next_due, False),
    "last": (_last, True),
    "p95": (lambda row: row.p95, True),
    "late": (lambda row: row.late, True),
}
"""The columns to sort by: what of a row is compared, and whether the largest come first."""


def matching(s: Snapshot, state: str, q: str, sort: str = "") -> list[Row]:
    """Return the schedules of a state whose name, job, tag or callable has a text in it.

    Args:
        s: the snapshot.
        state: one state; ``""`` for all.
        q: the text; ``""`` for all.
        sort: one of ``SORTS``, with ``-`` before it the other way round; otherwise those come first that need somebody.

    """
    q = q.strip().lower()
    rows = [row for row in s.rows if (not state or row.state == state) and (not q or _has(row, q))]
    name = sort.removeprefix("-")
    if name in SORTS:
        return _sorted(rows, *SORTS[name], sort.startswith("-"))
    if len(rows) > PAGE:  # in a list of several pages the places must not change at each due time
        rows.sort(key=lambda row: (_RANK[row.state], row.id))
    return rows


def _has(row: Row, q: str) -> bool:
    return (
        q in row.id.lower() or q in row.schedule.job.lower()
        or any(q in tag.lower() for tag in row.schedule.tags) or (row.job is not None and q in row.job.callable.lower())
    )  # fmt: skip


def _sorted(rows: list[Row], of: Callable[[Row], Any], falling: bool, reverse: bool) -> list[Row]:
    """Return rows in order of a value; those without one are the last in either direction."""
    known = [row for row in rows if of(row) is not None]
    known.sort(key=lambda row: row.id)
    known.sort(key=of, reverse=falling != reverse)
    return known + sorted((row for row in rows if of(row) is None), key=lambda row: row.id)
