"""Stretches: written as slots are skipped, read back, and dropped when they are too many."""

from __future__ import annotations

from collections.abc import Sequence

from asyncsched._core.instants import Instant
from asyncsched._core.records import Stretch
from asyncsched.stores.sql.rows import read_stretch
from asyncsched.stores.sql.session import Session


def skip(session: Session, lost: Stretch, before: Instant | None) -> Stretch:
    """Write down slots that get no run; those that follow on the newest stretch make it longer.

    Args:
        before: the last slot that was settled before; ``None``: it stands alone.

    """
    first, count, exact = lost.first, lost.count, lost.exact
    if before is not None:
        row = session.one("last_stretches", schedule=lost.schedule)
        newest = None if row is None else read_stretch(row)
        if newest is not None and newest.last == before and newest.reason == lost.reason:
            first, count, exact = newest.first, newest.count + lost.count, newest.exact and lost.exact
    session.run(
        "insert_stretch", (lost.schedule, lost.last, count, lost.reason, int(exact), session.namespace, first)
    )
    return lost


SCHEDULES_AT_ONCE = 100
"""Of how many schedules one transaction drops stretches."""

STRETCHES_KEPT = 1000


def stretches(session: Session, schedule: str, start: Instant, end: Instant) -> list[Stretch]:
    """Return the stretches of a schedule that touch a time, oldest first."""
    rows = session.all("stretches", schedule=schedule, start=start, end=end)
    return session.quarantine.readable("stretch of", rows, read_stretch)


def prune_stretches(session: Session, schedules: Sequence[str]) -> None:
    """Drop the stretches of some schedules that are too many."""
    of = [(session.namespace, id) for id in schedules]
    session.many("prune_stretches", [(*one, *one, STRETCHES_KEPT - 1) for one in of])
