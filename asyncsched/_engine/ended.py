"""Schedules that are not fired any more: they have ended, or their row is gone."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from asyncsched._core.events import ScheduleEnded
from asyncsched._core.instants import Now, to_datetime
from asyncsched._core.records import ScheduleRecord
from asyncsched._core.requests import Claimed, Firing
from asyncsched._core.rules.ending import why_ended
from asyncsched._engine.agenda import Agenda
from asyncsched._engine.event_bus import EventBus

logger = logging.getLogger("asyncsched.scheduler")


def forget_missing(firings: Iterable[Firing], claimed: Claimed, agenda: Agenda) -> None:
    """Stop firing the schedules whose rows were deleted from the store, or cannot be read.

    Args:
        firings: what was claimed.
        claimed: the answer.
        agenda: forgets them.

    """
    stand = claimed.locked.union(record.id for record in claimed.schedules)
    for firing in firings:
        record = agenda.schedules.get(firing.schedule)
        if record is None or record.id in stand:
            continue
        agenda.forget(record.id)
        if record.declared:
            logger.warning(
                "schedule %r was due, and its row was deleted from the store or cannot be read: it is not "
                "fired any more; the next start of a process whose code has it writes it anew", record.id,
            )  # fmt: skip


def tell_ended(records: Iterable[ScheduleRecord], bus: EventBus, now: Now) -> None:
    """Tell the log and the observers, once, of those of the schedules that have ended.

    Args:
        records: schedules that were just fired or changed.
        bus: the observers.
        now: the moment.

    """
    for record in records:
        if not record.ended:
            continue
        logger.info("schedule %r has ended: %s; the schedule is kept", record.id, why_ended(record))
        if bus.wants(ScheduleEnded):
            why = "max_runs" if record.used_up else "trigger"
            bus.emit(ScheduleEnded(to_datetime(now.wall), record.id, record.job, why))
