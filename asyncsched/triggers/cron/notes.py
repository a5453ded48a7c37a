"""The effects of a zone's clock changes on a cron job, in sentences."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from asyncsched.triggers.cron.clock_changes import Jump, Second, jumps
from asyncsched.triggers.cron.search import Wall, WallClock
from asyncsched.triggers.cron.words import MONTHS, clock

_WALL_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # used for its calendar only


def clock_change_notes(
    walls: WallClock, zone: tzinfo, start: Second, end: Second
) -> list[tuple[Second, str]]:
    """Return the effects of the clock changes from ``start`` to ``end`` on a job, as (instant, sentence).

    The instant is the jump's where wall times are skipped, and the first affected run's where they
    are repeated. A change that no run falls into has no note.
    """
    found = [_note(walls, jump) for jump in jumps(zone, start - 1, end)]
    return [note for note in found if note]


def _note(walls: WallClock, jump: Jump) -> tuple[Second, str] | None:
    low, high = sorted((jump.old_wall, jump.new_wall))
    first, last = walls.at_or_after(low, low), walls.at_or_before(high - 1, high)
    if first is None or last is None or first >= high:
        return None
    many = first != last
    when = _slots(first, last, "to" if walls.at_or_after(first + 1, low) != last else "and")
    if jump.after > jump.before:
        return jump.at, _sentence(when, first, last, _gap(walls, jump, many, first))
    passes = "in both passes" if jump.repeats(walls.wildcard) else "at the first"
    words = ("happen twice", f"run {passes}") if many else ("happens twice", f"runs {passes}")
    return first - jump.before, _sentence(when, first, last, words)


def _gap(walls: WallClock, jump: Jump, many: bool, first: Wall) -> tuple[str, str]:
    exist = "do not exist" if many else "does not exist"
    if not jump.catches_up(walls.wildcard):
        return exist, "do not run" if many else "does not run"
    at = _time(jump.new_wall)
    if _date(jump.new_wall) != _date(first):
        at += f" on {_date(jump.new_wall)}"
    return exist, f"run once at {at}" if many else f"runs at {at}"


def _sentence(when: str, first: Wall, last: Wall, words: tuple[str, str]) -> str:
    on = f" on {_date(first)}" if _date(first) == _date(last) else ""
    return f"{when} {words[0]}{on}, {words[1]}"


def _slots(first: Wall, last: Wall, between: str) -> str:
    if first == last:
        return _time(first)
    if _date(first) == _date(last):
        return f"{_time(first)} {between} {_time(last)}"
    return f"{_time(first)} on {_date(first)} {between} {_time(last)} on {_date(last)}"


def _time(wall: Wall) -> str:
    at = _WALL_EPOCH + timedelta(seconds=wall)
    return clock(at.hour, at.minute, at.second)


def _date(wall: Wall) -> str:
    at = _WALL_EPOCH + timedelta(seconds=wall)
    return f"{at.day} {MONTHS[at.month - 1]}"
