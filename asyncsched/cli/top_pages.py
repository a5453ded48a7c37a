"""The pages that ``top`` shows: each asks the ledger, and returns the rows of one table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from asyncsched._core.models import Progress
from asyncsched.cli.options import style_of
from asyncsched.cli.output import duration, moment, plural, present, relative
from asyncsched.cli.story import story_of
from asyncsched.cli.target import Ledger
from asyncsched.cli.views import counts, error_of, result_of, rows_of, shown_args, shown_kwargs, took_of

if TYPE_CHECKING:
    from asyncsched._core.models import Run

_MOST = 500
"""The most rows of a page."""

_AHEAD = timedelta(hours=24)
"""How far the timeline looks."""


@dataclass(frozen=True)
class Line:
    """One row: its cells, of which that of the column ``state`` is a state's name; what Enter opens; and the schedule of ``r`` and ``p``."""

    cells: Sequence[str]
    opens: tuple[str, str] | None = None
    schedule: str | None = None
    paused: bool = False
    progress: Progress | None = None


@dataclass(frozen=True)
class Content:
    """One page: a head line, the titles of the columns, of which one may take what is left, and the rows."""

    head: str
    titles: Sequence[str]
    lines: Sequence[Line]
    empty: str
    stretched: int = 1


async def overview(ledger: Ledger) -> Content:
    """Return the schedules, those first that need somebody."""
    rows, instances, now = await rows_of(ledger.scheduler), await ledger.scheduler.instances(), present()
    head = f"{plural(len(rows), 'schedule')}, {plural(len(instances), 'instance')}"
    head += "".join(f" · {count} {word.replace('_', ' ')}" for word, count in counts(rows).items() if count)
    lines = []
    for row in rows:
        last = row.last[0] if row.last else None
        ran = "–" if last is None else f"{relative(last.finished_at, now)}, {duration(took_of(last))}"
        told = next((run.progress for run in row.live if run.progress is not None), None)
        cells = row.state, row.schedule.id, relative(row.schedule.next_due, now), ran
        id = row.schedule.id
        lines.append(Line(cells, ("schedule", id), id, row.schedule.paused, told))
    return Content(head, ("state", "schedule", "next", "last", "progress"), lines, "no schedules")


async def schedule(ledger: Ledger, id: str) -> Content:
    """Return one schedule: when it is due, and its runs."""
    found, utc = await ledger.scheduler.schedule(id), style_of().utc
    coming = [] if found.paused else await ledger.upcoming(found, 3)
    head = f"{id} · job {found.job} · {found.describe}"
    if found.paused:
        head += (
            " · paused" + (f" by {found.by}" if found.by else "") + (f": {found.note}" if found.note else "")
        )
    lines = [
        Line((moment(at, utc), "future", "", note), None, id, found.paused) for at, note in reversed(coming)
    ]
    story = await story_of(ledger, id, await ledger.scheduler.runs(schedule=id, limit=100))
    lines += [
        Line((one.due, one.state, one.took, one.why), ("run", one.run) if one.run else None, id, found.paused)
        for one in story
    ]
    return Content(head, ("due", "state", "took", "why"), lines, "no runs yet", stretched=3)


async def runs(ledger: Ledger) -> Content:
    """Return the runs, newest due first."""
    return _of_runs("runs", await ledger.scheduler.runs(limit=_MOST), "no runs")


async def failures(ledger: Ledger) -> Content:
    """Return the runs that failed for good, newest first."""
    return _of_runs("failures", await ledger.scheduler.dead_letters(limit=_MOST), "no failures")


def _of_runs(what: str, found: Sequence[Run], empty: str) -> Content:
    now = present()
    lines = [
        Line((run.state, run.job, relative(run.due, now), duration(took_of(run)), error_of(run)),
             ("run", run.id), run.schedule, progress=None)
        for run in found
    ]  # fmt: skip
    return Content(f"{what}: {len(found)}", ("state", "job", "due", "took", "why"), lines, empty, stretched=4)


