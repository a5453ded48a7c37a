"""Unions of triggers, and triggers with windows of local time cut out."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncsched import AnyOf, At, ConfigurationError, Cron, Interval, TriggerError, Window
from asyncsched._core.instants import Instant, to_datetime, to_instant
from asyncsched._core.trigger import InstantTrigger
from asyncsched.triggers import Except
from asyncsched.triggers.base import BaseTrigger
from asyncsched.triggers.codec import trigger_from_json, trigger_to_json

PARIS = ZoneInfo("Europe/Paris")
T0 = datetime(2026, 1, 1, tzinfo=UTC)
SUMMER = datetime(2026, 3, 29, tzinfo=UTC)  # 02:00 → 03:00 in Paris, at 01:00 UTC
WINTER = datetime(2026, 10, 25, tzinfo=UTC)  # 03:00 → 02:00 in Paris, at 01:00 UTC


def every(minutes: float) -> Interval:
    return Interval(minutes=minutes, start=datetime(2025, 1, 1, tzinfo=UTC))


def local(hour: int, minute: int = 0, *, fold: int = 0, day: datetime = T0) -> datetime:
    wall = day.replace(hour=hour, minute=minute, tzinfo=PARIS, fold=fold)
    return wall.astimezone(UTC)


# ── any of ───────────────────────────────────────────────────────────────────────────────────────


def test_a_union_is_due_whenever_a_part_is_and_once_where_they_coincide() -> None:
    union = AnyOf(Cron("0 9 * * *"), Cron("0 */3 * * *"), At(T0 + timedelta(hours=4)))
    hours = [at.hour for at in union.upcoming(6, T0)]
    assert hours == [3, 4, 6, 9, 12, 15]
    assert union.previous(T0 + timedelta(hours=5)) == T0 + timedelta(hours=4)


def test_a_union_ends_with_its_last_part() -> None:
    union = AnyOf(At(T0), At(T0 + timedelta(days=1)))
    assert union.upcoming(9, T0 - timedelta(days=1)) == [T0, T0 + timedelta(days=1)]
    assert union.next(T0 + timedelta(days=1)) is None
    assert union.previous(T0 - timedelta(days=1)) is None


def test_its_intervals_are_anchored_where_it_is() -> None:
    union = AnyOf(Interval(hours=5), Interval(hours=7)).anchored(to_instant(T0))
    assert [at.hour for at in union.upcoming(4, T0)] == [5, 7, 10, 14]


class Mondays:
    """A trigger of a user's own, without ``previous``."""

    def next(self, after: datetime) -> datetime | None:
        day = (after + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return day + timedelta(days=-day.weekday() % 7)

    def __repr__(self) -> str:
        return "Mondays()"


def test_a_trigger_of_ones_own_can_be_a_part() -> None:
    union = AnyOf(Mondays(), Cron("0 12 1 * *"))
    assert [at.day for at in union.upcoming(3, T0)] == [1, 5, 12]
    assert union.previous(T0 + timedelta(days=6)) == datetime(2026, 1, 5, tzinfo=UTC)
    assert union.describe() == "Mondays(), or at 12:00 on day 1 of the month, UTC"
    with pytest.raises(TriggerError, match=r"Mondays\(\) cannot be kept by a store"):
        trigger_to_json(union)


@pytest.mark.parametrize("parts", [(), (1,), ("0 * * * *",), (None,), (Cron,)])
def test_what_makes_no_union_is_refused(parts: Any) -> None:
    with pytest.raises(TriggerError, match="AnyOf"):
        AnyOf(*parts)


def test_a_union_is_a_value() -> None:
    union = AnyOf(Cron("0 9 * * *"), every(5), At(T0))
    assert union == AnyOf(Cron("0 9 * * *"), every(5), At(T0))
    assert hash(union) == hash(AnyOf(Cron("0 9 * * *"), every(5), At(T0)))
    assert pickle.loads(pickle.dumps(union)) == union
    assert trigger_from_json(trigger_to_json(union)) == union


# ── except ───────────────────────────────────────────────────────────────────────────────────────


def test_holidays_are_whole_local_days() -> None:
    daily = Cron("0 7 * * *", timezone=PARIS)
    working = daily.except_(date(2026, 1, 2), date(2026, 1, 3))
    assert [at.day for at in working.upcoming(3, T0)] == [1, 4, 5]
    assert working.previous(local(6, day=T0 + timedelta(days=3))) == local(7)
    assert daily.except_([date(2026, 1, 2), date(2026, 1, 3)]) == working
    assert daily.except_({date(2026, 1, 2): "holiday"}).upcoming(2, T0)[1].day == 3


def test_a_holiday_begins_and_ends_at_local_midnight() -> None:
    hourly = Interval(hours=1, start=T0).except_(date(2026, 1, 2), timezone="Europe/Paris")
    skipped = {T0 + timedelta(hours=h) for h in range(48)} - set(hourly.upcoming(60, T0 - timedelta(hours=1)))
    assert (min(skipped), max(skipped)) == (
        local(0, day=T0 + timedelta(days=1)),
        local(23, day=T0 + timedelta(days=1)),
    )


def test_a_window_comes_back_every_day_and_its_end_is_not_part_of_it() -> None:
    quiet = every(30).except_(Window(time(9), time(17)))
    assert [at.strftime("%H:%M") for at in quiet.upcoming(3, T0 + timedelta(hours=8))] == [
        "08:30",
        "17:00",
        "17:30",
    ]


def test_a_window_may_go_over_midnight_and_stand_on_some_days() -> None:
    nights = every(60).except_(Window(time(22), time(6), days=("fri", "sat")))
    friday = datetime(2026, 1, 2, tzinfo=UTC)
    assert nights.next(friday) == friday + timedelta(hours=1)  # Thursday's night is none of them
    assert nights.next(friday + timedelta(hours=21)) == friday + timedelta(hours=30)
    assert nights.previous(friday + timedelta(hours=29)) == friday + timedelta(hours=21)
    assert nights.next(friday + timedelta(hours=69)) == friday + timedelta(hours=70)  # Sunday evening


def test_equal_times_are_the_whole_day_round() -> None:
    weekdays = every(60).except_(Window(time(8), time(8), days=("sat",)))
    saturday = datetime(2026, 1, 3, 8, tzinfo=UTC)
    assert weekdays.next(saturday - timedelta(hours=1)) == saturday + timedelta(days=1)


def test_a_pair_of_datetimes_is_one_stretch_of_time() -> None:
    closed = every(60).except_((T0 + timedelta(hours=2), local(5)))
    assert [at.hour for at in closed.upcoming(3, T0)] == [1, 4, 5]


def test_adjoining_windows_are_passed_over_together() -> None:
    busy = every(60).except_(
        Window(time(0), time(12)), Window(time(12), time(0)), timezone="America/New_York"
    )
    assert busy.next(T0) is None  # all day, every day: the search ends
    assert busy.previous(T0) is None


def test_in_a_repeated_hour_both_passes_lie_in_the_window() -> None:
    quarters = every(15).except_(Window(time(2, 30), time(2, 45)), timezone=PARIS)
    found = [at for at in quarters.upcoming(20, WINTER) if at < WINTER + timedelta(hours=2)]
    half_past = {WINTER + timedelta(minutes=m) for m in (30, 90)}  # 02:30 in the first pass and in the second
    assert half_past == {WINTER + timedelta(minutes=15 * k) for k in range(1, 8)} - set(found)


def test_between_the_passes_of_an_hour_there_is_an_end_of_the_window() -> None:
    # 02:15 to 02:45 in Paris: out at 00:15, in again at 00:45, out at 01:15, in at 01:45 UTC
    quarters = every(15).except_(Window(time(2, 15), time(2, 45)), timezone=PARIS)
    assert quarters.next(WINTER + timedelta(minutes=1)) == WINTER + timedelta(minutes=45)
    assert quarters.next(WINTER + timedelta(minutes=60)) == WINTER + timedelta(minutes=105)
    assert quarters.previous(WINTER + timedelta(minutes=90)) == WINTER + timedelta(minutes=60)


def test_a_window_that_ends_in_a_skipped_hour_ends_at_the_jump() -> None:
    quarters = every(15).except_(Window(time(1, 30), time(2, 30)), timezone=PARIS)
    jump = SUMMER + timedelta(hours=1)
    assert quarters.next(SUMMER + timedelta(minutes=15)) == jump
    assert quarters.previous(jump - timedelta(minutes=1)) == SUMMER + timedelta(minutes=15)


def test_the_zone_is_the_trigger_s_own_unless_it_is_given() -> None:
    window = Window(time(9), time(10))
    assert Cron("0 * * * *", timezone=PARIS).except_(window).timezone == PARIS
    assert every(5).except_(window).timezone is UTC
    assert AnyOf(Cron("0 * * * *", timezone=PARIS), every(5)).except_(window).timezone == PARIS
    assert every(5).except_(window, timezone=PARIS).except_(window).timezone == PARIS
    assert every(5).except_(window, timezone="Asia/Tokyo").timezone == ZoneInfo("Asia/Tokyo")


def test_parts_in_several_zones_want_the_windows_zone_said() -> None:
    union = AnyOf(Cron("0 * * * *", timezone=PARIS), Cron("0 * * * *", timezone="Asia/Tokyo"))
    with pytest.raises(
        TriggerError, match=r"several zones \(Asia/Tokyo, Europe/Paris\); give the zone of the windows"
    ):
        union.except_(date(2026, 1, 2))
    assert union.except_(date(2026, 1, 2), timezone="UTC").timezone is UTC


@pytest.mark.parametrize(
    "windows",
    [
        (),
        ([],),
        (datetime(2026, 1, 1, tzinfo=UTC),),
        ("2026-01-01",),
        (3,),
        (None,),
        (["2026-01-01"],),
        ([T0],),
        ((T0, T0),),
        ((T0, T0 - timedelta(days=1)),),
        ((T0, T0, T0),),
    ],
)
def test_what_is_no_window_is_refused(windows: Any) -> None:
    with pytest.raises(TriggerError, match="except_"):
        every(5).except_(*windows)


def test_naive_pairs_are_refused_with_the_fix() -> None:
    with pytest.raises(ConfigurationError, match="except_: a window's edge is a naive datetime"):
        every(5).except_((datetime(2026, 1, 1), datetime(2026, 1, 2)))


@pytest.mark.parametrize(
    "arguments, field",
    [
        ((9, time(10)), "start"),
        ((time(9, tzinfo=UTC), time(10)), "start"),
        ((time(9), "10:00"), "end"),
        ((time(9), time(10), "monday"), "days"),
        ((time(9), time(10), ()), "days"),
        ((time(9), time(10), 5), "days"),
        ((time(9), time(10), ["x" * 1000]), "days"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(arguments: Any, field: str) -> None:
    with pytest.raises(TriggerError, match=f"Window: {field}") as caught:
        Window(*arguments)
    assert caught.value.field == field
    assert len(str(caught.value)) < 160


def test_it_says_what_it_is() -> None:
    cron = Cron("0 7 * * *", timezone=PARIS)
    assert cron.except_(date(2026, 12, 25)).describe() == f"{cron.describe()}, except on 2026-12-25"
    assert (
        Interval(minutes=5).except_(Window(time(22), time(6), ("sat", "sun")), timezone=PARIS).describe()
        == "every 5 minutes, except from 22:00 to 06:00 on sat, sun (Europe/Paris)"
    )
    assert (
        cron.except_([date(2026, 1, day) for day in range(1, 8)])
        .describe()
        .endswith("except on 2026-01-01, on 2026-01-02, on 2026-01-03 and 4 more")
    )


def test_it_is_a_value() -> None:
    def made() -> Except:
        return every(5).except_(
            date(2026, 1, 1), Window(time(9), time(10), "mon"), (T0, local(5)), timezone=PARIS
        )

    one = made()
    assert one == made()
    assert hash(one) == hash(made())
    assert pickle.loads(pickle.dumps(one)) == one
    assert trigger_from_json(trigger_to_json(one)) == one
    assert one != every(5).except_(date(2026, 1, 1))
    assert one != Except(one.trigger, one.windows, "Asia/Tokyo")
    assert repr(one) == (
        "Interval(seconds=300, start=2025-01-01T00:00:00+00:00).except_(2026-01-01, "
        "Window(09:00:00, 10:00:00, days=['mon']), "
        "(2026-01-01T00:00:00+00:00, 2026-01-01T04:00:00+00:00), timezone='Europe/Paris')"
    )


def test_a_hundred_holidays_cost_no_walk_through_the_slots() -> None:
    days = [date(2026, 1, 1) + timedelta(days=day) for day in range(365)]
    each_second = Interval(seconds=1, start=T0).except_(days)
    assert each_second.next(T0) == datetime(2027, 1, 1, tzinfo=UTC)


def test_notes_are_passed_on_but_for_slots_that_are_left_out() -> None:
    cron = Cron("30 2 * * *", timezone=PARIS)
    day = to_instant(SUMMER), to_instant(SUMMER + timedelta(days=1))
    (note,) = cron.notes(*day)
    assert AnyOf(cron, every(5)).notes(*day) == [note]
    assert cron.except_(date(2026, 12, 25)).notes(*day) == [note]
    assert cron.except_(date(2026, 3, 29)).notes(*day) == []
    assert Interval(seconds=1).notes(*day) == []


def test_upcoming_tells_what_the_clock_does() -> None:
    found = Cron("30 2 * * *", timezone=PARIS).upcoming(3, SUMMER - timedelta(days=1))
    assert [(str(at), at.note) for at in found] == [
        ("2026-03-28 01:30:00+00:00", ""),
        ("2026-03-29 01:00:00+00:00", "02:30 does not exist on 29 March, runs at 03:00"),
        ("2026-03-30 00:30:00+00:00", ""),
    ]
    lost = AnyOf(Cron("*/10 2 * * *", timezone=PARIS), Cron("30 2 * * *", timezone=PARIS))
    assert [at.note for at in lost.upcoming(2, SUMMER) if at.note] == [
        "02:00 to 02:50 do not exist on 29 March, do not run; 02:30 does not exist on 29 March, runs at 03:00"
    ]


# ── properties ───────────────────────────────────────────────────────────────────────────────────

ZONES = ["UTC", "Europe/Paris", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"]
parts = st.one_of(
    st.builds(every, st.sampled_from([7, 15, 60, 1440, 10_007])),
    st.builds(
        Cron, st.sampled_from(["*/20 * * * *", "30 2 * * *", "0 0 L * *"]), timezone=st.sampled_from(ZONES)
    ),
    st.builds(At, st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))),
)
times_of_day = st.builds(time, st.integers(0, 23), st.sampled_from([0, 15, 30]))
windows = st.one_of(
    st.dates(date(2026, 3, 20), date(2026, 11, 10)),
    st.builds(
        Window,
        times_of_day,
        times_of_day,
        st.lists(st.sampled_from(("mon", "wed", "sat", "sun")), min_size=1, max_size=4),
    ),
)
unions = st.builds(lambda made: AnyOf(*made), st.lists(parts, min_size=1, max_size=3))
exceptions = st.builds(
    lambda trigger, cut, zone: Except(trigger, cut, zone),
    st.one_of(parts, unions),
    st.lists(windows, min_size=1, max_size=4),
    st.sampled_from(ZONES),
)
moments = st.one_of(
    st.datetimes(datetime(2026, 3, 25), datetime(2026, 4, 8), timezones=st.just(UTC)),
    st.datetimes(datetime(2026, 10, 1), datetime(2026, 11, 5), timezones=st.just(UTC)),
)


@settings(max_examples=300, deadline=None)
@given(trigger=st.one_of(unions, exceptions), after=moments)
def test_next_is_strictly_after_and_previous_is_its_mirror(trigger: BaseTrigger, after: datetime) -> None:
    at = to_instant(after)
    following = trigger.next_instant(at)
    if following is None:
        return
    assert following > at
    assert trigger.next_instant(following - 1) == following
    assert trigger.previous_instant(following) == following
    before = trigger.previous_instant(following - 1)
    if before is not None:
        assert before <= at
        assert trigger.next_instant(before) == following


@settings(max_examples=200, deadline=None)
@given(trigger=st.one_of(unions, exceptions), after=moments)
def test_steps_forward_are_the_steps_back(trigger: BaseTrigger, after: datetime) -> None:
    at: int | None = to_instant(after)
    forward: list[int] = []
    while len(forward) < 30 and at is not None and (at := trigger.next_instant(at)) is not None:
        forward.append(at)
    assert all(one < two for one, two in pairwise(forward))
    if forward:
        back, at = [], forward[-1] + 1
        while len(back) < len(forward) and (at := trigger.previous_instant(at - 1)) is not None:
            back.append(at)
        assert back == forward[::-1]


@settings(max_examples=200, deadline=None)
@given(
    trigger=parts, cut=st.lists(windows, min_size=1, max_size=4), zone=st.sampled_from(ZONES), after=moments
)
def test_what_is_left_is_what_the_local_clock_says(
    trigger: BaseTrigger, cut: list[Any], zone: str, after: datetime
) -> None:
    left = Except(trigger, cut, zone)
    start, end = to_instant(after), to_instant(after + timedelta(days=2))
    at: int | None = start
    expected = []
    while at is not None and (at := trigger.next_instant(at)) is not None and at <= end:
        shown = to_datetime(at).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        if not any(_holds(window, shown) for window in cut):
            expected.append(at)
    found, at = [], start
    while at is not None and (at := left.next_instant(at)) is not None and at <= end:
        found.append(at)
    assert found == expected


def _holds(window: date | Window, shown: datetime) -> bool:
    """Say it slowly: does a naive local time lie in a window?"""
    if isinstance(window, date):
        return shown.date() == window
    for day in (shown.date(), shown.date() - timedelta(days=1)):
        first = datetime.combine(day, window.start)
        last = datetime.combine(day, window.end)
        if last <= first:
            last += timedelta(days=1)
        if day.weekday() in window.days and first <= shown < last:
            return True
    return False


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        (Cron("0 0 29 2 *").except_(date(2028, 2, 29)), datetime(2032, 2, 29, tzinfo=UTC)),
        (
            Cron("0 13 8 1,4,7,10 *").except_(
                Window(time(0), time(0), ("mon", "tue", "thu", "fri", "sat", "sun"))
            ),
            datetime(2026, 4, 8, 13, tzinfo=UTC),
        ),
        (
            AnyOf(Cron("0 0 29 2 *").except_(*(date(year, 2, 29) for year in range(2028, 2060, 4)))),
            datetime(2060, 2, 29, tzinfo=UTC),
        ),
    ],
    ids=["a leap day", "a day of month on a weekday", "the ninth leap day"],
)
def test_a_slot_is_found_as_far_ahead_as_the_calendar_has_it(trigger: Any, expected: datetime) -> None:
    after = datetime(2026, 1, 9, tzinfo=UTC)
    assert trigger.next(after) == expected
    assert trigger.previous(expected) == expected


def test_a_search_ends_where_nothing_is_ever_due() -> None:
    asked = 0

    class Counted(InstantTrigger):
        def next_instant(self, after: Instant) -> Instant | None:
            nonlocal asked
            asked += 1
            return Interval(hours=1, start=T0).next_instant(after)

        def previous_instant(self, before: Instant) -> Instant | None:
            nonlocal asked
            asked += 1
            return Interval(hours=1, start=T0).previous_instant(before)

    never = Except(Counted(), [Window(time(0), time(0))])
    assert never.next(T0) is None
    assert asked <= 2002
    assert never.previous(T0 + timedelta(days=36_000)) is None
    assert asked <= 4004
