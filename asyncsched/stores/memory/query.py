"""Queries of the runs in memory: from an index where a filter has one, else over all runs, in portions.

An index by job, state or origin would cost every run of a million pending ones its share of memory. Lists by
these filters alone read all runs instead, and let other tasks of the loop run after every few.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from anyio.lowlevel import checkpoint

from asyncsched._backends.turns import portions
from asyncsched._core.instants import Instant
from asyncsched._core.records import RunRecord
from asyncsched._core.requests import RunQuery
from asyncsched.stores.memory.schedules import ScheduleEntry

_ANY = RunQuery()[1:]
"""The other fields of a query that selects runs by their ids alone."""

_ONE_TURN = 2000
"""Runs that are read before other tasks of the loop get their turn: about 1 ms."""


class Labels:
    """The runs by key and by tag, a run with neither costs nothing; and the running runs that are none of a schedule's own."""

    def __init__(self) -> None:
        self.begun: dict[int, RunRecord] = {}
        self._by: dict[tuple[str, str], dict[int, RunRecord]] = {}

    def __len__(self) -> int:
        return len(self._by)

    def add(self, run: RunRecord) -> None:
        """Add a run under its key and its tags."""
        for label in _labels(run):
            self._by.setdefault(label, {})[run.id] = run

    def drop(self, run: RunRecord) -> None:
        """Take a run out."""
        for label in _labels(run):
            runs = self._by.get(label, {})
            runs.pop(run.id, None)
            if not runs:
                self._by.pop(label, None)

    def runs(self, kind: str, label: str) -> Collection[RunRecord]:
        """Return the runs with a ``key`` or a ``tag``."""
        return self._by.get((kind, label), {}).values()


def _labels(run: RunRecord) -> list[tuple[str, str]]:
    labels = [("tag", tag) for tag in run.tags]
    if run.key is not None:
        labels.append(("key", run.key))
    return labels


async def select(
    query: RunQuery,
    runs: Mapping[int, RunRecord],
    entries: Mapping[str, ScheduleEntry],
    labels: Labels,
    letters: Mapping[int, RunRecord],
) -> list[RunRecord]:
    """Return the runs that match, newest due first.

    Args:
        query: the conditions.
        runs: all runs by their ids.
        entries: the schedules by their ids.
        labels: the runs by key and tag.
        letters: the dead letters by their ids.

    """
    if query.ids is not None:
        known = [run for id in query.ids if (run := runs.get(id)) is not None]
        if len(known) < 2 and query[1:] == _ANY:  # nearly every query is like this
            return known
        return query.select({run.id: run for run in known}.values())
    found = _candidates(query, entries, labels)
    if query.live and found is None:
        found = [*labels.begun.values(), *(run for entry in entries.values() for run in entry.live.values())]
    if query.dead_letters and (found is None or len(found) > len(letters)):
        found = letters.values()
    if found is None:
        found = runs.values()
    return query.select(found) if len(found) <= _ONE_TURN else await _in_portions(query, list(found))


def _candidates(
    query: RunQuery, entries: Mapping[str, ScheduleEntry], labels: Labels
) -> Collection[RunRecord] | None:
    """Return the runs that a query may match, by the filter that leaves the fewest; ``None`` for all."""
    found: list[Collection[RunRecord]] = []
    if query.key is not None:
        found.append(labels.runs("key", query.key))
    if query.tag is not None:
        found.append(labels.runs("tag", query.tag))
    if query.schedule is not None:
        entry = entries.get(query.schedule)
        found.append(() if entry is None else entry.runs(query.origin, query.slot, query.states))
    return min(found, key=len, default=None)


async def _in_portions(query: RunQuery, runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Do the same as ``query.select``, in a loop that other tasks share."""
    kept: list[tuple[Instant, int, RunRecord]] = []  # no two have one id, so runs are not compared
    for some in portions(runs, _ONE_TURN):
        kept += [(run.due, run.id, run) for run in some if query.matches(run)]
        if len(kept) > 2 * query.limit:
            kept.sort(reverse=True)
            del kept[query.limit :]
        await checkpoint()
    return query.select(run for _, _, run in kept)  # some may have changed meanwhile
