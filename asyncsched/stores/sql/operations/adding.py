"""New runs enter the ledger, with or without a key: an operation of the SQL stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from asyncsched._backends.turns import portions
from asyncsched._core.errors import StoreError
from asyncsched._core.instants import Instant, Now
from asyncsched._core.records import RunRecord
from asyncsched._core.requests import Added
from asyncsched._core.rules.transitions import answers_for_key, pass_key, take_over
from asyncsched.stores.sql.operations.cancelling import _leave
from asyncsched.stores.sql.rows import as_dict, new_run
from asyncsched.stores.sql.session import Session
from asyncsched.stores.sql.thread import AT_ONCE

_RACES = 5
"""How often a key's holder is queried when another instance takes the key at the same moment."""


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
    # While rows are prepared, the loop waits for the interpreter's lock. The runs of single callers are one portion.
    for some in portions(plain, AT_ONCE):
        session.insert_new([new_run(session.namespace, run, session.write_id) for run in some])
    session.announce()
    if not keyed:
        return [[Added(run, True) for run in request.runs] for request in requests]
    # Every transaction that takes several keys takes them in this order.
    keyed.sort(key=lambda one: (one[0].job, one[0].key))
    found = {run.id: _keyed(session, run, request.now, request.replace) for run, request in keyed}
    return [[found.get(run.id) or Added(run, True) for run in request.runs] for request in requests]


def add_carrying(session: Session, request: Adding) -> list[Added]:
    """Put runs into the ledger, with the record that the request carries."""
    (added,) = add(session, [request])
    if any(one.created for one in added):
        session.keep_entry()
    return added


def _keyed(session: Session, run: RunRecord, now: Now, replace: bool) -> Added:
    for _ in range(_RACES):
        holder = session.a_run("key_holder", job=run.job, key=run.key)
        if holder is not None and holder.id == run.id:
            return Added(run, True)  # this run was inserted before, and the answer was lost
        if holder is not None and not holder.live:
            if answers_for_key(holder, now.wall):
                return Added(holder, False, conflict=holder.arguments != run.arguments)
        elif holder is not None and not pass_key(holder, run):
            return _found(session, holder, run, replace, now.wall)
        if holder is not None:
            session.do("drop_key", id=session.write_id(holder.id))
        if session.run("insert_run", new_run(session.namespace, run, session.write_id)):
            return Added(run, True)
    raise StoreError(f"job {run.job!r}: the run that holds the key {run.key!r} cannot be read; see the log")


def _found(session: Session, holder: RunRecord, run: RunRecord, replace: bool, now: Instant) -> Added:
    if replace:
        holder = session.a_run("lock_run", id=session.write_id(holder.id)) or holder
    if not (replace and holder.state == "pending"):
        return Added(holder, False, conflict=holder.arguments != run.arguments)
    _leave(session, holder, now)
    take_over(holder, run)
    session.do("replace_run", **as_dict(holder, id=session.write_id(holder.id)))
    return Added(holder, False)
