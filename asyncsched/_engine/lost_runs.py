"""Tells observers of runs that were lost with their instance, which cannot tell of them itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from asyncsched._core.instants import Now
from asyncsched._core.records import RunRecord
from asyncsched._core.requests import RunQuery

if TYPE_CHECKING:
    from asyncsched._engine.endings import Endings
    from asyncsched.abc import Store


async def tell_lost(store: Store, endings: Endings, fenced: Mapping[str, int], now: Now) -> None:
    """Tell of the runs that a fencing at ``now`` has ended.

    Args:
        store: the ledger.
        endings: counts the runs, and tells observers of them.
        fenced: the number of fenced runs by new state.
        now: the moment of the fencing, at which those runs ended.

    """
    ended = {state: count for state, count in fenced.items() if state not in ("pending", "locked")}
    if not ended:
        return
    query = RunQuery(states=tuple(ended), finished_since=now.wall, limit=sum(ended.values()) + 100)
    for run in await store.runs(query):
        if run.finished_at == now.wall and _by_fencing(run):
            endings.run_ended(run, None)


def _by_fencing(run: RunRecord) -> bool:
    """Whether a fencing ended a run: another one may have ended at the same moment, and was told of by its holder.

    The attempt is lost then; only a success that the run's own transaction has written shows no attempt.
    """
    return run.state == "succeeded" or (run.attempts is not None and run.attempts[-1].state == "lost")
