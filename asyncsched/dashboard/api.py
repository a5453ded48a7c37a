"""The JSON twin of the pages, under ``api/v1``: what can be read. What can be done stands in ``actions`` and ``bulk``."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncsched._core.errors import UnknownJob, UnknownSchedule
from asyncsched._core.reporting import DEAD
from asyncsched.dashboard import views
from asyncsched.dashboard.choosing import matching
from asyncsched.dashboard.pages.failures import MOST, groups_of
from asyncsched.dashboard.pages.runs import STATES
from asyncsched.dashboard.problems import Problem
from asyncsched.dashboard.site import Context, Site
from asyncsched.dashboard.snapshot import ORDER, Row

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a query: its type, its bounds or choices, and what it means."""

    name: str
    about: str
    kind: str = "string"
    choices: Sequence[str] = ()
    default: int | None = None
    least: int = 1
    most: int = 1000
    required: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """Something that can be read: its path, what it answers, and its parameters."""

    path: str
    summary: str
    answer: Callable[[Site, Context, dict[str, Any]], Awaitable[JSON]]
    parameters: Sequence[Parameter] = field(default=())


_LIMIT = Parameter("limit", "the most items of one answer", "integer", default=100)
_MANY = Parameter("limit", "the most items of one answer", "integer", default=1000)
_CURSOR = Parameter("cursor", "next_cursor of the answer before, with the same other parameters")
_HOURS = Parameter("hours", "how many hours back", "integer", default=24, most=720)


def query_of(parameters: Sequence[Parameter], given: Mapping[str, str]) -> dict[str, Any]:
    """Return the checked parameters of a query.

    Raises:
        Problem: 422 names the parameter, and what it may be.

    """
    found: dict[str, Any] = {}
    known = {one.name: one for one in parameters}
    if unknown := sorted(set(given) - set(known)):
        raise Problem(
            422,
            "Wrong query",
            f"there is no parameter {unknown[0][:50]!r}; there are: {', '.join(known) or 'none'}",
        )
    for name, one in known.items():
        text = given.get(name)
        if text is None:
            if one.required:
                raise Problem(422, "Wrong query", f"{name} is missing: {one.about}")
            found[name] = one.default
        elif one.kind == "integer":
            found[name] = _whole(one, text)
        elif one.kind == "date-time":
            found[name] = _moment(name, text)
        elif one.choices and text not in one.choices:
            raise Problem(422, "Wrong query", f"{name} is one of {', '.join(one.choices)}")
        elif len(text) > 500 or "\0" in text:
            raise Problem(422, "Wrong query", f"{name} has at most 500 characters, and no zero character")
        else:
            found[name] = text
    return found