async def run(ledger: Ledger, id: str) -> Content:
    """Return one run: its story, attempt by attempt, and the traceback."""
    found, utc = await ledger.scheduler.run(id), style_of().utc
    given = [repr(one) for one in shown_args(found.args)]
    given += [f"{name}={value!r}" for name, value in shown_kwargs(found.kwargs).items()]
    told = [
        ("due", moment(found.scheduled_for, utc)), ("began", moment(found.started_at, utc)),
        ("ended", moment(found.finished_at, utc)), ("took", duration(took_of(found))),
        ("attempt", f"{found.attempt} of {found.max_attempts}"), ("instance", found.instance or "–"),
        ("with", ", ".join(given)), ("result", "" if found.result is None else repr(result_of(found))),
        ("why", error_of(found)),
        *((f"attempt {one.number}", f"{one.state}  {one.error_type or one.why}  {one.message}") for one in found.attempts),
        *(("", line) for line in found.traceback.splitlines()),
    ]  # fmt: skip
    lines = [Line((name, text), None, found.schedule) for name, text in told if text]
    return Content(f"run {found.id} of {found.job} · {found.state.replace('_', ' ')}", ("", ""), lines, "")


async def timeline(ledger: Ledger) -> Content:
    """Return the due times of the next day."""
    now, utc = present(), style_of().utc
    found = await ledger.scheduler.timeline(now, now + _AHEAD, limit=_MOST)
    lines = [
        Line((moment(one.at, utc), one.schedule, relative(one.at, now), one.fault or one.note), ("schedule", one.schedule))
        for one in found
    ]  # fmt: skip
    empty = "no due times within a day" if ledger.has_code else "due times need the code: --app, or --url"
    return Content("the next 24 hours", ("due", "schedule", "", "note"), lines, empty)


async def instances(ledger: Ledger) -> Content:
    """Return the processes of the cluster."""
    now = present()
    lines = [
        Line((one.id, f"{one.host}:{one.pid}", one.role, relative(one.started_at, now), relative(one.beat_at, now)))
        for one in await ledger.scheduler.instances()
    ]  # fmt: skip
    titles = ("instance", "process", "role", "started", "heartbeat")
    return Content(
        "instances", titles, lines, "no instance is running: nothing fires until one is", stretched=0
    )


async def activity(ledger: Ledger) -> Content:
    """Return the actions of people and programs, newest first."""
    now = present()
    lines = [
        Line((relative(one.at, now), one.by, one.action, one.subject, one.note or ("" if one.ok else one.result)))
        for one in await ledger.scheduler.activity(limit=_MOST)
    ]  # fmt: skip
    return Content("activity", ("when", "by", "action", "of", "note"), lines, "no actions", stretched=4)


KEYS = (
    ("j k, arrows", "to the next row, to the one before"), ("Enter, Esc", "open the row, go back"),
    ("r", "run the schedule now, after a y"), ("p", "pause the schedule with a note, or let it go on"),
    ("/", "only the rows that hold a text"), ("g o", "overview"), ("g r", "runs"), ("g f", "failures"),
    ("g t", "timeline"), ("g i", "instances"), ("g a", "activity"), ("?", "these keys"), ("q, Ctrl-C", "end"),
)  # fmt: skip


async def keys(ledger: Ledger) -> Content:
    """Return the keys."""
    return Content("keys", ("key", "effect"), [Line(one) for one in KEYS], "")


PAGES: dict[str, Callable[[Ledger], Awaitable[Content]]] = {
    "overview": overview, "runs": runs, "failures": failures, "timeline": timeline, "instances": instances,
    "activity": activity, "keys": keys,
}  # fmt: skip
ONE: dict[str, Callable[[Ledger, str], Awaitable[Content]]] = {"schedule": schedule, "run": run}


async def content(ledger: Ledger, page: str, id: str) -> Content:
    """Return a page as it stands."""
    return await (ONE[page](ledger, id) if id else PAGES[page](ledger))


def matching(lines: Sequence[Line], text: str) -> list[Line]:
    """Return the rows that hold a text, in any case."""
    return [one for one in lines if text.lower() in " ".join(one.cells).lower()]
