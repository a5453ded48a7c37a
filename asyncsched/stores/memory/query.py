"""Which runs in memory a query asks for."""

from __future__ import annotations

from collections.abc import Iterable

from asyncsched._core.records import RunRecord
from asyncsched._core.requests import RunQuery
from asyncsched._core.rules.retention import is_dead_letter


def select(runs: Iterable[RunRecord], query: RunQuery) -> list[RunRecord]:
    """Return those that match, newest due first."""
    found = [run for run in runs if _matches(run, query)]
    if len(found) > 1:
        found.sort(key=lambda run: (run.due, run.id), reverse=True)
    return found[: query.limit]


def _matches(run: RunRecord, query: RunQuery) -> bool:
    return (
        (query.job is None or run.job == query.job)
        and (query.schedule is None or run.schedule == query.schedule)
        and (query.states is None or run.state in query.states)
        and (query.origin is None or run.origin == query.origin)
        and (query.key is None or run.key == query.key)
        and (query.tag is None or query.tag in run.tags)
        and (query.slot is None or run.slot == query.slot)
        and (not query.dead_letters or is_dead_letter(run))
        and (query.finished_since is None or (run.finished_at or 0) >= query.finished_since)
        and (query.start is None or run.due >= query.start)
        and (query.end is None or run.due <= query.end)
        and (query.before is None or (run.due, run.id) < query.before)
    )
