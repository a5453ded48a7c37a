"""What a schedule owes now: which slots run, which get none, and what comes next.

Plain code over integers, with no clock and no store in it: the engine asks, and acts on the answer.
Nothing here walks through the slots of an outage; it costs the same after a second and a year.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncsched._errors import TriggerError, shorten, shown, told
from asyncsched._instants import HOUR, SECOND, YEAR, Instant, to_datetime, to_instant
from asyncsched._models import QUEUE_ALL_LIMIT

if TYPE_CHECKING:
    from asyncsched._ledger import Permit, ScheduleRecord
    from asyncsched._models import Misfire
    from asyncsched.abc import InstantTrigger, Trigger

COUNT_LIMIT = 1000
"""Up to how many lost slots are counted one by one where the trigger cannot tell at once."""

WRONG_CLOCK = 3 * HOUR
"""A last slot further ahead of now than this was settled under a clock that was wrong."""


_new = tuple.__new__  # for every firing: a named tuple's own constructor takes twice as long


class Slot(NamedTuple):
    """A due time before jitter, and after it."""

    slot: Instant
    due: Instant


class Lost(NamedTuple):
    """Slots without a run: from ``first`` to ``last``; ``exact`` is False where ``slots`` is a least."""

    first: Instant
    last: Instant
    slots: int
    exact: bool


class Plan(NamedTuple):
    """What is to be done: ``run`` oldest first, ``lost`` before them, then the next slot."""

    run: list[Slot]
    lost: Lost | None
    cursor: Instant
    upcoming: Slot | None


class UserTrigger:
    """A user's trigger, speaking instants. Found by halving, so nothing is walked."""

    def __init__(self, trigger: Trigger) -> None:
        self.trigger = trigger

    def next_instant(self, after: Instant) -> Instant | None:
        """Return the first instant strictly after ``after``.

        Raises:
            TriggerError: the trigger answered with something else.

        """
        found = self.trigger.next(to_datetime(after))
        if found is None:
            return None
        at = to_instant(found, f"what {type(self.trigger).__name__}.next returned")
        if at <= after:
            raise TriggerError(
                f"{type(self.trigger).__name__}.next({to_datetime(after)}) returned {shorten(str(found))}, "
                "which is not later; a trigger answers strictly after"
            )
        return at

    def previous_instant(self, before: Instant) -> Instant | None:
        """Return the last instant at or before ``before``, asking only ``next`` if need be."""
        own: Callable[[datetime], datetime | None] | None = getattr(self.trigger, "previous", None)
        if own is not None:
            found = own(to_datetime(before))
            if found is None:
                return None
            at = to_instant(found, f"what {type(self.trigger).__name__}.previous returned")
            if at > before:
                raise TriggerError(
                    f"{type(self.trigger).__name__}.previous({to_datetime(before)}) returned "
                    f"{shorten(str(found))}, which is later; a trigger answers at or before"
                )
            return at
        low, back = before - SECOND, SECOND
        while (first := self.next_instant(low)) is None or first > before:
            back *= 2
            low = before - back
            if back > 40 * YEAR:
                return None
        # Invariant: the slot after `low` is at or before `before`, the one after `high` is not.
        high = before
        while high - low > 1:
            middle = (low + high) // 2
            following = self.next_instant(middle)
            if following is None or following > before:
                high = middle
            else:
                low = middle
        return self.next_instant(low)

    def describe(self) -> str:
        """Return what the trigger says of itself, else its ``repr``."""
        own = getattr(self.trigger, "describe", None)
        return str(own()) if callable(own) else repr(self.trigger)

    def __repr__(self) -> str:
        return repr(self.trigger)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UserTrigger) and self.trigger == other.trigger

    def __hash__(self) -> int:
        return hash(self.trigger)


def as_instants(trigger: Any, what: str) -> InstantTrigger:
    """Return the trigger as one that speaks instants.

    Raises:
        TriggerError: it has no ``next``.

    """
    if hasattr(trigger, "next_instant") and not isinstance(trigger, type):
        speaking: InstantTrigger = trigger
        return speaking
    if not callable(getattr(trigger, "next", None)) or isinstance(trigger, type):
        raise TriggerError(f"{what}: {shown(trigger)} is no trigger; {_instead_of(trigger)}")
    return UserTrigger(trigger)


@contextmanager
def asking(schedule: str) -> Iterator[None]:
    """Have what a trigger raises named after its schedule: a user's own may raise anything.

    Raises:
        TriggerError: the trigger raised something; that is its cause.

    """
    try:
        yield
    except Exception as error:
        raise TriggerError(f"schedule {schedule!r}: its trigger failed: {told(error)}") from error


