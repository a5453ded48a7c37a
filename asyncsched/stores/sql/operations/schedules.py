"""Schedules are put and removed, jobs are paused and resumed: operations of the SQL stores."""

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
"""How many runs of a resume one transaction lets go on."""

FIRST = -(1 << 62)
"""Before every rank, and every moment."""


PAGE = 1000
"""How many schedules are read at once: about 10 ms."""


def page(session: Session, after: str) -> tuple[list[ScheduleRecord], str | None]:
    """Return some schedules in order of id, and the id after which there may be more; ``None`` if there are none."""
    rows = session.all("schedules", after=after, most=PAGE)
    return session.schedules_of(rows), rows[-1][0] if len(rows) == PAGE else None


class Putting(NamedTuple):
    """A request to insert a schedule's row (``revision`` 0), or to replace it where it stands at ``revision``."""

    record: ScheduleRecord
    revision: int
    lost: Stretch | None = None  # the slots that get no run because of this change


class Put(NamedTuple):
    """The answer: whether the row was written, else the stored row; and the rank from which more runs may go on."""

    won: bool
    stands: ScheduleRecord | None = None
    rest: int | None = None


def put_schedule(session: Session, request: Putting) -> Put:
    """Insert or replace a schedule's row, write its lost slots, and let its runs go on after a resume.

    Raises:
        StoreError: the row in the store cannot be read, and the schedule is not declared in code.

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
    session.keep_entry()
    wakes = goes_on(stood, record) or (written_over and not record.paused)
    return Put(True, rest=wake(session, Whose(schedule=record.id)) if wakes else None)


def _lost_race(session: Session, stands: ScheduleRecord | None, row: Params) -> Put:
    """Return the answer for a row at another revision: the same write may have made it, and its answer was lost."""
    if stands is None or schedule_row(stands, stands.revision) != row:
        return Put(False, stands)
    session.keep_entry()
    return Put(True, rest=None if stands.paused else wake(session, Whose(schedule=stands.id)))


def _write_over(session: Session, record: ScheduleRecord, row: Params) -> None:
    """Replace a declared schedule's row that cannot be read; the row of an added schedule must be corrected by hand."""
    if not record.declared:
        raise StoreError(
            f"schedule {record.id!r} is in the store, and its row cannot be read; see the log for what is wrong, "
            "and correct or delete it"
        )
    session.do("remove_schedule", id=record.id)
    session.run("insert_schedule", row)
    logger.warning("schedule %r: its row made no sense, and is written anew as declared in code", record.id)


class Whose(NamedTuple):
    """The job or the schedule whose runs may go on after a pause."""

    job: str | None = None
    schedule: str | None = None


def wake(session: Session, whose: Whose, first: int = FIRST) -> int | None:
    """Let some runs that wait for a resume go on, by rank from ``first`` on.

    Returns:
        The rank from which there may be more runs; ``None`` if there are none.

    """
    found = session.all("wake", job=whose.job, schedule=whose.schedule, first=first, most=WOKEN_AT_ONCE)
    ranks = [rank for (rank,) in found]
    session.announce()
    # Fewer runs than the limit may not be the last: one may have been cancelled at this moment.
    return max(ranks, default=None)


def strays(session: Session) -> list[str]:
    """Return the jobs of runs that wait for a resume although neither job nor schedule is paused."""
    return [job for (job,) in session.all("strays")]


def remove_schedule(session: Session, id: str) -> tuple[bool, int | None]:
    """Remove a schedule's row, and let some of its runs that waited for a resume go on.

    Returns:
        Whether the row existed, and the rank from which there may be more of those runs.

    """
    gone = session.do("remove_schedule", id=id) > 0
    if gone:
        session.do("remove_stretches", id=id)
        session.version()
        session.do("dropped")
        session.keep_entry()
    return gone, wake(session, Whose(schedule=id))


def pause_job(session: Session, job: str, pause: JobPause | None) -> int | None:
    """Pause a job, or resume it and let some of its runs go on."""
    session.keep_entry()
    if pause is None:
        session.do("resume_job", job=job)
        return wake(session, Whose(job=job))
    session.do("pause_job", job=job, note=text(pause.note), by=text(pause.by), since=pause.since)
    session.announce()
    return None


def paused_jobs(session: Session) -> dict[str, JobPause]:
    """Return the paused jobs."""
    return {job: JobPause(*rest) for job, *rest in session.all("paused_jobs")}
