"""The trigger that is due at equal intervals, on a grid that never drifts."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime, timedelta
from math import isfinite
from typing import Any, Never

from asyncsched._core.errors import TriggerError
from asyncsched._core.instants import FIRST_INSTANT, LAST_INSTANT, YEAR, Instant, to_datetime, to_instant
from asyncsched._core.text import safe_repr
from asyncsched.triggers.base import BaseTrigger, immutable
from asyncsched.triggers.codec import kept_as

_NANO = 1000  # nanoseconds in a microsecond
_SHORTEST = 1_000_000
_LONGEST = 100 * YEAR * _NANO
_UNITS = {"weeks": 604_800, "days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}


@kept_as("interval")
@immutable
class Interval(BaseTrigger):
    """Due at anchor + k x period, exactly, in integer nanoseconds.

    With ``start`` the anchor is ``start`` and itself a due time. Without, the anchor is the moment
    the schedule was first known, and the first due time is one period later; ``immediate=True``
    makes the anchor a due time too. A trigger that is used directly, outside a schedule, takes the
    ``after`` that it is given as its anchor.

    Args:
        weeks, days, hours, minutes, seconds: numbers; they add up to the period.
        start: aware datetime of the first due time.
        end: aware datetime after which nothing is due.
        immediate: whether the anchor itself is due.

    Attributes:
        period: as a ``timedelta``, to the microsecond.
        start: in UTC.
        end: in UTC.
        immediate: as given.

    Raises:
        TriggerError: a period below 1 ms or above 100 years, an argument that is no number, or an end before
            the start.
        ConfigurationError: a naive ``start`` or ``end``.

    Example:
        >>> Interval(hours=1, minutes=30).describe()
        'every 1 hour 30 minutes'

    """

    _nanos: int
    _first: Instant | None
    _last: Instant | None
    immediate: bool
    _anchor: Instant | None = field(compare=False)  # the schedule's; it plays no part in equality

    steady = True
    """In memory, an interval is waited for on the steady timeline, where steps of the wall clock do not exist."""

    def __init__(
        self,
        *unnamed: Never,
        weeks: float = 0,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        start: datetime | None = None,
        end: datetime | None = None,
        immediate: bool = False,
    ) -> None:
        if unnamed:
            raise TriggerError(f"Interval: write Interval(seconds=30), not Interval({safe_repr(unnamed[0])})")
        if not isinstance(immediate, bool):
            raise TriggerError(
                f"Interval: immediate must be True or False, not {safe_repr(immediate)}", field="immediate"
            )
        first = None if start is None else to_instant(start, "Interval: start")
        last = None if end is None else to_instant(end, "Interval: end")
        if first is not None and last is not None and last < first:
            raise TriggerError("Interval: end lies before start, so it would never fire", field="end")
        given = {"weeks": weeks, "days": days, "hours": hours, "minutes": minutes, "seconds": seconds}
        self._put(_period(given), first, last, immediate, first)

    def _put(
        self, nanos: int, first: Instant | None, last: Instant | None, immediate: bool, anchor: Instant | None
    ) -> None:
        put = object.__setattr__  # as every frozen dataclass does
        put(self, "_nanos", nanos)
        put(self, "_first", first)
        put(self, "_last", last)
        put(self, "immediate", immediate)
        put(self, "_anchor", anchor)

    @property
    def period(self) -> timedelta:
        """The period, to the microsecond."""
        return timedelta(microseconds=round(self._nanos / _NANO))

    @property
    def start(self) -> datetime | None:
        """The first due time in UTC, where one was given."""
        return None if self._first is None else to_datetime(self._first)

    @property
    def end(self) -> datetime | None:
        """The moment in UTC after which nothing is due, where one was given."""
        return None if self._last is None else to_datetime(self._last)

    def anchored(self, at: Instant) -> Interval:
        """Return this interval with its grid fixed at ``at``, unless ``start`` fixes it already."""
        if self._first is not None:
            return self
        anchored = object.__new__(Interval)
        anchored._put(self._nanos, None, self._last, self.immediate, at)
        return anchored

    # Slot k is anchor + k x period, floored to the microsecond; nothing is added up.

    @property
    def _lowest(self) -> int:
        """Return the k of the first slot."""
        return 0 if self._first is not None or self.immediate else 1

    def _slot(self, anchor: Instant, k: int) -> Instant:
        return anchor + k * self._nanos // _NANO

    def _after(self, anchor: Instant, after: Instant) -> int:
        """Return the k of the first slot strictly after ``after``."""
        return max(self._lowest, -((anchor - after - 1) * _NANO // self._nanos))

    def _upto(self, anchor: Instant, upto: Instant) -> int:
        """Return the k of the last slot at or before ``upto``; less than the lowest if there is none."""
        last = upto if self._last is None else min(upto, self._last)
        return ((last + 1 - anchor) * _NANO - 1) // self._nanos

    def next_instant(self, after: Instant) -> Instant | None:
        """Return the first slot strictly after ``after``, in O(1)."""
        anchor, nanos = self._anchor, self._nanos
        if anchor is None:
            found = after + nanos // _NANO
        else:  # _after and _slot, written out: this runs at every firing
            k = -((anchor - after - 1) * _NANO // nanos)
            found = anchor + (k if k > 0 else max(k, self._lowest)) * nanos // _NANO
        if found > LAST_INSTANT or (self._last is not None and found > self._last):
            return None
        return found

    def previous_instant(self, before: Instant) -> Instant | None:
        """Return the last slot at or before ``before``, in O(1); ``None`` where there is no anchor yet."""
        anchor = self._anchor
        if anchor is None:
            return None
        k = self._upto(anchor, min(before, LAST_INSTANT))
        found = self._slot(anchor, k)
        return None if k < self._lowest or found < FIRST_INSTANT else found

    def count(self, after: Instant, upto: Instant) -> int:
        """Return how many slots lie after ``after`` and at or before ``upto``, in O(1)."""
        anchor = self._anchor
        if anchor is None:
            return 0
        return max(0, self._upto(anchor, upto) - self._after(anchor, after) + 1)

    def describe(self) -> str:
        """Return the interval in plain English, such as ``every hour`` or ``every 1 hour 30 minutes``."""
        rest, parts = self._nanos, []
        for unit, seconds in _UNITS.items():
            value: float
            if unit == "seconds":
                value = rest / 1_000_000_000
            else:
                value, rest = divmod(rest, seconds * 1_000_000_000)
            if value:
                parts.append(f"{value:.12g} {unit[:-1] if value == 1 else unit}")
        one = len(parts) == 1 and parts[0].startswith("1 ")
        text = "every " + (parts[0][2:] if one else " ".join(parts))
        if self._first is not None:
            text += f" from {to_datetime(self._first).isoformat(' ', 'seconds')}"
        if self._last is not None:
            text += f" until {to_datetime(self._last).isoformat(' ', 'seconds')}"
        return text

    def to_json(self) -> dict[str, Any]:
        """Return the interval as data for :meth:`from_json`. A schedule's anchor is not part of it."""
        return {"interval": self._nanos, "start": self._first, "end": self._last, "immediate": self.immediate}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Interval:
        """Return the interval that ``to_json`` wrote."""
        made = object.__new__(cls)
        made._put(data["interval"], data["start"], data["end"], data["immediate"], data["start"])
        return made

    def __repr__(self) -> str:
        parts = [f"seconds={self._nanos / 1_000_000_000:.12g}"]
        parts += [f"{name}={at.isoformat()}" for name in ("start", "end") if (at := getattr(self, name))]
        parts += ["immediate=True"] if self.immediate else []
        return f"Interval({', '.join(parts)})"


def _period(given: dict[str, float]) -> int:
    """Return the period in nanoseconds."""
    total = 0
    for unit, value in given.items():
        if value or type(value) is not int:  # a unit that was not given is 0
            total += _nanos(unit, value)
    if total == 0:
        raise TriggerError("Interval: the period is zero; give weeks, days, hours, minutes or seconds")
    if total < _SHORTEST:
        raise TriggerError(f"Interval: the period is below 1 ms ({total} ns)")
    if total > _LONGEST:
        raise TriggerError("Interval: the period is above 100 years")
    return total


def _nanos(unit: str, value: object) -> int:
    wrong = ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        wrong = "be a number"
    elif isinstance(value, float) and not isfinite(value):
        wrong = "be finite"
    elif value < 0:
        wrong = "not be negative"
    if wrong or not isinstance(value, (int, float)):
        text = safe_repr(value)
        raise TriggerError(f"Interval: {unit} must {wrong}, not {text}", field=unit, token=text)
    seconds = _UNITS[unit]
    if value > _LONGEST / seconds:  # before it is multiplied, which a float may not survive
        raise TriggerError(f"Interval: {unit} is above 100 years: {safe_repr(value)}", field=unit)
    return round(value * seconds * 1_000_000_000)