def _instead_of(trigger: object) -> str:
    if isinstance(trigger, str):
        return "write it as Cron(...)"
    if isinstance(trigger, (int, float, timedelta)) and not isinstance(trigger, bool):
        seconds = trigger.total_seconds() if isinstance(trigger, timedelta) else trigger
        return f"write Interval(seconds={shown(seconds)})"
    return "give an Interval, Cron, At, AnyOf, or an object with next(after) -> datetime | None"


def jittered(schedule: str, slot: Instant, jitter: int, trigger: InstantTrigger) -> Instant:
    """Return the slot moved by its jitter: the same on every instance, and never past the next slot."""
    if not jitter:
        return slot
    following = trigger.next_instant(slot)
    bound = jitter if following is None else min(jitter, following - slot - 1)
    digest = blake2b(f"{schedule}\0{slot}".encode(), digest_size=8).digest()
    return slot + int.from_bytes(digest) % (bound + 1)


def first_slot(record: ScheduleRecord, after: Instant) -> Slot | None:
    """Return the first slot strictly after ``after``."""
    slot = record.trigger.next_instant(after)
    if slot is None:
        return None
    return Slot(slot, jittered(record.id, slot, record.jitter, record.trigger))


def replanned(record: ScheduleRecord, now: Instant) -> ScheduleRecord | None:
    """Return the row as it stands when it is planned again after the wall clock was moved.

    A last slot more than 3 h ahead of now was settled under a wrong clock and is forgotten, and a
    grid that was anchored there is anchored anew. A last slot nearer than that is waited for, so
    that no slot runs twice. ``None``: what was planned holds.
    """
    if record.next_slot is None or record.next_due is None or record.next_due <= now:
        return None  # what is due is the misfire rule's
    again = replace(record)
    anchored: Callable[[Instant], InstantTrigger] | None = getattr(record.trigger, "anchored", None)
    if anchored is not None and record.anchor > now + WRONG_CLOCK:
        again.trigger, again.anchor = anchored(now), now
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
        if misfire.grace_micros is None:  # nearly every firing: one slot is due, and nothing refuses it
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
        at -= 1  # its jitter lies ahead; a slot's jitter ends before the next, so the one before is due
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


def count_slots(trigger: InstantTrigger, after: Instant, upto: Instant) -> tuple[int, bool]:
    """Return how many slots lie after ``after`` and at or before ``upto``, and whether that is exact."""
    at_once: Callable[[Instant, Instant], int] | None = getattr(trigger, "count", None)
    if at_once is not None:
        return at_once(after, upto), True
    count = 0
    at = trigger.next_instant(after)
    while at is not None and at <= upto:
        if count == COUNT_LIMIT:
            return count, False
        count += 1
        at = trigger.next_instant(at)
    return count, True


def passed(record: ScheduleRecord, since: Instant, now: Instant) -> Lost | None:
    """Return the slots after ``since`` and up to ``now`` as a stretch, if there are any."""
    first, last = record.trigger.next_instant(since), record.trigger.previous_instant(now)
    if first is None or last is None or first > last:
        return None
    return Lost(first, last, *count_slots(record.trigger, since, last))


def resumed(record: ScheduleRecord, now: Instant) -> tuple[Lost | None, Slot | None]:
    """Return the stretch of a pause that ends now, and the next slot after it."""
    first = record.next_slot
    return None if first is None else passed(record, first - 1, now), first_slot(record, now)


def gcra(theoretical: Instant, permit: Permit, now: Instant) -> tuple[Instant, Instant]:
    """Return when a run may begin under a rate, and the theoretical arrival time to keep.

    The generic cell rate algorithm in its virtual scheduling form (ITU-T I.371): one timestamp per
    key, exact, O(1).
    """
    theoretical = max(theoretical, now)
    begin = max(now, theoretical - (permit.most - 1) * permit.interval)
    return begin, theoretical + permit.interval


def admit(overlap: str, live: int, waiting: int, chained: bool) -> str:
    """Return what becomes of a new slot's run: ``run``, ``wait``, ``replace`` or ``skip``.

    Args:
        overlap: the job's rule.
        live: the schedule's own runs without an outcome.
        waiting: those of them that have not begun and wait for another.
        chained: the run belongs to a catch-up, whose runs go behind one another.

    """
    if not live:
        return "run"
    if chained:
        return "wait"
    if overlap == "allow":
        return "run"
    if overlap == "queue_one":
        return "skip" if waiting else "wait"
    if overlap == "queue_all":
        return "skip" if waiting >= QUEUE_ALL_LIMIT else "wait"
    if overlap == "replace":
        return "replace"
    return "skip"
