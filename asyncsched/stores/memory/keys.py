"""Keys in memory: a key belongs to one live run of a job, and to that run for `key_ttl` after its success."""

from __future__ import annotations

from typing import Any

from asyncsched._core.instants import Now
from asyncsched._core.records import RunRecord
from asyncsched._core.rules.transitions import answers_for_key, keeps_key, pass_key


class Keys:
    """The runs that hold a key."""

    def __init__(self) -> None:
        self._holders: dict[tuple[str, str], RunRecord] = {}

    def __len__(self) -> int:
        return len(self._holders)

    def holder(self, run: RunRecord, now: Now) -> RunRecord | None:
        """Return the run that holds the key of ``run``.

        A holder whose ``key_ttl`` is over, or whose own code adds ``run``, holds it no longer.
        """
        if run.key is None:
            return None
        holder = self._holders.get((run.job, run.key))
        if holder is None or (answers_for_key(holder, now.wall) and not pass_key(holder, run)):
            return holder
        del self._holders[run.job, run.key]
        return None

    def give(self, run: RunRecord) -> None:
        """Give a run its key, if it has one."""
        if run.key is not None:
            self._holders[run.job, run.key] = run

    def settle(self, run: RunRecord) -> None:
        """Free the key of a run that has ended, unless the run keeps it for its ``key_ttl``."""
        if run.key is not None and not keeps_key(run):
            self.drop(run)

    def drop(self, run: RunRecord) -> None:
        """Free the key of a run, if that run holds it."""
        if run.key is not None and self._holders.get((run.job, run.key)) is run:
            del self._holders[run.job, run.key]


def same(one: Any, other: Any) -> bool:
    """Whether two calls with one key are the same call."""
    try:
        return bool(one == other)
    except Exception:  # arrays and the like refuse a comparison: they count as different
        return False
