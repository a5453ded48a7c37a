"""The slots to come: those of one schedule one by one, and how many there are of all in each step of time."""

from __future__ import annotations

import logging
from itertools import accumulate
from math import inf

from asyncsched._core.instants import Instant, to_datetime
from asyncsched._core.records import ScheduleRecord
from asyncsched._core.reports import Coming
from asyncsched._core.rules.lost import count_slots
from asyncsched._core.text import describe_error
from asyncsched.triggers.base import noted
from asyncsched.triggers.combine import notes_of

logger = logging.getLogger("asyncsched.scheduler")

SEARCHED = 10_000
"""The slots that one count searches for, of all schedules together; about 10 ms."""


def slots_to_come(
    record: ScheduleRecord, first: Instant, last: Instant, limit: int, now: Instant
) -> list[tuple[Instant, Coming]]:
    """Return the slots of a schedule, and after them the fault if its trigger raises."""
    slots: list[Instant] = []
    notes: dict[Instant, str] = {}
    fault = ""
    try:
        at = record.trigger.next_instant(first - 1)
        left = _left(record, first, now)
        while at is not None and at <= last and len(slots) < limit and (left > 0 or at <= now):
            if not now < at <= record.cursor:  # a slot to come that was skipped
                slots.append(at)
                left -= at > now
            at = record.trigger.next_instant(at)
        notes = noted(slots, notes_of(record.trigger.original, first, last if at is None else min(at, last)))
    except Exception as error:
        logger.exception("timeline: schedule %r: its trigger failed", record.id)
        fault = f"its trigger failed: {describe_error(error)}"
    found = [(at, Coming(to_datetime(at), record.id, record.job, notes.get(at, ""))) for at in slots]
    if fault:
        at = slots[-1] if slots else first
        found.append((at, Coming(to_datetime(at), record.id, record.job, fault=fault)))
    return found


def _left(record: ScheduleRecord, first: Instant, now: Instant) -> float:
    """Return how many slots to come, from ``first`` on, can still become runs by ``max_runs``."""
    if record.max_runs is None:
        return inf
    before, _ = count_slots(record.trigger, max(now, record.cursor), first - 1) if first > now else (0, True)
    return record.max_runs - record.runs_made - before


class DueCounts:
    """Counts the slots of schedules in each step of a stretch of time.

    Args:
        first, last: the stretch; ``last`` is not in it.
        step: the length of a step.
        schedules: how many schedules will be counted: the more there are, the fewer slots are searched for of each,
            and the others are taken to follow at the same rate.

    """

    def __init__(self, first: Instant, last: Instant, step: int, schedules: int) -> None:
        self._first, self._last, self._step = first, last, step
        self._most = max(8, SEARCHED // max(1, schedules))
        steps = -(-(last - first) // step)
        self._counts = [0.0] * steps
        self._rates = [0.0] * (steps + 1)  # from each step on, so many slots more follow in every step

    def add(self, record: ScheduleRecord, now: Instant) -> None:
        """Count the slots of one schedule; a trigger that raises has those before."""
        try:
            self._search(record, now)
        except Exception:  # the log names it where its slots are listed
            logger.debug("schedule %r: its trigger failed", record.id, exc_info=True)

    def _search(self, record: ScheduleRecord, now: Instant) -> None:
        begun = at = record.trigger.next_instant(self._first - 1)
        left = _left(record, self._first, now)
        for _ in range(self._most):
            if at is None or at >= self._last or (left <= 0 and at > now):
                return
            if not now < at <= record.cursor:  # a slot to come that was skipped
                self._counts[(at - self._first) // self._step] += 1
                left -= at > now
            at = record.trigger.next_instant(at)
        if at is not None and begun is not None and at < self._last:
            self._go_on(at, self._most / (at - begun))

    def _go_on(self, at: Instant, rate: float) -> None:
        """Take the slots from a moment on to follow at a rate."""
        place = (at - self._first) // self._step
        self._counts[place] += rate * (self._first + (place + 1) * self._step - at)
        self._rates[place + 1] += rate * self._step

    def counts(self) -> list[int]:
        """Return the number of slots of each step."""
        return [
            round(count + rate) for count, rate in zip(self._counts, accumulate(self._rates), strict=False)
        ]
