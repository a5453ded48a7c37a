"""APScheduler's cron fields as a cron expression: its weekdays begin with Monday = 0, and its day and weekday are both needed."""

from __future__ import annotations

import re
from collections.abc import Mapping

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


def expression_of(given: Mapping[str, str]) -> str:
    """Return the cron expression of APScheduler's fields.

    Fields that are not given and stand before the last given one are ``*``; those after it have their least value.

    Raises:
        Untold: there is no expression that means the same.

    """
    fields = _completed(given)
    for name in ("year", "week"):
        if fields[name] != "*":
            raise Untold(f"{name}={fields[name]!r}: cron has no such field")
    day, weekday = _day(fields["day"]), _weekday(fields["day_of_week"])
    if day != "*" and weekday != "*":
        day, weekday = _both(day, weekday, fields)
    rest = f"{fields['minute']} {fields['hour']} {day} {fields['month']} {weekday}"
    text = rest if fields["second"] == "0" else f"{fields['second']} {rest}"
    return re.sub(r"\s+", " ", text)


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
    """Return a day of month: ``last`` is ``L``, and ``2nd mon`` is told by the weekday."""
    parts = []
    for part in text.split(","):
        part = part.strip()
        if part == "last":
            parts.append("L")
        elif " " in part:
            return text  # a position of a weekday
        else:
            parts.append(part)
    return ",".join(parts)


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


def _both(day: str, weekday: str, fields: Mapping[str, str]) -> tuple[str, str]:
    """Return day and weekday where both are given: APScheduler wants both to hold, and cron either."""
    if day in _WEEKS and weekday in WEEKDAYS:
        return "*", f"{weekday}#{_WEEKS[day]}"
    if day.startswith("*"):
        return day, weekday  # a day that begins with a star makes cron want both, too
    raise Untold(
        f"day={fields['day']!r} and day_of_week={fields['day_of_week']!r} must both hold there, and cron takes either; "
        'write Cron("…").only(weekday="…")'
    )


def positions(text: str) -> str:
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


def split_positions(given: Mapping[str, str]) -> dict[str, str]:
    """Return the fields with positions in ``day`` left as they are, or raise where they are mixed."""
    day = str(given.get("day", ""))
    if " " in day.strip() and "day_of_week" in given and given["day_of_week"] != "*":
        raise Untold(f"day={day!r} and day_of_week={given['day_of_week']!r} must both hold there")
    return dict(given)


def cron_text(given: Mapping[str, str]) -> str:
    """Return the cron expression of APScheduler's fields, positions of weekdays included.

    Raises:
        Untold: there is no expression that means the same.

    """
    fields = split_positions(given)
    day = str(fields.get("day", "")).strip().lower()
    if " " in day:
        text = expression_of({**fields, "day": "*"})
        words = text.split()
        words[-1] = positions(day)
        return " ".join(words)
    return expression_of(fields)


def from_crontab(expression: str) -> str:
    """Return the cron expression that APScheduler means by a crontab's text.

    Raises:
        Untold: there is none that means the same.

    """
    words = expression.split()
    if len(words) != 5:
        raise Untold(f"from_crontab({expression!r}): five fields are needed")
    minute, hour, day, month, weekday = words
    return cron_text(
        {"minute": minute, "hour": hour, "day": day, "month": month, "day_of_week": weekday, "second": "0"}
    )
