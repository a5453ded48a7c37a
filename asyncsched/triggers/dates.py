"""Dates on a grid of days, weeks or months, and the wall times at them."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Sequence
from datetime import date, time

from asyncsched.triggers.cron.search import Wall

LAST = -1
"""The last day of a month."""

_DAY = 86_400
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_FIRST, _LAST = date.min.toordinal() + 3, date.max.toordinal() - 3
_MOST_MONTHS = 48
"""The steps of a search: 29 February comes after 8 years at most, so in every 12 months within 8 steps."""


class Dates:
    """The dates of a grid, as ordinals.

    Args:
        unit: ``days``, ``weeks`` or ``months``.
        every: how many of them.
        on: the weekdays from Monday = 0, or the day of the month; none for days.
        start: the date from which they are counted; without one, every one counts.
        end: the last date.

    """

    def __init__(
        self, unit: str, every: int, on: Sequence[int], start: date | None, end: date | None
    ) -> None:
        self._every = every
        self._on = on
        self._low = _FIRST if start is None else max(start.toordinal(), _FIRST)
        self._high = _LAST if end is None else min(end.toordinal(), _LAST)
        self._steps = {"days": self._days, "weeks": self._weeks, "months": self._months}[unit]

    def at_or_after(self, day: int) -> int | None:
        """Return the first date from ``day`` on."""
        day = max(day, self._low)
        found = next((one for one in self._steps(day, 1) if one >= day), None)
        return found if found is not None and found <= self._high else None

    def at_or_before(self, day: int) -> int | None:
        """Return the last date up to ``day``."""
        day = min(day, self._high)
        found = next((one for one in self._steps(day, -1) if one <= day), None)
        return found if found is not None and found >= self._low else None

    def _days(self, day: int, step: int) -> Iterator[int]:
        """Yield the dates around ``day`` that may be wanted, in the order of the search."""
        near = self._low + (day - self._low) // self._every * self._every
        yield near
        yield near + step * self._every

    def _weeks(self, day: int, step: int) -> Iterator[int]:
        first = self._low - (self._low - 1) % 7  # the Monday: ordinal 1 was one
        near = first + (day - first) // (7 * self._every) * 7 * self._every
        for week in (near, near + step * 7 * self._every):
            dates = [week + weekday for weekday in self._on if week + weekday >= self._low]
            yield from dates if step > 0 else reversed(dates)

    def _months(self, day: int, step: int) -> Iterator[int]:
        low, here = date.fromordinal(self._low), date.fromordinal(min(max(day, _FIRST), _LAST))
        first = low.year * 12 + low.month - 1
        near = first + (here.year * 12 + here.month - 1 - first) // self._every * self._every
        for number in range(_MOST_MONTHS):
            year, month = divmod(near + step * number * self._every, 12)
            if not date.min.year < year < date.max.year:
                return
            length = monthrange(year, month + 1)[1]
            wanted = length if self._on[0] == LAST else self._on[0]
            if wanted <= length and (found := date(year, month + 1, wanted).toordinal()) >= self._low:
                yield found


class DatesAtTimes:
    """The wall times of dates at some times of day, as those of a cron job with a fixed hour and minute."""

    wildcard = False

    def __init__(self, dates: Dates, times: Sequence[time]) -> None:
        self._dates = dates
        self._times = [one.hour * 3600 + one.minute * 60 + one.second for one in times]

    def at_or_after(self, wall: Wall, origin: Wall) -> Wall | None:
        """Return the first match from ``wall`` on."""
        day, second = divmod(wall, _DAY)
        found = self._dates.at_or_after(day + _EPOCH_DAY)
        if found is not None and found == day + _EPOCH_DAY:
            for one in self._times:
                if one >= second:
                    return day * _DAY + one
            found = self._dates.at_or_after(found + 1)
        return None if found is None else (found - _EPOCH_DAY) * _DAY + self._times[0]

    def at_or_before(self, wall: Wall, origin: Wall) -> Wall | None:
        """Return the last match up to ``wall``."""
        day, second = divmod(wall, _DAY)
        found = self._dates.at_or_before(day + _EPOCH_DAY)
        if found is not None and found == day + _EPOCH_DAY:
            for one in reversed(self._times):
                if one <= second:
                    return day * _DAY + one
            found = self._dates.at_or_before(found - 1)
        return None if found is None else (found - _EPOCH_DAY) * _DAY + self._times[-1]
