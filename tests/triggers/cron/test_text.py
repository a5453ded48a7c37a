"""The dialect: what an expression may say, what it means, and how it is refused."""

from __future__ import annotations

import copy
import pickle
import random
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from asyncsched._core.errors import ConfigurationError, TriggerError
from asyncsched._core.instants import DAY, MINUTE, SECOND
from asyncsched.triggers.cron import Cron
from asyncsched.triggers.cron.text import clean, read_fields
from tests.triggers.cron.oracle import EPOCH_DAY, Rule, random_expression


def values(expression: str) -> tuple[list[int], ...]:
    fields = read_fields(clean(expression))
    return tuple(
        sorted(read) for read in (fields.minutes, fields.hours, fields.days, fields.months, fields.weekdays)
    )


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        (0, "5", [5]),
        (0, "05", [5]),
        (0, "5,7,5", [5, 7]),
        (0, "5-8", [5, 6, 7, 8]),
        (0, "5-5", [5]),
        (0, "5-5/3", [5]),
        (0, "*/20", [0, 20, 40]),
        (0, "*/90", [0]),
        (0, "10-30/10", [10, 20, 30]),
        (0, "10/20", [10, 30, 50]),
        (0, "59/15", [59]),
        (0, "55-5/5", [0, 5, 55]),
        (1, "22-4/3", [1, 4, 22]),
        (1, "23-22", list(range(24))),
        (2, "28-3", [1, 2, 3, 28, 29, 30, 31]),
        (2, "28-3/2", [1, 3, 28, 30]),
        (3, "nov-FEB", [1, 2, 11, 12]),
        (3, "Oct/1", [10, 11, 12]),
        (4, "0-7", [0, 1, 2, 3, 4, 5, 6]),
        (4, "7", [0]),
        (4, "7-7", [0]),
        (4, "7-2", [0, 1, 2]),
        (4, "*/2", [0, 2, 4, 6]),
        (4, "1-7/2", [0, 1, 3, 5]),
        (4, "1/2", [0, 1, 3, 5]),
        (4, "sat-Tue/2", [1, 6]),
        (4, "fri-mon", [0, 1, 5, 6]),
        (4, "MON-fri", [1, 2, 3, 4, 5]),
        (4, "?", [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_a_field_means_these_values(field: int, text: str, expected: list[int]) -> None:
    parts = ["0", "0", "1", "1", "*"]
    parts[field] = text
    assert values(" ".join(parts))[field] == expected


@pytest.mark.parametrize(
    ("expression", "field", "token"),
    [
        ("60 * * * *", "minute", "60"),
        ("* 24 * * *", "hour", "24"),
        ("* * 0 * *", "day of month", "0"),
        ("* * 32 * *", "day of month", "32"),
        ("* * * 13 *", "month", "13"),
        ("* * * 0 *", "month", "0"),
        ("* * * * 8", "day of week", "8"),
        ("60 * * * * *", "second", "60"),
        ("1,,2 * * * *", "minute", ""),
        ("1, * * * *", "minute", ""),
        ("*/0 * * * *", "minute", "*/0"),
        ("*/-1 * * * *", "minute", "*/-1"),
        ("* */ * * *", "hour", "*/"),
        ("-5 * * * *", "minute", "-5"),
        ("5- * * * *", "minute", "5-"),
        ("1-2-3 * * * *", "minute", "1-2-3"),
        ("1/2/3 * * * *", "minute", "1/2/3"),
        ("*-5 * * * *", "minute", "*-5"),
        ("1-* * * * *", "minute", "1-*"),
        ("** * * * *", "minute", "**"),
        ("1.5 * * * *", "minute", "1.5"),
        ("+5 * * * *", "minute", "+5"),
        ("1_0 * * * *", "minute", "1_0"),
        ("jan * * * *", "minute", "jan"),
        ("* * * mon *", "month", "mon"),
        ("* * * january *", "month", "january"),
        ("* * * * Monday", "day of week", "Monday"),
        ("? * * * *", "minute", "?"),
        ("* * * ? *", "month", "?"),
        ("* * ?/2 * *", "day of month", "?/2"),
        ("H H * * *", "minute", "H"),
        ("0 h(0-3) * * *", "hour", "h(0-3)"),
        ("R * * * *", "minute", "R"),
        ("0 L * * *", "hour", "L"),
        ("* * L-3 * *", "day of month", "L-3"),
        ("* * WL * *", "day of month", "WL"),
        ("* * W * *", "day of month", "W"),
        ("* * 0W * *", "day of month", "0W"),
        ("* * 32W * *", "day of month", "32W"),
        ("* * 1-5W * *", "day of month", "1-5W"),
        ("* * * * L", "day of week", "L"),
        ("* * * * LL", "day of week", "LL"),
        ("* * * * 8L", "day of week", "8L"),
        ("* * * * L8", "day of week", "L8"),
        ("* * * * 1-2L", "day of week", "1-2L"),
        ("* * * * 5#0", "day of week", "5#0"),
        ("* * * * 5#6", "day of week", "5#6"),
        ("* * * * 8#1", "day of week", "8#1"),
        ("* * * * 5#", "day of week", "5#"),
        ("* * * * #1", "day of week", "#1"),
        ("* * * * 5#1-2", "day of week", "5#1-2"),
        ("* * 5#1 * *", "day of month", "5#1"),
        ("0 0 30 2 *", "day of month", "30"),
        ("0 0 30,31 2 *", "day of month", "30,31"),
        ("0 0 31 2,4,6,9,11 *", "day of month", "31"),
        ("0 0 31W 4 *", "day of month", "31W"),
        ("0 0 30 2 */2", "day of month", "30"),
        ("0 0 */31 * 1#2", "day of month", "*/31"),
        ("0 0 0 30 2 *", "day of month", "30"),
        ("@reboot", "", "@reboot"),
        ("@every 5m", "", "@every"),
        ("@daily UTC", "", "@daily"),
        ("@", "", "@"),
        ("@fortnightly", "", "@fortnightly"),
        ("", "", ""),
        (" \t ", "", ""),
        ("* * * *", "", "* * * *"),
        ("0 0 * * * * 2026", "", "0 0 * * * * 2026"),
        ("hello", "", "hello"),
        ("* * * * *\n", "", "\n"),
        ("*\u00a0* * * * *", "", "\u00a0"),
        ("\u0661 * * * *", "", "\u0661"),
        ("* * * * \u00df", "", "\u00df"),
        ("* * * * *\x00", "", "\x00"),
    ],
)
def test_other_text_is_refused_with_its_field_and_token(expression: str, field: str, token: str) -> None:
    with pytest.raises(TriggerError) as caught:
        Cron(expression)
    assert (caught.value.field, caught.value.token) == (field, token)
    assert isinstance(caught.value, ValueError)
    assert field in str(caught.value)


@pytest.mark.parametrize(
    "expression", ["x" * 256 + " * * * *", "9" * 250 + " * * * *", "a " * 127, "@" + "y" * 200]
)
def test_an_error_echoes_no_more_than_40_characters(expression: str) -> None:
    with pytest.raises(TriggerError) as caught:
        Cron(expression)
    assert len(caught.value.token) <= 40
    assert len(str(caught.value)) < 200
    assert expression[:41] not in str(caught.value)


def test_a_megabyte_of_text_is_refused() -> None:
    with pytest.raises(TriggerError, match="at most 256 characters"):
        Cron("0," * 500_000 + "0 * * * *")


def test_256_characters_are_accepted() -> None:
    expression = "0" + ",0" * 123 + " * * * *"
    assert len(expression + " ") == 256
    assert Cron(expression + " ").expression == expression
    with pytest.raises(TriggerError):
        Cron(expression + "  ")


@pytest.mark.parametrize(
    "expression", [None, True, 5, b"* * * * *", ["*"] * 5, datetime(2026, 1, 1, tzinfo=UTC)]
)
def test_what_is_not_a_string_is_refused(expression: object) -> None:
    with pytest.raises(TriggerError, match="must be a string"):
        Cron(expression)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("zone", ["Europe/Pari", "", "../etc/passwd", "Europe", "\x00", "x" * 300, None, 3])
def test_an_unknown_zone_is_refused(zone: object) -> None:
    with pytest.raises(ConfigurationError, match="timezone"):
        Cron("@daily", timezone=zone)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_an_offset_with_microseconds_is_refused() -> None:
    with pytest.raises(TriggerError, match="whole seconds"):
        Cron("@daily", timezone=timezone(timedelta(microseconds=5)))


def test_a_naive_start_or_end_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="start is a naive datetime"):
        Cron("@daily", start=datetime.fromisoformat("2026-01-01"))
    with pytest.raises(ConfigurationError, match="end is a naive datetime"):
        Cron("@daily", end=datetime.fromisoformat("2026-01-01"))


def test_an_end_before_the_start_is_refused() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(TriggerError, match="end is before its start"):
        Cron("@daily", start=at, end=at - timedelta(microseconds=1))


@pytest.mark.parametrize(
    ("alias", "expression"),
    [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@MIDNIGHT", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
    ],
)
def test_an_alias_means_its_expression(alias: str, expression: str) -> None:
    assert read_fields(alias) == read_fields(expression)


def test_space_and_tab_separate_fields() -> None:
    assert Cron(" 0\t7  *\t\t* mon ") == Cron("0 7 * * mon")


def test_the_day_fields_are_joined_by_or_unless_one_starts_with_a_star() -> None:
    both = {
        e: read_fields(f"0 0 {e}").both_days for e in ("1 * 1", "1-31 * 1", "5,* * 1", "1 * 1#1", "L * 5L")
    }
    assert not any(both.values())
    both = {
        e: read_fields(f"0 0 {e}").both_days for e in ("*/2 * 1", "*,5 * 1", "1 * */2", "1 * ?", "? * 1#1")
    }
    assert all(both.values())


def test_wildcard_is_a_minute_or_hour_that_starts_with_a_star() -> None:
    wild = ("* 1 * * *", "*/30 1 * * *", "*,5 1 * * *", "5 * * * *", "5 */2 * * *", "@hourly", "0 * 1 * * *")
    assert all(read_fields(text).wildcard for text in wild)
    fixed = ("0-59 0-23 * * *", "5,* 1 * * *", "0/1 0/1 * * *", "0 0 * * *", "* 5 1 * * *", "@daily")
    assert not any(read_fields(text).wildcard for text in fixed)


def test_any_expression_means_what_the_oracle_reads() -> None:
    dice = random.Random(7)
    first = date(2023, 1, 1)
    for _ in range(250):
        minute, hour, *rest = random_expression(dice).split(" ")
        rule = Rule(f"{minute} {hour} {' '.join(rest)}")
        days = [first + timedelta(days=n) for n in range(3 * 365)]
        expected = [day for day in days if rule.day_matches(day)]
        try:
            cron = Cron(f"0 0 {' '.join(rest)}")
        except TriggerError:
            assert not expected
        else:
            assert list(days_of(cron, first, days[-1])) == expected, rest
        minutes, hours, *_ = values(f"{minute} {hour} * * *")
        assert (set(minutes), set(hours)) == (rule.minutes, rule.hours), (minute, hour)


def days_of(cron: Cron, first: date, last: date) -> list[date]:
    found: list[date] = []
    at = cron.next_instant((first.toordinal() - EPOCH_DAY) * DAY - 1)
    while at is not None and at // DAY + EPOCH_DAY <= last.toordinal():
        found.append(date.fromordinal(at // DAY + EPOCH_DAY))
        at = cron.next_instant(at)
    return found


def test_a_cron_is_a_value() -> None:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    cron = Cron("0 7 * * MON-fri", timezone="Europe/Paris", start=start, end=end)
    same = Cron(
        "0  7 * * mon-FRI",
        timezone=ZoneInfo("Europe/Paris"),
        start=start.astimezone(timezone(timedelta(hours=5))),
        end=end,
    )
    assert cron == same
    assert hash(cron) == hash(same)
    others = [
        Cron("0 8 * * mon-fri", timezone="Europe/Paris", start=start, end=end),
        Cron("0 7 * * mon-fri", timezone="Europe/Berlin", start=start, end=end),
        Cron("0 7 * * mon-fri", timezone="Europe/Paris", end=end),
        Cron("0 7 * * mon-fri", timezone="Europe/Paris", start=start),
    ]
    assert len({cron, *others}) == 5
    assert pickle.loads(pickle.dumps(cron)) == copy.deepcopy(cron) == cron
    with pytest.raises(AttributeError):
        cron.expression = "@daily"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_the_same_values_written_otherwise_are_another_cron() -> None:
    assert Cron("*/30 * * * *") != Cron("0,30 * * * *")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", timezone(timedelta(hours=-5, minutes=-30)), UTC])
def test_json_brings_back_the_same_cron(zone: str) -> None:
    cron = Cron("0 7 L * *", timezone=zone, start=datetime(2026, 1, 1, 0, 0, 0, 5, tzinfo=UTC))
    data = cron.to_json()
    assert Cron.from_json(data) == cron
    assert pickle.loads(pickle.dumps(cron)) == cron
    assert set(data) == {"cron", "timezone", "start"}


def test_json_is_plain() -> None:
    cron = Cron("0  7 lw * SUN", timezone="Europe/Paris", end=datetime(2026, 1, 1, tzinfo=UTC))
    assert cron.to_json() == {
        "cron": "0 7 LW * sun",
        "timezone": "Europe/Paris",
        "end": "2026-01-01T00:00:00+00:00",
    }


@pytest.mark.parametrize(
    "data", [{}, {"cron": "@daily"}, {"cron": "@daily", "timezone": "+x"}, {"cron": 1, "timezone": "UTC"}]
)
def test_other_json_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Cron.from_json(data)


def test_repr_can_be_read() -> None:
    assert repr(Cron("@Daily", timezone="Europe/Paris")) == "Cron('@daily', timezone='Europe/Paris')"


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 7 * * mon-fri", "at 07:00 on Monday to Friday"),
        ("@daily", "at 00:00 every day"),
        ("0 7,19 * * *", "at 07:00 and 19:00 every day"),
        ("* * * * *", "every minute"),
        ("* * * * * *", "every second"),
        ("*/10 * * * * *", "every 10 seconds"),
        ("*/10 * 9-16 * * *", "every 10 seconds from 09:00 to 16:59:50 every day"),
        ("30 * * * * *", "at second 30 of every minute"),
        ("*/10 30 2 * * *", "at 02:30, 02:30:10, 02:30:20, 02:30:30, 02:30:40 and 02:30:50 every day"),
        ("* 30 2 * * *", "every second of the minute 02:30 every day"),
        ("*/15 * * * *", "every 15 minutes"),
        ("*/15 9-16 * * 1-5", "every 15 minutes from 09:00 to 16:45 on Monday to Friday"),
        ("* 9,12,15 * * *", "every minute of the hours 9, 12 and 15 every day"),
        ("@hourly", "every hour"),
        ("0 */2 * * *", "every 2 hours"),
        ("5 */2 * * *", "every 2 hours at minute 5"),
        ("5 9-17 * * *", "every hour from 09:05 to 17:05 every day"),
        ("5,35 * * * *", "at minutes 5 and 35 of every hour"),
        ("5,35 0-8 * * *", "at minutes 5 and 35 of the hours 0 to 8 every day"),
        ("0 0 1,15 * *", "at 00:00 on days 1 and 15 of the month"),
        ("0 0 */2 * *", "at 00:00 on days 1 to 31 in steps of 2 of the month"),
        ("0 0 */2 * 1", "at 00:00 on days 1 to 31 in steps of 2 of the month if it is Monday"),
        ("0 0 15 * 1#1", "at 00:00 on day 15 of the month or on the first Monday of the month"),
        ("0 0 1-31 * 1", "at 00:00 every day"),
        ("0 0 LW * *", "at 00:00 on the last workday of the month"),
        ("0 0 L,15W * *", "at 00:00 on the last day and the workday nearest to day 15 of the month"),
        ("0 0 * * 5L", "at 00:00 on the last Friday of the month"),
        ("0 0 * 3-5 sat-sun", "at 00:00 on Saturday and Sunday in March to May"),
        ("0 0 29 2 *", "at 00:00 on day 29 of February"),
        ("0 0 * jan *", "at 00:00 every day in January"),
        ("0 6 * * 5-1", "at 06:00 on Monday and Friday to Sunday"),
    ],
)
def test_describe_says_it_in_words(expression: str, words: str) -> None:
    assert Cron(expression, timezone="Europe/Paris").describe() == words + ", Europe/Paris"


def test_describe_names_the_limits() -> None:
    at = datetime(2026, 1, 1, 9, 30, tzinfo=UTC)
    words = Cron("@hourly", start=at, end=at + timedelta(days=1)).describe()
    assert words == "every hour, UTC, from 2026-01-01 09:30 UTC, until 2026-01-02 09:30 UTC"


def test_describe_never_fails() -> None:
    dice = random.Random(8)
    for _ in range(300):
        expression = dice.choice(["", "*/7 ", "1,2 ", "* "]) + random_expression(dice)
        with suppress(TriggerError):  # some can never fire
            assert Cron(expression).describe()


def test_importing_cron_does_not_import_croniter() -> None:
    code = "import asyncsched.triggers.cron, sys; raise SystemExit('croniter' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_building_thousands_of_one_expression_is_cheap() -> None:
    crons = {
        Cron("*/5 * * * *", start=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n)) for n in range(2000)
    }
    assert len(crons) == 2000


