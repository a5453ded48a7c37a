"""A job takes over the work of its old name: an operation of the SQL stores."""

from __future__ import annotations

from asyncsched.stores.sql.session import Session

RENAMED_AT_ONCE = 500
"""How many runs one transaction renames."""


def rename_schedules(session: Session, old: str, new: str) -> list[str]:
    """Give a job's added schedules to another job, with the job's pause; return their ids.

    Declared schedules stay: their own code says of which job they are.
    """
    session.do("copy_pause", old=old, new=new)
    ids = sorted(id for (id,) in session.all("schedules_of_job", job=old))
    if ids:
        session.hold(ids)
        session.do("rename_schedules", old=old, new=new, version=session.version())
    return ids


def rename_runs(session: Session, old: str, new: str) -> int:
    """Give some of a job's pending runs to another job, each with its key if no run of that job holds it."""
    renamed = session.do("rename_runs", old=old, new=new, most=RENAMED_AT_ONCE)
    if renamed:
        session.announce()
    return renamed
