"""What of the history is dropped, some at a time."""

from __future__ import annotations

from typing import NamedTuple

from asyncsched._core.instants import Instant
from asyncsched._core.rules.retention import DEAD_LETTERS, KEPT_PER_SCHEDULE, Bounds
from asyncsched.stores.sql.session import Session

PRUNED_AT_ONCE = 500
"""Of how many runs one transaction drops what is too old, so that others get their turn."""


class Horizons(NamedTuple):
    """What ended before is dropped: runs, and dead letters."""

    runs: Instant
    dead_letters: Instant


def horizons(session: Session, bounds: Bounds, now: Instant) -> Horizons:
    """Return up to when finished runs are too many or too old."""
    row = session.one("oldest_kept", count=bounds.count)
    aged = now - bounds.age
    return Horizons(max(aged, row[0]) if row else aged, now - DEAD_LETTERS)


def prune(session: Session, upto: Horizons, after: Instant) -> tuple[int, Instant | None]:
    """Drop what the bounds no longer keep of some runs that ended after a moment.

    Returns:
        How many went, and the moment after which there are more; ``None`` when there are none.

    """
    row = session.one("prune_upto", after=after, horizon=upto.runs, most=PRUNED_AT_ONCE)
    gone = session.do(
        "prune", upto=row[0] if row else upto.runs, dead_horizon=upto.dead_letters, after=after,
        kept=KEPT_PER_SCHEDULE,
    )  # fmt: skip
    if gone:
        session.announce()  # SQLite may give the place of the newest run to the next, which is no news then
    return gone, row[0] if row else None