def test_a_fixed_offset_needs_no_zone_data() -> None:
    cron = Cron("30 7 * * *", timezone=timezone(timedelta(hours=5, minutes=30)))
    assert cron.next_instant(0) == 2 * 60 * MINUTE
    assert cron.previous_instant(2 * 60 * MINUTE) == 2 * 60 * MINUTE
    assert cron.next_instant(2 * 60 * MINUTE) == 26 * 60 * MINUTE
    assert cron.previous_instant(2 * 60 * MINUTE - SECOND) == -22 * 60 * MINUTE


@pytest.mark.parametrize("text, fields", [("0 7 * * *", 5), ("@daily", 5), ("30 0 7 * * *", 6)])
def test_the_number_of_fields_can_be_demanded(text: str, fields: int) -> None:
    assert Cron(text, fields=fields) == Cron(text)


@pytest.mark.parametrize(
    "text, fields, words",
    [
        ("30 0 7 * * *", 5, "a cron expression without seconds has 5 fields, this one has 6"),
        ("0 7 * * *", 6, "a cron expression with seconds has 6 fields, this one has 5"),
        ("@daily", 6, "a cron expression with seconds has 6 fields, this one has 5"),
        ("0 7 * * *", 7, "Cron: fields must be 5 or 6, not 7"),
        ("0 7 * * *", True, "Cron: fields must be 5 or 6, not True"),
    ],
)
def test_another_number_of_fields_is_refused(text: str, fields: int, words: str) -> None:
    with pytest.raises(TriggerError, match=words):
        Cron(text, fields=fields)
