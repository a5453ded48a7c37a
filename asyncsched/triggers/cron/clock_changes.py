"""From matching wall times to instants: the rules of Debian's cron at clock changes.

``ZoneInfo`` answers by the fold for any wall time: equal offsets at fold 0 and 1 mean one instant,
a later offset that is smaller a repeated time (a fold), one that is greater a skipped time (a gap).

    wildcard job    runs whenever the wall clock matches: twice in a fold, never in a gap
    fixed job       runs once: in the first pass of a fold, at the jump for what a gap skips
    3 hours or more the clock is simply believed, by both
    up to 5 minutes what a gap skips runs at the jump, for both

Instants are whole seconds here, and so are offsets.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Generic, TypeVar

from asyncsched._core.values import value
from asyncsched.triggers.cron.search import Wall, WallClock

W = TypeVar("W", bound=WallClock)

Second = int
"""Whole seconds since the epoch, in UTC."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WALL_EPOCH = _EPOCH.replace(tzinfo=None)
_DAY = 86_400

# Two days short of what datetime holds, so that no zone's wall time falls off its ends.
FIRST_SECOND = (date.min.toordinal() + 2 - _EPOCH.toordinal()) * _DAY
LAST_SECOND = (date.max.toordinal() - 2 - _EPOCH.toordinal()) * _DAY

_BELIEVED = 3 * 3600
_UNNOTICED = 5 * 60


@value
class Jump:
    """A change of a zone's offset.

    Attributes:
        at: the first instant with the new offset.
        before: the old offset, in seconds east of UTC.
        after: the new offset.

    """

    at: Second
    before: int
    after: int

    @property
    def old_wall(self) -> Wall:
        """The time that the wall clock would have shown: the end of a fold, the beginning of a gap."""
        return self.at + self.before

    @property
    def new_wall(self) -> Wall:
        """The time that the wall clock shows: the beginning of a fold, the end of a gap."""
        return self.at + self.after

    def repeats(self, wildcard: bool) -> bool:
        """Return whether a job runs in the second pass of this fold too."""
        return wildcard or self.before - self.after >= _BELIEVED

    def catches_up(self, wildcard: bool) -> bool:
        """Return whether a job runs at this jump for the wall times that the gap skips."""
        gap = self.after - self.before
        return gap <= _UNNOTICED if wildcard else gap < _BELIEVED


def _seconds(offset: timedelta | None) -> int:
    return 0 if offset is None else offset.days * _DAY + offset.seconds


def _local(zone: tzinfo, second: Second) -> datetime:
    return (_EPOCH + timedelta(seconds=second)).astimezone(zone)


def offset_at(zone: tzinfo, second: Second) -> int:
    """Return the zone's offset at an instant, in seconds east of UTC."""
    return _seconds(_local(zone, second).utcoffset())


def _find_jump(zone: tzinfo, low: Second, high: Second) -> Jump:
    """Return the change of offset in ``low < at <= high``."""
    before, after = offset_at(zone, low), offset_at(zone, high)
    while high - low > 1:
        middle = (low + high) // 2
        if offset_at(zone, middle) == before:
            low = middle
        else:
            high = middle
    return Jump(high, before, after)


def jumps(zone: tzinfo, start: Second, end: Second) -> Iterator[Jump]:
    """Yield the changes of offset in ``start < at <= end``, looking at each day once."""
    if isinstance(zone, timezone):
        return
    start, end = max(start, FIRST_SECOND), min(end, LAST_SECOND)
    low, before = start, offset_at(zone, start)
    while low < end:
        high = min(low + _DAY, end)
        after = offset_at(zone, high)
        if after != before:
            yield _find_jump(zone, low, high)
        low, before = high, after


