"""The search for the wall times that a cron expression matches, next and previous, without stepping.

A wall time is an integer: the seconds that a wall clock shows since 1970-01-01 00:00. It knows no
zone; ``clock_changes`` turns it into an instant.

Each field is a bit mask, so the next value is a shift and the lowest bit. The days of a month
depend on nothing but its length and the weekday it begins with, so an expression has 28 kinds of
month, and a search goes through a year month by month.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from functools import lru_cache
from typing import Protocol

from asyncsched._core.errors import TriggerError
from asyncsched._core.text import shorten
from asyncsched.triggers.cron.text import LAST_DAY, CronFields, read_fields

Wall = int
"""Seconds since 1970-01-01 00:00 on a wall clock."""

_Kinds = tuple[tuple[int, ...], ...]
_DAY = 86_400
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_LAST_DATE = date.max.toordinal()
_LENGTHS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_WEEK = 0b0000001_0000001_0000001_0000001_0000001 << 1  # days 1, 8, 15, 22, 29

# The calendar's longest wait for a day of month on a weekday, 29 February across 2100, is 40 years.
_NEAR = 4 * 366
_FAR = 40 * 366


def _mask(values: Iterable[int]) -> int:
    mask = 0
    for value in values:
        mask |= 1 << value
    return mask


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


class WallClock(Protocol):
    """A set of wall times that can be searched."""

    @property
    def wildcard(self) -> bool:
        """Whether it follows the wall clock, in both passes of a fold."""
        ...

    def at_or_after(self, wall: Wall, origin: Wall) -> Wall | None:
        """Return the first one from ``wall`` on, in a search that began at ``origin``."""
        ...

    def at_or_before(self, wall: Wall, origin: Wall) -> Wall | None:
        """Return the last one up to ``wall``, in a search that began at ``origin``."""
        ...


class WallTimes:
    """The wall times that an expression matches."""

    __slots__ = (
        "_first",
        "_hours",
        "_kinds",
        "_last",
        "_minutes",
        "_months",
        "_months_down",
        "_reach",
        "_seconds",
        "fields",
        "wildcard",
    )

    def __init__(self, fields: CronFields) -> None:
        self.fields = fields
        self.wildcard = fields.wildcard
        self._seconds = _mask(fields.seconds)
        self._minutes = _mask(fields.minutes)
        self._hours = _mask(fields.hours)
        self._first = min(fields.hours) * 3600 + min(fields.minutes) * 60 + min(fields.seconds)
        self._last = max(fields.hours) * 3600 + max(fields.minutes) * 60 + max(fields.seconds)
        self._kinds = _kinds_of_month(fields)
        self._months = tuple(sorted(m for m in fields.months if any(map(any, self._kinds_of(m)))))
        self._months_down = self._months[::-1]
        every_year = any(all(map(all, self._kinds_of(month))) for month in self._months)
        self._reach = _NEAR if every_year else _FAR

    @property
    def possible(self) -> bool:
        """Whether any day matches at all."""
        return bool(self._months)

    def at_or_after(self, wall: Wall, origin: Wall) -> Wall | None:
        """Return the first match from ``wall`` on, not further than the reach from ``origin``."""
        day, second = divmod(wall, _DAY)
        day += _EPOCH_DAY
        limit = min(origin // _DAY + _EPOCH_DAY + self._reach, _LAST_DATE)
        found = self._day_from(day, limit)
        if found == day:
            time = self._time_from(second)
            if time is not None:
                return wall - second + time
            found = self._day_from(day + 1, limit)
        return None if found is None else (found - _EPOCH_DAY) * _DAY + self._first

    def at_or_before(self, wall: Wall, origin: Wall) -> Wall | None:
        """Return the last match up to ``wall``, not further than the reach back from ``origin``."""
        day, second = divmod(wall, _DAY)
        day += _EPOCH_DAY
        limit = max(origin // _DAY + _EPOCH_DAY - self._reach, 1)
        found = self._day_until(day, limit)
        if found == day:
            time = self._time_until(second)
            if time is not None:
                return wall - second + time
            found = self._day_until(day - 1, limit)
        return None if found is None else (found - _EPOCH_DAY) * _DAY + self._last

    def _day_from(self, day: int, limit: int) -> int | None:
        if day > limit:
            return None
        start = date.fromordinal(day)
        year, month, number = start.year, start.month, start.day
        if month in self._months:
            rest = self._days_of(year, month, day - number + 1) >> number
            if rest:
                day += _lowest(rest)
                return day if day <= limit else None
        while True:
            for candidate in self._months:
                if candidate > month:
                    first = date(year, candidate, 1).toordinal()
                    if first > limit:
                        return None
                    days = self._days_of(year, candidate, first)
                    if days:
                        day = first - 1 + _lowest(days)
                        return day if day <= limit else None
            year, month = year + 1, 0
            if year > date.max.year:
                return None

    def _day_until(self, day: int, limit: int) -> int | None:
        if day < limit:
            return None
        start = date.fromordinal(day)
        year, month, number = start.year, start.month, start.day
        if month in self._months:
            rest = self._days_of(year, month, day - number + 1) & ((2 << number) - 1)
            if rest:
                day += rest.bit_length() - 1 - number
                return day if day >= limit else None
        while True:
            for candidate in self._months_down:
                if candidate < month:
                    first = date(year, candidate, 1).toordinal()
                    days = self._days_of(year, candidate, first)
                    day = first - 1 + max(days.bit_length() - 1, 1)
                    if day < limit:
                        return None
                    if days:
                        return day
            year, month = year - 1, 13
            if year < date.min.year:
                return None

    def _days_of(self, year: int, month: int, first: int) -> int:
        """Return the matching days of a month that begins with the date numbered ``first``."""
        length = 29 if month == 2 and _is_leap(year) else _LENGTHS[month]
        return self._kinds[length - 28][first % 7]

    def _kinds_of(self, month: int) -> _Kinds:
        return self._kinds[:2] if month == 2 else (self._kinds[_LENGTHS[month] - 28],)

    def _time_from(self, second: int) -> int | None:
        hour, rest = divmod(second, 3600)
        if self._hours >> hour & 1:
            minute, rest = divmod(rest, 60)
            if self._minutes >> minute & 1:
                seconds = self._seconds >> rest
                if seconds:
                    return second + _lowest(seconds)
            minutes = self._minutes >> minute + 1
            if minutes:
                return hour * 3600 + (minute + 1 + _lowest(minutes)) * 60 + self._first % 60
        hours = self._hours >> hour + 1
        if hours:
            return (hour + 1 + _lowest(hours)) * 3600 + self._first % 3600
        return None

    def _time_until(self, second: int) -> int | None:
        hour, rest = divmod(second, 3600)
        if self._hours >> hour & 1:
            minute, rest = divmod(rest, 60)
            if self._minutes >> minute & 1:
                seconds = self._seconds & ((2 << rest) - 1)
                if seconds:
                    return second - rest + seconds.bit_length() - 1
            minutes = self._minutes & ((1 << minute) - 1)
            if minutes:
                return hour * 3600 + (minutes.bit_length() - 1) * 60 + self._last % 60
        hours = self._hours & ((1 << hour) - 1)
        if hours:
            return (hours.bit_length() - 1) * 3600 + self._last % 3600
        return None


def _kinds_of_month(fields: CronFields) -> _Kinds:
    """Return the matching days by length (from 28) and by the weekday of the first (Sunday is 0)."""
    midnight = frozenset((0,))
    return _kinds(
        replace(fields, seconds=midnight, minutes=midnight, hours=midnight, months=midnight, wildcard=False)
    )


@lru_cache(maxsize=1024)
def _kinds(fields: CronFields) -> _Kinds:
    """Do the same for one set of days: thousands of expressions that differ in their times share it."""
    days = _mask(fields.days)
    return tuple(
        tuple(_days_in(fields, days, length, weekday) for weekday in range(7)) for length in range(28, 32)
    )


def _days_in(fields: CronFields, days: int, length: int, weekday: int) -> int:
    month = (2 << length) - 2
    for day in fields.nearest:
        days |= _workday_near(length if day == LAST_DAY else day, length, weekday)
    if fields.last_day:
        days |= 1 << length
    weekdays = 0
    for wanted in fields.weekdays:
        weekdays |= _WEEK << (wanted - weekday) % 7
    for wanted, count in fields.nth_weekdays:
        every = _WEEK << (wanted - weekday) % 7 & month
        nth = 7 * (count - 1) + (wanted - weekday) % 7 + 1
        weekdays |= 1 << nth if count else 1 << every.bit_length() - 1
    return (days & weekdays if fields.both_days else days | weekdays) & month


def _workday_near(day: int, length: int, weekday: int) -> int:
    """Return the mask of the workday nearest to ``day``, within the month; 0 if it has no such day."""
    if day > length:
        return 0
    on = (weekday + day - 1) % 7
    if on == 6:
        day += -1 if day > 1 else 2
    elif on == 0:
        day += 1 if day < length else -2
    return 1 << day


@lru_cache(maxsize=32_768)
def wall_times(text: str) -> WallTimes:
    """Return the wall times of a clean expression.

    Raises:
        TriggerError: the text is not of the dialect, or no date can ever match.

    """
    times = WallTimes(read_fields(text))
    if not times.possible:
        day = text.split(" ")[-3]
        raise TriggerError(
            f"day of month: {shorten(day)!r} never comes with that month and day of week, so "
            f"{shorten(text)!r} can never fire",
            field="day of month",
            token=day,
        )
    return times
