"""The one run that is asked for, or ``None``: a store itself answers every question with a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncsched._core.requests import RunQuery

if TYPE_CHECKING:
    from asyncsched._core.instants import Instant
    from asyncsched._core.records import RunRecord
    from asyncsched.abc import Store


async def run_of_id(store: Store, id: int) -> RunRecord | None:
    """Return the run of an id, or ``None``."""
    found = await store.runs(RunQuery((id,)))
    return found[0] if found else None


async def run_of_slot(store: Store, schedule: str, slot: Instant) -> RunRecord | None:
    """Return the run of a schedule's slot, or ``None``; runs made by hand or backfilled are not the slot's own."""
    found = await store.runs(RunQuery(schedule=schedule, slot=slot, origin="schedule", limit=1))
    return found[0] if found else None
