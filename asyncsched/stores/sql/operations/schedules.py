"""Schedules, pauses, lists and pruning: the small operations of the SQL stores."""

from __future__ import annotations

import logging
from typing import NamedTuple

from asyncsched._core.errors import StoreError
from asyncsched._core.records import JobPause, ScheduleRecord, Stretch
from asyncsched.stores.sql.operations.stretches import skip
from asyncsched.stores.sql.rows import schedule_row, text
from asyncsched.stores.sql.session import Params, Session

logger = logging.getLogger("asyncsched.store")


WOKEN_AT_ONCE = 2000
"""How many runs one transaction lets go on."""

FIRST = -(1 << 62)
"""Before every rank, and every moment."""


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
    session.announce()
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
    session.announce()
    return None


def paused_jobs(session: Session) -> dict[str, JobPause]:
    """Return the paused jobs."""
    return {job: JobPause(*rest) for job, *rest in session.all("paused_jobs")}


# ── lists ────────────────────────────────────────────────────────────────────────────────────────


# ── the history's bounds ─────────────────────────────────────────────────────────────────────────
