"""Pending runs are moved or ended, and running ones are requested to end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from asyncsched._core.instants import Instant, Now
from asyncsched._core.records import RunRecord
from asyncsched._core.requests import Cancelled
from asyncsched._core.rules import transitions
from asyncsched.stores.sql.operations.limiter import Limits
from asyncsched.stores.sql.rows import as_dict, text
from asyncsched.stores.sql.session import Session


class Moving(NamedTuple):
    """A request to give a pending run another time."""

    run_id: int
    due: Instant
    now: Now


def move(session: Session, request: Moving) -> RunRecord | None:
    """Give a pending run another time."""
    id = session.write_id(request.run_id)
    run = session.a_run("lock_run", id=id)
    if run is None or run.state != "pending":
        return run
    if run.waits_for != "overlap":
        _leave(session, run, request.now.wall)
    transitions.move(run, request.due, run.steady)
    session.do("replace_run", **as_dict(run, id=id))
    session.announce()
    return run


class Cancelling(NamedTuple):
    """A request to end a run. The request is tried again after a commit without an answer: ``tried`` tells of that."""

    run_id: int
    why: str
    now: Now
    tried: list[bool]


def cancel(session: Session, request: Cancelling) -> Cancelled:
    """End a pending run, or request its holder to cancel it."""
    id = session.write_id(request.run_id)
    run = session.a_run("run", id=id)
    if run is not None and run.origin == "schedule":
        session.hold((run.schedule,))
    run = session.a_run("lock_run", id=id)
    if run is None or not run.live:
        before = ("cancelled", request.why, request.now.wall) if request.tried else None
        return Cancelled(run, run is not None and (run.state, run.why, run.finished_at) == before)
    session.changed((run,))
    session.keep_entry()
    if pending := run.state == "pending":
        request.tried.append(True)
        finish_pending(session, run, request.why, request.now.wall)
        session.announce()
    else:
        request_cancel(session, (run,), request.why)
    return Cancelled(session.a_run("run", id=id), ended=pending)


def request_cancel(session: Session, runs: Iterable[RunRecord], why: str) -> None:
    """Request the holders of running runs to cancel them."""
    session.announce()
    for run in runs:
        session.do("request_cancel", id=session.write_id(run.id), why=text(why))


def finish_pending(
    session: Session, run: RunRecord, why: str, now: Instant, limits: Limits | None = None
) -> None:
    """End a run that has not begun, and let the runs that waited for it go on.

    Args:
        limits: the run's limits, if the caller has locked them and will write them.

    """
    session.do("finish_pending", id=session.write_id(run.id), why=text(why), now=now)
    transitions.drop(run, why, now)
    if limits is not None:
        limits.leave(run)
    else:
        _leave(session, run, now)
    if run.origin == "schedule":
        session.run("wake_chain", (session.namespace, run.schedule))


def _leave(session: Session, run: RunRecord, now: Instant) -> None:
    """Let the runs that wait for a run's limits go on: it will not try."""
    if run.permits:
        limits = Limits(session, (run,), now)
        limits.leave(run)
        limits.write()
