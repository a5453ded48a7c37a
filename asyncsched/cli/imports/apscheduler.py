"""APScheduler 3 in Python code: ``add_job``, ``scheduled_job``, triggers as words and as objects."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from asyncsched._core.errors import AsyncSchedError
from asyncsched.cli.imports.fields import Untold, cron_text, from_crontab
from asyncsched.cli.imports.found import Found, Imported, name_of
from asyncsched.cli.imports.python import (
    Code,
    as_code,
    assigned,
    at_top,
    called,
    functions,
    imported_from,
    keywords,
    modules,
    source_of,
    value_of,
)
from asyncsched.triggers.cron.trigger import Cron

CRON_FIELDS = ("year", "month", "day", "week", "day_of_week", "hour", "minute", "second")
SPANS = ("weeks", "days", "hours", "minutes", "seconds")
_SCHEDULERS = (
    "BackgroundScheduler", "BlockingScheduler", "AsyncIOScheduler", "TornadoScheduler", "GeventScheduler",
    "TwistedScheduler", "QtScheduler",
)  # fmt: skip


@dataclass
class Settings:
    """What the scheduler in the code has for all jobs."""

    zone: str
    host: str = "UTC"
    """The zone of the host, which a trigger object without a zone takes, whatever the scheduler's."""
    defaults: dict[str, Any] = field(default_factory=dict)


def read_apscheduler(text: str, module: str, zone: str) -> Imported:
    """Return the jobs that a Python file gives to APScheduler 3; the file is not executed.

    Args:
        text: the file.
        module: the name by which the file is imported.
        zone: the time zone of the host, which APScheduler takes for its own.

    """
    tree = ast.parse(text)
    found = Imported("APScheduler 3")
    names = assigned(tree)
    settings = _settings(tree, zone, names)
    come_from = {name: f"{module}:{name}" for name in at_top(tree)} | imported_from(tree)
    whole = modules(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) == "add_job":
            words = keywords(node)
            func = words.pop("func", None) or (node.args[0] if node.args else None)
            trigger = words.pop("trigger", None) or (node.args[1] if len(node.args) > 1 else None)
            _keep(found, text, node, _call_of(func, come_from, whole), trigger, words, settings, names)
    flask = any(place.startswith("flask_apscheduler:") for place in come_from.values())
    decorators = ("scheduled_job", "task") if flask else ("scheduled_job",)
    for function in functions(tree):
        for decorator in function.decorator_list:
            if isinstance(decorator, ast.Call) and called(decorator) in decorators:
                words = keywords(decorator)
                trigger = words.pop("trigger", None) or (decorator.args[0] if decorator.args else None)
                call = come_from.get(function.name, "")
                _keep(found, text, decorator, call, trigger, words, settings, names)
    _tell(found, settings)
    if any(isinstance(node, ast.Call) and called(node) == "add_listener" for node in ast.walk(tree)):
        found.note(
            "add_listener is left out: Scheduler(observers=[f]), where f takes events of asyncsched.events"
        )
    return found


def _settings(tree: ast.Module, zone: str, names: Mapping[str, ast.expr]) -> Settings:
    settings = Settings(zone, zone)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) in (*_SCHEDULERS, "configure"):
            words = keywords(node)
            if "timezone" in words and (named := zone_of(value_of(words["timezone"], names))):
                settings.zone = named
            defaults = value_of(words.get("job_defaults"), names)
            if isinstance(defaults, dict):
                settings.defaults |= defaults
    return settings


def zone_of(value: Any) -> str:
    """Return the name of a time zone: a text, ``pytz.timezone("…")``, ``ZoneInfo("…")``, ``utc``."""
    if isinstance(value, str):
        return value
    if isinstance(value, Code):
        if value.text.split(".")[-1].lower() == "utc":
            return "UTC"
        try:
            call = ast.parse(value.text, mode="eval").body
        except SyntaxError:
            return ""
        if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Constant):
            return str(call.args[0].value)
    return ""


def _call_of(func: ast.expr | None, come_from: Mapping[str, str], whole: Mapping[str, str]) -> str:
    """Return where a function can be imported from, as ``module:name``; ``""`` for one of an object or of a function."""
    if isinstance(func, ast.Constant) and isinstance(func.value, str):
        return func.value if ":" in func.value else ""
    if isinstance(func, ast.Name):
        return come_from.get(func.id, "")
    if isinstance(func, ast.Attribute):
        before, root = ast.unparse(func.value), ast.unparse(func).partition(".")[0]
        if before in whole:
            return f"{whole[before]}:{func.attr}"
        place = come_from.get(root, "")
        return place and f"{place}{ast.unparse(func).removeprefix(root)}"
    return ""


