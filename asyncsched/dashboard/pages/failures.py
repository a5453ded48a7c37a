"""The failures: which few errors make the many failed runs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from asyncsched._core.models import Run
from asyncsched.dashboard.site import Context, Page, Site
from asyncsched.dashboard.words import iso

MOST = 1000
"""The newest failed runs that are grouped."""

GROUPS = 50
"""The groups that the page shows."""

SPANS = {"1": "last hour", "24": "last 24 hours", "168": "last 7 days", "720": "last 30 days"}

_FRAME = re.compile(r'^  File "(.+)", line (\d+), in (.+)$', re.MULTILINE)
_LIBRARY = re.compile(r"site-packages|/lib/python|asyncsched/_|<frozen")


@dataclass(slots=True)
class Group:
    """The failed runs of one job with one error at one place."""

    job: str
    error: str
    frame: str
    message: str = ""
    runs: list[Run] = field(default_factory=list)
    place: str = ""

    @property
    def first(self) -> datetime:
        """The due time of the oldest."""
        return min(run.due for run in self.runs)

    @property
    def last(self) -> datetime:
        """The due time of the newest."""
        return max(run.due for run in self.runs)

    def wanted(self, by: str) -> dict[str, str]:
        """Return the filter that its runs match, for an operation on all of them."""
        found = {"job": self.job, "since": ended_since(self.runs)}
        return {**found, "error_type": self.error, "place": self.place} if by == "error" else found


def place_of(traceback: str) -> tuple[str, str]:
    """Return the last frame in the user's code: its place, and the lines that are shown."""
    frames = list(_FRAME.finditer(traceback))
    own = [frame for frame in frames if not _LIBRARY.search(frame[1])] or frames
    if not own:
        return "", ""
    frame = own[-1]
    lines = traceback[frame.start() :].split("\n")[:2]
    path = "/".join(frame[1].rsplit("/", 3)[-3:])
    return f"{path}:{frame[3]}"[:400], "\n".join(
        [f'File "{path}", line {frame[2]}, in {frame[3]}', *lines[1:]]
    )


def groups_of(letters: list[Run], by: str) -> list[Group]:
    """Return the failed runs in groups, the largest first.

    Args:
        letters: the failed runs.
        by: ``error`` for job, exception and place; ``job`` for the job alone.

    """
    found: dict[tuple[str, str, str], Group] = {}
    for run in letters:
        place, shown = place_of(run.traceback)
        error = error_of(run)
        key = (run.job, error, place) if by == "error" else (run.job, "", "")
        group = found.setdefault(key, Group(run.job, error, shown, run.message, place=place))
        group.runs.append(run)
    return sorted(found.values(), key=lambda group: -len(group.runs))


def error_of(run: Run) -> str:
    """Return the type of a run's error, or its state where there was no exception."""
    return (run.error_type or "")[:400] or f"{run.state}{f' ({run.why})' if run.why else ''}"


def ended_since(runs: list[Run]) -> str:
    """Return the second in which the first of some runs ended: those that ended before are not meant."""
    first = min(run.finished_at or run.due for run in runs)
    return iso(first.replace(microsecond=0))


async def failures(site: Site, c: Context) -> Page:
    """Return the page of failures."""
    span = c.query.get("hours", "24")
    span = span if span in SPANS else "24"
    by = "job" if c.query.get("by") == "job" else "error"
    letters = await site.scheduler.dead_letters(since=timedelta(hours=int(span)), limit=MOST)
    groups = groups_of(letters, by)
    since = ended_since(letters) if letters else ""
    drawn = site.draw(
        "failures",
        "page",
        c,
        groups[:GROUPS],
        len(letters),
        MOST,
        span,
        SPANS,
        by,
        c.root,
        len(groups),
        since,
    )
    return Page("Failures · asyncsched", "Failures", c.snapshot.at, {"failures": drawn})
