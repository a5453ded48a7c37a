"""Which runs in memory a query asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from asyncsched._core.records import RunRecord
from asyncsched._core.requests import RunQuery
from asyncsched._core.rules.retention import is_dead_letter
from asyncsched.stores.memory.schedules import ScheduleEntry

_ANY = RunQuery()[1:]
"""What a query says that asks for runs by their ids alone."""


def select(
    query: RunQuery, runs: Mapping[int, RunRecord], entries: Mapping[str, ScheduleEntry]
) -> list[RunRecord]:
    """Return the runs that match, newest due first.

    Args:
        query: which are asked for.
        runs: all there are, by their ids.
        entries: what is known of each schedule.

    """
    if query.ids is None:
        candidates = _candidates(query, runs, entries)
    else:
        known = [run for id in query.ids if (run := runs.get(id)) is not None]
        if len(known) < 2 and query[1:] == _ANY:  # nearly always
            return known
        candidates = {run.id: run for run in known}.values()
    found = [run for run in candidates if _matches(run, query)]
    if len(found) > 1:
        found.sort(key=lambda run: (run.due, run.id), reverse=True)
    return found[: query.limit]


def _candidates(
    query: RunQuery, runs: Mapping[int, RunRecord], entries: Mapping[str, ScheduleEntry]
) -> Iterable[RunRecord]:
    """Return the runs that a query may mean: one, where it names a schedule's slot."""
    if query.schedule is None or query.slot is None or query.origin != "schedule":
        return runs.values()
    entry = entries.get(query.schedule)
    run = None if entry is None else entry.slots.get(query.slot)
    return () if run is None else (run,)


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
