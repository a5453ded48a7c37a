"""Which runs are told to a service that takes only so many check-ins."""

from __future__ import annotations

from datetime import datetime, timedelta


class Pace:
    """Chooses the runs of one check that are told: one a minute, and any that changes success to failure or back.

    Args:
        apart: the time between two runs that are told from their beginning.
        changes: how many further changes are told in that time; later ones are told when they still stand.

    """

    def __init__(self, apart: timedelta = timedelta(minutes=1), changes: int = 2) -> None:
        self._apart = apart
        self._changes = changes
        self._began: datetime | None = None
        self._changed: list[datetime] = []
        self._told: set[str] = set()  # runs whose beginning was told
        self._well: bool | None = None

    def begins(self, run: str, at: datetime) -> bool:
        """Return whether the beginning of a run is told."""
        # After a step of the clock the last one may lie ahead.
        if self._began is not None and abs(at - self._began) < self._apart:
            return False
        self._began = at
        self._told.add(run)
        return True

    def ends(self, run: str, at: datetime, well: bool) -> bool:
        """Return whether the end of a run is told."""
        if run in self._told:
            self._told.discard(run)
        elif well == self._well:
            return False
        else:
            self._changed = [past for past in self._changed if abs(at - past) < self._apart]
            if len(self._changed) >= self._changes:
                return False
            self._changed.append(at)
        self._well = well
        return True

    def forget(self, run: str) -> None:
        """Forget a run that ended without success or failure."""
        self._told.discard(run)
