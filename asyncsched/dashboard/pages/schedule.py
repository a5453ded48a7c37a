"""One schedule: what became of each slot and why, how long and how late its runs are, and what it is made of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from markupsafe import Markup

from asyncsched._core.errors import AsyncSchedError, UnknownSchedule
from asyncsched._core.models import Run
from asyncsched._core.reports import Coming, JobInfo, Skipped
from asyncsched.dashboard import charts
from asyncsched.dashboard.pages.overview import segment
from asyncsched.dashboard.pages.slots import reasons_of, slots_of, strip_of
from asyncsched.dashboard.site import Context, Page, Site
from asyncsched.dashboard.snapshot import Row
from asyncsched.dashboard.words import duration, plural

RUNS = 24
"""The runs that the page lists."""

DUE = 5
"""The due times that the page lists."""

_AHEAD = 24
"""The due times that the line of time draws."""


class _Facts(NamedTuple):
    """What is asked of the scheduler for the page."""

    runs: list[Run]
    skipped: list[Skipped]
    coming: list[Coming]


async def schedule(site: Site, c: Context) -> Page:
    """Return the page of one schedule.

    Raises:
        UnknownSchedule: there is no schedule of that id.

    """
    id = c.path["id"]
    row = c.snapshot.by_id.get(id)
    if row is None:
        raise UnknownSchedule(id)
    now = c.snapshot.at
    facts = await _facts(site, row, now)
    draw = partial(site.draw, "schedule")
    slots = slots_of(facts.runs, facts.skipped, facts.coming, now, row.grace)
    numbers = c.snapshot.statistics.schedule(id)
    links = {run.id: f"{c.root}/runs/{run.id}" for run in facts.runs}
    failed = next((run for run in facts.runs if run.traceback), None)
    fragments = {
        "top": draw("top", c, row, c.root, _where(row.job), _kept(facts.runs)),
        "needs": draw("needs", row, failed, now),
        "line": draw("line", strip_of(slots, now, c.root, id, _quiet(row)), reasons_of(slots, now), now),
        "explain": draw("explain", c, id, c.query.get("at", ""), *await _explained(site, id, c.query.get("at", ""))),
        "charts": draw(
            "charts", charts.durations([*row.tally.recent], links), charts.lateness(numbers.late.counts(*charts.EDGES), row.grace),
            percentiles(numbers.took.percentile), percentiles(numbers.late.percentile), row.grace,
        ),
        "body": draw("body", c, row, facts.runs[:RUNS], facts.coming[:DUE], _settings(site, row), now, c.root),
        "last": draw("last", failed, c.snapshot.instance_name(failed.instance) if failed and failed.instance else ""),
    }  # fmt: skip
    return Page(f"{id} · asyncsched", "Overview", now, fragments)


async def _facts(site: Site, row: Row, now: datetime) -> _Facts:
    scheduler = site.scheduler
    runs = await scheduler.runs(schedule=row.id, limit=2 * RUNS)
    oldest = min((run.scheduled_for for run in runs), default=now - timedelta(hours=1))
    skipped = await scheduler.skipped(row.id, oldest - timedelta(days=7), now + timedelta(days=400))
    # The first due times, near or far: the stretch that is searched grows until there are enough.
    coming: list[Coming] = []
    for days in (1, 40, 800):
        coming = await scheduler.timeline(now, now + timedelta(days=days), schedule=row.id, limit=_AHEAD)
        if len(coming) >= DUE:
            break
    return _Facts(runs, skipped, coming)


def _kept(runs: list[Run]) -> str:
    """Return how many ended runs are kept, as far as the page has them."""
    ended = sum(run.finished for run in runs)
    return f"more than {ended} runs" if len(runs) == 2 * RUNS else plural(ended, "run")


def _where(job: JobInfo | None) -> str:
    """Return where a job is defined: the last parts of the path, and the line."""
    return "" if job is None else "/".join(job.defined_at.rsplit("/", 3)[-3:])


def percentiles(of: Callable[[float], Any]) -> str:
    """Return the median, the 95th and the 99th percentile in words."""
    found = [(share, of(share / 100)) for share in (50, 95, 99)]
    return " · ".join(f"p{share} {duration(time)}" for share, time in found if time is not None)


def _quiet(row: Row) -> str:
    """Return why a schedule has no slots to come."""
    return {"paused": "paused", "orphaned": "not in code"}.get(row.state, "ended")


async def _explained(site: Site, id: str, at: str) -> tuple[str, str, str]:
    """Return the verdict, the sentence, and the run of the moment that somebody typed."""
    if not at:
        return "", "", ""
    try:
        moment = datetime.fromisoformat(at.replace(" ", "T").replace("Z", "+00:00"))
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        found = await site.scheduler.explain(id, moment)
    except ValueError:
        return "not_a_slot", f"“{at[:60]}” is no moment; write it as 2026-11-29 20:53:00", ""
    except AsyncSchedError as error:
        return "not_a_slot", str(error), ""
    if found.run is None:
        return found.verdict, found.text, ""
    return found.run.state if found.verdict == "ran" else found.verdict, found.text, found.run.id


def _settings(site: Site, row: Row) -> list[tuple[str, str | Markup]]:
    schedule, job = row.schedule, row.job
    found: list[tuple[str, str | Markup]] = []
    if job is not None:
        found += settings_of(job)
    arguments = [*schedule.args, *([dict(schedule.kwargs)] if schedule.kwargs else [])]
    if arguments:
        found.append(("Arguments", Markup("<code>{}</code>").format(_short(site.shown(arguments)))))
    if schedule.jitter:
        found.append(("Jitter", f"up to {duration(schedule.jitter)}"))
    if schedule.max_runs is not None:
        found.append(("Most runs", f"{schedule.runs_made} of {schedule.max_runs}"))
    if schedule.tags or (job and job.tags):
        found.append(("Tags", ", ".join(dict.fromkeys((*(job.tags if job else ()), *schedule.tags)))))
    found.append(("Kept by", "the code" if schedule.declared else "the store, added at run time"))
    if schedule.rescheduled:
        found.append(("Trigger", "changed by an operator"))
    found.append(("Revision", str(schedule.revision)))
    return found


def _short(text: str) -> str:
    """Return a text that fits beside the others; the page of a run has the whole."""
    return text if len(text) <= 600 else text[:600] + "…"


def settings_of(job: JobInfo) -> list[tuple[str, str | Markup]]:
    """Return the options of a job in words."""
    found: list[tuple[str, str | Markup]] = [
        ("Callable", Markup("<code>{}</code>").format(job.callable)),
        ("Executor", job.executor),
        ("Retries", f"{job.attempts - 1}" if job.attempts > 1 else "none"),
        ("Timeout", "none" if job.timeout is None else duration(job.timeout)),
        ("Overlap", job.overlap.replace("_", " ")),
        ("Misfire", {"latest": "the newest slot is run", "all": "all slots are run", "none": "not caught up"}[job.catch_up]
         + ("" if job.grace is None else f", grace {duration(job.grace)}")),
    ]  # fmt: skip
    if job.limits:
        found.append(("Limits", Markup("<code>{}</code>").format(", ".join(job.limits))))
    if job.pause_after:
        found.append(("Pauses after", f"{job.pause_after} failures in a row"))
    if job.priority:
        found.append(("Priority", str(job.priority)))
    return found


__all__ = ["percentiles", "schedule", "segment", "settings_of"]