def _keep(
    found: Imported, text: str, node: ast.Call, call: str, trigger: ast.expr | None, words: dict[str, ast.expr],
    settings: Settings, names: Mapping[str, ast.expr],
) -> None:  # fmt: skip
    given = {name: value_of(one, names) for name, one in words.items()}
    title = str(given.get("id") or call.partition(":")[2] or "job")
    one = Found(
        name_of(title, [other.name for other in found.schedules]),
        f"line {node.lineno}",
        source_of(text, node),
    )
    found.schedules.append(one)
    if not call:
        one.fault = "the function cannot be imported: make it one at the top level of a module"
        return
    kind, more = _kind(trigger, names)
    made = trigger is not None and not isinstance(trigger, ast.Constant)
    if made and not more.get("timezone") and kind != "interval" and settings.host != settings.zone:
        more["timezone"] = settings.host
        one.notes.append(
            f"its trigger object has no timezone, so APScheduler takes the host's: {settings.host}"
        )
    complete(one, call, kind, {**more, **given}, settings)


def _kind(trigger: ast.expr | None, names: Mapping[str, ast.expr]) -> tuple[str, dict[str, Any]]:
    """Return a trigger's kind and the arguments that it was made with."""
    if isinstance(trigger, ast.Name) and trigger.id in names:
        trigger = names[trigger.id]
    if trigger is None:
        return "date", {}
    if isinstance(trigger, ast.Constant):
        return str(trigger.value), {}
    if isinstance(trigger, ast.Call):
        more = {name: value_of(one, names) for name, one in keywords(trigger).items()}
        kind = called(trigger)
        if kind == "from_crontab":
            return "crontab", {**more, "expression": value_of(trigger.args[0]) if trigger.args else ""}
        order = {"CronTrigger": CRON_FIELDS, "IntervalTrigger": SPANS, "DateTrigger": ("run_date",)}.get(
            kind, ()
        )
        more |= {name: value_of(one, names) for name, one in zip(order, trigger.args, strict=False)}
        short = {"CronTrigger": "cron", "IntervalTrigger": "interval", "DateTrigger": "date"}.get(kind, kind)
        return short, more
    return "variable", {"variable": ast.unparse(trigger)}


def complete(one: Found, call: str, kind: str, given: dict[str, Any], settings: Settings) -> None:
    """Give what was found its trigger and options, or the fault."""
    one.call = call
    try:
        one.trigger = _trigger(one, kind, given, settings)
    except (Untold, AsyncSchedError) as error:
        one.fault = str(error)
        return
    one.options = _options(one, {**settings.defaults, **given})
    one.options = {"id": repr(str(given["id"])), **one.options} if given.get("id") else one.options


def _trigger(one: Found, kind: str, given: Mapping[str, Any], settings: Settings) -> str:
    zone = zone_of(given.get("timezone")) or settings.zone
    if kind == "cron":
        fields = {
            name: str(given[name])
            for name in CRON_FIELDS
            if given.get(name) is not None and not isinstance(given[name], Code)
        }
        unknown = [name for name in CRON_FIELDS if isinstance(given.get(name), Code)]
        if unknown:
            raise Untold(f"{unknown[0]}={given[unknown[0]].text} is computed at run time")
        return _cron(one, cron_text(fields), zone, given)
    if kind == "crontab":
        return _cron(one, from_crontab(str(given["expression"])), zone, given)
    if kind == "interval":
        return _interval(one, given)
    if kind == "date":
        return _date(one, given, zone)
    if kind == "variable":
        raise Untold(f"its trigger, {given['variable']}, is computed at run time")
    raise Untold(
        f"the trigger {kind!r} is not known here; a trigger of your own is an object with next(after)"
    )


def _cron(one: Found, expression: str, zone: str, given: Mapping[str, Any]) -> str:
    Cron(expression, timezone=zone)
    for name in ("start_date", "end_date"):
        if given.get(name) is not None:
            one.notes.append(
                f"{name}={as_code(given[name])} is left out: give {name[:-5]}= an aware datetime"
            )
    return f'Cron("{expression}", timezone="{zone}")'


