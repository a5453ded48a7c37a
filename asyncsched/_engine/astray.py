"""Runs that the store says are running, and that nobody executes: found, and freed.

The answer to a claim may be lost: then this instance holds runs that it never heard of. And of a dead instance those
runs are left that another transaction had locked when it was declared dead. The instance that did so may be gone, too:
each one looks for such runs when it starts, and when another one has gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncsched._engine.lost_runs import tell_lost

if TYPE_CHECKING:
    from asyncsched._backends.clock import ClusterTimeline
    from asyncsched._core.instants import Instant
    from asyncsched._engine.agenda import Agenda
    from asyncsched._engine.environment import Environment
    from asyncsched._engine.runner import Runner
    from asyncsched.abc import ClusterStore


class Astray:
    """The search of one instance for such runs.

    Args:
        store, environment, timeline, agenda, runner: of the worker.

    """

    def __init__(
        self,
        store: ClusterStore,
        environment: Environment,
        timeline: ClusterTimeline,
        agenda: Agenda,
        runner: Runner,
    ) -> None:
        self._store = store
        self._clock = environment.clock
        self._timeline = timeline
        self._agenda = agenda
        self._runner = runner
        self._unconfirmed: dict[int, Instant] = {}  # unknown at the last search
        self._searched = float("-inf")
        self.every = min(1.0, store.beat_every)
        """Seconds between two searches, while there is something to search for."""
        self.left = True
        """Whether runs may be left that an instance holds that is there no more."""

    def __bool__(self) -> bool:
        """Whether there may be such runs."""
        return self._store.unconfirmed or bool(self._unconfirmed) or self.left

    async def begin(self, incarnation: int) -> None:
        """Begin a search, without a reason for one."""
        self._unconfirmed = self._unconfirmed or await self._unknown(incarnation)

    def forget(self) -> None:
        """Forget the last search: the instance joins anew, and holds nothing."""
        self._unconfirmed = {}

    async def search(self, incarnation: int) -> None:
        """Search if there is a reason, and free what was found."""
        if not self or self._clock.monotonic() < self._searched + self.every:
            return
        self._searched = self._clock.monotonic()
        if self._store.unconfirmed or self._unconfirmed:
            await self._release_unknown(incarnation)
        if self.left:
            await self._sweep()

    async def _sweep(self) -> None:
        now = self._timeline.now()
        fenced = await self._store.sweep(now)
        self.left = "locked" in fenced
        if fenced:
            self._agenda.notify()
            await tell_lost(self._store, self._runner.endings, fenced, now)

    async def _release_unknown(self, incarnation: int) -> None:
        """Release runs that the instance holds by the store and does not know of, if two queries in a row show them.

        The claim's answer was then lost, not late.
        """
        lost_answers = self._store.lost_answers
        unknown = await self._unknown(incarnation)
        confirmed = dict(unknown.items() & self._unconfirmed.items())
        if confirmed:
            await self._store.let_go(incarnation, confirmed, self._timeline.now())
            self._agenda.notify()
        if not unknown and not self._unconfirmed:
            self._store.confirm(lost_answers)
        self._unconfirmed = {run_id: began for run_id, began in unknown.items() if run_id not in confirmed}

    async def _unknown(self, incarnation: int) -> dict[int, Instant]:
        held = await self._store.held(incarnation)
        known = self._runner.known()
        return {run_id: began for run_id, began in held.items() if run_id not in known}
