"""Tells observers of runs that were lost with their instance, which cannot tell of them itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from asyncsched._core.events import RunUnsuccessful
from asyncsched._core.instants import Now, to_datetime
from asyncsched._core.mapping import run_view
from asyncsched._core.requests import RunQuery

if TYPE_CHECKING:
    from asyncsched._engine.event_bus import EventBus
    from asyncsched.abc import Store


async def tell_lost(store: Store, bus: EventBus, fenced: Mapping[str, int], now: Now) -> None:
    """Tell of the runs that a fencing at ``now`` has ended.

    Args:
        store: the ledger.
        bus: hears one event for each run.
        fenced: the number of fenced runs by new state.
        now: the moment of the fencing, at which those runs ended.

    """
    ended = {state: count for state, count in fenced.items() if state != "pending" and count}
    if not ended or not bus.wants(RunUnsuccessful):
        return
    query = RunQuery(states=tuple(ended), finished_since=now.wall, limit=sum(ended.values()) + 100)
    for run in await store.runs(query):
        if run.finished_at == now.wall and run.state != "succeeded":
            bus.emit(RunUnsuccessful(to_datetime(now.wall), run_view(run, None)))
