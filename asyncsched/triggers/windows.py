"""Windows of local time in which nothing is due: days, times of day, and stretches between two moments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from asyncsched._core.errors import TriggerError
from asyncsched._core.instants import Instant, to_datetime, to_instant
from asyncsched._core.text import safe_repr

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Window:
    """A stretch of local time that comes back every day, or on some days of the week.

    Args:
        start: local time of day at which it begins (included).
        end: local time of day at which it ends (not included). If not after ``start``, it is on the next day,
            so ``Window(time(22), time(6))`` is a night, and equal times are 24 hours.
        days: the weekdays on which it begins, such as ``("sat", "sun")``; all of them by default.

    Raises:
        TriggerError: times with a zone, or an unknown weekday.

    """

    start: time
    end: time
    days: frozenset[int]

    def __init__(self, start: time, end: time, days: str | Iterable[str] = WEEKDAYS) -> None:
        for name, value in (("start", start), ("end", end)):
            if not isinstance(value, time) or value.tzinfo is not None:
                raise TriggerError(
                    f"Window: {name} must be a naive datetime.time (the zone is given to except_), "
                    f"not {safe_repr(value)}",
                    field=name,
                )
        listed = [days] if isinstance(days, str) else list(days) if isinstance(days, Iterable) else [days]
        unknown = [day for day in listed if day not in WEEKDAYS]
        if unknown or not listed:
            raise TriggerError(
                f"Window: days must be of {', '.join(WEEKDAYS)}, not {safe_repr(days)}", field="days"
            )
        object.__setattr__(self, "start", start.replace(fold=0))
        object.__setattr__(self, "end", end.replace(fold=0))
        object.__setattr__(self, "days", frozenset(WEEKDAYS.index(day) for day in listed))

    def around(self, local: datetime) -> tuple[datetime, datetime] | None:
        """Return the naive bounds of the window that holds the naive local time, or ``None``."""
        for back in (0, 1):
            day = local.date() - timedelta(days=back)
            if day.weekday() not in self.days:
                continue
            first = datetime.combine(day, self.start)
            last = datetime.combine(day, self.end)
            if last <= first:
                last += timedelta(days=1)
            if first <= local < last:
                return first, last
        return None

    def __repr__(self) -> str:
        days = "" if len(self.days) == 7 else f", days={[WEEKDAYS[day] for day in sorted(self.days)]}"
        return f"Window({self.start.isoformat('auto')}, {self.end.isoformat('auto')}{days})"


def windows_of(given: Iterable[Any]) -> Iterator[Any]:
    """Yield the windows in the form in which they are kept.

    Raises:
        TriggerError: an object is no window.

    """
    for window in given:
        if isinstance(window, (datetime, str, bytes)):
            raise _no_window(window)
        if isinstance(window, (Window, date)):
            yield window
        elif isinstance(window, tuple) and len(window) == 2 and not _are_days(window):
            yield _pair(window)
        elif isinstance(window, Iterable):
            listed = list(window)
            if not _are_days(listed):
                raise _no_window(window)
            yield from listed
        else:
            raise _no_window(window)


def _are_days(window: Iterable[Any]) -> bool:
    return all(isinstance(day, date) and not isinstance(day, datetime) for day in window)


def _pair(window: tuple[Any, Any]) -> tuple[Instant, Instant]:
    first, last = (
        edge if type(edge) is int else to_instant(edge, "except_: a window's edge") for edge in window
    )
    if first >= last:
        raise TriggerError("except_: a window's end must be later than its start")
    return first, last


def _no_window(window: object) -> TriggerError:
    return TriggerError(
        "except_: a window is a datetime.date, a Window, or a pair of aware datetimes (start, end), "
        f"not {safe_repr(window)}"
    )


def whole_day(local: datetime) -> tuple[datetime, datetime]:
    """Return the naive bounds of the day that holds the naive local time."""
    midnight = datetime.combine(local.date(), time())
    return midnight, midnight + timedelta(days=1)


def window_in_words(window: Any) -> str:
    """Return a window in plain English."""
    if isinstance(window, Window):
        days = (
            "" if len(window.days) == 7 else " on " + ", ".join(WEEKDAYS[day] for day in sorted(window.days))
        )
        return f"from {window.start.isoformat('auto')[:5]} to {window.end.isoformat('auto')[:5]}{days}"
    if isinstance(window, date):
        return f"on {window.isoformat()}"
    first, last = (to_datetime(edge).isoformat(" ", "seconds") for edge in window)
    return f"from {first} to {last}"


def window_text(window: Any) -> str:
    """Return a window as it was given, for a ``repr``."""
    if isinstance(window, tuple):
        return f"({', '.join(to_datetime(edge).isoformat() for edge in window)})"
    return window.isoformat() if isinstance(window, date) else repr(window)


def window_to_json(window: Any) -> Any:
    """Return a window as data for :func:`window_from_json`."""
    if isinstance(window, Window):
        return [window.start.isoformat(), window.end.isoformat(), sorted(window.days)]
    return window.isoformat() if isinstance(window, date) else list(window)


def window_from_json(data: Any) -> Any:
    """Return the window that :func:`window_to_json` wrote."""
    if isinstance(data, str):
        return date.fromisoformat(data)
    if len(data) == 3:
        days = [WEEKDAYS[day] for day in data[2]]
        return Window(time.fromisoformat(data[0]), time.fromisoformat(data[1]), days)
    return tuple(data)
