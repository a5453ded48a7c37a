"""What all pages share: the templates and static files in memory, the snapshot, and the words about schedules."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup

from asyncsched._core.errors import AsyncSchedError, ConfigurationError
from asyncsched._core.instants import to_datetime
from asyncsched._core.models import Run, Schedule
from asyncsched._core.reports import Activity, JobInfo
from asyncsched._core.text import safe_repr
from asyncsched._scheduler.scheduler import Scheduler
from asyncsched.dashboard import words
from asyncsched.dashboard.access import Access
from asyncsched.dashboard.snapshot import Row, Snapshot, Watch
from asyncsched.triggers.cron.trigger import Cron

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE = Path(__file__).parent
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}

REDACTED = re.compile(r"password|passwd|secret|token|api_?key|authorization", re.IGNORECASE)
"""The names of arguments whose values are not shown, unless the app says otherwise."""

_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Characters of users' texts that would not be seen, or turn round what stands beside them: they are shown as ``\\u202e``."""

NAV = (
    ("Overview", "/"), ("Runs", "/runs"), ("Failures", "/failures"), ("Timeline", "/timeline"),
    ("Instances", "/instances"), ("Activity", "/activity"),
)  # fmt: skip

_COUNTED = 120
"""How many due times of an hour are counted; beyond that, the text says so."""


@dataclass(slots=True)
class Page:
    """A page as named fragments, in order, each one element with that id.

    ``rows`` are the fragments inside one of the others, for which a change sends the row alone. ``key`` is the
    page's own address below the mount, by which its stream asks for it.
    """

    title: str
    section: str
    at: datetime
    fragments: dict[str, Markup]
    rows: dict[str, Markup] = field(default_factory=dict)
    rows_of: str = ""
    live: bool = True
    key: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """One request, as far as a page depends on it: where it is mounted, who asks, and for what."""

    root: str
    access: Access
    query: Mapping[str, str]
    path: Mapping[str, str]
    snapshot: Snapshot
    redact: re.Pattern[str]

    def may(self, role: str) -> bool:
        """Whether the caller has a right."""
        return self.access.may(role)

    def words(self, schedule: Schedule) -> str:
        """Return a schedule's trigger in words, the zone left out: it stands beside the expression."""
        return schedule.describe.removesuffix(f", {zone_name(schedule) or 'UTC'}")

    def expression(self, schedule: Schedule) -> str:
        """Return a schedule's cron expression with its zone, or ``""``."""
        expression = schedule.trigger.expression if isinstance(schedule.trigger, Cron) else ""
        parts = (expression, zone_name(schedule))
        return " ·\N{NO-BREAK SPACE}".join(part for part in parts if part)

    def zone(self, schedule: Schedule) -> tzinfo | None:
        """Return the zone of a schedule, for the times at a touch."""
        return zone_of(schedule)

    def local(self, at: datetime, schedule: Schedule) -> str:
        """Return a moment in a schedule's own zone."""
        zone = zone_of(schedule)
        return "" if zone is None else f"{at.astimezone(zone):%H:%M} {zone}"

    def is_cron(self, schedule: Schedule) -> bool:
        """Whether a schedule's trigger is a cron expression."""
        return isinstance(schedule.trigger, Cron)

    def arguments(self, row: Row) -> str:
        """Return a schedule's own arguments by name as JSON, to be edited for one run; secrets are left out."""
        shown = {name: one for name, one in dict(row.schedule.kwargs).items() if not self.redact.search(name)}
        return json.dumps(shown, ensure_ascii=False, default=str, indent=2)

    def defaults(self, job: JobInfo) -> str:
        """Return the names of a job's parameters as JSON, to be filled in."""
        needed = {name: None for name, text in job.parameters.items() if "=" not in text}
        return json.dumps(needed, ensure_ascii=False, indent=2)

    def progress(self, run: Run) -> str:
        """Return the progress of a run in words."""
        if run.progress is None:
            return ""
        done, total, message = run.progress.done, run.progress.total, run.progress.message
        words_ = f"{done:g} of {total:g}" if total else f"{done:g}"
        return f"{words_} {message}".strip()

    def short(self, value: Any) -> str:
        """Return a result in one line."""
        return words.cut(safe_repr(value, 200), 80)

    def bulk(self, action: str, count: int, **filter: Any) -> str:
        """Return the body of an operation on all that match a filter, with the number that is shown."""
        return json.dumps({"action": action, "filter": filter, "expected": count})

    def subject(self, one: Activity) -> Markup:
        """Return the subject of a record as a link, where there is a page of it."""
        if one.subject in self.snapshot.by_id:
            link = f"schedules/{quote(one.subject, safe='')}"
        elif one.subject in self.snapshot.jobs:
            link = f"jobs/{quote(one.subject, safe='')}"
        elif re.fullmatch("[0-9a-f]{32}", one.subject):
            link = f"runs/{one.subject}"
        else:
            return Markup("{}").format(one.subject)
        return Markup('<a href="{}/{}" title="{}"{}>{}</a>').format(
            self.root,
            link,
            one.subject,
            Markup(' class="mono"') if link.startswith("runs/") else "",
            one.subject,
        )

    def result(self, one: Activity) -> Markup:
        """Return what an action came to: a link to the run, where it made one."""
        if re.fullmatch("run [0-9a-f]{32}", one.result):
            return Markup('<a href="{}/runs/{}">its run</a>').format(self.root, one.result[4:])
        return Markup("{}").format(words.cut(one.result, 120) or "done")

    def pause_text(self, id: str) -> str:
        """Return what a pause does, in numbers."""
        times = self.due_in_an_hour(id)
        if not times:
            return "It is not due within the next hour. The pause is kept over restarts and on all instances."
        return (
            f"{times} an hour will be skipped until it is resumed. "
            "The pause is kept over restarts and on all instances."
        )

    def due_in_an_hour(self, id: str) -> str:
        """Return how many due times a schedule has in the next hour, in words; ``""`` for none."""
        row = self.snapshot.by_id.get(id)
        count, more = _due_in_an_hour(row.schedule, self.snapshot.at) if row else (0, False)
        return f"{'More than ' if more else ''}{words.plural(count, 'due time')}" if count else ""


