"""Schedules, pauses, lists and pruning: the small operations of the SQL stores."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from asyncsched._errors import StoreError
from asyncsched._instants import DAY, Instant
from asyncsched._ledger import JobPause, RunQuery, RunRecord, ScheduleRecord, Stretch
from asyncsched.stores._claiming import skip
from asyncsched.stores._limits import recount
from asyncsched.stores._rows import read_stretch, schedule_row, text
from asyncsched.stores._session import Params, Session

logger = logging.getLogger("asyncsched.store")

LOOKED_AT_ONCE = 500
"""Of how many runs one transaction drops what is too old, so that others get their turn."""

SCHEDULES_AT_ONCE = 100
"""Of how many schedules one transaction drops stretches."""

WOKEN_AT_ONCE = 2000
"""How many runs one transaction lets go on."""

FIRST = -(1 << 62)
"""Before every rank, and every moment."""

KEPT_PER_SCHEDULE = 20
STRETCHES_KEPT = 1000
DEAD_LETTERS = 30 * DAY


# ── schedules ────────────────────────────────────────────────────────────────────────────────────


def put_schedule(session: Session, record: ScheduleRecord, revision: int) -> ScheduleRecord | None:
    """Insert or replace a schedule's row; return the row that stands if the revision was another.

    Raises:
        StoreError: a row stands that cannot be read, of a schedule that is not declared in the code.

    """
    stands = session.schedules("lock_schedules", ids=session.array((record.id,)))
    if (stands[0].revision if stands else 0) != revision:
        return stands[0] if stands else record
    key = (session.namespace, record.id)
    values = list(schedule_row(record, session.version()))
    values[_REVISION] = revision + 1
    if revision:
        session.run("update_schedule", (*values, *key, revision))
    elif not session.run("insert_schedule", (*values, *key)):
        stands = session.schedules("schedules_by_id", ids=session.array((record.id,)))
        if stands:
            return stands[0]
        _write_over(session, record, (*values, *key))
    return None


def _write_over(session: Session, record: ScheduleRecord, row: Params) -> None:
    """Have the code's word in place of a row that cannot be read; what was added is for its owner to mend."""
    if not record.declared:
        raise StoreError(
            f"schedule {record.id!r} is in the store, and its row cannot be read; see the log for what is wrong, "
            "and correct or delete it"
        )
    session.do("remove_schedule", id=record.id)
    session.run("insert_schedule", row)
    logger.warning(
        "schedule %r: its row made no sense, and is written anew as the code declares it", record.id
    )


_REVISION = 18
"""Where ``schedule_row`` has the revision."""


class Whose(NamedTuple):
    """Whose runs are to go on that were put aside: a job's, or a schedule's."""

    job: str | None = None
    schedule: str | None = None


def wake(session: Session, whose: Whose, first: int = FIRST) -> int | None:
    """Let some runs go on that were put aside, by rank from ``first`` on.

    Returns:
        The rank from which on there may be more; ``None`` when there are none.

    """
    found = session.all("wake", job=whose.job, schedule=whose.schedule, first=first, most=WOKEN_AT_ONCE)
    ranks = [rank for (rank,) in found]
    session.signal()
    # Fewer than were asked for are not all: one of them may have been cancelled at this moment.
    return max(ranks, default=None)


def strays(session: Session) -> list[str]:
    """Return the jobs of runs that are put aside though nobody has paused them."""
    return [job for (job,) in session.all("strays")]


def remove_schedule(session: Session, id: str) -> tuple[bool, int | None]:
    """Remove a schedule's row, and let some of its runs go on that waited for a resume.

    Returns:
        Whether it was there, and the rank from which on there may be more of those runs.

    """
    gone = session.do("remove_schedule", id=id) > 0
    if gone:
        session.do("remove_stretches", id=id)
        session.version()
        session.do("dropped")
    return gone, wake(session, Whose(schedule=id))


def release(session: Session, schedule: str, lost: Stretch | None) -> int | None:
    """Let some waiting runs of a schedule that was resumed go on, and write down its pause."""
    if lost is not None:
        skip(session, lost, None)
    return wake(session, Whose(schedule=schedule))


def pause_job(session: Session, job: str, pause: JobPause | None) -> int | None:
    """Stop to begin runs of a job, or let some of them go on."""
    if pause is None:
        session.do("resume_job", job=job)
        return wake(session, Whose(job=job))
    session.do("pause_job", job=job, note=text(pause.note), by=text(pause.by), since=pause.since)
    session.signal()
    return None


def paused_jobs(session: Session) -> dict[str, JobPause]:
    """Return the paused jobs."""
    return {job: JobPause(*rest) for job, *rest in session.all("paused_jobs")}


def stretches(session: Session, schedule: str, start: Instant, end: Instant) -> list[Stretch]:
    """Return the stretches of a schedule that touch a time, oldest first."""
    rows = session.all("stretches", schedule=schedule, start=start, end=end)
    return session.quarantine.readable("stretch of", rows, read_stretch)


# ── lists ────────────────────────────────────────────────────────────────────────────────────────

_CONDITIONS = {
    "job": "r.job = :job",
    "schedule": "r.schedule = :schedule",
    "origin": "r.origin = :origin",
    "key": 'r."key" = :key',
    "slot": "r.slot = :slot",
    "start": "r.due >= :start",
    "end": "r.due <= :end",
}


def runs(session: Session, query: RunQuery) -> list[RunRecord]:
    """Return the runs that match, newest due first."""
    params: dict[str, Any] = {"limit": query.limit, "namespace": session.namespace}
    where = []
    for name, condition in _CONDITIONS.items():
        value = getattr(query, name)
        if value is not None:
            params[name] = value
            where.append(condition)
    if query.states is not None:
        params["states"] = session.array(query.states)
        where.append(session.queries["where_states"])
    if query.tag is not None:
        params["tag"] = query.tag
        where.append(session.queries["where_tag"])
    if query.before is not None:
        params["before_due"], params["before"] = query.before[0], session.write_id(query.before[1])
        where.append("(r.due < :before_due OR (r.due = :before_due AND r.id < :before))")
    sql = session.queries["runs"].replace("{where}", "".join(f" AND {one}" for one in where))
    rows = session.execute(session.adapted(sql), params).fetchall()
    return session.quarantine.readable("run", rows, session.read)


# ── the history's bounds ─────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Bounds:
    """How much history is kept. Whatever they say, the last 20 runs and the last failure of each
    schedule stay, and dead letters for 30 days.
    """

    age: int = 7 * DAY
    count: int = 100_000


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
    row = session.one("prune_upto", after=after, horizon=upto.runs, most=LOOKED_AT_ONCE)
    gone = session.do(
        "prune", upto=row[0] if row else upto.runs, dead_horizon=upto.dead_letters, after=after,
        kept=KEPT_PER_SCHEDULE,
    )  # fmt: skip
    if gone:
        session.signal()  # SQLite may give the place of the newest run to the next, which is no news then
    return gone, row[0] if row else None


def prune_stretches(session: Session, schedules: Sequence[str]) -> None:
    """Drop the stretches of some schedules that are too many."""
    of = [(session.namespace, id) for id in schedules]
    session.many("prune_stretches", [(*one, *one, STRETCHES_KEPT - 1) for one in of])


def sweep_limits(session: Session, now: Instant) -> None:
    """Drop limits that say nothing any more; count those that do."""
    recount(session, now)
    session.do("sweep_limits", now=now)
