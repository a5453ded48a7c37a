"""Cron schedules: the set of instants that Debian's cron would fire at."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime, tzinfo
from functools import partial

from asyncsched._core.errors import ConfigurationError, TriggerError
from asyncsched._core.instants import (
    SECOND,
    YEAR,
    Instant,
    to_datetime,
    to_instant,
    to_zone,
    zone_from_name,
    zone_name,
)
from asyncsched.triggers.base import BaseTrigger, immutable
from asyncsched.triggers.codec import kept_as
from asyncsched.triggers.cron.clock_changes import FIRST_SECOND, LAST_SECOND, Instants
from asyncsched.triggers.cron.hints import expects_expression
from asyncsched.triggers.cron.notes import clock_change_notes
from asyncsched.triggers.cron.search import WallTimes, wall_times
from asyncsched.triggers.cron.text import check_fields, clean, one_case
from asyncsched.triggers.cron.words import in_words


@kept_as("cron")
@immutable
class Cron(BaseTrigger):
    """The instants at which a zone's wall clock matches a cron expression.

    At clock changes it does what Debian's cron does, so that no daily job is dropped or doubled. A
    job with a fixed minute and hour runs once for a skipped time, at the jump, and only in the first
    pass of a repeated hour. One whose minute or hour starts with ``*`` runs whenever the clock
    matches. A change of three hours or more is taken as it is, by both kinds.

    Args:
        expression: five fields (minute, hour, day of month, month, day of week), six with the
            seconds first, or ``@daily`` and the like.
        timezone: the zone of the wall clock: an IANA name, a ``ZoneInfo`` or a fixed offset.
        start: the earliest instant allowed, itself included.
        end: the last instant allowed, itself included.
        fields: 5 refuses an expression with seconds, 6 one without: for expressions of an app's users.

    Attributes:
        expression: with single spaces and in one case, such as ``"0 7 * * mon-fri"``.
        timezone: the zone.
        start: in UTC.
        end: in UTC.

    Raises:
        TriggerError: the text is not understood or can never fire, or the end is before the start.
        ConfigurationError: an unknown zone, or a naive ``start`` or ``end``.

    """

    expression: str
    timezone: tzinfo = field(compare=False)
    start: datetime | None
    end: datetime | None
    _zone_name: str
    _first: Instant | None = field(compare=False)
    _last: Instant | None = field(compare=False)
    _instants: Instants[WallTimes] = field(compare=False)

    @partial(expects_expression, name="Cron")
    def __init__(
        self,
        expression: str,
        *,
        timezone: str | tzinfo = "UTC",
        start: datetime | None = None,
        end: datetime | None = None,
        fields: int | None = None,
    ) -> None:
        text = clean(expression)
        if fields is not None:
            check_fields(text, fields)
        walls = wall_times(text)
        zone = _whole_seconds(to_zone(timezone))
        first = None if start is None else to_instant(start, "start")
        last = None if end is None else to_instant(end, "end")
        if first is not None and last is not None and last < first:
            raise TriggerError("the cron schedule's end is before its start")
        put = object.__setattr__  # as every frozen dataclass does
        put(self, "expression", one_case(text))
        put(self, "timezone", zone)
        put(self, "start", None if first is None else to_datetime(first))
        put(self, "end", None if last is None else to_datetime(last))
        put(self, "_zone_name", zone_name(zone))
        put(self, "_first", first)
        put(self, "_last", last)
        put(self, "_instants", Instants(walls, zone))

    def __repr__(self) -> str:
        parts = [repr(self.expression), f"timezone={self._zone_name!r}"]
        parts += [f"start={self.start.isoformat()}"] if self.start else []
        parts += [f"end={self.end.isoformat()}"] if self.end else []
        return f"Cron({', '.join(parts)})"

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (self.expression, self._zone_name, self.start, self.end)

    def next_instant(self, after: Instant) -> Instant | None:
        """Return the first due instant strictly after ``after``, or ``None``.

        Looks 4 years ahead, or 40 where the date does not come in every year.
        """
        if self._first is not None and after < self._first:
            after = self._first - 1
        found = self._instants.after(after // SECOND)
        if found is None or (self._last is not None and found * SECOND > self._last):
            return None
        return found * SECOND

    def previous_instant(self, before: Instant) -> Instant | None:
        """Return the last due instant at or before ``before``, or ``None``.

        Looks 4 years back, or 40 where the date does not come in every year.
        """
        if self._last is not None and before > self._last:
            before = self._last
        found = self._instants.until(before // SECOND)
        if found is None or (self._first is not None and found * SECOND < self._first):
            return None
        return found * SECOND

    def describe(self) -> str:
        """Return the schedule in plain English, such as "at 07:00 on Monday to Friday, Europe/Paris"."""
        words = f"{in_words(self._instants.walls.fields)}, {self._zone_name}"
        words += f", from {_minute(self.start)}" if self.start else ""
        return words + (f", until {_minute(self.end)}" if self.end else "")

    def zones(self) -> tuple[tzinfo]:
        """Return the zone whose wall clock it follows."""
        return (self.timezone,)

    def notes(self, start: Instant, end: Instant) -> list[tuple[Instant, str]]:
        """Return the effects of the zone's clock changes from ``start`` to ``end`` on this schedule.

        Each is an instant and a sentence, such as "02:30 does not exist on 29 March, runs at
        03:00", in order. The search ends 4 years after ``start``.
        """
        start = max(start, FIRST_SECOND * SECOND, self._first or start)
        end = min(end, start + 4 * YEAR, LAST_SECOND * SECOND, self._last or end)
        notes = clock_change_notes(self._instants.walls, self.timezone, -(-start // SECOND), end // SECOND)
        return [(second * SECOND, sentence) for second, sentence in notes]

    def to_json(self) -> dict[str, object]:
        """Return the schedule as plain values, for :meth:`from_json`."""
        data: dict[str, object] = {"cron": self.expression, "timezone": self._zone_name}
        if self.start:
            data["start"] = self.start.isoformat()
        if self.end:
            data["end"] = self.end.isoformat()
        return data

    @classmethod
    def from_json(cls, data: dict[str, object]) -> Cron:
        """Return the schedule that :meth:`to_json` wrote.

        Raises:
            TriggerError: the data is not a cron schedule's.

        """
        try:
            return _restore(
                str(data["cron"]), str(data["timezone"]), _moment(data.get("start")), _moment(data.get("end"))
            )
        except ConfigurationError:
            raise
        except (KeyError, ValueError) as error:
            raise TriggerError(f"not the data of a cron schedule: {error}") from None


def _restore(expression: str, zone: str, start: datetime | None, end: datetime | None) -> Cron:
    return Cron(expression, timezone=zone_from_name(zone), start=start, end=end)


def _moment(text: object) -> datetime | None:
    return None if text is None else datetime.fromisoformat(str(text))


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _whole_seconds(zone: tzinfo) -> tzinfo:
    offset = zone.utcoffset(None)
    if offset is not None and offset.microseconds:
        raise TriggerError(f"timezone: an offset of whole seconds is needed, not {offset}")
    return zone