def zone_of(schedule: Schedule) -> tzinfo | None:
    """Return the zone of a schedule's trigger, if it has one that is not UTC."""
    if not isinstance(schedule.trigger, Cron) or str(schedule.trigger.timezone) == "UTC":
        return None
    return schedule.trigger.timezone


def zone_name(schedule: Schedule) -> str:
    """Return the name of a schedule's zone where it is not UTC, else ``""``."""
    zone = zone_of(schedule)
    return "" if zone is None else str(zone)


def _due_in_an_hour(schedule: Schedule, now: datetime) -> tuple[int, bool]:
    count, at, end = 0, now, now + timedelta(hours=1)
    try:
        if schedule.next_due is None or schedule.next_due > end:
            return 0, False
        while count <= _COUNTED and (at := schedule.trigger.next(at)) is not None and at <= end:
            count += 1
    except Exception:  # a user's faulty trigger must not hide the page
        return count, True
    return min(count, _COUNTED), count > _COUNTED


class Site:
    """The shared parts of a dashboard.

    Args:
        scheduler: what is shown.
        title: the app's name in the header.
        redact: a pattern of argument names whose values are not shown.
        links: addresses that a run's page links to, by name.

    """

    def __init__(
        self, scheduler: Scheduler, title: str, redact: re.Pattern[str], links: Mapping[str, str]
    ) -> None:
        self.scheduler = scheduler
        self.links = links
        self.title = title
        self.redact = redact
        self.watch = Watch(scheduler)
        self.static, self.names = _STATIC
        self.templates = _templates()
        self._macros = {
            name: self.templates.get_template(name).module
            for name in self.templates.list_templates()
            if name not in ("base.html", "refused.html", "parts.html")
        }

    def draw(self, template: str, macro: str, *args: Any) -> Markup:
        """Return one fragment: what a macro of a template makes of its arguments."""
        drawn: Markup = getattr(self._macros[f"{template}.html"], macro)(*args)
        return (
            Markup(_UNSEEN.sub(lambda one: f"\\u{ord(one[0]):04x}", drawn))
            if _UNSEEN.search(drawn)
            else drawn
        )

    def document(self, page: Page, context: Context, theme: str) -> str:
        """Return the whole HTML of a page."""
        failing = context.snapshot.counts["failing"]
        nav = [(name, path, failing if name == "Failures" else 0) for name, path in NAV]
        return self.templates.get_template("base.html").render(
            page=page, root=context.root, nav=nav, app=self.title, theme=theme if theme in ("dark", "light") else "",
            css=self.names["style.css"], js=self.names["page.js"], clock=words.clock(context.snapshot.at),
        )  # fmt: skip

    def refused(self, root: str, status: int, heading: str, text: str, theme: str) -> str:
        """Return the HTML of an error; with the ways to the other pages, unless the caller may not see them."""
        inside = status not in (401, 403)
        return self.templates.get_template("refused.html").render(
            root=root, status=status, heading=heading, text=words.sentence(text), css=self.names["style.css"], js=self.names["page.js"],
            app=self.title, nav=NAV if inside else (), theme=theme if theme in ("dark", "light") else "",
        )  # fmt: skip

    def parameters(self, job: JobInfo) -> dict[str, str]:
        """Return a job's parameters as text, the defaults of secret names left out."""
        return {
            name: f"{text.partition(' = ')[0]} = •••" if " = " in text and self.redact.search(name) else text
            for name, text in job.parameters.items()
        }

    def shown(self, arguments: Any) -> str:
        """Return arguments as JSON for people: secrets left out, and cut if it is very long."""
        text = json.dumps(self.hidden(arguments), indent=2, ensure_ascii=False, default=_safe)
        return text if len(text) <= 20_000 else text[:20_000] + "\n…"

    def hidden(self, value: Any, depth: int = 0) -> Any:
        """Return a value with the values of secret names replaced."""
        if depth > 20:
            return "…"
        if isinstance(value, Mapping):
            return {
                str(name): "•••" if self.redact.search(str(name)) else self.hidden(one, depth + 1)
                for name, one in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.hidden(one, depth + 1) for one in value]
        return value


