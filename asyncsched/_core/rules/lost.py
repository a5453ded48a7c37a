"""Slots that get no run: their count, and the stretch of them when a pause or a trigger ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from asyncsched._core.instants import Instant
from asyncsched._core.records import Stretch

if TYPE_CHECKING:
    from asyncsched._core.records import ScheduleRecord
    from asyncsched._core.trigger import InstantTrigger

COUNT_LIMIT = 1000
"""The most lost slots that are counted one by one, for a trigger without a ``count``."""


class Lost(NamedTuple):
    """Slots without a run: from ``first`` to ``last``; ``exact`` is False where ``slots`` is a lower bound."""

    first: Instant
    last: Instant
    slots: int
    exact: bool


def count_slots(trigger: InstantTrigger, after: Instant, upto: Instant) -> tuple[int, bool]:
    """Return the number of slots after ``after`` and at or before ``upto``, and whether it is exact."""
    counted = trigger.count(after, upto)
    if counted is not None:
        return counted, True
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


def lengthened(newest: Stretch | None, lost: Stretch, before: Instant | None) -> Stretch:
    """Return the stretch to keep for slots that get no run.

    Args:
        newest: the last stretch of the schedule.
        lost: the slots.
        before: the last slot settled before the lost ones; ``None`` if ``lost`` is to be a separate stretch.

    Returns:
        ``newest`` made longer, if it ends at ``before`` for the same reason; else ``lost``.

    """
    if newest is None or newest.last != before or newest.reason != lost.reason:
        return lost
    exact = newest.exact and lost.exact
    return Stretch(lost.schedule, newest.first, lost.last, newest.count + lost.count, lost.reason, exact)
