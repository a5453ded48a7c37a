"""The questions: an expression, a zone, a moment, and the due times after it that are right, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """One question; ``right`` are the first due times after ``after``, empty where the expression is to be refused."""

    name: str
    expression: str
    zone: str
    after: str
    right: tuple[str, ...]
    why: str


def _ask(name: str, expression: str, zone: str, after: str, right: str, why: str) -> Question:
    return Question(name, expression, zone, after, tuple(right.split()), why)


BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"

CLOCK_CHANGES = (
    _ask("daily, in the skipped hour", "30 2 * * *", BERLIN, "2026-03-28T12:00+01:00",
         "2026-03-29T03:00+02:00 2026-03-30T02:30+02:00", "runs once, at the jump"),
    _ask("daily, in the repeated hour", "30 1 * * *", NEW_YORK, "2025-11-01T12:00-04:00",
         "2025-11-02T01:30-04:00 2025-11-03T01:30-05:00", "runs once, in the first pass"),
    _ask("daily, asked in the second pass", "30 1 * * *", NEW_YORK, "2025-11-02T01:10-05:00",
         "2025-11-03T01:30-05:00", "has run in the first pass"),
    _ask("each half hour, in the repeated hour", "*/30 * * * *", BERLIN, "2026-10-25T01:45+02:00",
         "2026-10-25T02:00+02:00 2026-10-25T02:30+02:00 2026-10-25T02:00+01:00 2026-10-25T02:30+01:00 2026-10-25T03:00+01:00",
         "a wildcard goes on through both passes"),
    _ask("each half hour, over the skipped hour", "*/30 * * * *", BERLIN, "2026-03-29T01:15+01:00",
         "2026-03-29T01:30+01:00 2026-03-29T03:00+02:00", "a wildcard has nothing to make up for"),
    _ask("each second hour, over the skipped hour", "15 */2 * * *", BERLIN, "2026-03-29T01:00+01:00",
         "2026-03-29T04:15+02:00 2026-03-29T06:15+02:00", "no time is due that no field matches"),
    _ask("fixed minute in all hours, over the skipped hour", "5 0-23 * * *", BERLIN, "2026-03-29T01:30+01:00",
         "2026-03-29T03:00+02:00 2026-03-29T03:05+02:00", "the lost 02:05 runs at the jump"),
    _ask("two in the skipped hour", "0,30 2,3 * * *", BERLIN, "2026-03-29T00:00+01:00",
         "2026-03-29T03:00+02:00 2026-03-29T03:30+02:00", "what falls together runs once"),
    _ask("midnight that is skipped", "0 0 * * *", "America/Santiago", "2026-09-05T12:00-04:00",
         "2026-09-06T01:00-03:00 2026-09-07T00:00-03:00", "runs once, at the jump"),
    _ask("a change of half an hour", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00+10:30",
         "2026-10-04T02:30+11:00 2026-10-05T02:15+11:00", "runs once, at the jump"),
    _ask("a day that did not exist", "0 12 * * *", "Pacific/Apia", "2011-12-29T06:00-10:00",
         "2011-12-29T12:00-10:00 2011-12-31T12:00+14:00", "a change of a day is believed"),
)  # fmt: skip

CALENDAR = (
    _ask("exactly at a due time", "0 7 * * *", "UTC", "2026-01-05T07:00+00:00", "2026-01-06T07:00+00:00", "next is after"),
    _ask("day of month or of week", "0 0 13 * 5", "UTC", "2026-02-07T00:00+00:00",
         "2026-02-13T00:00+00:00 2026-02-20T00:00+00:00", "either of two restricted fields"),
    _ask("the first of a month or a Monday", "0 0 1 * 1", "UTC", "2026-01-30T00:00+00:00",
         "2026-02-01T00:00+00:00 2026-02-02T00:00+00:00", "either of two restricted fields"),
    _ask("a star with a step, and a Monday", "0 0 */2 * 1", "UTC", "2026-06-02T00:00+00:00",
         "2026-06-15T00:00+00:00 2026-06-29T00:00+00:00", "both, where a field begins with a star"),
    _ask("all days by a range, or a Monday", "0 0 1-31 * 1", "UTC", "2026-01-06T00:00+00:00",
         "2026-01-07T00:00+00:00 2026-01-08T00:00+00:00", "a range is no star"),
    _ask("a range of one day", "0 0 5-5 * *", "UTC", "2026-01-01T00:00+00:00",
         "2026-01-05T00:00+00:00 2026-02-05T00:00+00:00", "5-5 is the 5th"),
    _ask("Sunday as 7-7", "0 0 * * 7-7", "UTC", "2026-01-01T00:00+00:00",
         "2026-01-04T00:00+00:00 2026-01-11T00:00+00:00", "7 is Sunday, as is 0"),
    _ask("weekdays as numbers", "0 9 * * 1-5", "UTC", "2026-01-02T12:00+00:00",
         "2026-01-05T09:00+00:00 2026-01-06T09:00+00:00", "1 is Monday in a crontab"),
    _ask("each second day of the week", "0 0 * * */2", "UTC", "2026-01-01T12:00+00:00",
         "2026-01-03T00:00+00:00 2026-01-04T00:00+00:00 2026-01-06T00:00+00:00", "Sunday, Tuesday, Thursday, Saturday"),
    _ask("a range over midnight, with a step", "0 22-4/3 * * *", "UTC", "2026-01-01T12:00+00:00",
         "2026-01-01T22:00+00:00 2026-01-02T01:00+00:00 2026-01-02T04:00+00:00", "the step goes on over midnight"),
    _ask("the 15th or the first Monday", "0 0 15 * 1#1", "UTC", "2026-01-01T00:00+00:00",
         "2026-01-05T00:00+00:00 2026-01-15T00:00+00:00", "either of two restricted fields"),
    _ask("last weekday of a month", "0 0 LW * *", "UTC", "2026-01-01T00:00+00:00",
         "2026-01-30T00:00+00:00 2026-02-27T00:00+00:00", "31 January 2026 is a Saturday"),
    _ask("last Friday of a month", "0 0 * * 5L", "UTC", "2026-01-01T00:00+00:00",
         "2026-01-30T00:00+00:00 2026-02-27T00:00+00:00", "the last one, whichever week"),
    _ask("last day of a month", "0 0 L * *", "UTC", "2026-01-31T12:00+00:00",
         "2026-02-28T00:00+00:00 2026-03-31T00:00+00:00", "28, 29, 30 or 31"),
    _ask("29 February", "0 0 29 2 *", "UTC", "2026-01-01T00:00+00:00",
         "2028-02-29T00:00+00:00 2032-02-29T00:00+00:00", "leap years"),
    _ask("29 February around 2100", "0 0 29 2 *", "UTC", "2097-01-01T00:00+00:00", "2104-02-29T00:00+00:00",
         "2100 is no leap year"),
    _ask("30 February", "0 0 30 2 *", "UTC", "2026-01-01T00:00+00:00", "", "is refused: it can never be due"),
    _ask("six fields, the seconds first", "30 0 7 * * *", "UTC", "2026-01-01T00:00+00:00",
         "2026-01-01T07:00:30+00:00 2026-01-02T07:00:30+00:00", "of two orders, the one with seconds first"),
)  # fmt: skip

QUESTIONS = (*CLOCK_CHANGES, *CALENDAR)
