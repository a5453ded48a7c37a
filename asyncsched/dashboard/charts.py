"""Charts as SVG text, made in Python: no script, no style attribute, and no library.

There is no ``viewBox``: x and width are percentages, y and height are pixels. So a chart stretches with its box
without distortion, and its text stays sharp. Colours are classes of the style sheet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from markupsafe import Markup

from asyncsched._core.book import Period
from asyncsched._core.instants import MINUTE, SECOND, Instant, to_datetime, to_instant
from asyncsched._core.tallies import RecentRun, Tally
from asyncsched.dashboard.words import clock, duration, plural, tone, word

BIN = 30
"""Seconds of one bar of the strip of due times: the period that the figures are kept for."""

BACK, AHEAD = 15, 60
"""Minutes of the strip before and after now."""

BARS = (BACK + AHEAD) * 60 // BIN

EDGES = (0.01, 0.1, 1.0, 10.0, 60.0)
EDGE_WORDS = ("<10 ms", "<100 ms", "<1 s", "<10 s", "<1 min", "≥1 min")


def _svg(name: str, height: int, label: str, parts: Sequence[Markup], role: str = "img") -> Markup:
    return Markup('<svg class="chart {}" width="100%" height="{}" role="{}" aria-label="{}">{}</svg>').format(
        name, height, role, label, Markup("").join(parts)
    )


def rect(x: float, y: float, width: float, height: float, name: str = "", title: str = "") -> Markup:
    """Return a bar: x and width in per cent, y and height in pixels."""
    begin = Markup(
        f'<rect x="{x:.2f}%" y="{round(y, 1):g}" width="{width:.2f}%" height="{round(height, 1):g}"'
    )
    if name:
        begin += Markup(' class="{}"').format(name)
    return begin + (Markup("><title>{}</title></rect>").format(title) if title else Markup("/>"))


def text(x: float, y: float, words: str, name: str = "", anchor: str = "middle") -> Markup:
    """Return a label."""
    return Markup('<text x="{:.3f}%" y="{:.1f}" text-anchor="{}" class="{}">{}</text>').format(
        x, y, anchor, name, words
    )


def line(x: float, top: float, bottom: float, name: str) -> Markup:
    """Return an upright line."""
    return Markup('<line x1="{0:.3f}%" x2="{0:.3f}%" y1="{1}" y2="{2}" class="{3}"/>').format(
        x, top, bottom, name
    )


def strip(now: datetime, past: Sequence[tuple[datetime, int, int]], due: Sequence[int]) -> Markup:
    """Return the strip of due times: results left of now, failures under the line, due times right of it.

    Args:
        now: the moment of the line.
        past: for each half minute its beginning, and how many runs succeeded and did not.
        due: for each half minute to come, how many due times it has.

    """
    base, top = 54.0, 18.0
    width = 100 / BARS
    edge = BACK * 60 // BIN
    good, bad = [0] * BARS, [0] * BARS
    for at, succeeded, failed in past:
        place = edge + int((at - now).total_seconds() // BIN)
        if 0 <= place <= edge:
            good[min(place, edge - 1)] += succeeded
            bad[min(place, edge - 1)] += failed
    coming = [0] * edge + list(due[: BARS - edge])
    coming += [0] * (BARS - len(coming))
    most = max(5, *good, *coming)
    parts = [line(x, 20, 70, "grid") for x in (0.0, 40.0, 60.0, 80.0, 100.0)]
    parts.append(Markup('<line x1="0" x2="100%" y1="{0}" y2="{0}" class="grid"/>').format(base + 0.5))
    for counts, name in ((good, "ok soft"), (bad, "failed"), (coming, "due")):
        bars = []
        for place, count in enumerate(counts):
            if count:
                high = min(12, 4 + 2 * count) if name == "failed" else _high(count, most, base - top)
                y = base + 2 if name == "failed" else base - high
                bars.append(rect(place * width + width * 0.1, y, width * 0.8, high))
        parts.append(Markup('<g class="{}">{}</g>').format(name, Markup("").join(bars)))
    x = 100 * BACK / (BACK + AHEAD)
    parts.append(line(x, 8, 66, "now"))
    for minutes, anchor in ((-BACK, "start"), (15, "middle"), (30, "middle"), (45, "middle"), (AHEAD, "end")):
        label = f"{'+' if minutes > 0 else '−'}{abs(minutes)} min"
        parts.append(
            text(
                100 * (BACK + minutes) / (BACK + AHEAD),
                84,
                label,
                "wide" if minutes in (15, 45) else "",
                anchor,
            )
        )
    parts.append(text(x, 84, "now", "now"))
    said = (
        f"Due times: in the last {BACK} minutes {plural(sum(good), 'run')} succeeded and {sum(bad)} did not; "
        f"{sum(coming)} are due in the next hour"
    )
    return _svg("strip", 92, said, parts)


def _high(count: int, most: int, room: float) -> float:
    return max(5.0, room * min(count, most) / most)


def sparkline(tally: Tally, count: int = 24) -> Markup:
    """Return the last runs as bars of their duration; a failure is a stub under the line."""
    recent = [*tally.recent][-count:]
    if not recent:
        return Markup('<span class="none">no runs yet</span>')
    most = max((one.took or 0 for one in recent if one.state == "succeeded"), default=0) or 1
    # Steps of one digit, which the style sheet scales: the sparklines are a fifth of the page.
    paths: dict[str, list[str]] = {}
    ends: dict[str, tuple[int, int]] = {}
    for place, one in enumerate(recent):
        if one.state == "succeeded":
            name, up = "ok", round(1 + 8 * (one.took or 0) / most)
        else:
            name, up = "failed" if tone(one.state) == "failed" else "paused", -4
        before, high = ends.get(name, (0, 0))
        begin = f"m{5 * (place - before)} {high}" if name in ends else f"M{2 + 5 * place} 10"
        paths.setdefault(name, []).append(f"{begin}v{-up}")
        ends[name] = place, up
    failed = sum(tone(one.state) == "failed" for one in recent)
    label = (
        f"Last {plural(len(recent), 'run')}: {failed} failed"
        if failed
        else f"Last {plural(len(recent), 'run')}: none failed"
    )
    drawn = Markup("").join(
        Markup('<path d="{}" class="{}"/>').format("".join(parts), name) for name, parts in paths.items()
    )
    return Markup('<svg class="spark" role="img" aria-label="{}">{}</svg>').format(label, drawn)


def durations(recent: Sequence[RecentRun], names: dict[str, str], count: int = 24) -> Markup:
    """Return the last runs as large bars, each with its title."""
    if not recent:
        return Markup('<p class="none">No runs yet</p>')
    recent = recent[-count:]
    base, width = 140.0, 100 / count
    most = max((one.took or 0 for one in recent if one.state == "succeeded"), default=0) or 1
    parts = [Markup('<line x1="0" x2="100%" y1="{0}" y2="{0}" class="grid"/>').format(base + 0.5)]
    for place, one in enumerate(recent):
        took = duration(None if one.took is None else one.took / 1_000_000)
        title = f"{clock(to_datetime(one.due))}: {word(one.state).lower()}, took {took}"
        x = place * width + width * 0.06
        if one.state == "succeeded":
            high = 4 + 118 * (one.took or 0) / most
            bar = rect(x, base - high, width * 0.88, high, "ok soft", title)
        else:
            bar = rect(x, base + 1, width * 0.88, 8, tone(one.state), title)
        link = names.get(one.id)
        parts.append(Markup('<a href="{}" aria-label="{}">{}</a>').format(link, title, bar) if link else bar)
    if most > 1:
        parts.append(text(0, 12, duration(most / 1_000_000), "", "start"))
    failed = sum(tone(one.state) == "failed" for one in recent)
    label = f"Duration of the last {plural(len(recent), 'run')}, {failed} failed"
    return _svg("durations", 156, label, parts, "group" if names else "img")


def lateness(counts: Sequence[int], grace: float) -> Markup:
    """Return the histogram of lateness; the colour turns at the grace."""
    if not any(counts):
        return Markup('<p class="none">No starts yet</p>')
    uppers = (*EDGES, float("inf"))
    tones = [
        "ok" if upper <= max(grace, 1) else "late" if upper <= max(grace, 10) else "failed"
        for upper in uppers
    ]
    return _histogram("lateness", f"Lateness of {plural(sum(counts), 'start')} in 24 hours", counts, tones)


def all_durations(counts: Sequence[int]) -> Markup:
    """Return the histogram of the durations of many runs."""
    if not any(counts):
        return Markup('<p class="none">No runs yet</p>')
    label = f"Duration of {plural(sum(counts), 'run')} in 24 hours"
    return _histogram("durations", label, counts, ["ok"] * len(counts))


def _histogram(name: str, label: str, counts: Sequence[int], tones: Sequence[str]) -> Markup:
    most, width = max(counts), 100 / len(counts)
    parts = []
    for place, (count, colour, words) in enumerate(zip(counts, tones, EDGE_WORDS, strict=True)):
        x, high = place * width, max(92 * count / most, 1.5)
        colour = colour if count else f"{colour} soft"
        parts.append(rect(x + width * 0.06, 120 - high, width * 0.88, high, colour))
        number = f"{count:,}".replace(",", " ")
        parts.append(text(x + width / 2, 112 - high, number, "strong" if count else ""))
        parts.append(text(x + width / 2, 138, words))
    return _svg(name, 156, label, parts)


def past_periods(now: datetime, periods: Mapping[Instant, Period]) -> list[tuple[datetime, int, int]]:
    """Return the half minutes of the strip: the beginning, and how many runs succeeded and did not."""
    first = to_instant(now) - BACK * MINUTE - BIN * SECOND
    return [
        (to_datetime(start), one.succeeded, one.failed + one.skipped.get("missed", 0))
        for start, one in periods.items()
        if start >= first
    ]
