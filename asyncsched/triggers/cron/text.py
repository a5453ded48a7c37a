"""The reading of a cron expression: a strict check of the text, then the values of each field.

croniter reads the values, and receives nothing but plain numbers, each of them once: the texts in which its
dialect differs from Debian's (``5-5``, ``22-4/3``, ``LW``, ``H``, ``R``) never reach it. The parts of the two day
fields that depend on the month (``L``, ``15W``, ``5#2``) are read here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import NoReturn

from asyncsched._core.errors import TriggerError
from asyncsched._core.text import safe_repr, shorten
from asyncsched._core.values import value

_LONGEST = 256

_ALIASES = {
    "@YEARLY": "0 0 1 1 *",
    "@ANNUALLY": "0 0 1 1 *",
    "@MONTHLY": "0 0 1 * *",
    "@WEEKLY": "0 0 * * 0",
    "@DAILY": "0 0 * * *",
    "@MIDNIGHT": "0 0 * * *",
    "@HOURLY": "0 * * * *",
}
_HINTS = {
    "@REBOOT": "; call the function when the app starts",
    "@EVERY": "; use an Interval",
    "H": "; choose a number, or give the schedule a jitter",
    "R": "; choose a number, or give the schedule a jitter",
}

_MONTHS = {
    name: number
    for number, name in enumerate(
        ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"], start=1
    )
}
_WEEKDAYS = {name: number for number, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"])}

_WORDS = re.compile("|".join([*_MONTHS, *_WEEKDAYS, "@[A-Z]+"]))
_ITEM = re.compile(r"([*?]|[0-9A-Za-z]+)(?:-([0-9A-Za-z]+))?(?:/([0-9]+))?")
_NEAREST = re.compile(r"([0-9]+)[Ww]")
_LAST_WEEKDAY = re.compile(r"[Ll]([0-9A-Za-z]+)|([0-9A-Za-z]+)[Ll]")
_NTH_WEEKDAY = re.compile(r"([0-9A-Za-z]+)#([0-9]+)")


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    size: int  # the number of values before the field wraps; Sunday is written as 0 and as 7
    names: dict[str, int] = field(hash=False)


_SECOND = _Field("second", 0, 59, 60, {})
_MINUTE = _Field("minute", 0, 59, 60, {})
_HOUR = _Field("hour", 0, 23, 24, {})
_DAY = _Field("day of month", 1, 31, 31, {})
_MONTH = _Field("month", 1, 12, 12, _MONTHS)
_WEEKDAY = _Field("day of week", 0, 7, 7, _WEEKDAYS)
_FIELDS = (_SECOND, _MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY)
_DAY_FIELDS = (_DAY, _WEEKDAY)

LAST_DAY = 0
"""Stands for ``L`` among the days of ``CronFields.nearest``: ``LW`` is the workday nearest to it."""


@value
class CronFields:
    """The values that the fields of one expression allow."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """Sunday is 0."""
    last_day: bool
    """``L`` in the day of month."""
    nearest: frozenset[int]
    """``15W``: the workdays nearest to these days; ``LAST_DAY`` for ``LW``."""
    nth_weekdays: frozenset[tuple[int, int]]
    """``5#2`` as (5, 2); the last one of the month, ``5L``, as (5, 0)."""
    both_days: bool
    """Day of month and day of week must both match, for one of them starts with ``*``; else either."""
    wildcard: bool
    """Minute or hour starts with ``*``: the job follows the wall clock, in both passes of a fold."""


