"""Queries of the runs in memory; those by id or by slot need no scan of all runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from asyncsched._core.records import RunRecord
from asyncsched._core.requests import RunQuery
from asyncsched.stores.memory.schedules import ScheduleEntry

_ANY = RunQuery()[1:]
"""The other fields of a query that selects runs by their ids alone."""


def select(
    query: RunQuery, runs: Mapping[int, RunRecord], entries: Mapping[str, ScheduleEntry]
) -> list[RunRecord]:
    """Return the runs that match, newest due first.

    Args:
        query: the conditions.
        runs: all runs by their ids.
        entries: the schedules by their ids.

    """
    if query.ids is None:
        return query.select(_candidates(query, runs, entries))
    known = [run for id in query.ids if (run := runs.get(id)) is not None]
    if len(known) < 2 and query[1:] == _ANY:  # nearly every query is like this
        return known
    return query.select({run.id: run for run in known}.values())


def _candidates(
    query: RunQuery, runs: Mapping[int, RunRecord], entries: Mapping[str, ScheduleEntry]
) -> Iterable[RunRecord]:
    """Return the runs that a query may match: at most one, if it names a schedule's slot."""
    if query.schedule is None or query.slot is None or query.origin != "schedule":
        return runs.values()
    entry = entries.get(query.schedule)
    run = None if entry is None else entry.slots.get(query.slot)
    return () if run is None else (run,)
