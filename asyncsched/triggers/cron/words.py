"""Descriptions of cron expressions in plain English."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from asyncsched.triggers.cron.text import LAST_DAY, CronFields

MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_WEEKDAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
_ORDINALS = ("last", "first", "second", "third", "fourth", "fifth")
_FEW = 6


@lru_cache(maxsize=32_768)
def in_words(fields: CronFields) -> str:
    """Return the expression's due times in words, such as "at 07:00 on Monday to Friday"."""
    times, days = _time_words(fields), _day_words(fields)
    hours = sorted(fields.hours)
    if not days and len(hours) < 24 and (times.startswith("at ") or not _even_step(hours, 24)):
        days = "every day"
    # "on day 29 of February" names the month already; "on Monday" does not.
    months = "" if _all_year(fields) or " of " in days else f"in {_months(fields)}"
    return " ".join(part for part in (times, days, months) if part)


def _all_year(fields: CronFields) -> bool:
    return len(fields.months) == 12


def _months(fields: CronFields) -> str:
    return "the month" if _all_year(fields) else _listed(sorted(fields.months), _month)


def _time_words(fields: CronFields) -> str:
    seconds, minutes, hours = sorted(fields.seconds), sorted(fields.minutes), sorted(fields.hours)
    if len(hours) * len(minutes) * len(seconds) <= _FEW:
        return "at " + _joined([clock(h, m, s) for h in hours for m in minutes for s in seconds])
    within = "" if seconds == [0] else _second_words(seconds)
    if len(hours) * len(minutes) <= _FEW:
        of = "minute" if len(hours) * len(minutes) == 1 else "minutes"
        return f"{within} of the {of} " + _joined([clock(h, m) for h in hours for m in minutes])
    if not within:
        return _minute_words(minutes, hours)
    if len(minutes) < 60:
        return f"{within} of the minute, {_minute_words(minutes, hours)}"
    of = " of every minute" if within.startswith("at ") else ""
    return f"{within}{of}{_span(hours, clock(hours[0], 0), clock(hours[-1], 59, seconds[-1]))}"


def _second_words(seconds: Sequence[int]) -> str:
    step = _even_step(seconds, 60)
    if step:
        return "every second" if step == 1 else f"every {step} seconds"
    return f"at {_counted('second', seconds)}"


def _minute_words(minutes: Sequence[int], hours: Sequence[int]) -> str:
    step = _even_step(minutes, 60)
    if step:
        every = "every minute" if step == 1 else f"every {step} minutes"
        return every + _span(hours, clock(hours[0], 0), clock(hours[-1], minutes[-1]))
    if len(minutes) > 1:
        of = "every hour" if len(hours) == 24 else f"the {_counted('hour', hours)}"
        return f"at {_counted('minute', minutes)} of {of}"
    return _hour_words(minutes[0], hours)


def _hour_words(minute: int, hours: Sequence[int]) -> str:
    step = _even_step(hours, 24)
    if step:
        every = "every hour" if step == 1 else f"every {step} hours"
        return every if minute == 0 else f"{every} at minute {minute}"
    if _is_run(hours):
        return f"every hour from {clock(hours[0], minute)} to {clock(hours[-1], minute)}"
    return f"at minute {minute} of the {_counted('hour', hours)}"


def _span(hours: Sequence[int], first: str, last: str) -> str:
    if len(hours) == 24:
        return ""
    return f" from {first} to {last}" if _is_run(hours) else f" of the {_counted('hour', hours)}"


def _day_words(fields: CronFields) -> str:
    """Return the days in words, or ``""`` where every day matches."""
    days = "" if len(fields.days) == 31 else _month_day_words(fields)
    weekdays = "" if len(fields.weekdays) == 7 else _weekday_words(fields)
    if not (days and weekdays):
        # Joined by "or", an unrestricted field means every day; joined by "and", it restricts nothing.
        return f"on {days or weekdays}" if fields.both_days and (days or weekdays) else ""
    return f"on {days} if it is {weekdays}" if fields.both_days else f"on {days} or on {weekdays}"


def _month_day_words(fields: CronFields) -> str:
    parts = [_counted("day", sorted(fields.days))] if fields.days else []
    parts += ["the last day"] if fields.last_day else []
    parts += [
        "the last workday" if day == LAST_DAY else f"the workday nearest to day {day}"
        for day in sorted(fields.nearest)
    ]
    return f"{_joined(parts)} of {_months(fields)}"


def _weekday_words(fields: CronFields) -> str:
    from_monday = sorted((day - 1) % 7 for day in fields.weekdays)
    parts = [_listed(from_monday, lambda day: _WEEKDAYS[(day + 1) % 7])] if from_monday else []
    nth = [f"the {_ORDINALS[count]} {_WEEKDAYS[day]}" for day, count in sorted(fields.nth_weekdays)]
    if nth:
        parts.append(f"{_joined(nth)} of {_months(fields)}")
    return _joined(parts)


def _month(number: int) -> str:
    return MONTHS[number - 1]


def clock(hour: int, minute: int, second: int = 0) -> str:
    """Return a time of day as "07:00", with its seconds unless they are 0."""
    return f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")


def _counted(noun: str, values: Sequence[int]) -> str:
    return f"{noun}{'s' if len(values) > 1 else ''} {_listed(values, str)}"


def _even_step(values: Sequence[int], size: int) -> int:
    """Return n where the values are all multiples of n up to ``size``, which n divides; else 0."""
    step = values[1] if len(values) > 1 else 0
    return step if step and size % step == 0 and list(values) == list(range(0, size, step)) else 0


def _is_run(values: Sequence[int]) -> bool:
    return len(values) == values[-1] - values[0] + 1


def _listed(values: Sequence[int], name: Callable[[int], str]) -> str:
    """Return values as "1, 3 and 5 to 9", or as "1 to 31 in steps of 2"."""
    step = values[1] - values[0] if len(values) > 3 else 0
    if step > 1 and list(values) == list(range(values[0], values[-1] + 1, step)):
        return f"{name(values[0])} to {name(values[-1])} in steps of {step}"
    parts: list[str] = []
    for run in _runs(values):
        if len(run) > 2:
            parts.append(f"{name(run[0])} to {name(run[-1])}")
        else:
            parts += map(name, run)
    return _joined(parts)


def _runs(values: Sequence[int]) -> Iterator[list[int]]:
    run: list[int] = []
    for value in values:
        if run and value != run[-1] + 1:
            yield run
            run = []
        run.append(value)
    yield run


def _joined(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]
