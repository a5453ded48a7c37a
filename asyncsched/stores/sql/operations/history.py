"""The history is pruned in portions."""

from __future__ import annotations

from typing import NamedTuple

from asyncsched._core.instants import Instant
from asyncsched._core.rules.retention import Bounds
from asyncsched.stores.sql.operations.reporting import forget_tally
from asyncsched.stores.sql.operations.schedules import strays
from asyncsched.stores.sql.session import Session

PRUNED_AT_ONCE = 500
"""How many finished runs one transaction examines for pruning, so that other requests get their turn."""


class Horizons(NamedTuple):
    """The moments before which runs, and dead letters, are dropped, and how many runs a schedule keeps."""

    runs: Instant
    dead_letters: Instant
    per_schedule: int


def survey(session: Session, bounds: Bounds, now: Instant) -> tuple[Horizons, list[str], list[str]]:
    """Return what is to be pruned: up to which moments, in which schedules, and strays of which jobs."""
    schedules = [id for (id,) in session.all("schedule_ids")]
    return horizons(session, bounds, now), schedules, strays(session)


def horizons(session: Session, bounds: Bounds, now: Instant) -> Horizons:
    """Return the moments up to which finished runs are too many or too old."""
    row = session.one("oldest_kept", count=bounds.count)
    aged = now - bounds.age
    return Horizons(max(aged, row[0]) if row else aged, now - bounds.dead_letters, bounds.per_schedule)


def forget(session: Session, schedule: str, upto: Instant) -> int:
    """Drop a portion of the history of a schedule, and its figures; return how many runs were dropped."""
    gone = session.do("forget_runs", schedule=schedule, upto=upto, most=PRUNED_AT_ONCE)
    session.do("remove_stretches", id=schedule)
    forget_tally(session, f"schedule:{schedule}")
    session.keep_entry()
    session.announce()
    return gone


def prune(session: Session, upto: Horizons, after: Instant) -> tuple[int, Instant | None]:
    """Drop, of a portion of runs that ended after a moment, those that the bounds no longer keep.

    Returns:
        How many runs were dropped, and the moment after which there are more; ``None`` if there are none.

    """
    row = session.one("prune_upto", after=after, horizon=upto.runs, most=PRUNED_AT_ONCE)
    gone = session.do(
        "prune", upto=row[0] if row else upto.runs, dead_horizon=upto.dead_letters, after=after,
        kept=upto.per_schedule,
    )  # fmt: skip
    if gone:
        session.announce()  # SQLite may give the row id of the newest run to the next, which no poll would notice
    return gone, row[0] if row else None
