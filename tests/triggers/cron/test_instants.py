"""When a cron fires: the examples of time.md, clock changes, and the ends of time."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from asyncsched._core.instants import DAY, HOUR, SECOND, Instant, to_datetime, to_instant
from asyncsched.triggers.cron import Cron

NEW_YORK = "America/New_York"
BERLIN = "Europe/Berlin"
PARIS = "Europe/Paris"


def at(text: str, zone: str = "UTC", fold: int = 0) -> Instant:
    return to_instant(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold))


def local(instant: Instant | None, zone: str) -> str:
    assert instant is not None
    return to_datetime(instant).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S %z")


def fires(expression: str, zone: str, after: str, count: int) -> list[str]:
    """Return the next instants as local texts, having checked that ``previous`` walks them back."""
    cron = Cron(expression, timezone=zone)
    instants = [to_instant(found) for found in cron.upcoming(count, to_datetime(at(after, zone)))]
    for earlier, later in pairwise(instants):
        assert cron.previous_instant(later) == later
        assert cron.previous_instant(later - 1) == earlier
    suffix = ":00 +0000" if zone == "UTC" else ""
    return [local(instant, zone)[5:].removesuffix(suffix) for instant in instants]


def times(expression: str, zone: str, after: str, count: int) -> list[str]:
    """Return the next instants as local times of day, with the offset."""
    return [text[6:] for text in fires(expression, zone, after, count)]


# ---- what croniter 7 gets wrong ---------------------------------------------------------------


def test_a_fixed_job_runs_in_the_first_pass_only() -> None:
    assert fires("30 1 * * *", NEW_YORK, "2025-11-02 00:00", 2) == [
        "11-02 01:30:00 -0400",
        "11-03 01:30:00 -0500",
    ]


def test_a_wildcard_job_in_a_skipped_hour_does_not_run() -> None:
    assert times("15 */2 * * *", BERLIN, "2026-03-29 00:00", 2) == ["00:15:00 +0100", "04:15:00 +0200"]


def test_a_fixed_job_in_a_skipped_hour_runs_at_the_jump() -> None:
    expected = ["01:05:00 +0100", "03:00:00 +0200", "03:05:00 +0200", "04:05:00 +0200"]
    assert times("5 0-23 * * *", BERLIN, "2026-03-29 01:00", 4) == expected


def test_a_day_that_starts_with_a_star_must_match_too() -> None:
    expected = ["06-01 00:00", "06-15 00:00", "06-29 00:00", "07-13 00:00"]
    assert fires("0 0 */2 * 1", "UTC", "2026-05-30 00:00", 4) == expected


def test_days_without_a_star_are_joined_by_or() -> None:
    assert fires("0 0 1-31 * 1", "UTC", "2026-06-01 00:00", 2) == ["06-02 00:00", "06-03 00:00"]


def test_a_range_of_one_is_one_value() -> None:
    assert fires("0 0 5-5 * *", "UTC", "2026-06-01 00:00", 2) == ["06-05 00:00", "07-05 00:00"]
    assert fires("0 0 * * 7-7", "UTC", "2026-06-01 00:00", 2) == ["06-07 00:00", "06-14 00:00"]


def test_a_reversed_range_carries_its_step_across_the_wrap() -> None:
    assert fires("0 22-4/3 * * *", "UTC", "2026-06-01 12:00", 4) == [
        "06-01 22:00",
        "06-02 01:00",
        "06-02 04:00",
        "06-02 22:00",
    ]


def test_a_day_or_the_nth_weekday() -> None:
    expected = ["06-15 00:00", "07-06 00:00", "07-15 00:00", "08-03 00:00"]
    assert fires("0 0 15 * 1#1", "UTC", "2026-06-02 00:00", 4) == expected


def test_last_workday_and_last_friday() -> None:
    assert fires("0 0 LW * *", "UTC", "2026-05-01 00:00", 3) == ["05-29 00:00", "06-30 00:00", "07-31 00:00"]
    assert fires("0 0 * * 5L", "UTC", "2026-05-01 00:00", 2) == ["05-29 00:00", "06-26 00:00"]
    assert fires("0 0 * * L5", "UTC", "2026-05-01 00:00", 2) == ["05-29 00:00", "06-26 00:00"]


def test_nearest_workday_stays_in_its_month() -> None:
    # 1 August 2026 is a Saturday, 31 May 2026 a Sunday.
    assert fires("0 0 1W 8 *", "UTC", "2026-05-01 00:00", 1) == ["08-03 00:00"]
    assert fires("0 0 31W 5 *", "UTC", "2026-05-01 00:00", 1) == ["05-29 00:00"]
    assert fires("0 0 31W * *", "UTC", "2026-06-01 00:00", 1) == ["07-31 00:00"]


def test_every_second_crosses_a_gap_at_once() -> None:
    for zone, last, following in [
        (NEW_YORK, "2026-03-08 01:59:59", "2026-03-08 03:00:00"),
        ("Antarctica/Troll", "2026-03-29 00:59:59", "2026-03-29 03:00:00"),
        ("Pacific/Apia", "2011-12-29 23:59:59", "2011-12-31 00:00:00"),
    ]:
        cron = Cron("* * * * * *", timezone=zone)
        assert cron.next_instant(at(last, zone)) == at(following, zone) == at(last, zone) + SECOND
        assert cron.previous_instant(at(following, zone) - 1) == at(last, zone)


# ---- the rules --------------------------------------------------------------------------------


def test_skipped_times_run_once_at_the_jump() -> None:
    expected = ["03:00:00 +0200", "03:30:00 +0200", "02:00:00 +0200", "02:30:00 +0200"]
    assert times("0,30 2,3 * * *", PARIS, "2026-03-29 00:00", 4) == expected


def test_a_wildcard_job_runs_in_both_passes() -> None:
    expected = [f"02:{m}:00 {o}" for o in ("+0200", "+0100") for m in ("00", "30")] + ["03:00:00 +0100"]
    assert times("*/30 * * * *", PARIS, "2026-10-25 01:30", 5) == expected


def test_hourly_is_wildcard() -> None:
    expected = ["01:00:00 -0400", "01:00:00 -0500", "02:00:00 -0500"]
    assert times("@hourly", NEW_YORK, "2025-11-02 00:30", 3) == expected


def test_ranges_over_all_values_are_fixed() -> None:
    expected = ["01:59:00 -0400", "02:00:00 -0500"]
    assert times("0-59 0-23 * * *", NEW_YORK, "2025-11-02 01:58", 2) == expected


def test_half_an_hour_at_lord_howe() -> None:
    zone = "Australia/Lord_Howe"
    assert times("15 2 * * *", zone, "2026-10-04 00:00", 2) == ["02:30:00 +1100", "02:15:00 +1100"]
    assert times("45 1 * * *", zone, "2026-04-05 00:00", 2) == ["01:45:00 +1100", "01:45:00 +1030"]
    assert times("*/15 1 * * *", zone, "2026-04-05 01:20", 4) == [
        "01:30:00 +1100",
        "01:45:00 +1100",
        "01:30:00 +1030",
        "01:45:00 +1030",
    ]


def test_quarters_at_chatham() -> None:
    zone = "Pacific/Chatham"
    assert times("0 3 * * *", zone, "2026-09-27 00:00", 2) == ["03:45:00 +1345", "03:00:00 +1345"]
    assert times("0 3 * * *", zone, "2026-04-05 00:00", 2) == ["03:00:00 +1345", "03:00:00 +1245"]


def test_two_hours_at_troll() -> None:
    zone = "Antarctica/Troll"
    assert times("30 1,2 * * *", zone, "2026-03-29 00:00", 2) == ["03:00:00 +0200", "01:30:00 +0200"]
    assert times("30 1,2 * * *", zone, "2026-10-25 00:00", 3) == [
        "01:30:00 +0200",
        "02:30:00 +0200",
        "01:30:00 +0000",
    ]


def test_midnight_that_is_skipped_runs_at_one() -> None:
    assert fires("@daily", "America/Havana", "2026-03-07 12:00", 2) == [
        "03-08 01:00:00 -0400",
        "03-09 00:00:00 -0400",
    ]


def test_one_minute_past_midnight_at_st_johns() -> None:
    zone = "America/St_Johns"
    assert fires("0 0 * * *", zone, "2006-04-01 12:00", 2) == ["04-02 00:00:00 -0330", "04-03 00:00:00 -0230"]
    assert fires("30 0 * * *", zone, "2006-04-01 12:00", 2) == [
        "04-02 01:01:00 -0230",
        "04-03 00:30:00 -0230",
    ]
    assert fires("30 23 * * *", zone, "2006-10-28 12:00", 2) == [
        "10-28 23:30:00 -0230",
        "10-29 23:30:00 -0330",
    ]
    assert fires("0 * * * *", zone, "2006-10-28 23:30", 2) == ["10-29 00:00:00 -0230", "10-29 00:00:00 -0330"]


def test_dublins_winter_time_is_a_fold_like_any_other() -> None:
    zone = "Europe/Dublin"
    assert times("30 1 * * *", zone, "2026-10-25 00:00", 2) == ["01:30:00 +0100", "01:30:00 +0000"]
    assert times("30 1 * * *", zone, "2026-03-29 00:00", 2) == ["02:00:00 +0100", "01:30:00 +0100"]


def test_ramadan_at_casablanca() -> None:
    zone = "Africa/Casablanca"
    assert times("30 2 * * *", zone, "2026-02-15 00:00", 2) == ["02:30:00 +0100", "02:30:00 +0000"]
    assert times("30 2 * * *", zone, "2026-03-22 00:00", 2) == ["03:00:00 +0100", "02:30:00 +0100"]


def test_a_change_of_three_hours_or_more_is_believed() -> None:
    apia = fires("30 7 * * *", "Pacific/Apia", "2011-12-29 00:00", 2)
    assert apia == ["12-29 07:30:00 -1000", "12-31 07:30:00 +1400"]
    casey = "Antarctica/Casey"
    assert fires("0 3 * * *", casey, "2009-10-17 12:00", 1) == ["10-19 03:00:00 +1100"]
    assert fires("0 0 * * *", casey, "2010-03-04 20:00", 2) == [
        "03-05 00:00:00 +1100",
        "03-05 00:00:00 +0800",
    ]
    juneau = fires("0 20 * * *", "America/Juneau", "1867-10-18 12:00", 2)
    assert [text[:11] for text in juneau] == ["10-18 20:00", "10-18 20:00"]  # once in each hemisphere


def test_two_hours_and_a_half_are_not_believed() -> None:
    zone = "Asia/Yangon"
    assert fires("30 1 * * *", zone, "1942-04-30 12:00", 1) == ["05-01 02:30:00 +0900"]


def test_a_shift_of_seconds_skips_no_minute() -> None:
    zone = "Pacific/Fiji"  # 1915-10-26 00:00:00 became 00:04:16
    expected = ["10-25 23:59", "10-26 00:04", "10-26 00:05"]
    assert [text[:11] for text in fires("* * * * *", zone, "1915-10-25 23:58", 3)] == expected
    assert [text[:14] for text in fires("2 0 * * *", zone, "1915-10-25 12:00", 1)] == ["10-26 00:04:16"]


def test_local_second_0_counts_where_an_offset_has_seconds() -> None:
    assert fires("0 12 * * *", "Africa/Monrovia", "1971-06-01 00:00", 1) == ["06-01 12:00:00 -004430"]
    assert times("* * * * *", "Africa/Monrovia", "1972-01-06 23:59", 2) == [
        "00:45:00 +0000",
        "00:46:00 +0000",
    ]
    assert times("0 0 * * *", "Africa/Monrovia", "1972-01-06 23:59", 1) == ["00:44:30 +0000"]
    cron = Cron("* * * * *", timezone="Africa/Monrovia")
    assert cron.next_instant(at("1971-06-01 12:00")) == at("1971-06-01 12:00:30")


def test_a_zero_for_the_seconds_changes_nothing() -> None:
    for text in ("30 2 * * *", "*/30 * * * *", "5 0-23 * * *", "15 */2 * * *", "0,30 1-3 * * *"):
        for day in ("2026-03-28 12:00", "2026-10-24 12:00"):
            assert fires(text, PARIS, day, 40) == fires(f"0 {text}", PARIS, day, 40)


def test_seconds_owed_by_a_gap_run_once_at_the_jump() -> None:
    assert times("15,45 30 2 * * *", PARIS, "2026-03-29 00:00", 2) == ["03:00:00 +0200", "02:30:15 +0200"]
    assert times("* 59 2 * * *", PARIS, "2026-03-29 00:00", 2) == ["03:00:00 +0200", "02:59:00 +0200"]


def test_seconds_come_first() -> None:
    assert fires("30 5 7 * * *", "UTC", "2026-06-01 00:00", 1) == ["06-01 07:05:30 +0000"]


def test_from_within_the_second_pass() -> None:
    second = at("2025-11-02 01:10", NEW_YORK, fold=1)
    assert (
        local(Cron("30 1 * * *", timezone=NEW_YORK).next_instant(second), NEW_YORK)
        == "2025-11-03 01:30:00 -0500"
    )
    assert (
        local(Cron("*/30 * * * *", timezone=NEW_YORK).next_instant(second), NEW_YORK)
        == "2025-11-02 01:30:00 -0500"
    )
    first = Cron("30 1 * * *", timezone=NEW_YORK).previous_instant(second)
    assert local(first, NEW_YORK) == "2025-11-02 01:30:00 -0400"
    assert (
        local(Cron("5 * * * *", timezone=NEW_YORK).previous_instant(second), NEW_YORK)
        == "2025-11-02 01:05:00 -0500"
    )


# ---- start, end and the ends of time ----------------------------------------------------------


def test_next_is_strictly_after_and_previous_at_or_before() -> None:
    cron = Cron("@hourly")
    noon = at("2026-06-01 12:00")
    assert cron.next_instant(noon - 1) == noon
    assert cron.next_instant(noon) == noon + HOUR
    assert cron.next_instant(noon + 1) == noon + HOUR
    assert cron.previous_instant(noon) == noon
    assert cron.previous_instant(noon + 1) == noon
    assert cron.previous_instant(noon - 1) == noon - HOUR


def test_start_and_end_belong_to_the_schedule() -> None:
    noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
    cron = Cron("@hourly", start=noon, end=noon + timedelta(hours=2))
    first, last = to_instant(noon), to_instant(noon) + 2 * HOUR
    assert cron.upcoming(9, noon - timedelta(days=900)) == [noon + timedelta(hours=n) for n in range(3)]
    assert cron.next_instant(last) is None
    assert cron.next_instant(last + DAY) is None
    assert cron.previous_instant(first - 1) is None
    assert cron.previous_instant(first) == first
    assert cron.previous_instant(last + 900 * DAY) == last


def test_a_start_a_microsecond_late_leaves_its_slot_out() -> None:
    late = datetime(2026, 6, 1, 12, 0, 0, 1, tzinfo=UTC)
    cron = Cron("@hourly", start=late, end=late + timedelta(hours=2) - timedelta(microseconds=2))
    assert cron.upcoming(9, datetime(2026, 1, 1, tzinfo=UTC)) == [datetime(2026, 6, 1, 13, tzinfo=UTC)]


def test_leap_days_are_found_however_far_apart() -> None:
    assert Cron("0 0 29 2 *").next_instant(at("2096-02-29")) == at("2104-02-29")
    assert Cron("0 0 29 2 *").previous_instant(at("2104-02-28")) == at("2096-02-29")
    sundays = Cron("0 0 29 2 */7").upcoming(3, datetime(2026, 1, 1, tzinfo=UTC))
    assert [(day.year, day.weekday()) for day in sundays] == [(2032, 6), (2060, 6), (2088, 6)]
    across = Cron("0 0 29 2 */7").next_instant(at("2088-03-01"))
    assert across == at("2128-02-29")
    assert Cron("0 0 29 2 */7").previous_instant(at("2128-02-28")) == at("2088-02-29")


def test_new_year_on_a_monday_is_found() -> None:
    assert Cron("0 0 */31 1 1").next_instant(at("2018-01-01")) == at("2024-01-01")


def test_what_no_clock_ever_shows_ends_the_search() -> None:
    cron = Cron("*/15 2 25-31 3 */7", timezone=PARIS)  # always in the gap, and wildcard
    assert cron.next_instant(at("2026-01-01")) is None
    assert cron.previous_instant(at("2026-01-01")) is None


@pytest.mark.parametrize("zone", ["UTC", NEW_YORK, "Pacific/Apia", "Pacific/Kiritimati", "Africa/Monrovia"])
@pytest.mark.parametrize("expression", ["* * * * * *", "@yearly", "0 0 29 2 */7", "30 2 * * *"])
def test_the_ends_of_time_are_no_error(expression: str, zone: str) -> None:
    cron = Cron(expression, timezone=zone)
    first, last = to_instant(datetime.min.replace(tzinfo=UTC)), to_instant(datetime.max.replace(tzinfo=UTC))
    for far in (-(10**30), first - 1, first, first + DAY):
        found = cron.next_instant(far)
        assert found is not None
        assert found > first
        assert cron.previous_instant(far) is None
    for far in (10**30, last + 1, last, last - DAY):
        before = cron.previous_instant(far)
        assert before is not None
        assert before < last
        assert cron.next_instant(far) is None
    assert cron.next(datetime.max.replace(tzinfo=UTC)) is None
    assert cron.notes(-(10**30), 10**30) is not None


# ---- notes ------------------------------------------------------------------------------------


def notes(expression: str, zone: str, start: str, end: str) -> list[tuple[str, str]]:
    cron = Cron(expression, timezone=zone)
    return [(local(when, zone)[5:16], text) for when, text in cron.notes(at(start), at(end))]


@pytest.mark.parametrize(
    ("expression", "spring", "autumn"),
    [
        (
            "30 2 * * *",
            ("03-29 03:00", "02:30 does not exist on 29 March, runs at 03:00"),
            ("10-25 02:30", "02:30 happens twice on 25 October, runs at the first"),
        ),
        (
            "0,30 2 * * *",
            ("03-29 03:00", "02:00 and 02:30 do not exist on 29 March, run once at 03:00"),
            ("10-25 02:00", "02:00 and 02:30 happen twice on 25 October, run at the first"),
        ),
        (
            "*/15 * * * *",
            ("03-29 03:00", "02:00 to 02:45 do not exist on 29 March, do not run"),
            ("10-25 02:00", "02:00 to 02:45 happen twice on 25 October, run in both passes"),
        ),
        (
            "@hourly",
            ("03-29 03:00", "02:00 does not exist on 29 March, does not run"),
            ("10-25 02:00", "02:00 happens twice on 25 October, runs in both passes"),
        ),
    ],
)
def test_notes_say_what_a_clock_change_does(
    expression: str, spring: tuple[str, str], autumn: tuple[str, str]
) -> None:
    assert notes(expression, PARIS, "2026-01-01", "2027-01-01") == [spring, autumn]


def test_a_change_that_touches_no_run_has_no_note() -> None:
    assert notes("30 7 * * *", PARIS, "2026-01-01", "2027-01-01") == []
    assert notes("30 2 * * mon", PARIS, "2026-01-01", "2027-01-01") == []
    assert notes("* * * * *", "UTC", "2026-01-01", "2027-01-01") == []


def test_notes_belong_to_the_stretch_asked_for() -> None:
    jump = "2026-03-29 01:00"
    assert len(notes("@hourly", PARIS, jump, jump)) == 1
    assert notes("@hourly", PARIS, "2026-03-29 01:00:01", "2026-10-25 00:59:59") == []
    assert notes("@hourly", PARIS, "2026-01-01", "2026-03-29 00:59:59") == []
    assert notes("@hourly", PARIS, "2026-12-01", "2026-01-01") == []


def test_notes_name_both_days_of_a_change_across_midnight() -> None:
    zone = "America/St_Johns"
    expected = "23:30 on 28 October and 00:00 on 29 October happen twice, run in both passes"
    assert notes("*/30 * * * *", zone, "2006-10-01", "2006-12-01") == [("10-28 23:30", expected)]
    expected = "07:30 does not exist on 30 December, does not run"
    assert notes("30 7 * * *", "Pacific/Apia", "2011-12-01", "2012-01-01") == [("12-31 00:00", expected)]


def test_notes_respect_start_and_end() -> None:
    cron = Cron("@hourly", timezone=PARIS, start=datetime(2026, 6, 1, tzinfo=UTC))
    assert len(cron.notes(at("2026-01-01"), at("2027-01-01"))) == 1


# ---- cost -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "zone", "after"),
    [
        ("* * * * * *", NEW_YORK, "2026-03-08 06:59:59"),
        ("* * * * * *", "Pacific/Apia", "2011-12-30 09:59:59"),
        ("0-59 0-59 0-23 * * *", "Antarctica/Casey", "2010-03-04 16:00:00"),
        ("* 2 25-31 3 */7", PARIS, "2026-01-01"),
        ("0 0 29 2 */7", "America/St_Johns", "2088-03-01"),
        ("0 0 29 2 1", "Africa/Casablanca", "2026-03-01"),
        ("59 59 23 31 12 */7", "Europe/Dublin", "2026-01-01"),
        ("30 0 * * *", "America/St_Johns", "2006-04-02 03:00"),
    ],
)
def test_next_and_previous_take_less_than_a_millisecond(expression: str, zone: str, after: str) -> None:
    cron, start = Cron(expression, timezone=zone), at(after)
    for ask in (cron.next_instant, cron.previous_instant):
        best = float("inf")
        for _ in range(20):
            begin = time.perf_counter()
            ask(start)
            best = min(best, time.perf_counter() - begin)
        if sys.gettrace() is None:
            assert best < 0.001
