"""Durations, moments and numbers in words: short, exact, and the same on the page, in charts and in titles."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from markupsafe import Markup

SPACE = "\u202f"
"""The narrow space between a number and its unit, at which no line breaks."""

GLYPHS = {
    "failing": "✕", "failed": "✕", "timed_out": "✕", "lost": "✕", "late": "▲", "missed": "▲", "running": "▶",
    "retrying": "↻", "ok": "✓", "on_time": "✓", "succeeded": "✓", "paused": "❚❚", "cancelled": "⊘",
    "skipped": "⊘", "overlap": "⊘", "rate_limited": "⊘", "over_limit": "⊘", "pending": "○", "due": "○", "orphaned": "⊘", "ended": "⊘",
    "stopped": "✕",
}  # fmt: skip
"""The sign of each state: it tells the state where the colour does not."""

TONES = {
    "failing": "failed", "failed": "failed", "timed_out": "failed", "lost": "failed", "stopped": "failed",
    "late": "late", "missed": "late", "running": "running", "retrying": "retrying", "ok": "ok", "on_time": "ok",
    "succeeded": "ok", "pending": "due", "due": "due",
}  # fmt: skip
"""The colour of each state; those that are left are ``paused``."""

WORDS = {
    "failing": "Failing", "failed": "Failed", "timed_out": "Timed out", "lost": "Lost", "late": "Late",
    "missed": "Missed", "running": "Running", "retrying": "Retrying", "on_time": "On time",
    "succeeded": "Succeeded", "paused": "Paused", "cancelled": "Cancelled", "pending": "Pending",
    "overlap": "Skipped: overlap", "rate_limited": "Skipped: rate limit",
    "over_limit": "Skipped: too many running", "orphaned": "Not in code",
    "ended": "Ended", "waiting": "Waiting",
}  # fmt: skip


def glyph(state: str) -> str:
    """Return the sign of a state."""
    return GLYPHS.get(state, "○")


def tone(state: str) -> str:
    """Return the colour's name of a state."""
    return TONES.get(state, "paused")


def word(state: str) -> str:
    """Return a state in words."""
    return WORDS.get(state, state.replace("_", " ").capitalize())


def duration(time: timedelta | float | None) -> str:
    """Return a duration: ``391 µs``, ``9 ms``, ``1.4 s``, ``13 m 02 s``, ``2 h 05 m``, ``3 d 4 h``.

    Args:
        time: a timedelta, or seconds; ``None`` is shown as a dash.

    """
    if time is None:
        return "–"
    seconds = time.total_seconds() if isinstance(time, timedelta) else float(time)
    seconds = max(0.0, seconds)
    if seconds == 0:
        return f"0{SPACE}s"
    if seconds < 0.0005:
        return f"{round(seconds * 1e6)}{SPACE}µs"
    if seconds < 0.9995:
        return f"{round(seconds * 1000)}{SPACE}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}{SPACE}s"
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f}{SPACE}s" if seconds < 59.95 and seconds % 1 >= 0.05 else f"{whole}{SPACE}s"
    return _long(whole)


def _long(seconds: int) -> str:
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days}{SPACE}d {hours}{SPACE}h"
    if hours:
        return f"{hours}{SPACE}h {minutes:02}{SPACE}m"
    return f"{minutes}{SPACE}m {left:02}{SPACE}s"


def whole(seconds: float) -> str:
    """Return a duration in whole seconds, as it ticks on the page."""
    rounded = int(seconds)
    return f"{rounded}{SPACE}s" if rounded < 60 else _long(rounded)


def lateness(late: timedelta) -> str:
    """Return how late something began: ``on time`` below a millisecond, else ``2 ms late``."""
    return "on time" if late < timedelta(milliseconds=1) else f"{duration(late)} late"


def relative(at: datetime, now: datetime) -> str:
    """Return a moment as ``in 3 m 05 s``, ``18 s ago`` or ``just now``."""
    seconds = (at - now).total_seconds()
    if abs(seconds) < 1:
        return "now" if seconds >= 0 else "just now"
    return f"in {whole(seconds)}" if seconds > 0 else f"{whole(-seconds)} ago"


def clock(at: datetime) -> str:
    """Return a moment as ``20:53:29 UTC``."""
    return f"{at.astimezone(UTC):%H:%M:%S} UTC"


def date_and_time(at: datetime) -> str:
    """Return a moment as ``2026-11-29 20:53:29 UTC``."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def short_moment(at: datetime, now: datetime) -> str:
    """Return a moment as ``20:53 UTC``, with its date where that is another day."""
    same = at.astimezone(UTC).date() == now.astimezone(UTC).date()
    return f"{at.astimezone(UTC):%H:%M} UTC" if same else f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def iso(at: datetime) -> str:
    """Return a moment as RFC 3339 in UTC with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def when(at: datetime | None, now: datetime, zone: tzinfo | None = None, none: str = "–") -> Markup:
    """Return a moment as it ticks on the page, with the exact time at a touch, also in the schedule's zone."""
    if at is None:
        return Markup('<span class="none">{}</span>').format(none)
    exact = date_and_time(at)
    if zone is not None and (name := str(zone)) != "UTC":
        exact += f"\n{at.astimezone(zone):%Y-%m-%d %H:%M:%S} {name}"
    return Markup('<time data-t="{}" title="{}">{}</time>').format(
        round(at.timestamp() * 1000), exact, relative(at, now)
    )


def elapsed(since: datetime, now: datetime) -> Markup:
    """Return the time since a moment as it ticks on the page, without ``ago``."""
    return Markup('<time data-t="{}" data-plain datetime="{}" title="since {}">{}</time>').format(
        round(since.timestamp() * 1000),
        iso(since),
        date_and_time(since),
        whole((now - since).total_seconds()),
    )


def number(value: float) -> str:
    """Return a whole number with a narrow space between thousands."""
    return f"{value:,.0f}".replace(",", SPACE)


def plural(count: int, one: str, many: str = "") -> str:
    """Return a number with its noun."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def sentence(text: str) -> str:
    """Return a text as a sentence of its own: with a capital, and a full stop."""
    return text and f"{text[0].upper()}{text[1:]}{'' if text[-1] in '.?!' else '.'}"


def cut(text: str, most: int = 160) -> str:
    """Return one line of a text, shortened."""
    line = text.strip().split("\n", 1)[0]
    return line if len(line) <= most else line[: most - 1] + "…"
