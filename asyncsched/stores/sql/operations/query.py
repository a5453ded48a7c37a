"""Which runs a query asks for."""

from __future__ import annotations

from typing import Any

from asyncsched._core.records import RunRecord
from asyncsched._core.requests import RunQuery
from asyncsched.stores.sql.session import Session

_CONDITIONS = {
    "job": "r.job = :job",
    "schedule": "r.schedule = :schedule",
    "origin": "r.origin = :origin",
    "key": 'r."key" = :key',
    "slot": "r.slot = :slot",
    "start": "r.due >= :start",
    "end": "r.due <= :end",
    "finished_since": "r.finished_at >= :finished_since",
}

_OWN = "r.origin = 'schedule'"
"""Written out, an origin leads to the indexes of what is a schedule's own."""


def runs(session: Session, query: RunQuery) -> list[RunRecord]:
    """Return the runs that match, newest due first."""
    params: dict[str, Any] = {"limit": query.limit, "namespace": session.namespace}
    where = _where(session, query, params)
    name = "runs"
    ids = None if query.ids is None else {session.write_id(id) for id in query.ids}
    if ids is not None and len(ids) == 1:  # nearly always: the primary key leads to it without a list
        (params["id"],) = ids
        where.append("r.id = :id")
    elif ids is not None:
        name, params["ids"] = "runs_by_id", session.array(ids)
    sql = session.queries[name].replace("{where}", "".join(f" AND {one}" for one in where))
    rows = session.execute(session.adapted(sql), params).fetchall()
    return session.quarantine.readable("run", rows, session.read)


def _where(session: Session, query: RunQuery, params: dict[str, Any]) -> list[str]:
    """Return the conditions of a query, and put what they speak of into ``params``."""
    where = []
    for name, condition in _CONDITIONS.items():
        value = getattr(query, name)
        if name == "origin" and value == "schedule":
            where.append(_OWN)
        elif value is not None:
            params[name] = value
            where.append(condition)
    if query.dead_letters:
        where.append(session.queries["where_dead_letter"])
    if query.states is not None:
        params["states"] = session.array(query.states)
        where.append(session.queries["where_states"])
    if query.tag is not None:
        params["tag"] = query.tag
        where.append(session.queries["where_tag"])
    if query.before is not None:
        params["before_due"], params["before"] = query.before[0], session.write_id(query.before[1])
        where.append("(r.due < :before_due OR (r.due = :before_due AND r.id < :before))")
    return where