def clean(expression: object) -> str:
    """Return an expression with single spaces between its fields.

    Raises:
        TriggerError: not a string, not printable ASCII, empty, or longer than 256 characters.

    """
    if not isinstance(expression, str):
        raise TriggerError(f"a cron expression must be a string, not {type(expression).__name__}")
    if len(expression) > _LONGEST:
        raise TriggerError(
            f"a cron expression has at most {_LONGEST} characters, this one has {len(expression)}: "
            f"{shorten(expression)!r}",
            token=expression,
        )
    spaced = expression.replace("\t", " ")
    for letter in spaced:
        if not " " <= letter <= "~":
            raise TriggerError(f"a cron expression is printable ASCII, without {letter!r}", token=letter)
    text = " ".join(spaced.split())
    if not text:
        raise TriggerError("the cron expression is empty; for example '0 7 * * mon-fri'")
    return text


def check_fields(text: str, fields: int) -> None:
    """Refuse a clean expression of another number of fields; ``@daily`` and the like stand for five.

    Raises:
        TriggerError: it has more or fewer, or ``fields`` is not 5 or 6.

    """
    if fields not in (5, 6) or isinstance(fields, bool):
        raise TriggerError(f"Cron: fields must be 5 or 6, not {safe_repr(fields)}")
    found = 5 if text.startswith("@") else len(text.split())
    if found != fields:
        kind = "without" if fields == 5 else "with"
        raise TriggerError(
            f"a cron expression {kind} seconds has {fields} fields, this one has {found}: {shorten(text)!r}",
            token=text,
        )


def one_case(text: str) -> str:
    """Return an expression with names in lower case, and L and W in upper case."""
    return _WORDS.sub(lambda word: word[0].lower(), text.upper())


def read_fields(text: str) -> CronFields:
    """Return the values of the fields of a clean expression.

    Raises:
        TriggerError: the text is not of the dialect; ``field`` and ``token`` name the place.

    """
    second, minute, hour, day, month, weekday = _split(text)
    days, last_day, nearest = _days(day)
    weekdays, nth_weekdays = _weekdays(weekday)
    return CronFields(
        seconds=_values(_SECOND, second),
        minutes=_values(_MINUTE, minute),
        hours=_values(_HOUR, hour),
        days=days,
        months=_values(_MONTH, month),
        weekdays=weekdays,
        last_day=last_day,
        nearest=nearest,
        nth_weekdays=nth_weekdays,
        both_days=day[0] in "*?" or weekday[0] in "*?",
        wildcard=minute[0] == "*" or hour[0] == "*",
    )


def _split(text: str) -> list[str]:
    words = text.split(" ")
    if words[0].startswith("@"):
        return ["0", *_alias(words).split(" ")]
    if len(words) == 5:
        return ["0", *words]
    if len(words) == 6:
        return words
    raise TriggerError(
        f"a cron expression has 5 fields, or 6 with the seconds first, not {len(words)}: {shorten(text)!r}",
        token=text,
    )


def _alias(words: list[str]) -> str:
    name = words[0].upper()
    if len(words) == 1 and name in _ALIASES:
        return _ALIASES[name]
    hint = _HINTS.get(name, "")
    raise TriggerError(f"{shorten(' '.join(words))!r} is not a cron schedule{hint}", token=words[0])


@lru_cache(maxsize=1024)
def _days(text: str) -> tuple[frozenset[int], bool, frozenset[int]]:
    """Return the plain days, whether ``L`` is among them, and the days of ``W``."""
    plain: set[int] = set()
    nearest: set[int] = set()
    last_day = False
    for item in text.split(","):
        if item in ("L", "l"):
            last_day = True
        elif item.upper() == "LW":
            nearest.add(LAST_DAY)
        elif match := _NEAREST.fullmatch(item):
            nearest.add(_number(_DAY, item, match[1]))
        else:
            plain |= _item_values(_DAY, item)
    return _by_croniter(_DAY, plain), last_day, frozenset(nearest)