class Instants(Generic[W]):
    """The instants at which a cron job is due: an expression's wall times in a zone."""

    __slots__ = ("_fixed", "_zone", "walls")

    def __init__(self, walls: W, zone: tzinfo) -> None:
        self.walls = walls
        self._zone = zone
        self._fixed = _seconds(zone.utcoffset(None)) if isinstance(zone, timezone) else None

    def after(self, second: Second) -> Second | None:
        """Return the first due instant strictly after ``second``."""
        if second >= LAST_SECOND:
            return None
        found = self._next(max(second, FIRST_SECOND - 1))
        return None if found is None or found > LAST_SECOND else found

    def until(self, second: Second) -> Second | None:
        """Return the last due instant at or before ``second``."""
        if second < FIRST_SECOND:
            return None
        found = self._previous(min(second, LAST_SECOND))
        return None if found is None or found < FIRST_SECOND else found

    def _next(self, second: Second) -> Second | None:
        if self._fixed is not None:
            found = self.walls.at_or_after(second + 1 + self._fixed, second)
            return None if found is None else found - self._fixed
        wall, fold = self._stand(second)
        if fold is None:
            return self._land(wall + 1)
        walls, repeats = self.walls, fold.repeats(self.walls.wildcard)
        if second < fold.at:
            found = walls.at_or_after(wall + 1, wall)
            if found is not None and found < fold.old_wall:
                return found - fold.before
            wall = fold.new_wall - 1
        if repeats:
            found = walls.at_or_after(wall + 1, wall)
            if found is not None and found < fold.old_wall:
                return found - fold.after
        return self._land(fold.old_wall)

    def _previous(self, second: Second) -> Second | None:
        if self._fixed is not None:
            found = self.walls.at_or_before(second + self._fixed, second)
            return None if found is None else found - self._fixed
        wall, fold = self._stand(second)
        if fold is None:
            return self._land_back(wall)
        walls, repeats = self.walls, fold.repeats(self.walls.wildcard)
        if second >= fold.at:
            if repeats:
                found = walls.at_or_before(wall, wall)
                if found is not None and found >= fold.new_wall:
                    return found - fold.after
            wall = fold.old_wall - 1
        found = walls.at_or_before(wall, wall)
        if found is not None and found >= fold.new_wall:
            return found - fold.before
        return self._land_back(fold.new_wall - 1)

    def _land(self, wall: Wall) -> Second | None:
        """Return the first instant that the wall times from ``wall`` on make due."""
        origin = wall
        while (found := self.walls.at_or_after(wall, origin)) is not None:
            before, after = self._offsets(found)
            if before >= after:
                return found - before
            gap = self._jump_at(found, before, after)
            if gap.catches_up(self.walls.wildcard):
                return gap.at
            wall = gap.new_wall
        return None

    def _land_back(self, wall: Wall) -> Second | None:
        """Return the last instant that the wall times up to ``wall`` make due."""
        origin = wall
        while (found := self.walls.at_or_before(wall, origin)) is not None:
            before, after = self._offsets(found)
            if before == after:
                return found - before
            jump = self._jump_at(found, before, after)
            if before > after:
                return found - (after if jump.repeats(self.walls.wildcard) else before)
            if jump.catches_up(self.walls.wildcard):
                return jump.at
            wall = jump.old_wall - 1
        return None

    def _stand(self, second: Second) -> tuple[Wall, Jump | None]:
        """Return the wall time at an instant, and the fold in which that wall time comes twice, if any."""
        local = _local(self._zone, second)
        offset = local.utcoffset()
        other = local.replace(fold=1 - local.fold).utcoffset()
        here = _seconds(offset)
        if offset == other:
            return second + here, None
        there = _seconds(other)
        wall = second + here
        return wall, self._jump_at(wall, max(here, there), min(here, there))

    def _offsets(self, wall: Wall) -> tuple[int, int]:
        """Return the offsets that a wall time has by the rule before a jump and by the one after it."""
        local = (_WALL_EPOCH + timedelta(seconds=wall)).replace(tzinfo=self._zone)
        before = local.utcoffset()
        after = local.replace(fold=1).utcoffset()
        if before == after:
            offset = _seconds(before)
            return offset, offset
        return _seconds(before), _seconds(after)

    def _jump_at(self, wall: Wall, before: int, after: int) -> Jump:
        """Return the jump that makes a wall time skipped or repeated."""
        return _find_jump(self._zone, wall - max(before, after), wall - min(before, after))
