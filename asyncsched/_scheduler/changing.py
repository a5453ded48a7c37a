"""A change of a schedule's row, tried again if another instance changed the row meanwhile; and the skip of a slot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as copy
from datetime import datetime

from asyncsched._core.errors import ScheduleExists, SchedulerStateError
from asyncsched._core.events import SlotsSkipped
from asyncsched._core.instants import to_datetime
from asyncsched._core.mapping import skipped_event
from asyncsched._core.records import ScheduleRecord, Stretch
from asyncsched._core.rules.due import first_slot
from asyncsched._core.trigger import asking
from asyncsched._engine.ended import tell_ended
from asyncsched._engine.worker import Worker
from asyncsched._scheduler.audit import audited, told
from asyncsched._scheduler.face import Face

_TRIES = 20


class Changing(Face):
    """The base of the part that changes schedules."""

    @audited("skip_next")
    async def skip_next(self, id: str, *, note: str = "", by: str = "") -> datetime:
        """Give the next slot of a schedule no run; its record then says that it was skipped.

        Returns:
            The slot that is skipped. A second call skips the one after it.

        Raises:
            UnknownSchedule: there is no schedule of that id.
            SchedulerStateError: the schedule is paused, or has no further slot.

        """
        skipped = 0

        def skip(record: ScheduleRecord) -> Stretch:
            nonlocal skipped
            if record.paused or record.next_slot is None:
                why = "is paused" if record.paused else "has no further slot"
                raise SchedulerStateError(f"schedule {id!r} {why}: there is nothing to skip")
            skipped = record.cursor = record.next_slot
            told(f"the slot of {to_datetime(skipped):%Y-%m-%d %H:%M:%S} UTC")
            with asking(id):
                record.next_slot, record.next_due = first_slot(record, skipped) or (None, None)
            return Stretch(id, skipped, skipped, 1, "skipped")

        await self._change(id, skip)
        return to_datetime(skipped)

    async def _change(self, id: str, change: Callable[[ScheduleRecord], Stretch | None]) -> ScheduleRecord:
        """Change a schedule's row; try again if another instance changed it meanwhile.

        Args:
            id: the schedule's id.
            change: changes a record, and returns the slots that get no run by that.

        """
        worker = self._here().main
        for _ in range(_TRIES):
            stands = await self._schedule(id)
            changed, had_ended = copy(stands), stands.ended
            lost = change(changed)
            after = await worker.store.put_schedule(changed, stands.revision, worker.timeline.now(), lost)
            if after is changed:
                return await self._follow(worker, after, lost, had_ended)
        raise SchedulerStateError(
            f"schedule {id!r}: other instances changed it at each of {_TRIES} tries; try again"
        )

    async def _put(
        self, worker: Worker, record: ScheduleRecord, revision: int, lost: Stretch | None, had_ended: bool
    ) -> ScheduleRecord:
        after = await worker.store.put_schedule(record, revision, worker.timeline.now(), lost)
        if after is not record:
            raise ScheduleExists(f"schedule {record.id!r} was made or changed by another at the same moment")
        return await self._follow(worker, after, lost, had_ended)

    async def _follow(
        self, worker: Worker, record: ScheduleRecord, lost: Stretch | None, had_ended: bool
    ) -> ScheduleRecord:
        worker.agenda.follow((record,))
        worker.agenda.notify()
        bus = self._here().environment.bus
        if lost is not None and bus.wants(SlotsSkipped):
            bus.emit(skipped_event(lost, worker.timeline.now(), record.job))
        if record.ended and not had_ended:
            tell_ended((record,), bus, worker.timeline.now())
        return record
