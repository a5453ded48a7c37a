"""The query for runs, as SQL."""

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

_OWN = "r.origin = 'schedule'"
"""The origin as a literal, so that the indexes of a schedule's own runs are used."""


def runs(session: Session, query: RunQuery) -> list[RunRecord]:
    """Return the runs that match, newest due first."""
    params: dict[str, Any] = {"namespace": session.namespace}
    where = _where(session, query, params)
    ids = None if query.ids is None else {session.write_id(id) for id in query.ids}
    name = "few_runs"
    if ids is not None and len(ids) > 1:
        name, params["ids"] = "runs_by_id", session.array(ids)
    elif ids is not None:  # nearly always
        params["id"] = next(iter(ids), None)
        where.append("r.id = :id")
    elif query.slot is None or query.schedule is None or query.origin != "schedule":
        params["limit"] = query.limit
        return _select(session, "runs", where, params)
    found = _select(session, name, where, params)
    found.sort(key=lambda run: (run.due, run.id), reverse=True)
    return found[: query.limit]


def _select(session: Session, name: str, where: list[str], params: dict[str, Any]) -> list[RunRecord]:
    sql = session.queries[name].replace("{where}", "".join(f" AND {one}" for one in where))
    return session.runs_of(session.execute(session.adapted(sql), params).fetchall())


def _where(session: Session, query: RunQuery, params: dict[str, Any]) -> list[str]:
    """Return the conditions of a query, and add their values to ``params``."""
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
    if query.finished_since is not None:
        params["finished_since"] = query.finished_since
        where.append(session.queries["where_finished_since"])
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
