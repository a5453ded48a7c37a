"""The slots of a trigger, in code or in a store, with the effects of clock changes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from asyncsched._core.instants import to_datetime, to_instant
from asyncsched._core.trigger import as_instants
from asyncsched.triggers.base import noted
from asyncsched.triggers.combine import notes_of

Slot = tuple[datetime, str]
"""A due time, with the effect of a clock change on it in words, or ``""``."""


def slots_between(trigger: Any, start: datetime, end: datetime, limit: int) -> list[Slot]:
    """Return the slots of a trigger after a moment and up to another, with their notes."""
    found = as_instants(trigger, "the trigger").anchored(to_instant(start))
    first, last = to_instant(start), to_instant(end)
    slots: list[int] = []
    at = found.next_instant(first)
    while at is not None and at <= last and len(slots) < limit:
        slots.append(at)
        at = found.next_instant(at)
    notes = noted(slots, notes_of(found, first + 1, slots[-1])) if slots else {}
    return [(to_datetime(slot), notes.get(slot, "")) for slot in slots]


def next_slots(trigger: Any, n: int, after: datetime) -> list[Slot]:
    """Return the next slots of a trigger."""
    return slots_between(trigger, after, after + timedelta(days=366 * 41), n)
