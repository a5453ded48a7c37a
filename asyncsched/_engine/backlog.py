"""A backlog that grows: a schedule whose runs wait for ``max_running`` longer and longer. The log names it once."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from asyncsched._core.instants import MINUTE, SECOND
from asyncsched._core.records import RunRecord
from asyncsched._engine.agenda import Agenda

logger = logging.getLogger("asyncsched.scheduler")

_LATE = MINUTE
_SLOTS = 10
"""A run that begins so many slots of its schedule after its own has a backlog before it."""


class Backlog:
    """Watches how late the runs of schedules begin.

    Args:
        agenda: knows the schedules.

    """

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self._told: set[str] = set()

    def look(self, begun: Iterable[RunRecord]) -> None:
        """Look at runs that have just begun."""
        for run in begun:
            if run.late is not None and run.late > _LATE and run.permits and run.origin == "schedule":
                self._look(run)

    def _look(self, run: RunRecord) -> None:
        record = self._agenda.schedules.get(run.schedule or "")
        if record is None or record.id in self._told or run.slot is None or run.late is None:
            return
        slot, begins = run.slot, run.due + run.late
        for _ in range(_SLOTS):
            following = record.trigger.next_instant(slot)
            if following is None or following > begins:
                return
            slot = following
        self._told.add(record.id)
        logger.warning(
            "schedule %r: a run has waited %.0f s for a limit of job %r, and more than %d of its runs wait: they come "
            'faster than they end. Let fewer come, raise the limit, or leave runs above it out with Limit(…, full="skip") '
            "or RateLimit(…, drop=True)",
            record.id, run.late / SECOND, run.job, _SLOTS,
        )  # fmt: skip