def _whole(one: Parameter, text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 10 and one.least <= int(text) <= one.most:
        return int(text)
    raise Problem(422, "Wrong query", f"{one.name} is a whole number from {one.least} to {one.most}")


def _moment(name: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.replace(" ", "+" if "T" in text else "T"))
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Problem(422, "Wrong query", f"{name} is a moment such as 2026-11-29T20:53:00Z") from None
    return found


# ── cursors ──────────────────────────────────────────────────────────────────────────────────────


CURSOR = "^[A-Za-z0-9_-]+$"
"""What a cursor looks like."""


_LAST = datetime.max.replace(tzinfo=UTC) - timedelta(days=2)


def _mark(kind: str, filters: Mapping[str, Any]) -> str:
    told = json.dumps([kind, sorted((name, str(value)) for name, value in filters.items() if value)])
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def cursor_for(kind: str, filters: Mapping[str, Any], place: str) -> str:
    """Return a cursor that leads on after a place, in this list with these filters only."""
    return base64.urlsafe_b64encode(f"{_mark(kind, filters)}:{place}".encode()).decode().rstrip("=")


def place_of(kind: str, filters: Mapping[str, Any], cursor: str | None) -> str | None:
    """Return the place that a cursor leads on after.

    Raises:
        Problem: 422 if it is no cursor, 404 if it is one of another list.

    """
    if cursor is None:
        return None
    if not re.fullmatch(CURSOR, cursor):
        raise Problem(422, "Wrong cursor", "this is no cursor")
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        text = ""
    mark, _, place = text.partition(":")
    if mark != _mark(kind, filters) or not place:
        raise Problem(404, "Wrong cursor", "this cursor is of another list, or of other filters")
    return place


def _page(name: str, items: list[JSON], cursor: str | None) -> JSON:
    return {name: items, "next_cursor": cursor}


# ── what can be read ─────────────────────────────────────────────────────────────────────────────


async def _status(site: Site, c: Context, query: dict[str, Any]) -> JSON:
    return views.status(c.snapshot)


async def _schedules(site: Site, c: Context, query: dict[str, Any]) -> JSON:
    filters = {"state": query["state"], "q": query["q"]}
    found = sorted(matching(c.snapshot, query["state"] or "", query["q"] or ""), key=lambda row: row.id)
    after = place_of("schedules", filters, query["cursor"])
    if after is not None:
        found = [row for row in found if row.id > after]
    shown = found[: query["limit"]]
    cursor = cursor_for("schedules", filters, shown[-1].id) if len(found) > len(shown) else None
    return _page("schedules", [views.schedule(site, row) for row in shown], cursor)


def _row(c: Context) -> Row:
    row = c.snapshot.by_id.get(c.path["id"])
    if row is None:
        raise UnknownSchedule(c.path["id"])
    return row


async def _schedule(site: Site, c: Context, query: dict[str, Any]) -> JSON:
    row = _row(c)
    return {
        **views.schedule(site, row),
        "statistics": views.statistics(c.snapshot.statistics.schedule(row.id)),
    }


async def _due(site: Site, c: Context, query: dict[str, Any]) -> JSON:
    row, now = _row(c), c.snapshot.at
    found = await site.scheduler.timeline(now, now + timedelta(days=1461), schedule=row.id, limit=query["n"])
    return {"due": [views.coming(one) for one in found]}


async def _explain(site: Site, c: Context, query: dict[str, Any]) -> JSON:
    return views.explanation(await site.scheduler.explain(c.path["id"], query["at"]))


async def _skipped(site: Site, c: Context, query: dict[str, Any]) -> JSON:
    start, end = c.snapshot.at - timedelta(hours=query["hours"]), c.snapshot.at + timedelta(days=400)
    found = await site.scheduler.skipped(c.path["id"], start, end)
    return {"skipped": [views.skipped(one) for one in found[-1000:]]}


def _job_view(site: Site, c: Context, name: str) -> JSON:
    scheduled = [row.id for row in c.snapshot.rows if row.schedule.job == name]
    return views.job(
        c.snapshot.jobs[name],
        site.parameters(c.snapshot.jobs[name]),
        scheduled,
        name in c.snapshot.paused_jobs,
    )


async def _jobs(site: Site, c: Context, query: dict[str, Any]) -> JSON:
    after = place_of("jobs", {}, query["cursor"]) or ""
    found = [name for name in sorted(c.snapshot.jobs) if name > after]
    shown = found[: query["limit"]]
    cursor = cursor_for("jobs", {}, shown[-1]) if len(found) > len(shown) else None
    return _page("jobs", [_job_view(site, c, name) for name in shown], cursor)


async def _job(site: Site, c: Context, query: dict[str, Any]) -> JSON:
    if c.path["id"] not in c.snapshot.jobs:
        raise UnknownJob(c.path["id"])
    return _job_view(site, c, c.path["id"])


_RUN_FILTERS = ("job", "schedule", "state", "tag", "origin", "key")


async def _runs(site: Site, c: Context, query: dict[str, Any]) -> JSON:
    filters = {name: query[name] for name in (*_RUN_FILTERS, "since", "until") if query[name] is not None}
    before = place_of("runs", filters, query["cursor"]) or query["before"]
    asked = {name: value for name, value in filters.items() if name not in ("since", "until")}
    limit = query["limit"]
    found = await site.scheduler.runs(
        **asked, start=query["since"], end=query["until"], limit=limit + 1, before=before
    )
    cursor = cursor_for("runs", filters, found[limit - 1].id) if len(found) > limit else None
    return _page("runs", [views.run(site, one) for one in found[:limit]], cursor)


async def _run(site: Site, c: Context, query: dict[str, Any]) -> JSON:
    return views.run(site, await site.scheduler.run(c.path["id"]), full=True)


async def _failures(site: Site, c: Context, query: dict[str, Any]) -> JSON:
    letters = await site.scheduler.dead_letters(
        since=timedelta(hours=query["hours"]), job=query["job"], schedule=query["schedule"], limit=MOST
    )
    groups = groups_of(letters, query["by"] or "error")
    return {
        "groups": [views.group(one) for one in groups],
        "runs": len(letters),
        "more": len(letters) >= MOST,
    }


async def _letters(site: Site, c: Context, query: dict[str, Any]) -> JSON:
    found = await site.scheduler.dead_letters(
        since=query["within_seconds"], job=query["job"], schedule=query["schedule"], limit=query["limit"]
    )
    return {"runs": [views.run(site, one) for one in found]}


async def _timeline(site: Site, c: Context, query: dict[str, Any]) -> JSON:
    start = query["start"] or c.snapshot.at
    ahead = timedelta(hours=query["hours"])
    end = start + max(timedelta(), min(ahead, _LAST - start))
    found = await site.scheduler.timeline(start, end, limit=query["limit"])
    return {"slots": [views.coming(one) for one in found]}


async def _instances(site: Site, c: Context, query: dict[str, Any]) -> JSON:
    among = c.snapshot.instances
    dead = await site.scheduler.activity(action=DEAD, limit=100)
    return {
        "instances": [views.instance(one, among) for one in among],
        "declared_dead": [{"name": one.subject, "at": views.at(one.at), "text": one.result} for one in dead],
    }


async def _activity(site: Site, c: Context, query: dict[str, Any]) -> JSON:
    filters = {name: query[name] for name in ("subject", "action", "by") if query[name] is not None}
    before, limit = place_of("activity", filters, query["cursor"]), query["limit"]
    found = await site.scheduler.activity(**filters, limit=limit + 1, before=before)
    cursor = cursor_for("activity", filters, found[limit - 1].id) if len(found) > limit else None
    return _page("activity", [views.activity(one) for one in found[:limit]], cursor)


READS = (
    Read("/status", "How it stands: the verdict, the counts, and what needs somebody", _status),
    Read("/schedules", "The schedules, in order of id", _schedules, (
        Parameter("state", "their state", choices=ORDER), Parameter("q", "a text in id, job, tag or callable"), _LIMIT, _CURSOR,
    )),
    Read("/schedules/{id}/due", "The next due times of a schedule", _due, (Parameter("n", "how many", "integer", default=5, most=100),)),
    Read("/schedules/{id}/explain", "What became of a slot, and why", _explain, (Parameter("at", "the slot", "date-time", required=True),)),
    Read("/schedules/{id}/skipped", "The slots that got no run, and why", _skipped, (_HOURS,)),
    Read("/schedules/{id}", "One schedule with its figures", _schedule),
    Read("/jobs", "The jobs of the code, in order of name", _jobs, (_MANY, _CURSOR)),
    Read("/jobs/{id}", "One job", _job),
    Read("/runs", "The runs, newest due first", _runs, (
        Parameter("job", "the name of their job"), Parameter("schedule", "the id of their schedule"),
        Parameter("state", "their state", choices=STATES), Parameter("tag", "one of their tags"),
        Parameter("origin", "what made them", choices=("schedule", "once", "manual", "backfill")), Parameter("key", "their key"),
        Parameter("since", "the earliest due time", "date-time"), Parameter("until", "the latest due time", "date-time"),
        Parameter("before", "the id of the run after which the list goes on"), _LIMIT, _CURSOR,
    )),
    Read("/runs/{id}", "One run with its attempts, arguments, result and traceback", _run),
    Read("/failures", "The failed runs, grouped by job and error", _failures, (
        _HOURS, Parameter("job", "the name of their job"), Parameter("schedule", "the id of their schedule"),
        Parameter("by", "how they are grouped", choices=("error", "job")),
    )),
    Read("/failures/runs", "The failed runs themselves, newest first", _letters, (
        Parameter("within_seconds", "only those that ended within this time", "integer", most=315_360_000),
        Parameter("job", "the name of their job"), Parameter("schedule", "the id of their schedule"),
        Parameter("limit", "the most runs of one answer", "integer", default=1000, most=10_000),
    )),
    Read("/timeline", "The slots to come of all schedules", _timeline, (
        Parameter("start", "the beginning; now without it", "date-time"),
        Parameter("hours", "how many hours ahead", "integer", default=24, most=8784),
        Parameter("limit", "the most slots of one answer", "integer", default=100, most=10_000),
    )),
    Read("/instances", "The running instances, oldest first, and those that were declared dead, newest first", _instances),
    Read("/activity", "Who did what, newest first", _activity, (
        Parameter("subject", "a schedule's id, a job's name or a run's id"), Parameter("action", "one action, such as pause"),
        Parameter("by", "the author"), _LIMIT, _CURSOR,
    )),
)  # fmt: skip
