"""Run ids: integers in order of time, unique over instances, rendered late."""

from __future__ import annotations

import random

from asyncsched._core.instants import Instant

_VERSION_7 = 7 << 76
_VARIANT = 2 << 62


class RunIds:
    """Makes ids laid out as UUID version 7 (RFC 9562): 48 bits of milliseconds, then uniqueness.

    The uniqueness is 12 bits of the microseconds within the millisecond, 32 random bits of this
    instance, and a counter of 30 bits.
    """

    def __init__(self, source: random.Random | None = None) -> None:
        # Uniqueness, not secrecy: a seeded source makes a history repeatable in tests.
        self._source = source or random.SystemRandom()
        self.instance = self.incarnation()
        self._fixed = _VERSION_7 | _VARIANT | (self.instance << 30)
        self._count = 0
        self._now = self._base = -1

    def incarnation(self) -> int:
        """Return a number, not 0, that no other instance has."""
        return self._source.getrandbits(32) or 1

    def next(self, now: Instant) -> int:
        """Return the next id at ``now``."""
        if now != self._now:
            self._now, self._base = now, _at(now) | self._fixed
        self._count = count = (self._count + 1) & 0x3FFFFFFF
        return self._base + count


def id_at(now: Instant, unique: int) -> int:
    """Return the id for something that is made once: at ``now``, with 32 bits that nothing else of that moment has."""
    return _at(now) | _VERSION_7 | _VARIANT | (unique << 30)


def _at(now: Instant) -> int:
    milli, micro = divmod(now, 1000)
    return (milli << 80) | (micro << 66)


def moment_of(run_id: int) -> Instant:
    """Return the instant at which an id was made."""
    return (run_id >> 80) * 1000 + (run_id >> 66 & 0x3FF)
