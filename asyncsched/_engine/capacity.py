"""The free places of each executor, shared by all workers of a scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from asyncsched._core.records import RunRecord
from asyncsched.abc import Executor

MOST_LENT = 1000
"""The most places of one executor that are lent at once: each may be another thread."""


class Capacity:
    """Counts the free places of every executor. A run whose executor is full stays pending.

    Two workers can claim for the same place at the same moment. The count is then below 0 until as
    many attempts have ended, so the workers are notified when it rises above 0, however far it fell.
    """

    def __init__(self, executors: Mapping[str, Executor]) -> None:
        self._executors = executors
        self._lent = dict.fromkeys(executors, 0)
        self.free = {name: executor.capacity for name, executor in executors.items()}
        self._subscribers: list[Callable[[], None]] = []

    def learn(self, name: str) -> None:
        """Count the places of an executor that was opened after the others."""
        self._lent[name], self.free[name] = 0, self._executors[name].capacity

    def subscribe(self, notify: Callable[[], None]) -> None:
        """Call ``notify`` whenever an executor that was full has a place again."""
        self._subscribers.append(notify)

    def unsubscribe(self, notify: Callable[[], None]) -> None:
        """Stop calling ``notify``."""
        self._subscribers.remove(notify)

    def take(self, name: str) -> None:
        """Take a place."""
        self.free[name] -= 1

    def take_for(self, runs: Iterable[RunRecord]) -> None:
        """Take a place for each of the runs."""
        free = self.free
        for run in runs:
            free[run.executor] -= 1

    def give_back(self, name: str) -> None:
        """Free a place; notify the workers if it is the only free one."""
        self.free[name] = free = self.free[name] + 1
        if free == 1:
            for notify in list(self._subscribers):
                notify()

    def held(self) -> dict[str, str]:
        """Return the jobs of which no run may begin now, each with the reason."""
        return {job: why for executor in self._executors.values() for job, why in executor.held.items()}

    def full(self) -> dict[str, str]:
        """Return the executors without a free place, each with what a run waits for that is to begin in it."""
        return {
            name: f"a place in executor {name!r} ({self._executors[name].capacity})"
            for name, free in self.free.items()
            if free <= 0
        }

    def awaited_by(self, executor: str, job: str) -> str | None:
        """Return what a run that is ready waits for here, if its job is held or its executor is full."""
        found = self._executors.get(executor)
        if found is None:
            return None
        return found.held.get(job) or self.full().get(executor)

    def lend(self, name: str) -> bool:
        """Free the place of an attempt that waits for another run; return False if too many places are lent."""
        if self._lent[name] >= MOST_LENT:
            return False
        self._lent[name] += 1
        self._executors[name].lend(1)
        self.give_back(name)
        return True

    def take_back(self, name: str) -> None:
        """Take the place again; there may be none free for a while, so that more attempts are under way."""
        self._lent[name] -= 1
        self._executors[name].lend(-1)
        self.take(name)
