"""A slow and simple cron, to judge the fast one by.

It walks through every minute of real time (every second for six fields), asks the zone what the
wall shows, asks each field whether it matches, and follows the rules of time.md at each change of
the offset. It shares no code with asyncsched, not even the reading of the text.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DAY = EPOCH.toordinal()
HOUR = 3600
DAY = 86_400

RANGES = {
    "second": (0, 59, 60),
    "minute": (0, 59, 60),
    "hour": (0, 23, 24),
    "day": (1, 31, 31),
    "month": (1, 12, 12),
    "weekday": (0, 7, 7),
}
NAMES = {
    **{
        n: i
        for i, n in enumerate(
            ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
        )
    },
    **{n: i for i, n in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])},
}
ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


# ---- the text -------------------------------------------------------------------------------


def number(text: str) -> int:
    return NAMES[text.lower()] if text.lower() in NAMES else int(text)


def hits(kind: str, item: str, value: int) -> bool:
    """Walk from the item's first value to its last, one by one, and see whether a step meets it."""
    low, high, size = RANGES[kind]
    body, _, step = item.partition("/")
    if body in ("*", "?"):
        first, last = low, high
    elif "-" in body:
        first, last = map(number, body.split("-"))
    else:
        first = number(body)
        last = high if step else first
    if first > last:
        last += size
    for count, at in enumerate(range(first, last + 1)):
        if count % int(step or 1) == 0 and (at - value) % size == 0:
            return True
    return False


def last_of_month(day: date) -> int:
    return ((day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)).day


def near(wanted: int, day: date) -> bool:
    last = last_of_month(day)
    if wanted > last:
        return False
    for delta in (0, -1, 1, -2, 2):
        if 1 <= wanted + delta <= last and day.replace(day=wanted + delta).weekday() < 5:
            return day.day == wanted + delta
    raise AssertionError


def day_hits(item: str, day: date) -> bool:
    item = item.upper()
    if item == "L":
        return day.day == last_of_month(day)
    if item == "LW":
        return near(last_of_month(day), day)
    if item.endswith("W"):
        return near(int(item[:-1]), day)
    return hits("day", item, day.day)


def weekday_hits(item: str, day: date) -> bool:
    today = day.isoweekday() % 7
    if "#" in item:
        wanted, count = item.split("#")
        return number(wanted) % 7 == today and (day.day - 1) // 7 + 1 == int(count)
    if "L" in item.upper():
        return number(item.upper().replace("L", "")) % 7 == today and day.day + 7 > last_of_month(day)
    return hits("weekday", item, today)


