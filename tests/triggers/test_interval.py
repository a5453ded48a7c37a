"""Intervals: an exact grid, asked anywhere in O(1)."""

from __future__ import annotations

import pickle
import time
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncsched import ConfigurationError, Interval, TriggerError
from asyncsched._core.instants import LAST_INSTANT, to_datetime, to_instant
from asyncsched.triggers.codec import trigger_from_json, trigger_to_json

T0 = datetime(2026, 1, 1, tzinfo=UTC)
YEAR_S = 31_557_600


def s(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


periods = st.one_of(
    st.integers(1_000_000, 10**10),  # down to 1 ms, and no whole number of microseconds
    st.integers(10**10, 100 * YEAR_S * 10**9),
)
instants = st.integers(
    to_instant(datetime(1900, 1, 1, tzinfo=UTC)), to_instant(datetime(2200, 1, 1, tzinfo=UTC))
)


def of(nanos: int, **options: Any) -> Interval:
    return Interval.from_json({"interval": nanos, "start": None, "end": None, "immediate": False, **options})


def test_the_grid_is_the_anchor_plus_k_periods() -> None:
    every = Interval(seconds=30, start=T0)
    assert every.next(T0 - s(1)) == T0
    assert every.next(T0) == T0 + s(30)
    assert every.next(T0 + s(29.999999)) == T0 + s(30)
    assert every.previous(T0 + s(59)) == T0 + s(30)
    assert every.previous(T0 + s(60)) == T0 + s(60)
    assert every.previous(T0 - s(1)) is None


def test_units_add_up() -> None:
    together = Interval(weeks=1, days=2, hours=3, minutes=4, seconds=5.5)
    assert together.period == timedelta(weeks=1, days=2, hours=3, minutes=4, seconds=5.5)
    assert together == Interval(seconds=together.period.total_seconds())
    assert Interval(minutes=1.5) == Interval(seconds=90)


def test_a_third_of_a_second_does_not_drift_in_a_million_slots() -> None:
    third = Interval(seconds=1 / 3, start=T0)
    nanos = round(Fraction(1, 3) * 10**9)
    at = to_instant(T0)
    for k in range(1, 1001):
        at = third.next_instant(at)  # type: ignore[assignment]  # it never ends
        assert at == to_instant(T0) + k * nanos // 1000
    assert (
        third.next_instant(to_instant(T0) + 10**6 * nanos // 1000 - 1)
        == to_instant(T0) + 10**6 * nanos // 1000
    )


def test_start_is_due_itself_and_without_it_the_first_slot_is_a_period_away() -> None:
    assert Interval(hours=1, start=T0).upcoming(2, T0 - s(1)) == [T0, T0 + s(3600)]
    assert Interval(hours=1).upcoming(2, T0) == [T0 + s(3600), T0 + s(7200)]


def test_immediate_makes_the_anchor_due() -> None:
    at = to_instant(T0)
    assert Interval(hours=1, immediate=True).anchored(at).next_instant(at - 1) == at
    assert Interval(hours=1).anchored(at).next_instant(at - 1) == at + 3_600_000_000
    assert Interval(hours=1).anchored(at).previous_instant(at) is None


def test_end_is_the_last_moment_that_can_be_due() -> None:
    every = Interval(seconds=10, start=T0, end=T0 + s(20))
    assert every.upcoming(9, T0) == [T0 + s(10), T0 + s(20)]
    assert every.next(T0 + s(20)) is None
    assert every.previous(T0 + s(10**6)) == T0 + s(20)
    assert Interval(seconds=10, start=T0, end=T0).upcoming(9, T0 - s(1)) == [T0]


def test_an_anchor_belongs_to_the_schedule_and_not_to_the_interval() -> None:
    anchored = Interval(seconds=30).anchored(5)
    assert anchored == Interval(seconds=30)
    assert hash(anchored) == hash(Interval(seconds=30))
    assert anchored.anchored(7).next_instant(7) == 30_000_007
    assert Interval(seconds=30, start=T0).anchored(7) == Interval(seconds=30, start=T0)


def test_it_is_a_value() -> None:
    every = Interval(minutes=5, start=T0, end=T0 + s(3600), immediate=True)
    assert every == Interval(
        seconds=300, start=T0.astimezone(timezone(s(7200))), end=T0 + s(3600), immediate=True
    )
    assert len({every, Interval(minutes=5), Interval(seconds=300)}) == 2
    assert pickle.loads(pickle.dumps(every)) == every
    assert trigger_from_json(trigger_to_json(every)) == every
    assert (every.start, every.end) == (T0, T0 + s(3600))
    with pytest.raises(AttributeError):
        every.immediate = False  # type: ignore[misc]


@pytest.mark.parametrize(
    "every, text",
    [
        (Interval(seconds=1), "every second"),
        (Interval(seconds=0.1), "every 0.1 seconds"),
        (Interval(hours=25, minutes=30), "every 1 day 1 hour 30 minutes"),
        (Interval(weeks=2, start=T0), "every 2 weeks from 2026-01-01 00:00:00+00:00"),
        (Interval(days=1, end=T0), "every day until 2026-01-01 00:00:00+00:00"),
    ],
)
def test_it_says_what_it_is(every: Interval, text: str) -> None:
    assert every.describe() == text


def test_its_repr_can_be_read() -> None:
    assert repr(Interval(minutes=1, immediate=True)) == "Interval(seconds=60, immediate=True)"
    assert repr(Interval(seconds=0.25, start=T0)) == "Interval(seconds=0.25, start=2026-01-01T00:00:00+00:00)"


@pytest.mark.parametrize(
    "given_, field, words",
    [
        ({}, "", "the period is zero"),
        ({"seconds": 0}, "", "the period is zero"),
        ({"seconds": True}, "seconds", "seconds must be a number, not True"),
        ({"minutes": "5"}, "minutes", "minutes must be a number, not '5'"),
        ({"hours": None}, "hours", "hours must be a number, not None"),
        ({"seconds": timedelta.max}, "seconds", "seconds must be a number, not datetime.timedelta"),
        ({"seconds": float("nan")}, "seconds", "seconds must be finite, not nan"),
        ({"days": float("inf")}, "days", "days must be finite, not inf"),
        ({"days": float("-inf")}, "days", "days must be finite, not -inf"),
        ({"seconds": -1}, "seconds", "seconds must not be negative, not -1"),
        ({"minutes": 1, "seconds": -1}, "seconds", "seconds must not be negative"),
        ({"seconds": 0.0009}, "", "below 1 ms"),
        ({"days": 36_526}, "", "above 100 years"),
        ({"weeks": 1e308}, "weeks", "above 100 years"),
        ({"seconds": 10**5000}, "seconds", "above 100 years"),
        ({"seconds": -(10**5000)}, "seconds", "must not be negative"),
        ({"seconds": 1, "immediate": 1}, "immediate", "immediate must be True or False, not 1"),
        ({"seconds": 1, "start": T0, "end": T0 - s(1)}, "end", "end lies before start"),
    ],
)
def test_a_period_that_makes_no_sense_is_refused_in_words(given_: Any, field: str, words: str) -> None:
    with pytest.raises(TriggerError, match=words) as caught:
        Interval(**given_)
    assert caught.value.field == field
    assert isinstance(caught.value, ValueError)


def test_an_error_never_echoes_more_than_40_characters() -> None:
    with pytest.raises(TriggerError) as caught:
        Interval(seconds="7" * 1_000_000)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 100
    assert len(caught.value.token) == 40


@pytest.mark.parametrize("name", ["start", "end"])
def test_naive_bounds_are_refused_with_the_fix(name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"Interval: {name} is a naive datetime .*timezone.utc"):
        Interval(seconds=1, **{name: datetime(2026, 1, 1)})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=rf"Interval: {name} must be a datetime, not str"):
        Interval(seconds=1, **{name: "2026-01-01"})  # type: ignore[arg-type]


def test_the_bounds_themselves_are_accepted() -> None:
    assert Interval(seconds=0.001).period == s(0.001)
    assert Interval(days=36_525).period == timedelta(days=36_525)


@pytest.mark.parametrize("n", [0, -1, True, 2.0, 100_001, pytest.param(10**5000, id="huge"), None])
def test_upcoming_wants_a_whole_number(n: Any) -> None:
    with pytest.raises(TriggerError, match="n must be a whole number from 1 to 100000"):
        Interval(seconds=1).upcoming(n, T0)


@given(nanos=periods, anchor=instants, at=instants, immediate=st.booleans())
@example(nanos=1_000_000, anchor=0, at=999, immediate=True)
@example(nanos=333_333_333, anchor=-7, at=333_326, immediate=False)
def test_next_is_strictly_after_and_previous_is_its_mirror(
    nanos: int, anchor: int, at: int, immediate: bool
) -> None:
    every = of(nanos, immediate=immediate).anchored(anchor)
    following = every.next_instant(at)
    assert following is not None
    assert following > at
    k = -((anchor - following) * 1000 // nanos)
    assert following == anchor + k * nanos // 1000
    assert k == (0 if immediate else 1) or anchor + (k - 1) * nanos // 1000 <= at
    assert every.previous_instant(following) == following
    before = every.previous_instant(following - 1)
    if before is None:
        assert following == anchor + (0 if immediate else nanos // 1000)
    else:
        assert before <= at
        assert every.next_instant(before) == following
        assert every.next_instant(before - 1) == before


@given(nanos=periods, anchor=instants, at=instants, steps=st.integers(1, 50))
def test_steps_give_the_same_as_asking_at_once(nanos: int, anchor: int, at: int, steps: int) -> None:
    every = of(nanos).anchored(anchor)
    here = at
    for _ in range(steps):
        following = every.next_instant(here)
        here = here if following is None else following  # the epoch itself is 0
    assert every.previous_instant(here) == here
    if here < LAST_INSTANT:
        assert every.count(at, here) <= steps
    first = every.next_instant(at)
    assert first is None or every.count(first - 1, here) == every.count(at, here)


@given(nanos=st.integers(1_000_000, 10**12), anchor=instants, at=instants, length=st.integers(0, 200))
def test_the_count_is_what_counting_gives(nanos: int, anchor: int, at: int, length: int) -> None:
    every = of(nanos, end=anchor + 150 * nanos // 1000).anchored(anchor)
    upto = at + length * nanos // 1000
    counted, here = 0, every.next_instant(at)
    while here is not None and here <= upto:
        counted, here = counted + 1, every.next_instant(here)
    assert every.count(at, upto) == counted


def test_a_century_of_milliseconds_is_asked_in_no_time() -> None:
    every = Interval(seconds=0.001, start=T0 - timedelta(days=36_500))
    began = time.process_time()
    for k in range(1000):
        at = to_instant(T0) + k
        every.next_instant(at)
        every.previous_instant(at)
        every.count(at - 36_500 * 86_400_000_000, at)
    assert time.process_time() - began < 0.5


def test_nothing_lies_beyond_the_end_of_datetimes() -> None:
    last = to_datetime(LAST_INSTANT)
    assert Interval(days=1, start=T0).next(datetime.max.replace(tzinfo=UTC)) is None
    assert Interval(days=36_500, start=T0).next(last) is None
    assert (Interval(days=1, start=T0).previous(datetime.max.replace(tzinfo=UTC)) or T0) <= last
    assert Interval(days=1, start=T0).previous(datetime.min.replace(tzinfo=UTC)) is None