def _safe(value: object) -> str:
    try:
        return str(value)[:2000]
    except Exception as error:
        return f"<{type(value).__name__}: {type(error).__name__}>"


def _static_files() -> tuple[dict[str, tuple[bytes, str]], dict[str, str]]:
    """Return the static files by the name that has their hash, and those names by the plain ones."""
    files, names = {}, {}
    for path in sorted((_HERE / "static").iterdir()):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            name = f"{path.stem}.{hashlib.sha256(content).hexdigest()[:12]}{path.suffix}"
            files[name], names[path.name] = (content, _TYPES[path.suffix]), name
    return files, names


# Read with the module, as code is: no request waits for a file.
_STATIC = _static_files()
_SOURCES = {path.name: path.read_text("utf-8") for path in sorted((_HERE / "templates").glob("*.html"))}


def _templates() -> Environment:
    """Return the templates, compiled at once."""
    try:
        from jinja2 import DictLoader, Environment, StrictUndefined
    except ImportError:
        raise ConfigurationError("the dashboard needs Jinja2: pip install 'asyncsched[dashboard]'") from None
    environment = Environment(
        loader=DictLoader(_SOURCES), autoescape=True, auto_reload=False, undefined=StrictUndefined,
        trim_blocks=False, lstrip_blocks=True, cache_size=-1,
    )  # fmt: skip
    environment.filters["segment"] = lambda text: quote(str(text), safe="")
    environment.globals.update(
        glyph=words.glyph, tone=words.tone, word=words.word, when=words.when, elapsed=words.elapsed,
        duration=words.duration, lateness=words.lateness, clock=words.clock, number=words.number, at=to_datetime, plural=words.plural,
        micros=lambda micros: words.duration(micros / 1_000_000), date_and_time=words.date_and_time, cut=words.cut,
        tojson_text=json.dumps,
    )  # fmt: skip
    for name in _SOURCES:
        environment.get_template(name)
    return environment


def describe(error: AsyncSchedError) -> str:
    """Return an error as one sentence for people."""
    return str(error)
