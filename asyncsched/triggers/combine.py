"""Triggers made of triggers: a union, a set with windows of local time cut out, and one on some weekdays only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field
from datetime import date, time, timedelta, tzinfo
from typing import Any

from asyncsched._core.errors import TriggerError
from asyncsched._core.instants import (
    FIRST_INSTANT,
    LAST_INSTANT,
    YEAR,
    Instant,
    to_datetime,
    to_zone,
    zone_from_name,
    zone_name,
)
from asyncsched._core.text import safe_repr
from asyncsched._core.trigger import InstantTrigger, as_instants
from asyncsched.triggers.base import BaseTrigger, Note, immutable
from asyncsched.triggers.codec import kept_as, trigger_from_json, trigger_to_json
from asyncsched.triggers.parts import zone_name_of, zone_of, zones_of
from asyncsched.triggers.windows import (
    WEEKDAYS,
    whole_day,
    window_from_json,
    window_in_words,
    window_text,
    window_to_json,
    windows_of,
)
from asyncsched.triggers.windows import Window as Window

_HORIZON = 40 * YEAR
"""How far a search goes: the calendar's longest wait for a day of month on a weekday is that of a leap day."""

_NEAR = 4 * YEAR
_STEPS = 2000
"""The windows that a search passes beyond four years: some 30 ms, so that a trigger that is never due ends soon."""
_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SHOWN = 3
"""The most windows that a description names; the others are counted."""


