"""What is written to stdout: JSON, tables that fit the terminal, and moments and durations in words."""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from asyncsched._backends.clock import SystemClock
from asyncsched._core.instants import to_datetime

GLYPHS = {
    "failing": "✕", "failed": "✕", "timed_out": "✕", "lost": "✕", "late": "▲", "missed": "▲", "running": "▶",
    "retrying": "↻", "on_time": "✓", "succeeded": "✓", "paused": "❚❚", "cancelled": "⊘", "overlap": "⊘",
    "rate_limited": "⊘", "over_limit": "⊘", "pending": "○", "future": "○", "orphaned": "⊘", "ended": "⊘", "ran": "✓",
}  # fmt: skip
"""The sign of each state, which tells it where there is no colour."""

_COLOURS = {"✕": "red", "▲": "yellow", "▶": "blue", "↻": "magenta", "✓": "green"}


@dataclass
class Style:
    """How this call of the command writes: set once from the options, before anything is written."""

    json: bool = False
    utc: bool = False
    color: str = "auto"
    debug: bool = False


def state(name: str) -> str:
    """Return a state with its sign, in colour."""
    sign = GLYPHS.get(name, "○")
    return click.style(f"{sign} {name.replace('_', ' ')}", fg=_COLOURS.get(sign))


def bold(text: str) -> str:
    """Return a text in bold."""
    return click.style(text, bold=True)


def dim(text: str) -> str:
    """Return a text in grey."""
    return click.style(text, dim=True)


def colours(choice: str) -> bool | None:
    """Return whether to write colours: ``None`` leaves it to whether stdout is a terminal."""
    if choice != "auto":
        return choice == "always"
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def write_json(value: Any) -> None:
    """Write a value as JSON; moments in UTC with milliseconds, durations in seconds."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_as_json))


def write_json_line(value: Any) -> None:
    """Write a value as JSON in one line, at once."""
    click.echo(json.dumps(value, ensure_ascii=False, default=_as_json))
    sys.stdout.flush()


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, set | frozenset):
        return sorted(value)
    return repr(value)


def present() -> datetime:
    """Return this moment, in UTC."""
    return to_datetime(SystemClock().wall())


def iso(at: datetime) -> str:
    """Return a moment as RFC 3339 in UTC with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(at: datetime | None, utc: bool = False) -> str:
    """Return a moment in the local zone with its offset, or in UTC."""
    if at is None:
        return "–"
    there = at.astimezone(UTC) if utc else at.astimezone()
    return f"{there:%Y-%m-%d %H:%M:%S} " + ("UTC" if utc else f"{there:%z}"[:3] + ":" + f"{there:%z}"[3:5])


def duration(value: timedelta | float | None) -> str:
    """Return a duration: ``9 ms``, ``1.4 s``, ``13 m 02 s``, ``2 h 05 m``, ``3 d 4 h``."""
    if value is None:
        return "–"
    seconds = max(0.0, value.total_seconds() if isinstance(value, timedelta) else value)
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 59.95:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes:02} m" if hours else f"{minutes} m {rest:02} s"


def relative(at: datetime | None, now: datetime) -> str:
    """Return a moment as ``in 3 m 05 s`` or ``18 s ago``."""
    if at is None:
        return "–"
    seconds = (at - now).total_seconds()
    if abs(seconds) < 1:
        return "now" if seconds >= 0 else "just now"
    whole = duration(float(int(abs(seconds))))
    return f"in {whole}" if seconds > 0 else f"{whole} ago"


def plural(count: int, one: str, many: str = "") -> str:
    """Return a number with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


# ── tables ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Column:
    """One column: its head, and how gladly it is given up when the terminal is narrow.

    ``keep`` 0 stays always; of the others the highest goes first. A ``cut`` column is shortened before any goes.
    """

    head: str
    keep: int = 0
    right: bool = False
    cut: bool = False


def terminal_width() -> int | None:
    """Return the columns of the terminal; ``None`` where stdout is none, so that nothing is cut."""
    if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        return None
    return shutil.get_terminal_size((80, 24)).columns


def write_table(columns: Sequence[Column], rows: Iterable[Sequence[str]], width: int | None = None) -> None:
    """Write rows below their heads, in at most the terminal's width: columns go first, then long names are cut."""
    kept, cells = list(range(len(columns))), [list(row) for row in rows]
    room = terminal_width() if width is None else width
    widths = [
        max([_width(column.head), *(_width(row[i]) for row in cells)]) for i, column in enumerate(columns)
    ]
    while room is not None and _total(widths, kept) - _to_cut(columns, widths, kept) > room:
        droppable = [i for i in kept if columns[i].keep]
        if not droppable:
            break
        kept.remove(max(droppable, key=lambda i: (columns[i].keep, i)))
    if room is not None:
        _shrink(columns, widths, kept, room)
    click.echo(dim(_line(columns, widths, kept, [column.head for column in columns])))
    for row in cells:
        click.echo(_line(columns, widths, kept, row))


_LEAST = 16


def _to_cut(columns: Sequence[Column], widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(max(0, widths[i] - _LEAST) for i in kept if columns[i].cut)


def _total(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(widths[i] for i in kept) + 2 * (len(kept) - 1)


def _shrink(columns: Sequence[Column], widths: list[int], kept: Sequence[int], room: int) -> None:
    while _total(widths, kept) > room:
        long = [i for i in kept if columns[i].cut and widths[i] > _LEAST]
        if not long:
            return
        longest = max(long, key=lambda i: widths[i])
        widths[longest] -= 1


def _line(columns: Sequence[Column], widths: Sequence[int], kept: Sequence[int], cells: Sequence[str]) -> str:
    parts = []
    for i in kept:
        text = fit(cells[i], widths[i])
        space = " " * (widths[i] - _width(text))
        parts.append(space + text if columns[i].right else text + space)
    return "  ".join(parts).rstrip()


def fit(text: str, width: int) -> str:
    """Return a text in at most ``width`` columns, cut with an ellipsis."""
    if _width(text) <= width:
        return text
    plain = click.unstyle(text)
    while _width(plain) > width - 1:
        plain = plain[:-1]
    return plain + "…"


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    plain = click.unstyle(text)
    if plain.isascii():
        return len(plain)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1
        for one in plain
    )


def prose(text: str) -> str:
    """Return a sentence with line breaks where the terminal ends."""
    width = terminal_width()
    return text if width is None else click.wrap_text(text, width, subsequent_indent="  ")


def safe(text: str) -> str:
    """Return a text from a job or an argument without control characters, which could drive the terminal."""
    return "".join(one if one.isprintable() or one in "\n\t" else "�" for one in text)


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr while long work goes on, if that is a terminal; yields a function that counts on."""
    if not sys.stderr.isatty() or total < 2:
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)
