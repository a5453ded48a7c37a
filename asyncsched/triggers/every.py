"""Due every so many days, weeks or months, at a local time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from datetime import date, datetime, time, tzinfo
from typing import Any

from asyncsched._core.errors import TriggerError
from asyncsched._core.instants import SECOND, YEAR, Instant, to_zone, zone_from_name, zone_name
from asyncsched._core.text import safe_repr
from asyncsched.triggers.base import BaseTrigger, Note, immutable
from asyncsched.triggers.codec import kept_as
from asyncsched.triggers.cron.clock_changes import FIRST_SECOND, LAST_SECOND, Instants
from asyncsched.triggers.cron.notes import clock_change_notes
from asyncsched.triggers.dates import LAST, Dates, DatesAtTimes
from asyncsched.triggers.windows import WEEKDAYS

_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_UNITS = ("days", "weeks", "months")
_MOST = 10_000


@kept_as("every")
@immutable
class Every(BaseTrigger):
    """Due every so many days, weeks or months, at a local time.

    The local time stays the same when the clocks change. A time that the clocks skip is due at the jump, and
    one that comes twice in the first pass, as for a ``Cron`` with a fixed hour.

    Args:
        days, weeks, months: how many; exactly one of the three.
        at: the local time of day, or several; midnight by default.
        on: for weeks, a weekday such as ``"mon"``, or several; for months, a day from 1 to 31, or ``"last"``; a month
            without that day is left out. By default the weekday, or the day, of ``start``.
        start: the date from which the days, weeks (from Monday) or months are counted; no earlier date is due.
            Needed unless every one is due.
        end: the last date that can be due.
        timezone: the zone of the local time: an IANA name, a ``ZoneInfo`` or a fixed offset.

    Raises:
        TriggerError: an argument is wrong, or does not fit another one.
        ConfigurationError: an unknown zone.

    Example:
        >>> Every(weeks=2, at=time(18), on="mon", start=date(2026, 3, 2), timezone="Europe/Berlin")
        >>> Every(months=3, on="last", at=time(23, 30), start=date(2026, 3, 1))

    """

    unit: str
    every: int
    at: tuple[time, ...]
    on: tuple[int, ...]
    """Weekdays from Monday = 0, or days of the month; ``-1`` is the last day."""
    start: date | None
    end: date | None
    timezone: tzinfo = field(compare=False)
    _zone_name: str
    _walls: DatesAtTimes = field(compare=False)
    _instants: Instants[DatesAtTimes] = field(compare=False)

    def __init__(
        self, *, days: int | None = None, weeks: int | None = None, months: int | None = None,
        at: time | Iterable[time] = time(0), on: str | int | Iterable[str] | None = None,
        start: date | None = None, end: date | None = None, timezone: str | tzinfo = "UTC",
    ) -> None:  # fmt: skip
        unit, count = _period({"days": days, "weeks": weeks, "months": months})
        for name, edge in (("start", start), ("end", end)):
            if edge is not None and (not isinstance(edge, date) or isinstance(edge, datetime)):
                raise TriggerError(f"Every: {name} must be a date, not {safe_repr(edge)}", field=name)
        if start is None and count > 1:
            raise TriggerError(
                f"Every: give start=date(…), from which each {count} {unit} are counted", field="start"
            )
        if start is not None and end is not None and end < start:
            raise TriggerError("Every: end is before start", field="end")
        zone = to_zone(timezone)
        times, chosen = _times(at), _on(unit, on, start)
        walls = DatesAtTimes(Dates(unit, count, chosen, start, end), times)
        put = object.__setattr__  # as every frozen dataclass does
        for name, value in (
            ("unit", unit), ("every", count), ("at", times), ("on", chosen), ("start", start), ("end", end),
            ("timezone", zone), ("_zone_name", zone_name(zone)), ("_walls", walls), ("_instants", Instants(walls, zone)),
        ):  # fmt: skip
            put(self, name, value)

    def next_instant(self, after: Instant) -> Instant | None:
        """Return the first due instant strictly after ``after``, or ``None``."""
        found = self._instants.after(after // SECOND)
        return None if found is None else found * SECOND

    def previous_instant(self, before: Instant) -> Instant | None:
        """Return the last due instant at or before ``before``, or ``None``."""
        found = self._instants.until(before // SECOND)
        return None if found is None else found * SECOND

    def zones(self) -> tuple[tzinfo]:
        """Return the zone of its local time."""
        return (self.timezone,)

    def notes(self, start: Instant, end: Instant) -> list[Note]:
        """Return the effects of the zone's clock changes, as :meth:`Cron.notes` does."""
        first = max(-(-start // SECOND), FIRST_SECOND)
        last = min(end, start + 4 * YEAR, LAST_SECOND * SECOND) // SECOND
        return [
            (second * SECOND, sentence)
            for second, sentence in clock_change_notes(self._walls, self.timezone, first, last)
        ]

    def describe(self) -> str:
        """Return the trigger in plain English, such as "every 2 weeks on Monday at 18:00, Europe/Berlin"."""
        words = f"every {self.unit[:-1]}" if self.every == 1 else f"every {self.every} {self.unit}"
        if self.unit == "weeks":
            words += f" on {_joined([_NAMES[day] for day in self.on])}"
        elif self.unit == "months":
            words += " on the last day" if self.on == (LAST,) else f" on day {self.on[0]}"
        words += f" at {_joined([one.isoformat('auto' if one.second else 'minutes') for one in self.at])}, {self._zone_name}"
        words += f", from {self.start}" if self.start else ""
        return words + (f", until {self.end}" if self.end else "")

    def to_json(self) -> dict[str, Any]:
        """Return the trigger as data for :meth:`from_json`."""
        on: Any = None
        if self.unit == "weeks":
            on = [WEEKDAYS[day] for day in self.on]
        elif self.unit == "months":
            on = "last" if self.on == (LAST,) else self.on[0]
        return {
            "every": self.every, "unit": self.unit, "times": [one.isoformat() for one in self.at], "on": on,
            "start": self.start and self.start.isoformat(), "end": self.end and self.end.isoformat(),
            "timezone": self._zone_name,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Every:
        """Return the trigger that ``to_json`` wrote.

        Raises:
            TriggerError: the data is not that of such a trigger.

        """
        try:
            unit = data["unit"]
            if unit not in _UNITS:
                raise ValueError(f"no unit {safe_repr(unit)}")
            edges = {name: date.fromisoformat(data[name]) for name in ("start", "end") if data.get(name)}
            times = [time.fromisoformat(one) for one in data["times"]]
            zone = zone_from_name(data["timezone"])
            period: dict[str, Any] = {unit: data["every"], **edges}
            return cls(at=times, on=data["on"], timezone=zone, **period)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, TriggerError):
                raise
            raise TriggerError(f"not the data of an Every: {error}") from None

    def __reduce__(self) -> tuple[object, ...]:
        return Every.from_json, (self.to_json(),)

    def __repr__(self) -> str:
        data = self.to_json()
        parts = [f"{self.unit}={self.every}", f"at={data['times']}"]
        parts += [f"{name}={data[name]!r}" for name in ("on", "start", "end", "timezone") if data[name]]
        return f"Every({', '.join(parts)})"


def _period(given: dict[str, int | None]) -> tuple[str, int]:
    named = [(unit, count) for unit, count in given.items() if count is not None]
    if len(named) != 1:
        raise TriggerError("Every: give exactly one of days=, weeks= and months=")
    unit, count = named[0]
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _MOST:
        raise TriggerError(
            f"Every: {unit} must be a whole number from 1 to {_MOST}, not {safe_repr(count)}", field=unit
        )
    return unit, count


def _times(at: object) -> tuple[time, ...]:
    times = [at] if isinstance(at, time) or not isinstance(at, Iterable) else list(at)
    found: set[time] = set()
    for one in times:
        if not isinstance(one, time) or one.tzinfo is not None or one.microsecond:
            raise TriggerError(
                f"Every: at must be a naive datetime.time of whole seconds, or several, not {safe_repr(at)}",
                field="at",
            )
        found.add(one.replace(fold=0))
    if not found:
        raise TriggerError("Every: at has no time", field="at")
    return tuple(sorted(found))


def _on(unit: str, on: object, start: date | None) -> tuple[int, ...]:
    """Return the weekdays, or the day of the month."""
    if unit == "days":
        if on is not None:
            raise TriggerError("Every: on= is for weeks and months; with days=, leave it out", field="on")
        return ()
    if on is None:
        if start is None:
            raise TriggerError(
                f"Every: give on=, or start=date(…), whose day counts in each of the {unit}", field="on"
            )
        return (start.weekday() if unit == "weeks" else start.day,)
    return _weekdays(on) if unit == "weeks" else (_day(on),)


def _weekdays(on: object) -> tuple[int, ...]:
    listed = [on] if isinstance(on, str) or not isinstance(on, Iterable) else list(on)
    names = [one.lower() if isinstance(one, str) else one for one in listed]
    if not names or any(one not in WEEKDAYS for one in names):
        raise TriggerError(f"Every: on must be of {', '.join(WEEKDAYS)}, not {safe_repr(on)}", field="on")
    return tuple(sorted({WEEKDAYS.index(str(one)) for one in names}))


def _day(on: object) -> int:
    if on == "last":
        return LAST
    if isinstance(on, bool) or not isinstance(on, int) or not 1 <= on <= 31:
        raise TriggerError(
            f'Every: with months=, on must be a day from 1 to 31, or "last", not {safe_repr(on)}', field="on"
        )
    return on


def _joined(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
