"""APScheduler's cron fields as a cron expression: its weekdays begin with Monday = 0, and its day and weekday are both needed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from asyncsched.triggers.cron.text import read_fields
from asyncsched.triggers.cron.trigger import Cron

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ORDER = ("year", "month", "day", "week", "day_of_week", "hour", "minute", "second")
_LEAST = {
    "year": "*",
    "month": "1",
    "day": "1",
    "week": "*",
    "day_of_week": "*",
    "hour": "0",
    "minute": "0",
    "second": "0",
}
_NTH = {"1st": 1, "2nd": 2, "3rd": 3, "4th": 4, "5th": 5}
_WEEKS = {"1-7": 1, "8-14": 2, "15-21": 3, "22-28": 4, "29-31": 5}


class Untold(Exception):
    """The fields cannot be said as a cron expression; the text says why."""


class Times(NamedTuple):
    """A cron expression, and the weekdays of which one must hold, too."""

    expression: str
    weekdays: tuple[str, ...] = ()

    def code(self, zone: str, edges: str = "") -> str:
        """Return the trigger's code.

        Raises:
            AsyncSchedError: the expression or the zone is refused.

        """
        Cron(self.expression, timezone=zone)
        days = self.weekdays[0] if len(self.weekdays) == 1 else list(self.weekdays)
        only = f".only(weekday={days!r})" if days else ""
        return f'Cron("{self.expression}", timezone="{zone}"{edges}){only}'


def days_listed(weekday: str) -> tuple[str, ...]:
    """Return the weekdays of a list such as ``mon-wed,fri``, each by its name."""
    found: set[int] = set()
    for part in weekday.split(","):
        first, _, last = part.partition("-")
        begin, end = WEEKDAYS.index(first), WEEKDAYS.index(last or first)
        found |= set(range(begin, end + 1 if end >= begin else end + 8))
    return tuple(WEEKDAYS[number] for number in sorted({number % 7 for number in found}))


def with_both(day: str, weekday: str) -> tuple[str, str, tuple[str, ...]]:
    """Return day and weekday where both must hold, and cron takes either: as one field, or with weekdays beside them."""
    if "*" in (day, weekday) or day.startswith("*"):
        return day, weekday, ()  # a day that begins with a star makes cron want both, too
    if day in _WEEKS and weekday in WEEKDAYS:
        return "*", f"{weekday}#{_WEEKS[day]}", ()
    days = days_listed(weekday)
    return day, "*", days if len(days) < 7 else ()


def times_of(given: Mapping[str, str]) -> Times:
    """Return when APScheduler's fields are due.

    Fields that are not given and stand before the last given one are ``*``; those after it have their least value.

    Raises:
        Untold: there is no expression that means the same.

    """
    fields = _completed(given)
    for name in ("year", "week"):
        if fields[name] != "*":
            raise Untold(f"{name}={fields[name]!r}: cron has no such field")
    if " " in fields["day"]:  # such as "2nd mon"
        weekdays = days_listed(_weekday(fields["day_of_week"])) if fields["day_of_week"] != "*" else ()
        day, weekday = "*", _positions(fields["day"])
    else:
        day, weekday, weekdays = with_both(_day(fields["day"]), _weekday(fields["day_of_week"]))
    rest = f"{fields['minute']} {fields['hour']} {day} {fields['month']} {weekday}"
    text = rest if fields["second"] == "0" else f"{fields['second']} {rest}"
    return Times(re.sub(r"\s+", " ", text), weekdays if len(weekdays) < 7 else ())


def _completed(given: Mapping[str, str]) -> dict[str, str]:
    unknown = set(given) - set(_ORDER)
    if unknown:
        raise Untold(f"the field {sorted(unknown)[0]!r} is not known")
    last = max((_ORDER.index(name) for name in given), default=-1)
    found = {}
    for number, name in enumerate(_ORDER):
        found[name] = (
            str(given[name]).strip().lower() if name in given else "*" if number < last else _LEAST[name]
        )
    return found


def _day(text: str) -> str:
    """Return a day of month: ``last`` is ``L``."""
    return ",".join("L" if part.strip() == "last" else part.strip() for part in text.split(","))


def _weekday(text: str) -> str:
    return text if text == "*" else ",".join(_weekday_part(part.strip()) for part in text.split(","))


def _weekday_part(part: str) -> str:
    head, _, step = part.partition("/")
    if head == "*":
        return ",".join(WEEKDAYS[:: int(step)]) if step else "*"
    first, _, last = head.partition("-")
    begin, end = _number(first), _number(last or first)
    if step:
        return ",".join(WEEKDAYS[begin : end + 1 : int(step)])
    return WEEKDAYS[begin] if begin == end else f"{WEEKDAYS[begin]}-{WEEKDAYS[end]}"


def _number(word: str) -> int:
    if word in WEEKDAYS:
        return WEEKDAYS.index(word)
    if word.isdigit() and int(word) <= 6:
        return int(word)
    raise Untold(f"day_of_week: {word!r} is not known")


def _positions(text: str) -> str:
    """Return the weekday of positions such as ``2nd mon, last fri``: ``mon#2,5L``.

    Raises:
        Untold: it is no position.

    """
    parts = []
    for part in text.split(","):
        which, _, day = part.strip().partition(" ")
        if day.strip() not in WEEKDAYS or (which != "last" and which not in _NTH):
            raise Untold(f"day: {part!r} is not known")
        number = (WEEKDAYS.index(day.strip()) + 1) % 7
        parts.append(f"{number}L" if which == "last" else f"{number}#{_NTH[which]}")
    return ",".join(parts)


def fields_of(expression: str) -> dict[str, str]:
    """Return the fields that APScheduler reads in a crontab's text.

    Raises:
        Untold: it has not five of them.

    """
    words = expression.split()
    if len(words) != 5:
        raise Untold(f"from_crontab({expression!r}): five fields are needed")
    minute, hour, day, month, weekday = words
    return {"minute": minute, "hour": hour, "day": day, "month": month, "day_of_week": weekday, "second": "0"}


def overlapping(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of the times at which both are due.

    Raises:
        Untold: there is no expression for them, or no such time.

    """
    mine, theirs = _completed(first), _completed(second)
    return {name: _shared(name, mine[name], theirs[name]) for name in _ORDER}


def _shared(name: str, mine: str, theirs: str) -> str:
    if theirs in ("*", mine):
        return mine
    if mine == "*":
        return theirs
    if name in ("year", "week"):
        raise Untold(f"{name}={mine!r} and {name}={theirs!r}: cron has no such field")
    both = sorted(_values(name, mine) & _values(name, theirs))
    if not both:
        raise Untold(f"it is never due: {name}={mine!r} and {name}={theirs!r} have no value in common")
    return ",".join(WEEKDAYS[value] if name == "day_of_week" else str(value) for value in both)


def _values(name: str, text: str) -> frozenset[int]:
    if name == "day_of_week":
        return frozenset(WEEKDAYS.index(day) for day in days_listed(_weekday(text)))
    place = ("second", "minute", "hour", "day", "month").index(name)
    words = ["*"] * 6
    words[place] = _day(text)
    fields = read_fields(" ".join(words))
    if fields.last_day or fields.nearest or " " in text.strip():
        raise Untold(f"{name}={text!r} and another {name} must both hold there")
    return (fields.seconds, fields.minutes, fields.hours, fields.days, fields.months)[place]