@dataclass
class Rule:
    """One expression, asked about one wall time."""

    text: str
    days: dict[int, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fields = ALIASES.get(self.text.strip().lower(), self.text).split()
        self.parts = ["0", *fields] if len(fields) == 5 else fields
        self.wildcard = self.parts[1].startswith("*") or self.parts[2].startswith("*")
        self.seconds, self.minutes, self.hours = (
            {v for v in range(RANGES[kind][2]) if any(hits(kind, item, v) for item in part.split(","))}
            for kind, part in zip(("second", "minute", "hour"), self.parts, strict=False)
        )

    def matches(self, wall: int) -> bool:
        day, second = divmod(wall, DAY)
        if second % 60 not in self.seconds or second // 60 % 60 not in self.minutes:
            return False
        if second // HOUR not in self.hours:
            return False
        if day not in self.days:
            self.days[day] = self.day_matches(date.fromordinal(day + EPOCH_DAY))
        return self.days[day]

    def day_matches(self, day: date) -> bool:
        *_, days, months, weekdays = self.parts
        if not any(hits("month", item, day.month) for item in months.split(",")):
            return False
        by_day = any(day_hits(item, day) for item in days.split(","))
        by_weekday = any(weekday_hits(item, day) for item in weekdays.split(","))
        if days[0] in "*?" or weekdays[0] in "*?":
            return by_day and by_weekday
        return by_day or by_weekday


# ---- real time ------------------------------------------------------------------------------


def offset(zone: ZoneInfo, second: int) -> int:
    found = (EPOCH + timedelta(seconds=second)).astimezone(zone).utcoffset()
    assert found is not None
    return found.days * DAY + found.seconds


@dataclass
class Stretch:
    """What the wall of a zone shows at each tick of a stretch of real time, and its jumps."""

    zone: str
    start: int
    end: int
    step: int = 60

    def __post_init__(self) -> None:
        self.events: list[tuple[int, int, int | None]] = []  # (instant, wall, old wall at a jump)
        zone = ZoneInfo(self.zone)
        now, was = self.start, offset(zone, self.start)
        while now <= self.end:
            changes = offset(zone, now + 59) != was
            for second in range(now, now + 60) if changes else self.ticks(now, was):
                here = offset(zone, second) if changes else was
                if here != was:
                    self.events.append((second, second + here, second + was))
                    was = here
                if (second + here) % self.step == 0:
                    self.events.append((second, second + here, None))
            now += 60
        self.events = [event for event in self.events if event[0] <= self.end]

    def ticks(self, now: int, was: int) -> range:
        return range(now + -(now + was) % self.step, now + 60, self.step)

    def shift(self) -> int:
        """Return the first jump's shift, 0 where there is none."""
        return next((wall - old for _, wall, old in self.events if old is not None), 0)


def due(rule: Rule, stretch: Stretch) -> list[int]:
    """Return every instant of a stretch at which the rules of time.md run the job."""
    found: list[int] = []
    fixed_from: int | None = None  # a fixed job waits until the wall shows this again
    for second, wall, old in stretch.events:
        if old is not None:
            if wall > old and runs_at_gap(rule, old, wall, stretch.step):
                found.append(second)
            if wall < old:
                fixed_from = old if old - wall < 3 * HOUR else None
            continue
        if rule.matches(wall):
            second_pass = fixed_from is not None and wall < fixed_from
            if rule.wildcard or not second_pass:
                found.append(second)
    return sorted(set(found))


def runs_at_gap(rule: Rule, old: int, wall: int, step: int) -> bool:
    shift = wall - old
    if shift >= 3 * HOUR or (rule.wildcard and shift > 5 * 60):
        return False
    return any(rule.matches(missed) for missed in range(old + -old % step, wall, step))


def by_debians_loop(rule: Rule, stretch: Stretch) -> list[int]:
    """Return what the minute loop of Debian's cron.c runs: its virtual time, its four cases."""
    found: list[int] = []
    virtual = running = stretch.events[0][1] // 60 - 1
    for second, wall, _ in stretch.events:
        now = wall // 60
        if now == running:
            continue
        running, behind = now, now - virtual
        if behind == 1 or behind > 180 or behind <= -180:  # as usual, or changed by a lot: believe it
            runs, virtual = rule.matches(now * 60), now
        elif behind > 0:  # late: catch up, or by more than 5 minutes only what is fixed
            missed = any(rule.matches(minute * 60) for minute in range(virtual + 1, now + 1))
            runs = rule.matches(now * 60) if rule.wildcard and behind > 5 else missed
            virtual = now
        else:  # set back: the fixed ones have run already
            runs = rule.wildcard and rule.matches(now * 60)
        if runs:
            found.append(second)
    return found


# ---- the corpus -----------------------------------------------------------------------------

CHANGES = """
America/New_York 2025-03-09, America/New_York 2025-11-02, America/New_York 1883-11-18
Europe/Paris 2026-03-29, Europe/Paris 2026-10-25, Europe/Paris 1911-03-11, Europe/Paris 1940-06-14
Europe/Berlin 2026-03-29, Europe/Berlin 1945-05-24, Europe/London 1941-05-04, Europe/London 1947-11-02
Europe/Dublin 2026-03-29, Europe/Dublin 2026-10-25, Europe/Dublin 1916-05-21, Europe/Dublin 1916-10-01
America/St_Johns 2006-04-02, America/St_Johns 2006-10-29, America/St_Johns 1988-04-03
America/St_Johns 1988-10-30, America/St_Johns 2026-11-01, America/St_Johns 1935-03-30
Australia/Lord_Howe 2026-04-05, Australia/Lord_Howe 2026-10-04, Australia/Lord_Howe 1981-03-01
Pacific/Chatham 2026-04-05, Pacific/Chatham 2026-09-27, Pacific/Chatham 1868-11-01
Antarctica/Troll 2026-03-29, Antarctica/Troll 2026-10-25, Africa/Casablanca 2026-02-15
Africa/Casablanca 2026-03-22, Pacific/Apia 2011-12-30, Pacific/Apia 2011-09-24, Pacific/Apia 1911-01-01
Pacific/Kwajalein 1993-08-21, Pacific/Kwajalein 1969-09-30, Antarctica/Casey 2009-10-18
Antarctica/Casey 2010-03-05, Antarctica/Vostok 2023-12-18, America/Havana 2026-03-08
America/Havana 2026-11-01, America/Sao_Paulo 2018-11-04, America/Sao_Paulo 2018-02-18
Asia/Tehran 2022-03-22, Asia/Tehran 2021-09-22, Asia/Gaza 2025-04-12, Asia/Amman 2022-02-25
America/Asuncion 2024-10-06, America/Caracas 2007-12-09, America/Caracas 2016-05-01
Asia/Pyongyang 2015-08-15, Asia/Pyongyang 2018-05-05, Asia/Kathmandu 1986-01-01
Asia/Singapore 1982-01-01, Asia/Yangon 1942-05-01, Asia/Yangon 1945-05-03, Europe/Moscow 2014-10-26
Europe/Moscow 1916-07-03, Europe/Moscow 1919-05-31, Europe/Amsterdam 1937-07-01, Africa/Monrovia 1972-01-07
Pacific/Niue 1952-10-16, Africa/Accra 1915-11-02, America/St_Lucia 1912-01-01, Pacific/Fiji 1915-10-26
America/Nuuk 2023-10-29, America/Nuuk 2024-03-31, America/Scoresbysund 2024-03-31
Atlantic/Azores 2026-10-25, Asia/Manila 1844-12-31, America/Juneau 1867-10-19, UTC 2028-02-29
Asia/Tokyo 2025-12-31, Asia/Kolkata 2027-02-28
"""

EXPRESSIONS = """
30 1 * * *; 30 2 * * *; 0 2 * * *; 0 3 * * *; 0,30 2,3 * * *; 59 23 * * *; 0 0 * * *; 1 0 * * *
15 */2 * * *; 5 0-23 * * *; */30 * * * *; */15 2 * * *; *,5 1 * * *; 0-59 1 * * *; 0-59 0-23 * * *
7/20 2 * * *; 0 1-2 * * *; * 2 * * *; 30 0 * * *; 15 3 * * *; 45 2 * * *; @hourly; @daily; @weekly
0 22-4/3 * * *; 50-10/7 23-1 * * *; 0 0 */2 * 1; 0 2 1-31 * 1; 30 2 * * 0; 30 2 * * 7; 30 1 * * 1-7/2
30 2 ? * sat-mon; 0 2 L * *; 30 2 LW * *; 30 23 15W * *; 30 2 29 * 0L; 30 1 * * 0#1; 0 2 5-5 * 0#5
10,40 0-4 * * *; 3 2,14 1,2,3,28-31 * *; */7 */3 * * *; 0 0,2,12 * * *; 29 2 * 3,10-11 *; 1 */12 * * *
"""


def corpus(randoms: int = 10) -> Iterator[tuple[str, str, date]]:
    """Yield (expression, zone, date of a change): each change with each expression, then random ones."""
    dice = random.Random(2026)
    for change in CHANGES.replace("\n", ",").split(","):
        if change.strip():
            zone, day = change.split()
            fixed = [text.strip() for text in EXPRESSIONS.replace("\n", ";").split(";") if text.strip()]
            for expression in fixed + [random_expression(dice) for _ in range(randoms)]:
                yield expression, zone, date.fromisoformat(day)


def random_expression(dice: random.Random) -> str:
    """Return a five-field expression whose hours and days are likely to meet a change."""
    minute = dice.choice(
        [random_item(dice, 0, 59) + "," + random_item(dice, 0, 59), random_item(dice, 0, 59)]
    )
    hour = dice.choice(["*", "*/2", "0-4", random_item(dice, 0, 23), random_item(dice, 0, 4)])
    day = dice.choice(["*", "*", "?", "*/2", "L", "LW", f"{dice.randint(1, 31)}W", random_item(dice, 1, 31)])
    month = dice.choice(["*", "*", "*", "2-4,9-12", "*/2", random_item(dice, 1, 12)])
    name, nth = dice.randint(0, 7), dice.randint(1, 5)
    weekday = dice.choice(
        [
            "*",
            "*",
            "?",
            "*/2",
            "0",
            "sun",
            "6-1",
            f"{name}#{nth}",
            f"{name}L",
            f"L{name}",
            random_item(dice, 0, 7),
        ]
    )
    return f"{minute} {hour} {day} {month} {weekday}"


def random_item(dice: random.Random, low: int, high: int) -> str:
    first, last, step = dice.randint(low, high), dice.randint(low, high), dice.randint(1, high)
    return dice.choice(
        [
            f"{first}",
            f"{first}-{last}",
            f"{first}-{last}/{step}",
            f"{first}/{step}",
            f"*/{step}",
            f"{first},{last}",
        ]
    )


@cache
def around(zone: str, day: date, hours: int = 30, step: int = 60) -> Stretch:
    """Return the stretch of ``hours`` before and after a date's noon in UTC."""
    noon = (day.toordinal() - EPOCH_DAY) * DAY + 12 * HOUR
    return Stretch(zone, noon - hours * HOUR, noon + hours * HOUR, step)


def starts(stretch: Stretch, dice: random.Random) -> list[int]:
    """Return starts worth asking from: around each jump, and two at random."""
    jumps = [second for second, _, old in stretch.events if old is not None]
    edges = [jump + delta for jump in jumps for delta in (-HOUR - 1, -1, 0, 1800, dice.randint(-DAY, DAY))]
    within = [edge for edge in edges if stretch.start <= edge <= stretch.end]
    return within + [dice.randrange(stretch.start, stretch.end) for _ in range(2)]


def following(instants: list[int], start: int, count: int) -> list[int]:
    """Return the next ``count`` instants after a start."""
    at = bisect_right(instants, start)
    return instants[at : at + count]
