"""Limits on running runs, and rate limits. Both are rows of one limiter, kept by the store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

from asyncsched._core.checks import check_choice, check_int
from asyncsched._core.errors import ArgumentError, ConfigurationError
from asyncsched._core.instants import DAY, HOUR, MINUTE, SECOND
from asyncsched._core.records import Permit
from asyncsched._core.text import describe_error, safe_repr

_UNITS = {"s": SECOND, "second": SECOND, "m": MINUTE, "min": MINUTE, "minute": MINUTE, "h": HOUR,
          "hour": HOUR, "d": DAY, "day": DAY}  # fmt: skip
_RATE = re.compile(r"\s*(\d{1,9})\s*/\s*(\d{0,6})\s*([a-z]{1,6})\s*", re.ASCII)


def _value_of(by: str, job: str, arguments: Mapping[str, Any]) -> str:
    try:
        value = repr(arguments.get(by))
    except Exception as error:  # an integer with more digits than Python writes, or a broken __repr__
        raise ArgumentError(
            f"job {job!r}: argument {by!r}, by which it is limited, has no repr: {describe_error(error)}"
        ) from None
    # blake2b gives the same on every instance; hash() does not.
    return value if len(value) <= 200 else blake2b(value.encode(), digest_size=16).hexdigest()


def _check_by(by: object, what: str) -> None:
    if by is not None and not (isinstance(by, str) and by.isidentifier()):
        raise ConfigurationError(f"{what}: by must name an argument of the job, not {safe_repr(by)}")


@dataclass(frozen=True, slots=True)
class Limit:
    """Bounds how many runs of a job are running at once, over all instances.

    Args:
        most: at least 1.
        by: the name of an argument; then each of its values has a limit to itself.
        full: what becomes of a run above the limit: ``wait`` for its turn, or ``skip``: it ends as
            ``cancelled(over_limit)`` before it begins. A retry of a run that has begun waits in any case.

    Example:
        >>> @scheduler.interval(seconds=10, overlap="allow", max_running=Limit(3, full="skip"))

    """

    most: int
    by: str | None = None
    full: Literal["wait", "skip"] = "wait"

    def __post_init__(self) -> None:
        check_int(self.most, "Limit: most", 1, 1_000_000)
        _check_by(self.by, "Limit")
        check_choice(self.full, "Limit: full", ("wait", "skip"))

    def permit(self, job: str, arguments: Mapping[str, Any]) -> Permit:
        """Return the permit that a run with these arguments needs."""
        key = f"running:{job}" if self.by is None else f"running:{job}:{_value_of(self.by, job, arguments)}"
        return Permit(key, self.most, drop=self.full == "skip")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Bounds how many runs of a job begin in a given time, over all instances: exact, by GCRA.

    Args:
        rate: such as ``"10/s"``, ``"100/min"``, ``"1/5min"`` or ``"5000/day"``. So many may begin
            at once; then one more each ``time / count`` (ITU-T I.371, the generic cell rate).
        by: the name of an argument; then each of its values has a limit to itself.
        drop: whether a run over the rate ends as ``cancelled(rate_limited)`` instead of waiting.

    """

    rate: str
    by: str | None = None
    drop: bool = False

    def __post_init__(self) -> None:
        _check_by(self.by, "RateLimit")
        if not isinstance(self.drop, bool):
            raise ConfigurationError(f"RateLimit: drop must be True or False, not {safe_repr(self.drop)}")
        self._parsed()

    def _parsed(self) -> tuple[int, int]:
        match = _RATE.fullmatch(self.rate) if isinstance(self.rate, str) else None
        unit = _UNITS.get(match[3]) if match else None
        count = int(match[1]) if match else 0
        times = int(match[2] or 1) if match else 0
        if match is None or unit is None or not count or not times:
            raise ConfigurationError(
                'RateLimit: the rate is "count/time" such as "10/s", "100/min", "1/5min" or '
                f'"5000/day", not {safe_repr(self.rate)}'
            )
        interval = -(-times * unit // count)  # rounded up, so that never more begin than the rate allows
        if count > times * unit:
            raise ConfigurationError(f"RateLimit: {safe_repr(self.rate)} is more than one per microsecond")
        return count, interval

    def permit(self, job: str, arguments: Mapping[str, Any]) -> Permit:
        """Return the permit that a run with these arguments needs."""
        key = f"rate:{job}" if self.by is None else f"rate:{job}:{_value_of(self.by, job, arguments)}"
        count, interval = self._parsed()
        return Permit(key, count, interval, self.drop)
