"""The base of the built-in triggers: everything that follows from ``next_instant`` and ``previous_instant``."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import TYPE_CHECKING, Any, Self, TypeVar

from asyncsched._core.errors import TriggerError
from asyncsched._core.instants import Instant, to_datetime, to_instant
from asyncsched._core.shown import ShownAsData
from asyncsched._core.text import safe_repr
from asyncsched._core.trigger import InstantTrigger

if TYPE_CHECKING:
    from asyncsched.triggers.combine import Except, Only
    from asyncsched.triggers.windows import Window

C = TypeVar("C", bound="BaseTrigger")

Note = tuple[Instant, str]
"""The effect of a clock change on a schedule at an instant, in a sentence."""


class Due(datetime):
    """A due time in UTC: a ``datetime`` that can carry a note.

    Attributes:
        note: the effect of a clock change there, such as "02:30 does not exist on 29 March, runs at
            03:00", or ``""``.

    """

    note: str = ""

    @classmethod
    def at(cls, instant: Instant, note: str = "") -> Due:
        """Return the due time of an instant."""
        plain = to_datetime(instant)
        made = cls.combine(plain.date(), plain.timetz())
        made.note = note
        return made

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Return pydantic's schema, that of a datetime."""
        return handler(datetime)


def immutable(cls: type[C]) -> type[C]:
    """Make the class of a trigger immutable and comparable by its slots, as a frozen dataclass is.

    But it does not count as a dataclass: FastAPI takes those apart, down to what JSON does not have. A trigger is
    written as its data.
    """
    made: Any = dataclass(frozen=True, slots=True, init=False, repr=False)(cls)
    del made.__dataclass_fields__
    made.__getstate__, made.__setstate__ = BaseTrigger.__getstate__, BaseTrigger.__setstate__
    return made  # type: ignore[no-any-return]


class BaseTrigger(ShownAsData, InstantTrigger):
    """A set of instants: computed as integers, shown as datetimes.

    A subclass is an immutable, hashable value with two methods over instants; the rest follows.
    """

    __slots__ = ()

    def __getstate__(self) -> Any:
        names: tuple[str, ...] = type(self).__slots__
        return [getattr(self, name) for name in names]

    def __setstate__(self, state: Any) -> None:
        names: tuple[str, ...] = type(self).__slots__
        for name, value in zip(names, state, strict=True):
            object.__setattr__(self, name, value)

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def next_instant(self, after: Instant) -> Instant | None:
        """Return the first instant strictly after ``after``, or ``None``."""
        raise NotImplementedError

    def previous_instant(self, before: Instant) -> Instant | None:
        """Return the last instant at or before ``before``, or ``None``."""
        raise NotImplementedError

    def notes(self, start: Instant, end: Instant) -> list[Note]:
        """Return notes on the effects of the clock changes between two instants, in order."""
        return []

    def zones(self) -> Iterable[tzinfo]:
        """Return the zones that its own times are in."""
        return ()

    def next(self, after: datetime) -> datetime | None:
        """Return the first due time strictly after ``after``, in UTC, or ``None`` if there is none.

        Raises:
            ConfigurationError: ``after`` is naive.

        """
        found = self.next_instant(to_instant(after, "after"))
        return None if found is None else to_datetime(found)

    def previous(self, before: datetime) -> datetime | None:
        """Return the last due time at or before ``before``, in UTC, or ``None`` if there is none.

        Raises:
            ConfigurationError: ``before`` is naive.

        """
        found = self.previous_instant(to_instant(before, "before"))
        return None if found is None else to_datetime(found)

    def upcoming(self, n: int, after: datetime) -> list[Due]:
        """Return the next ``n`` due times strictly after ``after``, in UTC; fewer if they end.

        Each is a ``datetime`` whose ``.note`` names the effect of a clock change there.

        Raises:
            TriggerError: ``n`` is not a whole number from 1 to 100,000.
            ConfigurationError: ``after`` is naive.

        Example:
            >>> for at in Cron("30 2 * * *", timezone="Europe/Paris").upcoming(3, now):
            ...     print(at, at.note)

        """
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= 100_000:
            raise TriggerError(f"upcoming: n must be a whole number from 1 to 100000, not {safe_repr(n)}")
        start = at = to_instant(after, "after")
        trigger = self.anchored(at)
        found: list[Instant] = []
        while len(found) < n and (following := trigger.next_instant(at)) is not None:
            found.append(following)
            at = following
        notes = noted(found, trigger.notes(start + 1, at))
        return [Due.at(slot, notes.get(slot, "")) for slot in found]

    def except_(
        self,
        *windows: Window | date | tuple[datetime, datetime] | Iterable[date],
        timezone: str | tzinfo | None = None,
    ) -> Except:
        """Return this trigger without the due times that fall into the given windows.

        Args:
            *windows: dates (whole local days, one by one or as an iterable of them), ``Window``
                values (times of day), or pairs of aware datetimes, the end not included.
            timezone: the zone of these days and times of day; by default the trigger's zone, or UTC
                where the trigger has none.

        Raises:
            TriggerError: no window, or an object that is no window.

        Example:
            >>> Cron("0 7 * * *", timezone="Europe/Paris").except_(date(2026, 12, 25))
            >>> Interval(minutes=5).except_(Window(time(22), time(6)), timezone="Europe/Paris")

        """
        from asyncsched.triggers.combine import Except

        return Except(self, windows, timezone)

    def only(self, *, weekday: str | Iterable[str], timezone: str | tzinfo | None = None) -> Only:
        """Return this trigger with only those of its due times that fall on some weekdays, by local time.

        Args:
            weekday: such as ``"wed"``, or several.
            timezone: the zone of the weekdays; by default the trigger's zone, or UTC where it has none.

        Raises:
            TriggerError: an unknown weekday.

        Example:
            >>> Cron("0 13 8 * *").only(weekday="wed")  # the 8th, if it is a Wednesday

        """
        from asyncsched.triggers.combine import Only

        return Only(self, weekday, timezone)


def noted(slots: list[Instant], notes: list[Note]) -> dict[Instant, str]:
    """Return each slot's note: a note stands at the first slot at or after its instant.

    A note after the last slot stands at the last slot, so that none is lost. ``slots`` is sorted.
    """
    texts: dict[Instant, list[str]] = {}
    for at, sentence in notes if slots else ():
        slot = slots[min(bisect_left(slots, at), len(slots) - 1)]
        if sentence not in texts.setdefault(slot, []):
            texts[slot].append(sentence)
    return {slot: "; ".join(sentences) for slot, sentences in texts.items()}
