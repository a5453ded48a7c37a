"""Every n days, weeks or months at a local time, and some weekdays only."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncsched import AnyOf, Cron, Interval, Scheduler, TriggerError
from asyncsched.testing import VirtualClock
from asyncsched.triggers import Every, Only
from asyncsched.triggers.codec import trigger_from_json, trigger_to_json

BERLIN = ZoneInfo("Europe/Berlin")
STAND_UP = Every(weeks=2, at=time(18), on="mon", start=date(2026, 3, 2), timezone="Europe/Berlin")


def local(trigger: Any, n: int, after: datetime, zone: ZoneInfo = BERLIN) -> list[str]:
    return [f"{at.astimezone(zone):%a %Y-%m-%d %H:%M}" for at in trigger.upcoming(n, after)]


def test_every_second_monday_is_at_the_same_local_time_in_summer_and_winter() -> None:
    after = datetime(2026, 3, 2, 12, tzinfo=UTC)
    assert local(STAND_UP, 4, after) == [
        "Mon 2026-03-02 18:00", "Mon 2026-03-16 18:00", "Mon 2026-03-30 18:00", "Mon 2026-04-13 18:00",
    ]  # fmt: skip
    assert [at.hour for at in STAND_UP.upcoming(3, after)] == [17, 17, 16]
    assert STAND_UP.previous(datetime(2026, 3, 29, tzinfo=UTC)) == datetime(2026, 3, 16, 17, tzinfo=UTC)
    assert STAND_UP.previous(after) is None
    assert STAND_UP.describe() == "every 2 weeks on Monday at 18:00, Europe/Berlin, from 2026-03-02"


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        (
            Every(days=3, at=time(7, 30), start=date(2026, 1, 1)),
            ["01-01 07:30", "01-04 07:30", "01-07 07:30"],
        ),
        (Every(days=1, at=[time(18), time(6)]), ["01-01 06:00", "01-01 18:00", "01-02 06:00"]),
        (Every(weeks=1, on=["thu", "mon"], end=date(2026, 1, 5)), ["01-01 00:00", "01-05 00:00"]),
        (Every(weeks=3, start=date(2026, 1, 3)), ["01-03 00:00", "01-24 00:00", "02-14 00:00"]),
        (Every(months=1, on=31), ["01-31 00:00", "03-31 00:00", "05-31 00:00"]),
        (Every(months=1, on="last", at=time(23, 30)), ["01-31 23:30", "02-28 23:30", "03-31 23:30"]),
        (Every(months=5, start=date(2026, 1, 8)), ["01-08 00:00", "06-08 00:00", "11-08 00:00"]),
    ],
    ids=["3 days", "twice a day", "weekdays", "3 weeks", "the 31st", "last", "5 months"],
)
def test_the_dates_are_counted_from_the_start(trigger: Every, expected: list[str]) -> None:
    found = trigger.upcoming(3, datetime(2025, 12, 31, 23, 59, tzinfo=UTC))
    assert [f"{at:%m-%d %H:%M}" for at in found] == expected


def test_a_day_that_few_months_have_is_found() -> None:
    leap = Every(months=12, on=29, start=date(2024, 2, 1))
    assert leap.next(datetime(2096, 3, 1, tzinfo=UTC)) == datetime(2104, 2, 29, tzinfo=UTC)
    assert leap.previous(datetime(2104, 1, 1, tzinfo=UTC)) == datetime(2096, 2, 29, tzinfo=UTC)
    never = Every(months=12, on=30, start=date(2024, 2, 1))
    assert never.next(datetime(2026, 1, 1, tzinfo=UTC)) is None


def test_a_skipped_time_is_due_at_the_jump_and_a_repeated_one_in_the_first_pass() -> None:
    night = Every(days=1, at=time(2, 30), timezone="Europe/Berlin")
    assert night.next(datetime(2026, 3, 28, 12, tzinfo=UTC)) == datetime(2026, 3, 29, 1, tzinfo=UTC)
    autumn = night.upcoming(2, datetime(2026, 10, 24, 12, tzinfo=UTC))
    assert autumn == [datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 26, 1, 30, tzinfo=UTC)]
    assert autumn[0].note == "02:30 happens twice on 25 October, runs at the first"


every = st.one_of(
    st.builds(
        Every, days=st.integers(1, 40), start=st.dates(date(2020, 1, 1), date(2030, 1, 1)),
        at=st.lists(st.times().map(lambda at: at.replace(microsecond=0)), min_size=1, max_size=3),
        timezone=st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns"]),
    ),
    st.builds(
        Every, weeks=st.integers(1, 9), start=st.dates(date(2020, 1, 1), date(2030, 1, 1)),
        on=st.lists(st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), min_size=1),
        timezone=st.sampled_from(["UTC", "Europe/Berlin"]),
    ),
    st.builds(
        Every, months=st.integers(1, 14), start=st.dates(date(2020, 1, 1), date(2030, 1, 1)),
        on=st.one_of(st.integers(1, 28), st.just("last")), timezone=st.sampled_from(["UTC", "America/New_York"]),
    ),
)  # fmt: skip


@settings(max_examples=150)
@given(trigger=every, after=st.datetimes(datetime(2019, 1, 1), datetime(2032, 1, 1), timezones=st.just(UTC)))
def test_next_and_previous_are_one_set_and_data_keeps_it(trigger: Every, after: datetime) -> None:
    found = trigger.next(after)
    assert found is not None and found > after
    assert trigger.previous(found) == found
    before = trigger.previous(found - timedelta(microseconds=1))
    assert before is None or (before <= after and trigger.next(before) == found)
    again = trigger_from_json(trigger_to_json(trigger))
    assert again == trigger and again.next(after) == found and hash(again) == hash(trigger)
    assert pickle.loads(pickle.dumps(trigger)) == trigger


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "exactly one of"), ({"days": 1, "weeks": 1}, "exactly one of"), ({"days": 0}, "days must be"),
        ({"days": True}, "days must be"), ({"weeks": 2, "on": "mon"}, "give start="), ({"weeks": 1}, "give on="),
        ({"weeks": 1, "on": "monday"}, "on must be of mon"), ({"months": 1, "on": 32}, "from 1 to 31"),
        ({"days": 1, "on": "mon"}, "leave it out"), ({"days": 1, "at": "18:00"}, "naive datetime.time"),
        ({"days": 1, "at": []}, "no time"), ({"days": 1, "start": datetime(2026, 1, 1)}, "start must be a date"),
        ({"days": 1, "start": date(2026, 1, 2), "end": date(2026, 1, 1)}, "end is before start"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_wrong_is_refused_with_what_to_write(given: dict[str, Any], said: str) -> None:
    with pytest.raises(TriggerError, match=said):
        Every(**given)


def test_data_of_another_form_is_refused() -> None:
    for data in ({"every": 1}, {"every": 1, "unit": "years", "times": [], "on": None, "timezone": "UTC"}):
        with pytest.raises(TriggerError, match="not the data of an Every"):
            trigger_from_json(data)


# ── some weekdays only ───────────────────────────────────────────────────────────────────────────


def test_day_of_month_and_weekday() -> None:
    eighth = Cron("0 13 8 * *").only(weekday="wed")
    assert [f"{at:%a %Y-%m-%d}" for at in eighth.upcoming(3, datetime(2026, 1, 1, tzinfo=UTC))] == [
        "Wed 2026-04-08", "Wed 2026-07-08", "Wed 2027-09-08",
    ]  # fmt: skip
    assert eighth.previous(datetime(2026, 7, 1, tzinfo=UTC)) == datetime(2026, 4, 8, 13, tzinfo=UTC)
    assert eighth.describe() == f"{Cron('0 13 8 * *').describe()}, only on Wednesday"
    assert trigger_from_json(trigger_to_json(eighth)) == eighth == pickle.loads(pickle.dumps(eighth))
    assert isinstance(eighth, Only)


def test_the_weekday_is_that_of_the_local_time() -> None:
    late = Cron("30 23 * * *", timezone="America/New_York").only(weekday=["fri", "sat"])
    found = late.upcoming(3, datetime(2026, 3, 2, tzinfo=UTC))
    assert [f"{at.astimezone(ZoneInfo('America/New_York')):%a %H:%M}" for at in found] == [
        "Fri 23:30", "Sat 23:30", "Fri 23:30",
    ]  # fmt: skip
    assert Interval(hours=5).only(weekday="sun").next(datetime(2026, 1, 1, tzinfo=UTC)) is not None
    assert AnyOf(Cron("0 9 * * *")).only(weekday="mon").next(datetime(2026, 1, 1, tzinfo=UTC)) is not None


@pytest.mark.parametrize("weekday", ["wednesday", [], 3, ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]])
def test_a_weekday_that_is_none_is_refused(weekday: Any) -> None:
    with pytest.raises(TriggerError, match="only: "):
        Cron("@daily").only(weekday=weekday)


@pytest.mark.anyio
@pytest.mark.parametrize("durable", [False, True])
async def test_a_schedule_with_them_fires(durable: bool, virtual_clock: VirtualClock, tmp_path: Path) -> None:
    virtual_clock.set_wall(datetime(2026, 3, 1, tzinfo=UTC))
    scheduler = Scheduler(f"sqlite:///{tmp_path}/jobs.db" if durable else None, clock=virtual_clock)
    ran: list[str] = []

    @scheduler.job()
    async def work(name: str) -> None:
        ran.append(f"{name} {virtual_clock.now():%m-%d %H:%M}")

    async with scheduler:
        await scheduler.add_schedule(work, STAND_UP, id="stand-up", args=("stand-up",))
        await scheduler.add_schedule(
            work, Cron("0 13 8 * *").only(weekday="wed"), id="eighth", args=("eighth",)
        )
        await virtual_clock.advance(timedelta(days=40).total_seconds())
        assert (await scheduler.schedule("stand-up")).trigger == STAND_UP
    assert ran == [
        "stand-up 03-02 17:00",
        "stand-up 03-16 17:00",
        "stand-up 03-30 16:00",
        "eighth 04-08 13:00",
    ]
