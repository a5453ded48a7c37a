"""The overview: is it well, what is wrong, what is next, and all schedules."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from urllib.parse import quote, urlencode

from markupsafe import Markup

from asyncsched._core.instants import HOUR, SECOND, to_datetime, to_instant
from asyncsched._core.reports import JobInfo
from asyncsched._core.tallies import RecentRun, Tally
from asyncsched.dashboard import charts
from asyncsched.dashboard.choosing import PAGE, SORTS, matching
from asyncsched.dashboard.site import Context, Page, Site
from asyncsched.dashboard.snapshot import ORDER, Row, Snapshot
from asyncsched.dashboard.verdict import needs_of, verdict_of
from asyncsched.dashboard.words import SPACE, duration, number, word

LOOSE = 50
"""The most jobs without a schedule that are listed."""

_COLUMNS = (
    ("State", "", ""), ("Schedule", "name", ""), ("When", None, "w2"), ("Next", "next", "r"), ("Last", "last", "r"),
    ("Last 24 runs", None, "w3"), ("p95", "p95", "r w2"), ("Late", "late", "r w3"),
)  # fmt: skip
"""The columns of the table: heading, what it sorts by (``""``: those first that need somebody), and classes."""


async def overview(site: Site, c: Context) -> Page:
    """Return the overview."""
    s = c.snapshot
    draw = partial(site.draw, "overview")
    verdict = verdict_of(s)
    found, more = needs_of(s)
    next_due = min((row.schedule.next_due for row in s.rows if row.schedule.next_due), default=None)
    beat = max(s.instances, key=lambda one: one.beat_at, default=None)
    rows, table = _table(site, c)
    fragments = {
        "banner": draw("banner", s),
        "verdict": draw("verdict", s, verdict, next_due, beat),
        "needs": draw("needs", c, found, more, c.root),
    }
    if s.rows:
        fragments["strip"] = draw("strip", await _strip(site, s))
        fragments["kpis"] = draw("kpis", _figures(s))
        fragments["jobs-head"] = draw(
            "bar", s, _pills(s), c.query.get("q", ""), c.query.get("state", ""), c.root
        )
    fragments["jobs"] = table
    fragments["loose"] = draw("loose", c, _loose(s), s, c.root)
    return Page(verdict.title, "Overview", s.at, fragments, rows, "rows")


# ── the table ────────────────────────────────────────────────────────────────────────────────────


def _table(site: Site, c: Context) -> tuple[dict[str, Markup], Markup]:
    s, state, q, sort = c.snapshot, c.query.get("state", ""), c.query.get("q", ""), c.query.get("sort", "")
    found = matching(s, state, q, sort)
    place = c.query.get("from", "")
    first = max(0, min(int(place), len(found) - 1)) if place.isdecimal() and len(place) < 9 else 0
    shown = found[first : first + PAGE]
    rows = {f"j-{row.id}": _row(site, c, row) for row in shown}
    query = {name: value for name, value in (("state", state), ("q", q), ("sort", sort)) if value}
    following = _link(c, {**query, "from": str(first + PAGE)}) if first + PAGE < len(found) else ""
    text = f"{first + 1}–{first + len(shown)} of {number(len(found))}" if len(found) > PAGE else ""
    empty = Markup()
    if not s.rows:
        empty = site.draw("overview", "empty_all")
    elif not found:
        empty = site.draw("overview", "empty_filter", q, state, c.root)
    back = _link(c, query) if first else ""
    chosen = {"filter": {"state": state, "q": q, "all": not (state or q)}, "count": len(found)}
    heads = _heads(c, query)
    return rows, site.draw(
        "overview", "table", c, rows, heads, empty, back, following, text, json.dumps(chosen)
    )


def _link(c: Context, query: dict[str, str]) -> str:
    return f"{c.root}/?{urlencode(query)}" if query else f"{c.root}/"


def _heads(c: Context, query: dict[str, str]) -> list[tuple[str, str, str, str]]:
    """Return the heads of the columns: the heading, the classes, the link that sorts, and the present direction."""
    heads = []
    present = query.get("sort", "")
    for heading, name, classes in _COLUMNS:
        if name is None:
            heads.append((heading, classes, "", ""))
            continue
        again = present == name and name != ""
        wanted = f"-{name}" if again else name
        rest = {key: value for key, value in query.items() if key != "sort"}
        link = _link(c, {**rest, "sort": wanted} if wanted else rest)
        direction = ""
        if name and present.removeprefix("-") == name:
            direction = "descending" if SORTS[name][1] != present.startswith("-") else "ascending"
        heads.append((heading, classes, link, direction))
    return heads


def _row(site: Site, c: Context, row: Row) -> Markup:
    try:
        return site.draw("overview", "row", c, row, c.snapshot, charts.sparkline(row.tally), c.root)
    except Exception as error:  # one schedule that cannot be shown must not hide the others
        return site.draw("overview", "broken", row.id, type(error).__name__)


def _pills(s: Snapshot) -> list[tuple[str, str, int]]:
    pills = [("All", "", len(s.rows))]
    return pills + [
        (word(state), state, s.counts[state]) for state in ORDER if s.counts[state] and state != "on_time"
    ]


# ── figures ──────────────────────────────────────────────────────────────────────────────────────


def _figures(s: Snapshot) -> list[tuple[str, str, str]]:
    day, hour = s.statistics.total(24), s.statistics.total(1)
    # Half a day against a whole one would be a change that nothing has.
    two_days_ago = to_instant(s.at) - 47 * HOUR
    whole = min(s.statistics.book.periods, default=two_days_ago + 1) <= two_days_ago
    before = s.statistics.total(24, 24) if whole else s.statistics.total(0)
    running = sum(run.state == "running" for run in s.live)
    late = hour.late
    p99 = late.percentile(0.99)
    return [
        ("Runs, 24 h", number(day.runs), _change(day.runs, before.runs)),
        ("Success, 24 h", _share(day.states, day.runs), f"{_share(before.states, before.runs)} before" if before.runs else ""),
        ("Lateness p95, 1 h", duration(late.percentile(0.95)), f"p99 {duration(p99)}" if p99 is not None else ""),
        ("Running now", number(running), f"of {number(s.capacity * max(1, len(s.instances)))} places"),
        ("Missed, 24 h", number(day.skipped["missed"]), _who_missed(s) if day.skipped["missed"] else ""),
    ]  # fmt: skip


def _change(now: int, before: int) -> str:
    if not before:
        return ""
    return f"{100 * (now - before) / before:+.0f}{SPACE}%"


def _share(states: object, runs: int) -> str:
    good = states.get("succeeded", 0) if isinstance(states, dict) else 0
    if not runs:
        return "–"
    share = 100 * good / runs
    # Never rounded up to 100: one failure in a million is a failure.
    return f"{'100' if good == runs else f'{min(share, 99.9):.1f}'}{SPACE}%"


def _who_missed(s: Snapshot) -> str:
    missed = [row.id for row in s.rows if row.tally.skip is not None and row.tally.skip.reason == "missed"]
    return f"all {missed[0]}" if len(missed) == 1 else f"of {len(missed)} schedules" if missed else ""


async def _strip(site: Site, s: Snapshot) -> Markup:
    now = to_datetime(to_instant(s.at) // (10 * SECOND) * 10 * SECOND)
    if site.watch.strip is not None and site.watch.strip[0] == now:
        return site.watch.strip[1]
    due = await site.watch.due(now, timedelta(minutes=charts.AHEAD), timedelta(seconds=charts.BIN))
    drawn = charts.strip(now, charts.past_periods(now, s.statistics.book.periods), due)
    site.watch.strip = now, drawn
    return drawn


def _loose(s: Snapshot) -> list[tuple[JobInfo, int, int, RecentRun | None, Markup]]:
    found = []
    for job in s.loose_jobs[:LOOSE]:
        figures = s.statistics.one_offs(job.name)
        tally = s.statistics.book.tallies.get(f"job:{job.name}", Tally())
        failed = sum(figures.states.get(state, 0) for state in ("failed", "timed_out", "lost"))
        last = tally.recent[-1] if tally.recent else None
        found.append((job, figures.runs, failed, last, charts.sparkline(tally)))
    return found


def segment(text: str) -> str:
    """Return a text as one segment of an address."""
    return quote(text, safe="")
