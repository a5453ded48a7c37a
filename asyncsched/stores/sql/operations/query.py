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