@kept_as("any_of")
@immutable
class AnyOf(BaseTrigger):
    """Due whenever one of its triggers is; instants that coincide count once.

    Args:
        *triggers: built-in triggers, or any objects with ``next(after)``.

    Raises:
        TriggerError: no trigger, or an object that is no trigger.

    Example:
        >>> AnyOf(Cron("0 9 * * mon-fri"), Cron("0 11 * * sat,sun"))

    """

    triggers: tuple[InstantTrigger, ...]

    def __init__(self, *triggers: Any) -> None:
        if not triggers:
            raise TriggerError("AnyOf: give at least one trigger")
        object.__setattr__(self, "triggers", tuple(as_instants(trigger, "AnyOf") for trigger in triggers))

    def anchored(self, at: Instant) -> AnyOf:
        """Return the union with every part anchored at ``at``."""
        return AnyOf(*(trigger.anchored(at) for trigger in self.triggers))

    def zones(self) -> Iterator[tzinfo]:
        """Yield the zones of its parts."""
        for trigger in self.triggers:
            yield from zones_of(trigger)

    def next_instant(self, after: Instant) -> Instant | None:
        """Return the earliest of the parts' next instants."""
        found = [at for trigger in self.triggers if (at := trigger.next_instant(after)) is not None]
        return min(found, default=None)

    def previous_instant(self, before: Instant) -> Instant | None:
        """Return the latest of the parts' previous instants."""
        found = [at for trigger in self.triggers if (at := trigger.previous_instant(before)) is not None]
        return max(found, default=None)

    def notes(self, start: Instant, end: Instant) -> list[Note]:
        """Return notes on the effects of clock changes on the parts, between two instants."""
        return sorted(note for trigger in self.triggers for note in notes_of(trigger, start, end))

    def describe(self) -> str:
        """Return the trigger in plain English."""
        return ", or ".join(trigger.describe() for trigger in self.triggers)

    def to_json(self) -> dict[str, Any]:
        """Return the trigger as data for :meth:`from_json`."""
        return {"any_of": [trigger_to_json(trigger) for trigger in self.triggers]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> AnyOf:
        """Return the trigger that ``to_json`` wrote."""
        return cls(*(trigger_from_json(part) for part in data["any_of"]))

    def __repr__(self) -> str:
        return f"AnyOf({', '.join(map(repr, self.triggers))})"


@kept_as("except")
@immutable
class Except(BaseTrigger):
    """A trigger without the due times that fall into windows of local time.

    Made by ``trigger.except_(…)``, whose documentation describes windows. A due time is left out if the local
    clock then shows a time inside a window: in a repeated hour in both passes.

    Args:
        trigger: the trigger whose due times are left out in the windows.
        windows: dates, ``Window`` values, or pairs of aware datetimes.
        timezone: the zone of the local time; by default the trigger's zone, or UTC where it has none.

    Raises:
        TriggerError: no window, an object that is none, or parts in several zones and no ``timezone``.

    """

    trigger: InstantTrigger
    windows: tuple[Any, ...]
    timezone: tzinfo = field(compare=False)
    _zone_name: str
    _days: frozenset[date] = field(compare=False)
    _others: tuple[Any, ...] = field(compare=False)

    def __init__(self, trigger: Any, windows: Iterable[Any], timezone: str | tzinfo | None = None) -> None:
        inner = as_instants(trigger, "except_")
        kept = tuple(windows_of(windows))
        if not kept:
            raise TriggerError("except_: give at least one date, Window or pair of datetimes")
        zone = to_zone(zone_of(inner) if timezone is None else timezone)
        put = object.__setattr__  # as every frozen dataclass does
        put(self, "trigger", inner)
        put(self, "windows", kept)
        put(self, "timezone", zone)
        put(self, "_zone_name", zone_name(zone))
        put(self, "_days", frozenset(window for window in kept if isinstance(window, date)))
        put(self, "_others", tuple(window for window in kept if not isinstance(window, date)))

    def anchored(self, at: Instant) -> Except:
        """Return the same with the inner trigger anchored."""
        return Except(self.trigger.anchored(at), self.windows, self.timezone)

    def zones(self) -> Iterable[tzinfo]:
        """Return the zone that its windows are in."""
        return (self.timezone,)

    def next_instant(self, after: Instant) -> Instant | None:
        """Return the first instant after ``after`` outside every window.

        Looks 40 years ahead, but beyond 4 years past no more than 2,000 windows in all.
        """
        found, steps = self.trigger.next_instant(after), 0
        while found is not None and (held := self._held(found)) is not None:
            steps += 1
            if _is_too_far(held[1] - after, steps):
                return None
            found = self.trigger.next_instant(max(found, held[1] - 1))
        return found

    def previous_instant(self, before: Instant) -> Instant | None:
        """Return the last instant at or before ``before`` outside every window; looks back as far as ahead."""
        found, steps = self.trigger.previous_instant(before), 0
        while found is not None and (held := self._held(found)) is not None:
            steps += 1
            if _is_too_far(before - held[0], steps):
                return None
            found = self.trigger.previous_instant(held[0] - 1)
        return found

    def _held(self, at: Instant) -> tuple[Instant, Instant] | None:
        """Return a stretch around the instant that lies wholly in one window, its end excluded."""
        for window in self._others:
            if isinstance(window, tuple) and window[0] <= at < window[1]:
                return window
        offset = self._offset(at)
        local = (to_datetime(_within(at)) + offset).replace(tzinfo=None)
        bounds = whole_day(local) if local.date() in self._days else None
        for window in self._others if bounds is None else ():
            if isinstance(window, Window) and (bounds := window.around(local)):
                break
        if bounds is None:
            return None
        first = at - (local - bounds[0]) // _MICROSECOND
        last = at + (bounds[1] - local) // _MICROSECOND
        # Local time runs evenly while the offset stays the same, so the stretch ends where it changes.
        if self._offset(first) != offset:
            first = self._change(at, first)
        if self._offset(last - 1) != offset:
            last = self._change(at, last - 1)
        return first, last

    def _offset(self, at: Instant) -> timedelta:
        return to_datetime(_within(at)).astimezone(self.timezone).utcoffset() or timedelta()

    def _change(self, here: Instant, there: Instant) -> Instant:
        """Return the first instant of the later offset, where it changes between the two."""
        offset = self._offset(here)
        forward = there > here
        while abs(there - here) > 1:
            middle = (here + there) // 2
            if self._offset(middle) == offset:
                here = middle
            else:
                there = middle
        return there if forward else here

    def notes(self, start: Instant, end: Instant) -> list[Note]:
        """Return notes on the effects of clock changes on the slots that are left."""
        return [note for note in notes_of(self.trigger, start, end) if self._held(note[0]) is None]

    def describe(self) -> str:
        """Return the trigger in plain English."""
        named = [window_in_words(window) for window in self.windows[:_SHOWN]]
        if len(self.windows) > _SHOWN:
            named.append(f"{len(self.windows) - _SHOWN} more")
        listed = ", ".join(named[:-1]) + " and " + named[-1] if len(named) > 1 else named[0]
        zone = "" if zone_name_of(self.trigger) == self._zone_name else f" ({self._zone_name})"
        return f"{self.trigger.describe()}, except {listed}{zone}"

    def to_json(self) -> dict[str, Any]:
        """Return the trigger as data for :meth:`from_json`."""
        return {
            "except": trigger_to_json(self.trigger),
            "windows": [window_to_json(window) for window in self.windows],
            "timezone": self._zone_name,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Except:
        """Return the trigger that ``to_json`` wrote."""
        windows = [window_from_json(window) for window in data["windows"]]
        return cls(trigger_from_json(data["except"]), windows, zone_from_name(data["timezone"]))

    def __repr__(self) -> str:
        windows = ", ".join(window_text(window) for window in self.windows)
        return f"{self.trigger!r}.except_({windows}, timezone={self._zone_name!r})"


@kept_as("only")
@immutable
class Only(BaseTrigger):
    """A trigger whose due times count on some weekdays only, by local time. Made by ``trigger.only(weekday=…)``.

    Args:
        trigger: the trigger.
        weekday: such as ``"wed"``, or several.
        timezone: the zone of the local time; by default the trigger's zone, or UTC where it has none.

    Raises:
        TriggerError: an unknown weekday, or parts in several zones and no ``timezone``.

    """

    trigger: Any
    days: frozenset[int]
    """From Monday = 0."""
    _but: Except = field(compare=False)
    _zone_name: str

    def __init__(
        self, trigger: Any, weekday: str | Iterable[str], timezone: str | tzinfo | None = None
    ) -> None:
        listed = [weekday] if isinstance(weekday, str) or not isinstance(weekday, Iterable) else list(weekday)
        if not listed or any(day not in WEEKDAYS for day in listed):
            raise TriggerError(
                f"only: weekday must be of {', '.join(WEEKDAYS)}, not {safe_repr(weekday)}", field="weekday"
            )
        if len(set(listed)) == len(WEEKDAYS):
            raise TriggerError("only: all seven weekdays leave nothing out", field="weekday")
        others = [day for day in WEEKDAYS if day not in listed]
        but = Except(trigger, [Window(time(0), time(0), others)], timezone)
        put = object.__setattr__  # as every frozen dataclass does
        put(self, "trigger", but.trigger)
        put(self, "days", frozenset(WEEKDAYS.index(day) for day in listed))
        put(self, "_but", but)
        put(self, "_zone_name", but._zone_name)

    def anchored(self, at: Instant) -> Only:
        """Return the same with the inner trigger anchored."""
        return Only(self.trigger.anchored(at), self._listed(), self._but.timezone)

    def next_instant(self, after: Instant) -> Instant | None:
        """Return the first instant after ``after`` on one of the weekdays."""
        return self._but.next_instant(after)

    def previous_instant(self, before: Instant) -> Instant | None:
        """Return the last instant at or before ``before`` on one of the weekdays."""
        return self._but.previous_instant(before)

    def zones(self) -> Iterable[tzinfo]:
        """Return the zone that the weekdays are in."""
        return self._but.zones()

    def notes(self, start: Instant, end: Instant) -> list[Note]:
        """Return notes on the effects of clock changes on the slots that are left."""
        return self._but.notes(start, end)

    def describe(self) -> str:
        """Return the trigger in plain English."""
        named = [_NAMES[day] for day in sorted(self.days)]
        listed = ", ".join(named[:-1]) + " and " + named[-1] if len(named) > 1 else named[0]
        return f"{self.trigger.describe()}, only on {listed}"

    def to_json(self) -> dict[str, Any]:
        """Return the trigger as data for :meth:`from_json`."""
        return {"only": trigger_to_json(self.trigger), "weekday": self._listed(), "timezone": self._zone_name}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Only:
        """Return the trigger that ``to_json`` wrote."""
        return cls(trigger_from_json(data["only"]), data["weekday"], zone_from_name(data["timezone"]))

    def _listed(self) -> list[str]:
        return [WEEKDAYS[day] for day in sorted(self.days)]

    def __reduce__(self) -> tuple[object, ...]:
        return Only, (self.trigger, self._listed(), self._but.timezone)

    def __repr__(self) -> str:
        return f"{self.trigger!r}.only(weekday={self._listed()}, timezone={self._zone_name!r})"


_MICROSECOND = timedelta(microseconds=1)


def notes_of(trigger: InstantTrigger, start: Instant, end: Instant) -> list[Note]:
    """Return a trigger's notes; a user's trigger has none."""
    return trigger.notes(start, end) if isinstance(trigger, BaseTrigger) else []


def _is_too_far(distance: Instant, steps: int) -> bool:
    return distance > _HORIZON or (distance > _NEAR and steps > _STEPS)


def _within(at: Instant) -> Instant:
    return min(max(at, FIRST_INSTANT), LAST_INSTANT)
