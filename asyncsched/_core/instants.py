"""Where datetimes and instants meet.

Inside, time is an *instant*: an integer of microseconds since 1970-01-01 UTC. At the edge it is an
aware ``datetime`` in UTC. Two datetimes of one zone compare and subtract as wall time, which is
wrong twice a year; integers are right always.
"""

from __future__ import annotations

import logging
import math
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import NamedTuple

from asyncsched._core.errors import ConfigurationError
from asyncsched._core.text import safe_repr, shorten

logger = logging.getLogger("asyncsched.scheduler")

Instant = int
"""Microseconds since the epoch, in UTC."""

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
YEAR = 365 * DAY + 6 * HOUR
_CENTURY = 100 * YEAR

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST = (datetime.min.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND
_LAST = (datetime.max.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND

# Two days short of what datetime holds, so that no zone's wall time falls off its ends.
FIRST_INSTANT = _FIRST + 2 * DAY
LAST_INSTANT = _LAST - 2 * DAY


def to_instant(value: datetime, what: str = "the time") -> Instant:
    """Return the instant of an aware datetime.

    A local time that a clock change skips is moved to the change itself, as cron's times are, and the log says so.

    Raises:
        ConfigurationError: it is not a datetime, or it is naive; ``what`` names the argument.

    """
    if not isinstance(value, datetime):
        raise ConfigurationError(f"{what} must be a datetime, not {type(value).__name__}")
    if value.tzinfo is None or value.utcoffset() is None:
        raise ConfigurationError(
            f"{what} is a naive datetime ({value.isoformat()}); give it a zone, "
            "for example value.replace(tzinfo=timezone.utc) or datetime.now(timezone.utc)"
        )
    if value.tzinfo is not UTC:
        change = _change_over(value)
        if change is not None:
            logger.warning(
                "%s: there is no %s in %s, because the clock goes forward over it; it is taken as %s",
                what, value.replace(tzinfo=None).isoformat(" "), value.tzinfo,
                to_datetime(change).astimezone(value.tzinfo).isoformat(" "),
            )  # fmt: skip
            return change
    return (value - EPOCH) // _MICROSECOND


def _change_over(value: datetime) -> Instant | None:
    """Return the clock change that skips a local time; ``None`` for a time that exists."""
    before, after = value.replace(fold=0), value.replace(fold=1)
    offset, later_offset = before.utcoffset(), after.utcoffset()
    if offset is None or later_offset is None or later_offset <= offset:
        return None  # equal offsets: an ordinary time; the second less: it comes twice
    # The second reading lies before the change, the first one behind it (PEP 495).
    early, late = (after - EPOCH) // _MICROSECOND, (before - EPOCH) // _MICROSECOND
    while late - early > 1:
        middle = (early + late) // 2
        changed = to_datetime(middle).astimezone(value.tzinfo).utcoffset() != offset
        early, late = (early, middle) if changed else (middle, late)
    return late


def to_datetime(instant: Instant) -> datetime:
    """Return the aware UTC datetime of an instant, clamped to what ``datetime`` can hold."""
    if not _FIRST <= instant <= _LAST:
        instant = _FIRST if instant < _FIRST else _LAST
    return EPOCH + timedelta(0, 0, instant)  # a dozen are made for each run that an observer hears of


def to_micros(seconds: float | timedelta, what: str) -> int:
    """Return a finite stretch of time as integer microseconds.

    Args:
        seconds: a number of seconds, or a ``timedelta``.
        what: the argument's name, for the error.

    Raises:
        ConfigurationError: not a number (a bool is none), not finite, or beyond 100 years.

    """
    if isinstance(seconds, timedelta):
        micros = seconds // _MICROSECOND
    elif isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ConfigurationError(
            f"{what} must be a number of seconds or a timedelta, not {safe_repr(seconds)}"
        )
    elif isinstance(seconds, float) and not math.isfinite(seconds):
        raise ConfigurationError(f"{what} must be finite, not {seconds}")
    elif abs(seconds) > _CENTURY // SECOND:  # before it is multiplied, which a float may not survive
        micros = 2 * _CENTURY
    else:
        micros = round(seconds * SECOND)
    if abs(micros) > _CENTURY:
        raise ConfigurationError(f"{what} is longer than 100 years: {safe_repr(seconds)}")
    return micros


@lru_cache(maxsize=1024)
def _zone_by_key(key: str) -> tzinfo:
    # ZoneInfo raises KeyError, ValueError, IsADirectoryError or OSError by accident of the text.
    if key.upper() == "UTC":
        return UTC
    if len(key) > 100:
        raise ConfigurationError(f"timezone {shorten(key)!r} is not known: the name is too long")
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(key)
    except (KeyError, ValueError, OSError):
        raise ConfigurationError(
            f"timezone {shorten(key)!r} is not known; use an IANA name such as 'Europe/Paris' "
            "(on a system without time zone data, install the package tzdata)"
        ) from None


def to_zone(value: str | tzinfo, what: str = "timezone") -> tzinfo:
    """Return the zone named by an IANA key, a ``ZoneInfo`` or a fixed offset.

    Raises:
        ConfigurationError: no such zone, or a kind of ``tzinfo`` whose rules cannot be written as text.

    """
    if isinstance(value, str):
        return _zone_by_key(value)
    if isinstance(value, timezone):
        return value
    if isinstance(value, tzinfo) and (key := _key_of(value)) is not None:
        return _zone_by_key(key)
    raise ConfigurationError(
        f"{what} must be an IANA name, a ZoneInfo or a datetime.timezone, not {safe_repr(value)}"
    )


def _key_of(zone: tzinfo) -> str | None:
    from zoneinfo import ZoneInfo  # it imports sysconfig, and a program whose times are in UTC needs neither

    return zone.key if isinstance(zone, ZoneInfo) else None


def zone_name(zone: tzinfo) -> str:
    """Return the text by which :func:`to_zone` or :func:`zone_from_name` finds a zone again."""
    if zone is UTC:
        return "UTC"
    if (key := _key_of(zone)) is not None:
        return key
    offset = zone.utcoffset(None) or timedelta()
    seconds = offset // timedelta(seconds=1)
    sign, seconds = ("-", -seconds) if seconds < 0 else ("+", seconds)
    text = f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}"
    return text + (f":{seconds % 60:02}" if seconds % 60 else "")


def zone_from_name(name: str) -> tzinfo:
    """Return the zone that :func:`zone_name` wrote: an IANA key, ``UTC`` or an offset ``+05:30``."""
    if name[:1] in "+-" and name:
        hours, minutes, *rest = (int(part) for part in name[1:].split(":"))
        offset = timedelta(hours=hours, minutes=minutes, seconds=rest[0] if rest else 0)
        return timezone(-offset if name[0] == "-" else offset)
    return _zone_by_key(name)


class Now(NamedTuple):
    """One moment on both timelines, in microseconds.

    ``steady`` starts where the wall clock stood and then follows the monotonic clock alone: on it
    a step of the wall clock does not exist. Under a store both are the cluster's time.
    """

    wall: Instant
    steady: Instant
