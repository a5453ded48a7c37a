"""A job takes over the work of its old name: an operation of the SQL stores."""

from __future__ import annotations

from asyncsched._core.book import subject_of
from asyncsched.stores.sql.session import Session

RENAMED_AT_ONCE = 500
"""How many runs one transaction renames."""


def rename_schedules(session: Session, old: str, new: str, declared: bool) -> list[str]:
    """Give a job's added schedules to another job, with the job's pause; return their ids.

    Declared schedules stay, because their own code says of which job they are; but with ``declared``, the one that
    has the job's name for its id gets the new name for both.
    """
    session.do("copy_pause", old=old, new=new)
    ids = [new] if declared and _rename_declared(session, old, new) else []
    return ids + _rename_added(session, old, new)


def _rename_added(session: Session, old: str, new: str) -> list[str]:
    ids = sorted(id for (id,) in session.all("schedules_of_job", job=old))
    if ids:
        session.hold(ids)
        session.do("rename_schedules", old=old, new=new, version=session.version())
    return ids


def _rename_declared(session: Session, old: str, new: str) -> bool:
    """Give a declared schedule a new id, with its stretches, its figures and its live runs."""
    session.hold([old])
    if not session.do("rename_schedule", old=old, new=new, version=session.version()):
        return False
    session.do("dropped")
    session.do("remove_stretches", id=new)
    session.do("rename_stretches", old=old, new=new)
    # At once, because the overlap rule asks which runs of a schedule are live.
    session.do("rename_live_runs", old=old, new=new)
    version = session.one("number_tallies")[0]
    session.do("rename_tally", old=subject_of(old, ""), new=subject_of(new, ""), version=version)
    return True


def rename_past_runs(session: Session, old: str, new: str) -> int:
    """Give some of the other runs of a schedule to the schedule's new id; running ones stay as they are."""
    return session.do("rename_past_runs", old=old, new=new, most=RENAMED_AT_ONCE)


def rename_runs(session: Session, old: str, new: str) -> int:
    """Give some of a job's pending runs to another job, each with its key if no run of that job holds it."""
    renamed = session.do("rename_runs", old=old, new=new, most=RENAMED_AT_ONCE)
    if renamed:
        session.announce()
    return renamed
