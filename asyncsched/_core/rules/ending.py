"""The end of a schedule after as many runs as its ``max_runs``.

A slot counts once it has become a run of the schedule's own, however that run ends. Slots without a run do not
count, nor do runs by hand and backfilled ones. The count belongs to the schedule's row, and is written in the
transaction that makes the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncsched._core.records import Stretch
from asyncsched._core.rules.lost import passed

if TYPE_CHECKING:
    from asyncsched._core.instants import Instant
    from asyncsched._core.records import RunRecord, ScheduleRecord


def count_run(schedule: ScheduleRecord, run: RunRecord) -> None:
    """Count a run that a slot has become; after the last one the schedule has no next slot.

    The cursor then stands at that run's slot: the slots after it came after the end, also those of the same firing.
    """
    assert run.slot is not None
    schedule.runs_made += 1
    if schedule.used_up:
        schedule.cursor, schedule.next_slot, schedule.next_due = run.slot, None, None


def may_go_on(schedule: ScheduleRecord, most: int | None) -> bool:
    """Whether the schedule may have further runs with another ``max_runs``."""
    return most is None or schedule.runs_made < most


def slots_after_end(schedule: ScheduleRecord, most: int | None, now: Instant) -> Stretch | None:
    """Return the slots that came after the end by ``max_runs``, if the schedule goes on now with ``most``."""
    lost = None
    if schedule.used_up and may_go_on(schedule, most):
        lost = passed(schedule, schedule.cursor, now)
    return None if lost is None else Stretch(schedule.id, *lost[:3], "ended", lost.exact)


def why_ended(schedule: ScheduleRecord) -> str:
    """Return why an ended schedule has ended, in words."""
    if not schedule.used_up:
        return "its trigger has no further due time"
    if schedule.max_runs == schedule.runs_made:
        return f"it has had the {schedule.max_runs} runs of its max_runs={schedule.max_runs}"
    return f"it has had {schedule.runs_made} runs, and its max_runs is {schedule.max_runs}"
