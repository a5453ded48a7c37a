"""Cron against a brute force over every minute, against Debian's loop, cronsim, and itself."""

from __future__ import annotations

import random
import re
from datetime import UTC, date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from asyncsched._core.errors import TriggerError
from asyncsched._core.instants import SECOND, YEAR, Instant, to_datetime
from asyncsched.triggers.cron import Cron
from tests.triggers.cron.oracle import (
    CHANGES,
    DAY,
    EPOCH_DAY,
    HOUR,
    Rule,
    Stretch,
    around,
    by_debians_loop,
    corpus,
    due,
    following,
    random_expression,
    starts,
)

ZONES = sorted({change.split()[0] for change in CHANGES.replace("\n", ",").split(",") if change.strip()})


def ahead(cron: Cron, start: int, count: int, end: int) -> list[int]:
    """Return the next instants up to ``end``, in seconds."""
    found: list[int] = []
    at: Instant | None = start * SECOND
    while at is not None and len(found) < count:
        at = cron.next_instant(at)
        if at is None or at > end * SECOND:
            break
        found.append(at // SECOND)
    return found


def back(cron: Cron, start: int, count: int, end: int) -> list[int]:
    """Return the instants at or before a start down to ``end``, latest first, in seconds."""
    found: list[int] = []
    at: Instant | None = start * SECOND
    while at is not None and len(found) < count:
        at = cron.previous_instant(at)
        if at is None or at < end * SECOND:
            break
        found.append(at // SECOND)
        at -= 1
    return found


def disagreements(expression: str, stretch: Stretch, dice: random.Random) -> tuple[int, list[str]]:
    """Return how many starts were asked, and where Cron and the oracle differ."""
    instants = due(Rule(expression), stretch)
    try:
        cron = Cron(expression, timezone=stretch.zone)
    except TriggerError:
        return 0, [f"{expression}: refused, and due {len(instants)} times"] if instants else []
    wrong: list[str] = []
    asked = starts(stretch, dice)
    for start in asked:
        if ahead(cron, start, 3, stretch.end) != following(instants, start, 3):
            wrong.append(f"{expression} {stretch.zone}: next after {start}")
        earlier = [second for second in instants if second <= start][:-3:-1]
        if back(cron, start, 2, stretch.start) != earlier:
            wrong.append(f"{expression} {stretch.zone}: previous of {start}")
    return len(asked), wrong


def test_thousands_of_rows_agree_with_brute_force_over_every_minute() -> None:
    dice = random.Random(1)
    rows = 0
    wrong: list[str] = []
    for expression, zone, day in corpus(randoms=6):
        count, differing = disagreements(expression, around(zone, day), dice)
        rows += count
        wrong += differing
    assert wrong == []
    assert rows > 10_000


def test_six_fields_agree_with_brute_force_over_every_second() -> None:
    dice = random.Random(2)
    wrong: list[str] = []
    for zone, jump in [
        ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
        ("Pacific/Fiji", datetime(1915, 10, 25, 12, 4, tzinfo=UTC)),
        ("Pacific/Niue", datetime(1952, 10, 16, 11, 20, tzinfo=UTC)),
        ("Africa/Monrovia", datetime(1972, 1, 7, 0, 44, tzinfo=UTC)),
        ("Antarctica/Casey", datetime(2010, 3, 4, 15, tzinfo=UTC)),
    ]:
        second = int(jump.timestamp())
        stretch = Stretch(zone, second - 7200, second + 4 * HOUR, step=1)
        for first in ("0", "*", "*/7", "59", "30-10/3"):
            for rest in ("30 2 * * *", "* * * * *", "*/30 * * * *", "0-59 0-23 * * *", "7/20 0-2 * * *"):
                wrong += disagreements(f"{first} {rest}", stretch, dice)[1]
    assert wrong == []


def test_debians_own_loop_agrees_where_offsets_are_whole_minutes() -> None:
    """Known to differ: a fold of exactly 3 hours, where cron.c still counts 179 minutes."""
    different: set[str] = set()
    for expression, zone, day in corpus(randoms=3):
        stretch = around(zone, day)
        if all((second + wall) % 60 == 0 for second, wall, old in stretch.events if old is not None):
            rule = Rule(expression)
            if due(rule, stretch) != by_debians_loop(rule, stretch):
                different.add(f"{zone} {day}")
    assert different == {"Antarctica/Casey 2010-03-05"}


def test_cronsim_agrees_where_it_is_right() -> None:
    """Left out, because cronsim is wrong or silent there:

    - text it does not know: reversed ranges, ``nW``, ``Ln``, ``?``, ``@daily``, names with ``#`` or ``L``;
    - ``5-5/3``, which it reads as ``5/3``;
    - a start in the second pass of a fold, which it answers with an instant before the start;
    - changes by less than an hour (Lord Howe, Chatham), where it loses runs, and folds across
      midnight (St John's 2006), where it loops for ever;
    - changes of 3 hours and more, and of a few minutes.
    """
    dice = random.Random(3)
    compared = 0
    for zone, day in [
        ("America/New_York", date(2025, 3, 9)),
        ("America/New_York", date(2025, 11, 2)),
        ("Europe/Paris", date(2026, 3, 29)),
        ("Europe/Dublin", date(2026, 10, 25)),
        ("UTC", date(2028, 2, 29)),
    ]:
        noon = (day.toordinal() - EPOCH_DAY) * DAY + 12 * HOUR
        for _ in range(60):
            expression = random_expression(dice)
            start = noon - dice.randrange(15 * HOUR, 40 * HOUR)  # before the change
            moment = datetime.fromtimestamp(start, ZoneInfo(zone))
            try:
                theirs = CronSim(expression, moment)
                cron = Cron(expression, timezone=zone)
            except (CronSimError, TriggerError):
                continue
            if re.search(r"\b(\d+)-\1/", expression):
                continue
            expected = [int(next(theirs).timestamp()) for _ in range(4)]
            assert ahead(cron, start, 4, 10**10) == expected, (expression, zone, start)
            compared += 1
    assert compared > 100


# ---- properties -------------------------------------------------------------------------------

expressions = st.builds(
    lambda seed, second: second + random_expression(random.Random(seed)),
    st.integers(0, 10**9),
    st.sampled_from(["", "", "", "0 ", "*/7 ", "59,1 "]),
)


def jumps() -> list[int]:
    """Return the seconds at which the clocks of ``CHANGES`` are changed."""
    changes = [change.split() for change in CHANGES.replace("\n", ",").split(",") if change.strip()]
    return [
        second
        for zone, day in (change[:2] for change in changes)
        for second, _, old in around(zone, date.fromisoformat(day)).events
        if old is not None
    ]


moments = st.integers(-100 * YEAR, 100 * YEAR) | st.builds(
    lambda change, around: change * SECOND + around,
    # Deferred: finding them takes a second, which the collection need not wait for.
    st.deferred(lambda: st.sampled_from(jumps())),
    st.integers(-4 * 3600 * SECOND, 4 * 3600 * SECOND),
)


def cron_of(expression: str, zone: str) -> Cron:
    try:
        return Cron(expression, timezone=zone)
    except TriggerError:
        assume(False)
        raise


@settings(max_examples=150, deadline=None)
@given(expressions, st.sampled_from(ZONES), moments)
def test_next_is_strictly_after_and_nothing_lies_between(expression: str, zone: str, start: int) -> None:
    cron = cron_of(expression, zone)
    found = cron.next_instant(start)
    assume(found is not None)
    assert found is not None
    assert found > start
    assert cron.previous_instant(found) == found
    before = cron.previous_instant(found - 1)
    assert before is None or before <= start
    middle = (start + found) // 2
    assert cron.next_instant(middle) == found


@settings(max_examples=150, deadline=None)
@given(expressions, st.sampled_from(ZONES), moments)
def test_previous_mirrors_next(expression: str, zone: str, start: int) -> None:
    cron = cron_of(expression, zone)
    chain = []
    at: Instant | None = start
    for _ in range(6):
        assert at is not None
        at = cron.next_instant(at)
        if at is None:
            break
        chain.append(at)
    assert chain == sorted(set(chain))
    for earlier, later in pairwise(chain):
        assert cron.previous_instant(later - 1) == earlier
        assert cron.next_instant(later - 1) == later


@settings(max_examples=80, deadline=None)
@given(expressions, st.sampled_from(ZONES), moments, st.integers(1, 20))
def test_steps_and_a_leap_arrive_at_the_same_instants(
    expression: str, zone: str, start: int, days: int
) -> None:
    cron = cron_of(expression, zone)
    end = start + days * 3600 * SECOND
    stepped = ahead(cron, start // SECOND, 100, end // SECOND)
    for count, second in enumerate(stepped):
        assert ahead(cron, second - 1, 1, end // SECOND) == [second]
        assert ahead(cron, start // SECOND, count + 1, end // SECOND)[-1] == second if count < 5 else True


@settings(max_examples=150, deadline=None)
@given(expressions, st.sampled_from(ZONES), moments)
def test_no_instant_is_one_that_no_rule_allows(expression: str, zone: str, start: int) -> None:
    cron = cron_of(expression, zone)
    found = cron.next_instant(start)
    assume(found is not None)
    assert found is not None
    wall = to_datetime(found).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    rule = Rule(expression)
    shown = (wall.toordinal() - EPOCH_DAY) * DAY + wall.hour * 3600 + wall.minute * 60 + wall.second
    if not rule.matches(shown):  # then it is what a gap skipped, run at its end
        earlier = to_datetime(found - SECOND).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        assert (wall - earlier).total_seconds() > 1


@pytest.mark.parametrize("zone", ["Europe/Paris", "America/St_Johns", "Africa/Casablanca"])
def test_a_daily_job_runs_once_a_day_for_twenty_years(zone: str) -> None:
    for expression in ("0 0 * * *", "30 1 * * *", "30 2 * * *", "59 23 * * *"):
        cron = Cron(expression, timezone=zone)
        at: Instant | None = int(datetime(2005, 1, 1, 12, tzinfo=UTC).timestamp()) * SECOND
        days: list[date] = []
        for _ in range(20 * 365):
            assert at is not None
            at = cron.next_instant(at)
            assert at is not None
            days.append(to_datetime(at).astimezone(ZoneInfo(zone)).date())
        assert {(later - earlier).days for earlier, later in pairwise(days)} == {1}
