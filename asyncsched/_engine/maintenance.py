"""Maintenance of a shared store: every few minutes it is pruned, and runs that no living instance holds are freed."""

from __future__ import annotations

import logging
from contextvars import Context
from typing import TYPE_CHECKING

from asyncsched._core.errors import StoreError
from asyncsched._engine.lost_runs import tell_lost

if TYPE_CHECKING:
    from asyncsched._backends.clock import ClusterTimeline
    from asyncsched._engine.environment import Environment
    from asyncsched._engine.membership import Membership
    from asyncsched.abc import ClusterStore

logger = logging.getLogger("asyncsched.scheduler")

EVERY = 300.0
"""Seconds between two rounds of maintenance."""


class Maintenance:
    """Runs the rounds of maintenance in a separate task, so that no beat waits for a long one."""

    def __init__(
        self, store: ClusterStore, environment: Environment, timeline: ClusterTimeline, membership: Membership
    ) -> None:
        self._store = store
        self._timeline = timeline
        self._clock = environment.clock
        self._backend = environment.backend
        self._membership = membership
        self._rounds = membership.rounds.of_a_task()
        self._closing = False

    def begin(self) -> None:
        """Begin the rounds. Instances that start together spread their first rounds, from a quarter of the time on."""
        first = EVERY * (1 + 3 * self._membership.me.incarnation / 2**32) / 4
        self._backend.spawn(self._serve(first), Context())

    def close(self) -> None:
        """Begin no further round."""
        self._closing = True
        self._rounds.wake()

    async def _serve(self, pause: float) -> None:
        while not self._closing:
            began = self._clock.monotonic()
            while not self._closing and self._clock.monotonic() < began + pause:
                await self._rounds.sleep(began, pause)
            pause = EVERY
            if not self._closing:
                await self._round()
                self._membership.poll_soon()  # for the runs that it may have freed

    async def _round(self) -> None:
        try:
            now = self._timeline.now()
            await tell_lost(self._store, self._membership.endings, await self._store.sweep(now), now)
            await self._store.prune(self._timeline.now())
            await self._membership.find_unknown()
        except StoreError as error:
            logger.warning("maintenance of the store failed; the next round comes in 5 minutes: %s", error)
        except Exception:
            logger.exception("maintenance of the store failed; the next round comes in 5 minutes")
