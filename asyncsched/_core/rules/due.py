"""What a schedule owes now: which slots run, which get none, and what comes next.

Plain code over integers, with no clock and no store in it: the engine asks, and acts on the answer.
Nothing here walks through the slots of an outage; it costs the same after a second and a year.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from asyncsched._core.instants import HOUR, Instant
from asyncsched._core.rules.lost import Lost, count_slots, passed

if TYPE_CHECKING:
    from asyncsched._core.misfire import Misfire
    from asyncsched._core.records import ScheduleRecord
    from asyncsched._core.trigger import InstantTrigger


WRONG_CLOCK = 3 * HOUR
"""A last slot further ahead of now than this was settled under a clock that was wrong."""


_new = tuple.__new__  # for every firing: a named tuple's own constructor takes twice as long


class Slot(NamedTuple):
    """A due time before jitter, and after it."""

    slot: Instant
    due: Instant


class Plan(NamedTuple):
    """The decision: the slots to ``run``, oldest first, the ``lost`` stretch before them, and the next slot."""

    run: list[Slot]
    lost: Lost | None
    cursor: Instant
    upcoming: Slot | None


def jittered(schedule: str, slot: Instant, jitter: int, trigger: InstantTrigger) -> Instant:
    """Return the slot moved by its jitter: the same on every instance, and never past the next slot."""
    if not jitter:
        return slot
    following = trigger.next_instant(slot)
    bound = jitter if following is None else min(jitter, following - slot - 1)
    digest = blake2b(f"{schedule}\0{slot}".encode(), digest_size=8).digest()
    return slot + int.from_bytes(digest) % (bound + 1)


def first_slot(record: ScheduleRecord, after: Instant) -> Slot | None:
    """Return the first slot strictly after ``after``, if the schedule may still have a run."""
    slot = None if record.used_up else record.trigger.next_instant(after)
    if slot is None:
        return None
    return Slot(slot, jittered(record.id, slot, record.jitter, record.trigger))


def replanned(record: ScheduleRecord, now: Instant) -> ScheduleRecord | None:
    """Return the row planned again after a step of the wall clock, or ``None`` where the old plan holds.

    A last slot more than 3 h ahead of now was settled under a wrong clock and is forgotten, and a
    grid that was anchored there is anchored anew. A last slot nearer than that is waited for, so
    that no slot runs twice.
    """
    if record.next_slot is None or record.next_due is None or record.next_due <= now:
        return None  # the misfire rule decides about a slot that is due already
    if record.cursor <= now and record.anchor <= now:
        return None  # nothing was settled ahead of now, so the trigger, which may not have been read yet, is not asked
    again = replace(record)
    if record.anchor > now + WRONG_CLOCK:
        again.trigger, again.anchor = record.trigger.anchored(now), now
    settled = record.anchor <= record.cursor <= now + WRONG_CLOCK
    found = first_slot(again, max(now, record.cursor) if settled else now)
    if found is None or found.slot >= record.next_slot:
        return None
    again.cursor = min(record.cursor, found.slot - 1)
    again.next_slot, again.next_due = found
    return again


def plan(record: ScheduleRecord, misfire: Misfire, now: Instant) -> Plan:
    """Return what the schedule owes at ``now``; its next due time must have come."""
    slot, due = record.next_slot, record.next_due
    assert slot is not None and due is not None
    trigger = record.trigger
    following = trigger.next_instant(slot)
    if following is None or following > now:
        newest = _new(Slot, (slot, due))
        if misfire.grace_micros is None:  # nearly every firing: one slot is due, and no grace bounds it
            return _new(Plan, ([newest], None, slot, _upcoming(record, following)))
    else:
        newest = _newest(record, slot, due, now)
        following = trigger.next_instant(newest.slot)
    run = _chosen(record, misfire, slot, newest, now)
    lost = _lost(trigger, slot, newest.slot, run)
    return Plan(run, lost, newest.slot, _upcoming(record, following))


def _upcoming(record: ScheduleRecord, slot: Instant | None) -> Slot | None:
    if slot is None:
        return None
    due = jittered(record.id, slot, record.jitter, record.trigger) if record.jitter else slot
    return _new(Slot, (slot, due))


def _newest(record: ScheduleRecord, slot: Instant, due: Instant, now: Instant) -> Slot:
    """Return the newest slot whose due time has come; ``slot`` is the oldest."""
    at: Instant | None = now
    while at is not None and (at := record.trigger.previous_instant(at)) is not None and at > slot:
        due_then = jittered(record.id, at, record.jitter, record.trigger)
        if due_then <= now:
            return Slot(at, due_then)
        at -= 1  # not due yet, by its jitter; jitter ends before the next slot, so the slot before is due
    return Slot(slot, due)


def _chosen(
    record: ScheduleRecord, misfire: Misfire, oldest: Instant, newest: Slot, now: Instant
) -> list[Slot]:
    """Return the slots to run, oldest first."""
    grace = misfire.grace_micros
    chosen: list[Slot] = []
    most = misfire.limit if misfire.catch_up == "all" else 1
    candidate: Slot | None = newest
    while candidate is not None and len(chosen) < most:
        if grace is not None and now - candidate.due > grace:
            break
        chosen.append(candidate)
        if candidate.slot <= oldest or len(chosen) == most:
            break
        before = record.trigger.previous_instant(candidate.slot - 1)
        if before is None or before < oldest:
            break
        candidate = Slot(before, jittered(record.id, before, record.jitter, record.trigger))
    chosen.reverse()
    return chosen


def _lost(trigger: InstantTrigger, oldest: Instant, newest: Instant, run: list[Slot]) -> Lost | None:
    """Return the stretch before the slots that run."""
    if not run:
        last = newest
    elif run[0].slot == oldest:
        return None
    else:
        before = trigger.previous_instant(run[0].slot - 1)
        if before is None or before < oldest:
            return None
        last = before
    count, exact = count_slots(trigger, oldest - 1, last)
    return Lost(oldest, last, count, exact)


def resumed(record: ScheduleRecord, now: Instant) -> tuple[Lost | None, Slot | None]:
    """Return the stretch of a pause that ends now, and the next slot after it."""
    first = record.next_slot
    return None if first is None else passed(record, first - 1, now), first_slot(record, now)
