"""Steps of the wall clock: detected against the monotonic clock, and schedules planned again after them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from asyncsched._backends.clock import LONGEST_NAP
from asyncsched._core.events import ClockStepped
from asyncsched._core.instants import SECOND, Instant, Now, to_datetime
from asyncsched._core.records import ScheduleRecord, Stretch
from asyncsched._core.rules.due import replanned
from asyncsched._core.rules.lost import passed
from asyncsched.abc import DrivenClock

if TYPE_CHECKING:
    from asyncsched._backends.clock import Timeline
    from asyncsched._engine.agenda import Agenda
    from asyncsched._engine.event_bus import EventBus
    from asyncsched.abc import Clock, Store

logger = logging.getLogger("asyncsched.scheduler")

_STEP = SECOND
"""A wall clock that moved this much against the monotonic clock was stepped."""


class Step(NamedTuple):
    """The wall clock was moved ``by`` microseconds, up to ``unseen`` microseconds ago.

    The ``first`` one stands for no step: at the start of a scheduler, an earlier process may have planned by
    a clock that was wrong.
    """

    by: int
    unseen: int
    first: bool


class Steps:
    """Detects whether the wall clock was moved.

    Args:
        clock: a ``DrivenClock`` announces its steps, so that no nap is needed to detect them: a month of
            virtual time has 86,400 naps.
        timeline: the time of that clock, as instants.
        wake: called at a step that the clock announces.
        seen: whether no plan of an earlier process can be left.

    """

    def __init__(self, clock: Clock, timeline: Timeline, wake: Callable[[], None], *, seen: bool) -> None:
        self._clock = clock
        self._seen = seen
        now = timeline.now()
        self._offset = self._drift(now)
        self._checked = now.steady
        self.nap = LONGEST_NAP
        """The longest sleep after which a step is still detected in time, in seconds."""
        self._unsubscribe: Callable[[], object] = lambda: None
        if isinstance(clock, DrivenClock):
            self.nap = inf
            self._unsubscribe = clock.on_step(wake)

    def check(self, now: Now) -> Step | None:
        """Return the step since the last one that was dealt with, or ``None``."""
        by = self._drift(now) - self._offset
        since, self._checked = self._checked, now.steady
        first = not self._seen
        if not first and -_STEP < by < _STEP:
            return None
        # The clock was moved between the last check and now; after an announced step, the check comes at once.
        return Step(by, 0 if first or self.nap == inf else now.steady - since, first)

    def met(self, step: Step) -> None:
        """Note that the schedules were planned again after this step."""
        self._seen = True
        self._offset += step.by

    def close(self) -> None:
        """Unsubscribe from a clock that announces its steps."""
        self._unsubscribe()

    def _drift(self, now: Now) -> int:
        return now.wall - round(self._clock.monotonic() * SECOND)


async def plan_again(step: Step, steps: Steps, agenda: Agenda, store: Store, bus: EventBus, now: Now) -> None:
    """Plan the schedules of the wall clock again after the clock was moved, and once at the start."""
    names = await replan(list(agenda.schedules.values()), store, step, now, agenda.follow)
    agenda.tidy()
    steps.met(step)
    if step.first:
        return  # before the start, the store's clock was not known
    log = logger.warning if names else logger.info
    log(
        "the wall clock was moved by %+.3f s; %d schedules were planned again", step.by / SECOND, len(names)
    )  # fmt: skip
    if bus.wants(ClockStepped):
        bus.emit(ClockStepped(to_datetime(now.wall), timedelta(microseconds=step.by), names))


async def replan(
    records: Iterable[ScheduleRecord],
    store: Store,
    step: Step,
    now: Now,
    follow: Callable[[Iterable[ScheduleRecord]], None],
) -> tuple[str, ...]:
    """Plan the schedules again whose due time a wrong clock had put too far ahead; return their ids."""
    changed = []
    for record in records:
        if record.steady or record.paused:
            continue
        again = _replanned(record, now.wall)
        if again is None or await _was_skipped(store, again):
            continue
        lost = passed(again, now.wall - step.unseen, now.wall) if again.cursor < record.cursor else None
        stretch = None if lost is None else Stretch(record.id, *lost[:3], "missed", lost.exact)
        follow((await store.put_schedule(again, record.revision, now, stretch),))
        changed.append(record.id)
    return tuple(changed)


async def _was_skipped(store: Store, again: ScheduleRecord) -> bool:
    """Whether the slot that would come again is one that somebody skipped: then the old plan holds."""
    if again.next_slot is None:
        return False
    found = await store.stretches(again.id, again.next_slot, again.next_slot)
    return any(stretch.reason == "skipped" for stretch in found)


def _replanned(record: ScheduleRecord, now: Instant) -> ScheduleRecord | None:
    try:
        return replanned(record, now)
    except Exception:  # a user's trigger that raises must stop no other schedule
        logger.exception("schedule %r: its trigger failed; its due time stays as it was planned", record.id)
        return None
