"""Stretches are written as slots are skipped, read, and pruned when there are too many."""

from __future__ import annotations

from collections.abc import Sequence

from asyncsched._core.instants import Instant
from asyncsched._core.records import Stretch
from asyncsched._core.rules.lost import lengthened
from asyncsched._core.rules.retention import STRETCHES_KEPT
from asyncsched.stores.sql.rows import read_stretch
from asyncsched.stores.sql.session import Session


def skip(session: Session, lost: Stretch, before: Instant | None) -> Stretch:
    """Write slots that get no run; slots that follow directly on the newest stretch lengthen it.

    Args:
        before: the last slot that was settled before; ``None`` for a stretch that lengthens no other.

    """
    row = None if before is None else session.one("last_stretches", schedule=lost.schedule)
    kept = lengthened(None if row is None else read_stretch(row), lost, before)
    session.run("insert_stretch", (
        kept.schedule, kept.last, kept.count, kept.reason, int(kept.exact), session.namespace, kept.first,
    ))  # fmt: skip
    return lost


SCHEDULES_AT_ONCE = 100
"""How many schedules one transaction prunes stretches of."""


def stretches(session: Session, schedule: str, start: Instant, end: Instant) -> list[Stretch]:
    """Return the stretches of a schedule that touch a time, oldest first."""
    rows = session.all("stretches", schedule=schedule, start=start, end=end)
    return session.quarantine.readable("stretch of", rows, read_stretch)


def prune_stretches(session: Session, schedules: Sequence[str]) -> None:
    """Drop the oldest stretches of schedules that have too many."""
    of = [(session.namespace, id) for id in schedules]
    session.many("prune_stretches", [(*one, *one, STRETCHES_KEPT - 1) for one in of])
