"""Runs come in, and are moved or ended before they begin: operations of the SQL stores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from asyncsched._clock import Now
from asyncsched._errors import StoreError
from asyncsched._instants import MINUTE, Instant
from asyncsched._ledger import Added, RunRecord
from asyncsched._pieces import pieces
from asyncsched.stores._limits import Limits
from asyncsched.stores._rows import as_dict, new_run, text
from asyncsched.stores._session import Session
from asyncsched.stores._worker import AT_ONCE

_RACES = 5
"""How often a key is looked for again that somebody else took in the same moment."""


class Adding(NamedTuple):
    """A request to put runs into the ledger."""

    runs: Sequence[RunRecord]
    now: Now
    replace: bool


def add(session: Session, requests: Sequence[Adding]) -> list[list[Added]]:
    """Put runs into the ledger, those without a key all at once."""
    plain: list[RunRecord] = []
    keyed: list[tuple[RunRecord, Adding]] = []
    for request in requests:
        for run in request.runs:
            if run.rare is None or run.key is None:
                plain.append(run)
            else:
                keyed.append((run, request))
    # While rows are made ready, the loop waits for the interpreter's lock. What single callers add is one piece.
    for some in pieces(plain, AT_ONCE):
        session.insert_new([new_run(session.namespace, run, session.write_id) for run in some])
    session.signal()
    if not keyed:
        return [[Added(run, True) for run in request.runs] for request in requests]
    # Whoever else takes several of these keys takes them in the same order.
    keyed.sort(key=lambda one: (one[0].job, one[0].key))
    found = {run.id: _keyed(session, run, request.now, request.replace) for run, request in keyed}
    return [[found.get(run.id) or Added(run, True) for run in request.runs] for request in requests]


def _keyed(session: Session, run: RunRecord, now: Now, replace: bool) -> Added:
    for _ in range(_RACES):
        holder = session.a_run("key_holder", job=run.job, key=run.key)
        if holder is not None and holder.id == run.id:
            return Added(run, True)  # we wrote it before the answer was lost
        if holder is not None and not holder.live:
            if now.wall < (holder.finished_at or 0) + holder.key_ttl:
                return Added(holder, False, conflict=holder.arguments != run.arguments)
            session.do("drop_key", id=session.write_id(holder.id))
            holder = None
        if holder is not None:
            return _found(session, holder, run, replace, now.wall)
        if session.run("insert_run", new_run(session.namespace, run, session.write_id)):
            return Added(run, True)
    raise StoreError(f"job {run.job!r}: the run that holds the key {run.key!r} cannot be read; see the log")


def _found(session: Session, holder: RunRecord, run: RunRecord, replace: bool, now: Instant) -> Added:
    if replace:
        holder = session.a_run("lock_run", id=session.write_id(holder.id)) or holder
    if not (replace and holder.state == "pending"):
        return Added(holder, False, conflict=holder.arguments != run.arguments)
    _leave(session, holder, now)
    session.do("replace_run", **as_dict(run, id=session.write_id(holder.id)))
    moved = session.a_run("run", id=session.write_id(holder.id))
    assert moved is not None
    return Added(moved, False)


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
    run.due, run.rank = request.due, request.due - run.priority * MINUTE
    if run.waits_for == "overlap":
        session.do("move_waiting", id=id, due=run.due, rank=run.rank)
        return run
    _leave(session, run, request.now.wall)
    run.ready_at, run.waits_for = run.due, None
    session.do("replace_run", **as_dict(run, id=id))
    session.signal()
    return run


class Cancelling(NamedTuple):
    """A request to end a run."""

    run_id: int
    why: str
    now: Now


def cancel(session: Session, request: Cancelling) -> RunRecord | None:
    """End a pending run, or ask its holder to."""
    id = session.write_id(request.run_id)
    run = session.a_run("run", id=id)
    if run is not None and run.origin == "schedule":
        session.hold((run.schedule,))
    run = session.a_run("lock_run", id=id)
    if run is None or not run.live:
        return run
    session.changed((run,))
    if run.state == "running":
        ask(session, (run,), request.why)
    else:
        finish_pending(session, run, request.why, request.now.wall)
        session.signal()
    return session.a_run("run", id=id)


def ask(session: Session, runs: Iterable[RunRecord], why: str) -> None:
    """Ask the holders of running runs to cancel them."""
    session.signal()
    for run in runs:
        session.do("ask", id=session.write_id(run.id), why=text(why))


def finish_pending(
    session: Session, run: RunRecord, why: str, now: Instant, limits: Limits | None = None
) -> None:
    """End a run that has not begun, and let those go on that waited for it.

    Args:
        limits: that are locked already, and written by the caller.

    """
    session.do("finish_pending", id=session.write_id(run.id), why=text(why), now=now)
    run.state, run.why, run.finished_at, run.ready_at, run.waits_for = "cancelled", why, now, None, None
    if limits is not None:
        limits.leave(run)
    else:
        _leave(session, run, now)
    if run.origin == "schedule":
        session.run("wake_chain", (session.namespace, run.schedule))


def _leave(session: Session, run: RunRecord, now: Instant) -> None:
    """A run that does not try lets the next in line of its limits."""
    if run.permits:
        limits = Limits(session, (run,), now)
        limits.leave(run)
        limits.write()