@lru_cache(maxsize=1024)
def _weekdays(text: str) -> tuple[frozenset[int], frozenset[tuple[int, int]]]:
    """Return the plain days of the week, and those that are the n-th (0: the last) of their month."""
    plain: set[int] = set()
    nth: set[tuple[int, int]] = set()
    for item in text.split(","):
        if match := _LAST_WEEKDAY.fullmatch(item):
            nth.add((_number(_WEEKDAY, item, match[1] or match[2]) % 7, 0))
        elif match := _NTH_WEEKDAY.fullmatch(item):
            count = int(match[2])
            if not 1 <= count <= 5:
                _refuse(_WEEKDAY, item, "counts from #1 to #5")
            nth.add((_number(_WEEKDAY, item, match[1]) % 7, count))
        else:
            plain |= _item_values(_WEEKDAY, item)
    return _by_croniter(_WEEKDAY, plain), frozenset(nth)


@lru_cache(maxsize=4096)
def _values(field: _Field, text: str) -> frozenset[int]:
    values: set[int] = set()
    for item in text.split(","):
        values |= _item_values(field, item)
    return _by_croniter(field, values)


def _item_values(field: _Field, item: str) -> set[int]:
    """Return the values of ``*``, ``a``, ``a-b``, ``*/n``, ``a-b/n`` or ``a/n``."""
    match = _ITEM.fullmatch(item)
    if match is None:
        _refuse(field, item, "is not understood")
    first, last, step = match.groups()
    if first in "*?":
        if last or (first == "?" and (step or field not in _DAY_FIELDS)):
            _refuse(field, item, "is not understood")
        low, high = field.low, field.high
    else:
        low = _number(field, item, first)
        high = _number(field, item, last) if last else field.high if step else low
    stride = int(step) if step else 1
    if stride == 0:
        _refuse(field, item, "has a step of 0")
    if high < low:  # wraps, and the step is counted across the wrap
        high += field.size
    return {(value - field.low) % field.size + field.low for value in range(low, high + 1, stride)}


def _number(field: _Field, item: str, text: str) -> int:
    if text.upper() in field.names:
        return field.names[text.upper()]
    if not text.isdigit():
        _refuse(field, item, "is not understood" + (_HINTS.get(text.upper()) or _shorter(field, item)))
    if not field.low <= int(text) <= field.high:
        _refuse(field, item, f"is not between {field.low} and {field.high}")
    return int(text)


def _shorter(field: _Field, item: str) -> str:
    """Return the hint for days and months that are written out: their names have three letters."""
    words = re.findall("[A-Za-z]+|[^A-Za-z]+", item)
    short = [word[:3].lower() if word[:3].upper() in field.names else word for word in words]
    return "" if short == words else f"; write {shorten(''.join(short))!r}"


def _refuse(field: _Field, item: str, why: str) -> NoReturn:
    raise TriggerError(f"{field.name}: {shorten(item)!r} {why}", field=field.name, token=item)


def _by_croniter(field: _Field, values: set[int]) -> frozenset[int]:
    """Return a field's values as croniter reads them from a plain list."""
    if not values:
        return frozenset()  # the field has nothing but L, W or #, which croniter does not read
    return _one_set(field.name, frozenset(_read_value(field, value) for value in values))


@lru_cache(maxsize=4096)
def _one_set(field: str, values: frozenset[int]) -> frozenset[int]:
    """Return one object for equal values of a field: thousands of expressions share their lists."""
    return values


@cache
def _read_value(field: _Field, value: int) -> int:
    """Return a value as croniter reads it. To read a whole list would take longer than all the rest."""
    # Imported here: the import takes 50 ms, which an app without cron schedules need not pay.
    from croniter import croniter  # type: ignore[import-untyped]  # croniter ships no types

    words = ["*"] * len(_FIELDS)
    words[_FIELDS.index(field)] = str(value)
    try:
        expanded, _ = croniter.expand(" ".join(words), second_at_beginning=True)
    except ValueError as error:
        raise TriggerError(f"the cron expression is not understood: {shorten(str(error))}") from None
    minute, hour, day, month, weekday, second = expanded
    (read,) = (second, minute, hour, day, month, weekday)[_FIELDS.index(field)]
    return int(read)