def _interval(one: Found, given: Mapping[str, Any]) -> str:
    spans = {name: given[name] for name in SPANS if given.get(name)}
    if any(isinstance(value, Code) for value in spans.values()):
        text = ", ".join(f"{name}={as_code(value)}" for name, value in spans.items())
        raise Untold(f"the period ({text}) is computed at run time")
    if not spans:
        raise Untold("an interval without a period")
    for name in ("start_date", "end_date"):
        if given.get(name) is not None:
            one.notes.append(
                f"{name}={as_code(given[name])} is left out: give {name[:-5]}= an aware datetime"
            )
    first = given.get("next_run_time")
    at_once = ", immediate=True" if isinstance(first, Code) and "now(" in first.text else ""
    return f"Interval({', '.join(f'{name}={value!r}' for name, value in spans.items())}{at_once})"


def _date(one: Found, given: Mapping[str, Any], zone: str) -> str:
    at = given.get("run_date")
    if at is None:
        raise Untold("it runs once, at once: await scheduler.schedule_once(function) where the app starts")
    if isinstance(at, Code):
        raise Untold(f"it runs once, at {at.text}: await scheduler.schedule_once(function, at=…)")
    moment = str(at).replace(" ", "T")
    return _moment(moment, zone)


def _moment(text: str, zone: str) -> str:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Untold(f"run_date={text!r} is no date") from None
    aware = found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))
    return f"At(datetime.fromisoformat({aware.isoformat()!r}))"


def _options(one: Found, given: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    if given.get("args"):
        args = given["args"]
        found["args"] = as_code(args if isinstance(args, Code) else tuple(args))
    if given.get("kwargs"):
        found["kwargs"] = as_code(given["kwargs"])
    most = given.get("max_instances", 1)
    if isinstance(most, int) and most > 1:
        found["overlap"], found["max_running"] = '"allow"', f'Limit({most}, full="skip")'
    grace, coalesce = given.get("misfire_grace_time", 1), given.get("coalesce", True)
    catch_up = "latest" if coalesce is not False else "all"
    if isinstance(grace, timedelta):
        grace = grace.total_seconds()
    if "misfire_grace_time" in given or catch_up == "all":
        bound = "" if grace is None or isinstance(grace, Code) else f", grace={grace!r}"
        found["misfire"] = f'Misfire(catch_up="{catch_up}"{bound})'
    if given.get("jitter"):
        found["jitter"] = as_code(given["jitter"])
        one.notes.append(
            "APScheduler moves a due time by jitter in both directions; here it only comes later"
        )
    if given.get("next_run_time", "") is None:
        one.notes.append("it was added as paused: await scheduler.pause(id) where the app starts")
    if given.get("next_run_time") is not None and "immediate=True" not in one.trigger:
        one.notes.append(
            f"next_run_time={as_code(given['next_run_time'])} is left out: `await scheduler.run_now(id)` at the start"
        )
    if given.get("executor") not in (None, "default"):
        one.notes.append(
            f"executor={as_code(given['executor'])} is left out: name one of Scheduler(executors=…)"
        )
    return found


def _tell(found: Imported, settings: Settings) -> None:
    if any("At(datetime" in one.trigger for one in found.schedules):
        found.imports.add("from datetime import datetime")
    if any(one.trigger.startswith("Cron") for one in found.schedules):
        found.note(
            f"cron times are in {settings.zone}. When the clock skips a due time, APScheduler runs it at another time or not; "
            "here it runs once, at the jump, and in a repeated hour a daily job runs once"
        )
        found.note("day_of_week counts from Monday = 0 in APScheduler; here it is written by name")
    if any(one.trigger.startswith("Interval") for one in found.schedules):
        found.note(
            "an interval begins anew at each start of APScheduler; here it is a grid that a database keeps over restarts"
        )
    if found.schedules and "misfire_grace_time" not in settings.defaults:
        found.note(
            "by default APScheduler drops a run that is more than 1 s late (misfire_grace_time=1); here the latest is "
            "made up for, and misfire=Misfire(grace=…) bounds it"
        )
    found.note(
        "scheduler.start() and shutdown() fall away: FastAPI(lifespan=scheduler.lifespan), or `asyncsched worker`"
    )
