"""The slots that a schedule still owes when its trigger is exchanged."""

from __future__ import annotations

import logging

from asyncsched._core.instants import Now
from asyncsched._core.records import ScheduleRecord, Stretch
from asyncsched._core.rules.due import resumed
from asyncsched._core.rules.ending import slots_after_end
from asyncsched._scheduler.face import here

logger = logging.getLogger("asyncsched.scheduler")


def lost_until(record: ScheduleRecord, now: Now, max_runs: int | None) -> Stretch | None:
    """Return the slots that have come and got no run, for a schedule that gets another trigger or ``max_runs``."""
    try:
        if record.used_up:
            return slots_after_end(record, max_runs, here(record, now))
        lost, _ = resumed(record, here(record, now))
    except Exception:  # a trigger that raises must be exchangeable
        logger.exception(
            "schedule %r: its old trigger failed; the slots that it lost are not known", record.id
        )
        return None
    if lost is None:
        return None
    return Stretch(record.id, *lost[:3], "paused" if record.paused else "missed", lost.exact)
