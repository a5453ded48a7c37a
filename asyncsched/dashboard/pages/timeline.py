"""The timeline: one lane a schedule, 12 hours back and 12 hours ahead, with overlaps, gaps and crowded minutes."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from markupsafe import Markup

from asyncsched._core.instants import HOUR, to_datetime, to_instant
from asyncsched._core.reports import Coming
from asyncsched.dashboard.charts import line, rect, text
from asyncsched.dashboard.choosing import matching
from asyncsched.dashboard.site import Context, Page, Site
from asyncsched.dashboard.snapshot import Row, Snapshot
from asyncsched.dashboard.words import clock, duration, plural, tone, word

LANES = 40
"""The lanes of one page."""

BARS = 200
"""The runs of a lane that are drawn one by one; a schedule with more is drawn as density, hour by hour."""

SPANS = {"1": "−1 h … +1 h", "6": "−6 h … +6 h", "12": "−12 h … +12 h", "24": "−24 h … +24 h"}


class _Scale:
    """Where a moment lies on the lanes, in per cent."""

    def __init__(self, now: datetime, hours: int) -> None:
        self.now, self.hours = now, hours
        self.start, self.end = now - timedelta(hours=hours), now + timedelta(hours=hours)

    def x(self, at: datetime) -> float:
        return min(100.0, max(0.0, 50 + 50 * (at - self.now).total_seconds() / (3600 * self.hours)))


async def timeline(site: Site, c: Context) -> Page:
    """Return the timeline."""
    s = c.snapshot
    asked = c.query.get("hours", "")
    span = asked if asked in SPANS else _usual(s)
    scale = _Scale(s.at, int(span))
    rows = matching(s, "", c.query.get("q", ""))
    place = c.query.get("from", "")
    first = max(0, min(int(place), max(0, len(rows) - 1))) if place.isdecimal() and len(place) < 9 else 0
    shown = rows[first : first + LANES]
    due = {row.id: await _due(site, row, scale) for row in shown}
    lanes = [(row, await _lane(site, c, row, due[row.id], scale)) for row in shown]
    coming = [one for mine in due.values() if len(mine) <= BARS for one in mine]
    dense = sum(len(mine) > BARS for mine in due.values())
    drawn = site.draw(
        "timeline", "page", c, lanes, _axis(scale), _said(coming, dense), span, SPANS, c.root,
        f"{c.root}/timeline?hours={span}&from={first + LANES}" if first + LANES < len(rows) else "",
        f"{c.root}/timeline?hours={span}" if first else "",
    )  # fmt: skip
    return Page("Timeline · asyncsched", "Timeline", s.at, {"timeline": drawn})


def _usual(s: Snapshot) -> str:
    """Return the hours that are shown unless others are asked for: few while there is little to see."""
    hour_ago = to_instant(s.at) - HOUR
    return "1" if min(s.statistics.book.periods, default=hour_ago + 1) > hour_ago else "12"


async def _due(site: Site, row: Row, scale: _Scale) -> list[Coming]:
    """Return the due times of a lane, one more than are drawn one by one."""
    return await site.scheduler.timeline(scale.now, scale.end, limit=BARS + 1, schedule=row.id)


def _said(coming: list[Coming], dense: int) -> str:
    minutes = Counter(one.at.replace(second=0, microsecond=0) for one in coming)
    parts = []
    if dense:
        parts.append(
            f"{plural(dense, 'schedule')} with many due times {'is' if dense == 1 else 'are'} drawn as density."
        )
    if minutes:
        at, count = max(minutes.items(), key=lambda one: (one[1], -one[0].timestamp()))
        parts.append(f"Busiest minute ahead{' of the others' if dense else ''}: {at:%H:%M} UTC, {count} due.")
    notes = [one for one in coming if one.note]
    if notes:
        parts.append(f"The clock changes: {notes[0].note}.")
    return " ".join(parts)


async def _lane(site: Site, c: Context, row: Row, due: list[Coming], scale: _Scale) -> Markup:
    back = [
        hour for number, hour in row.tally.hours.items() if number * HOUR >= to_instant(scale.start) - HOUR
    ]
    ended = sum(sum(hour.states.values()) for hour in back)
    parts = [rect(0, 4, 100, 20, "lane")]
    if ended > BARS:
        parts += _density(row, scale)
    elif ended or row.live:
        runs = await site.scheduler.runs(schedule=row.id, start=scale.start - timedelta(hours=1), limit=BARS)
        parts += [_bar(run.state, run.started_at or run.due, run.finished_at or c.snapshot.at, scale)
                  for run in runs if run.state != "pending"]  # fmt: skip
    skip = row.tally.skip
    if skip is not None and to_datetime(skip.last) > scale.start:
        x = scale.x(to_datetime(skip.first))
        wide = max(0.2, scale.x(to_datetime(skip.last)) - x)
        name = "late" if skip.reason == "missed" else "hatch"
        parts.append(rect(x, 4, wide, 20, name, f"{plural(skip.slots, 'slot')} {skip.reason}"))
    if row.state == "paused":
        parts.append(text(75, 18, "paused"))
    elif len(due) > BARS:
        parts.append(rect(50, 11, 50, 6, "due soft", f"more than {BARS} due times"))
    else:
        parts += [
            rect(scale.x(one.at), 11, 0.12, 6, "due", f"{clock(one.at)} {one.note}".strip()) for one in due
        ]
    parts += [line(scale.x(at), 0, 28, "grid") for at in _hours(scale)]
    parts.append(line(50, 0, 28, "now"))
    label = f"{row.id}: {ended} runs, {plural(len(due), 'due time')} ahead, {word(row.state).lower()}"
    return Markup('<svg class="chart" width="100%" height="28" role="img" aria-label="{}">{}</svg>').format(
        label, Markup("").join(parts)
    )


def _bar(state: str, began: datetime, ended: datetime, scale: _Scale) -> Markup:
    x = scale.x(began)
    wide = max(0.12, scale.x(ended) - x)
    title = f"{clock(began)}: {word(state).lower()}, {duration(ended - began)}"
    if tone(state) == "failed":
        return rect(x, 4, wide, 20, "failed", title)
    return rect(x, 8, wide, 12, tone(state), title)


def _density(row: Row, scale: _Scale) -> list[Markup]:
    """Return a lane's runs hour by hour: the height says how many, the red part how many failed."""
    parts = []
    most = max((sum(hour.states.values()) for hour in row.tally.hours.values()), default=1) or 1
    for number, hour in sorted(row.tally.hours.items()):
        began, ended = to_datetime(number * HOUR), to_datetime((number + 1) * HOUR)
        if ended <= scale.start or began >= scale.now:
            continue
        x, end = scale.x(began), scale.x(min(ended, scale.now))
        runs = sum(hour.states.values())
        failed = sum(count for state, count in hour.states.items() if tone(state) == "failed")
        high = max(3.0, 18 * runs / most)
        title = f"{began:%H}:00 UTC: {plural(runs, 'run')}, {failed} failed"
        parts.append(rect(x, 23 - high, max(0.1, end - x - 0.1), high, "ok soft", title))
        if failed:
            low = max(3.0, high * failed / runs)
            parts.append(rect(x, 23 - low, max(0.1, end - x - 0.1), low, "failed", title))
    return parts


def _hours(scale: _Scale) -> list[datetime]:
    """Return the moments that are marked, whole hours or quarters: eight on the whole stretch."""
    step = timedelta(minutes=15 * scale.hours)
    midnight = scale.start.replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight + (scale.start - midnight) // step * step
    marks = (first + number * step for number in range(10))
    return [one for one in marks if scale.start <= one <= scale.end]


def _axis(scale: _Scale) -> Markup:
    parts = [text(scale.x(at), 12, f"{at:%H:%M}") for at in _hours(scale) if 2 < scale.x(at) < 98]
    return Markup(
        '<svg class="chart" width="100%" height="18" role="img" aria-label="Hours in UTC">{}</svg>'
    ).format(Markup("").join(parts))
