"""Steps of the wall clock: noticed against the monotonic one, and what they put out of place planned again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from asyncsched._backends.clock import LONGEST_NAP
from asyncsched._core.instants import SECOND, Instant, Now
from asyncsched._core.records import ScheduleRecord, Stretch
from asyncsched._core.rules.due import passed, replanned
from asyncsched.abc import DrivenClock

if TYPE_CHECKING:
    from asyncsched._backends.clock import Timeline
    from asyncsched.abc import Clock, Store

logger = logging.getLogger("asyncsched.scheduler")

_STEP = SECOND
"""A wall clock that moved this much against the monotonic one was stepped."""


class Step(NamedTuple):
    """The wall clock was moved ``by`` so much, up to ``unseen`` microseconds ago.

    The ``first`` is no step: what an earlier life planned by a clock that may have been wrong.
    """

    by: int
    unseen: int
    first: bool


class Steps:
    """Looks whether the wall clock was moved.

    Args:
        clock: a ``DrivenClock`` tells of its steps, and need not be looked at for them: a month of
            virtual time has 86,400 naps.
        timeline: what the clock says, as instants.
        wake: called at a step that the clock tells of.
        seen: whether nothing can be left from an earlier life.

    """

    def __init__(self, clock: Clock, timeline: Timeline, wake: Callable[[], None], *, seen: bool) -> None:
        self._clock = clock
        self._seen = seen
        now = timeline.now()
        self._offset = self._drift(now)
        self._checked = now.steady
        self.nap = LONGEST_NAP
        """The longest sleep after which a step is still noticed in time, in seconds."""
        self._unsubscribe: Callable[[], object] = lambda: None
        if isinstance(clock, DrivenClock):
            self.nap = inf
            self._unsubscribe = clock.on_step(wake)

    def check(self, now: Now) -> Step | None:
        """Return the step since the last one that was met, or ``None``."""
        by = self._drift(now) - self._offset
        since, self._checked = self._checked, now.steady
        first = not self._seen
        if not first and -_STEP < by < _STEP:
            return None
        # Between the last look and now the clock was moved; who is told of it looked at once.
        return Step(by, 0 if first or self.nap == inf else now.steady - since, first)

    def met(self, step: Step) -> None:
        """Hear that what it put out of place was planned again."""
        self._seen = True
        self._offset += step.by

    def close(self) -> None:
        """Be told of no more steps."""
        self._unsubscribe()

    def _drift(self, now: Now) -> int:
        return now.wall - round(self._clock.monotonic() * SECOND)


async def replan(
    records: Iterable[ScheduleRecord],
    store: Store,
    step: Step,
    now: Now,
    follow: Callable[[Iterable[ScheduleRecord]], None],
) -> tuple[str, ...]:
    """Forget due times that a wrong clock had put too far ahead; return whose they were."""
    changed = []
    for record in records:
        if record.steady or record.paused:
            continue
        again = _replanned(record, now.wall)
        if again is None:
            continue
        lost = passed(again, now.wall - step.unseen, now.wall) if again.cursor < record.cursor else None
        stretch = None if lost is None else Stretch(record.id, *lost[:3], "missed", lost.exact)
        follow((await store.put_schedule(again, record.revision, now, stretch),))
        changed.append(record.id)
    return tuple(changed)


def _replanned(record: ScheduleRecord, now: Instant) -> ScheduleRecord | None:
    try:
        return replanned(record, now)
    except Exception:  # a user's trigger that raises must stop nobody else's
        logger.exception("schedule %r: its trigger failed; what was planned holds", record.id)
        return None
