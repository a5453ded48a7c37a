"""The regular rounds of a member of a cluster: beats, polls and maintenance.

A driven clock jumps from one timer to the next, and nothing happens in between. While this instance is the only one,
nothing can then have changed either: the rounds in that time are left out, for a month of virtual time has ten
million polls. Every jump to another timer, and every step of the clock, brings the next regular round back.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, inf
from typing import TYPE_CHECKING

from asyncsched.abc import DrivenClock

if TYPE_CHECKING:
    from asyncsched._backends.base import Sleeper
    from asyncsched._engine.environment import Environment

_ASIDE = 0.37e-6
"""Seconds by which a round under a driven clock comes after its time, so that no other timer is due at the same
moment: the jump to it is then known to be for this round alone."""

_NEAR = 0.1e-6


class Rounds:
    """The rounds of several tasks, of which none brings back those of another."""

    def __init__(self, environment: Environment) -> None:
        self._clock = environment.clock
        self._backend = environment.backend
        self._all: list[Round] = []
        self._unsubscribe: list[Callable[[], object]] = []
        self.quiet = False
        """Whether nothing was changed of late, and only this process can change anything."""
        self.stirs = 0
        """How often the regular rounds were brought back."""
        if isinstance(self._clock, DrivenClock):
            self._unsubscribe = [self._clock.on_jump(self._jumped), self._clock.on_step(self.stir)]

    def of_a_task(self) -> Round:
        """Return the rounds of one more task."""
        made = Round(self, self._clock.monotonic, self._backend.sleeper(), bool(self._unsubscribe))
        self._all.append(made)
        return made

    def be_quiet(self, quiet: bool) -> None:
        """Hear from the membership whether all is quiet."""
        if self.quiet and not quiet:
            self.stir()
        self.quiet = quiet

    def close(self) -> None:
        """End all sleeps."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        for one in self._all:
            one.wake()

    def _jumped(self, at: float) -> None:
        if all(abs(one.due - at) > _NEAR for one in self._all):
            self.stir()

    def stir(self) -> None:
        self.stirs += 1
        for one in self._all:
            one.stir()


class Round:
    """The rounds of one task.

    Args:
        rounds: all rounds of the instance.
        monotonic: the loop's time.
        sleeper: of the task.
        driven: whether the clock is driven.

    """

    def __init__(
        self, rounds: Rounds, monotonic: Callable[[], float], sleeper: Sleeper, driven: bool
    ) -> None:
        self._rounds = rounds
        self._monotonic = monotonic
        self._sleeper = sleeper
        self._driven = driven
        self._skips = False
        self._seen = -1  # the number of stirs before the last round
        self.due = inf
        """When the next round is due, in the loop's time."""

    async def sleep(self, began: float, every: float) -> None:
        """Sleep until the round after the one that began at ``began``, or until :meth:`wake`."""
        if not self._driven:
            await self._sleeper.until(began + every)
            return
        if not (self._rounds.quiet and self._seen == self._rounds.stirs and await self._skip()):
            passed = max(1, ceil((self._monotonic() - began) / every))
            self.due = began + passed * every + _ASIDE
            await self._sleeper.until(self.due)
            self.due = inf
        self._seen = self._rounds.stirs

    async def _skip(self) -> bool:
        """Leave out rounds; return whether the next one comes at once, and not at its regular time."""
        self._skips = True
        await self._sleeper.until(inf)
        woken, self._skips = self._skips, False
        return woken

    def stir(self) -> None:
        """Bring back the next regular round, if rounds are left out at present."""
        if self._skips:
            self._skips = False
            self._sleeper.wake()

    def wake(self) -> None:
        """Have the next round at once. Call it in the loop's thread."""
        self._sleeper.wake()
