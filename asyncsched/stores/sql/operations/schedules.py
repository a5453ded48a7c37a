"""Schedules, pauses, lists and pruning: the small operations of the SQL stores."""

from __future__ import annotations

import logging
from typing import NamedTuple

from asyncsched._core.errors import StoreError
from asyncsched._core.records import JobPause, ScheduleRecord, Stretch
from asyncsched._core.rules.transitions import goes_on
from asyncsched.stores.sql.operations.stretches import skip
from asyncsched.stores.sql.rows import schedule_row, text
from asyncsched.stores.sql.session import Params, Session

logger = logging.getLogger("asyncsched.store")


WOKEN_AT_ONCE = 2000
"""How many runs one transaction lets go on."""

FIRST = -(1 << 62)
"""Before every rank, and every moment."""


# ── schedules ────────────────────────────────────────────────────────────────────────────────────


class Putting(NamedTuple):
    """A request to insert a schedule's row (``revision`` 0), or to replace it where it stands at ``revision``."""

    record: ScheduleRecord
    revision: int
    lost: Stretch | None = None  # the slots that get no run by this


class Put(NamedTuple):
    """What became of it: whether it was written, else the row that stands; and the rank from which more runs may go on."""

    won: bool
    stands: ScheduleRecord | None = None
    rest: int | None = None


def put_schedule(session: Session, request: Putting) -> Put:
    """Insert or replace a schedule's row, with what it loses and which runs go on by that.

    Raises:
        StoreError: a row stands that cannot be read, of a schedule that is not declared in the code.

    """
    record, revision, lost = request
    found = session.schedules("lock_schedules", ids=session.array((record.id,)))
    stood = found[0] if found else None
    row = schedule_row(record, revision + 1)
    if (stood.revision if stood else 0) != revision:
        return _lost_race(session, stood, row)
    key = (session.namespace, record.id)
    version = session.version()
    written_over = False
    if revision:
        session.run("update_schedule", (*row, version, *key, revision))
    elif not session.run("insert_schedule", (*row, version, *key)):
        for other in session.schedules("schedules_by_id", ids=session.array((record.id,))):
            return _lost_race(session, other, row)
        _write_over(session, record, (*row, version, *key))
        written_over = True
    if lost is not None:
        skip(session, lost, None)
    wakes = goes_on(stood, record) or (written_over and not record.paused)
    return Put(True, rest=wake(session, Whose(schedule=record.id)) if wakes else None)


def _lost_race(session: Session, stands: ScheduleRecord | None, row: Params) -> Put:
    """Answer for a row that stands at another revision: that may be ours, of a commit whose answer was lost."""
    if stands is None or schedule_row(stands, stands.revision) != row:
        return Put(False, stands)
    return Put(True, rest=None if stands.paused else wake(session, Whose(schedule=stands.id)))


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
