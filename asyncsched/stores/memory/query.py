"""Which runs in memory a query means; a few of them are found without a look at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from asyncsched._core.records import RunRecord
from asyncsched._core.requests import RunQuery
from asyncsched.stores.memory.schedules import ScheduleEntry

_ANY = RunQuery()[1:]
"""The rest of a query that asks for runs by their ids alone."""


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
    if len(known) < 2 and query[1:] == _ANY:  # nearly always
        return known
    return query.select({run.id: run for run in known}.values())


def _candidates(
    query: RunQuery, runs: Mapping[int, RunRecord], entries: Mapping[str, ScheduleEntry]
) -> Iterable[RunRecord]:
    """Return the runs that a query may mean: one, where it names a schedule's slot."""
    if query.schedule is None or query.slot is None or query.origin != "schedule":
        return runs.values()
    entry = entries.get(query.schedule)
    run = None if entry is None else entry.slots.get(query.slot)
    return () if run is None else (run,)
