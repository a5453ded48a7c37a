"""The triggers of APScheduler 3, read in the code, and said by the triggers here."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from asyncsched.cli.imports.fields import Untold, fields_of, overlapping, times_of
from asyncsched.cli.imports.python import Code, as_code, called, keywords, value_of
from asyncsched.cli.imports.settings import Settings
from asyncsched.cli.imports.times import moment_code, moment_of, zone_of

CRON_FIELDS = ("year", "month", "day", "week", "day_of_week", "hour", "minute", "second")
SPANS = ("weeks", "days", "hours", "minutes", "seconds")
_EDGES = ("start_date", "end_date", "timezone", "jitter")
_KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "CronTrigger": ("cron", (*CRON_FIELDS, *_EDGES)),
    "IntervalTrigger": ("interval", (*SPANS, *_EDGES)),
    "DateTrigger": ("date", ("run_date", "timezone")),
    "CalendarIntervalTrigger": ("calendarinterval", ()),
    "OrTrigger": ("or", ("triggers", "jitter")),
    "AndTrigger": ("and", ("triggers", "jitter")),
}
"""The classes, each with its kind and the order of its arguments."""

_PLACES = {"second": -6, "minute": -5, "hour": -4, "day": -3, "month": -2}
"""The places of fields in a cron expression; the weekdays are left out, since their numbers differ."""

_YEARS = re.compile(r"(\d{4})(?:-(\d{4}))?")

Said = tuple[str, dict[str, Any]]
"""A trigger's kind and the arguments that it was made with; those of a union are such pairs."""


def said(trigger: ast.expr | None) -> Said:
    """Return what the code says of a trigger."""
    if trigger is None:
        return "date", {}
    if isinstance(trigger, ast.Constant):
        return str(trigger.value), {}
    if not isinstance(trigger, ast.Call):
        return "variable", {"variable": ast.unparse(trigger)}
    words = keywords(trigger)
    if called(trigger) == "from_crontab":
        words |= dict(zip(("expression", "timezone"), trigger.args, strict=False))
        return "crontab", {name: value_of(one) for name, one in words.items()}
    kind, order = _KINDS.get(called(trigger), (called(trigger), ()))
    words = {**dict(zip(order, trigger.args, strict=False)), **words}
    given = {name: value_of(one) for name, one in words.items()}
    parts = words.get("triggers")
    if kind in ("or", "and"):
        if not isinstance(parts, ast.List | ast.Tuple):
            return "variable", {"variable": ast.unparse(trigger)}
        given["triggers"] = [said(one) for one in parts.elts]
    return kind, given


def trigger_code(kind: str, given: Mapping[str, Any], settings: Settings) -> str:
    """Return the code of a trigger that means the same.

    Raises:
        Untold: there is none, or the program computes it.
        AsyncSchedError: the trigger here refuses it.

    """
    if kind == "variable":
        raise Untold(f"its trigger, {given['variable']}, is computed at run time")
    if kind not in _CODES:
        raise Untold(
            f"the trigger {kind!r} is not known here; a trigger of your own is an object with next(after)"
        )
    return _CODES[kind](given, settings)


def needs_zone(kind: str, given: Mapping[str, Any]) -> bool:
    """Whether a trigger's due times depend on a zone that it does not name."""
    if given.get("timezone") is not None or kind == "variable":
        return False
    if kind not in ("interval", "date"):
        return True
    moments = [given.get(name) for name in ("run_date", "start_date", "end_date")]
    return any(moment_of(one, "UTC") != moment_of(one, "Asia/Tokyo") for one in moments)


def zone_named(given: Mapping[str, Any], settings: Settings) -> str:
    """Return the zone of a trigger.

    Raises:
        Untold: the program computes it.

    """
    zone = given.get("timezone")
    if zone is None:
        return settings.zone
    if isinstance(zone, Code) and "get_localzone" in zone.text:
        return settings.host
    if not (found := zone_of(zone)):
        raise Untold(f"timezone={as_code(zone)} is computed at run time")
    return found


def _cron(given: Mapping[str, Any], settings: Settings) -> str:
    zone, fields = zone_named(given, settings), _fields(given)
    years = _YEARS.fullmatch(fields.get("year", ""))
    if years and "start_date" not in given and "end_date" not in given:
        first, last = years[1], years[2] or years[1]
        given = {**given, "start_date": f"{first}-01-01", "end_date": f"{last}-12-31 23:59:59"}
        fields["year"] = "*"
    code = times_of(fields).code(zone, _edges(given, zone))
    return _filled_in(code, {name: given[name].text for name in fields if isinstance(given.get(name), Code)})


def _filled_in(code: str, computed: Mapping[str, str]) -> str:
    """Return the code of a cron trigger with what the program computes in the places of its fields."""
    if not computed:
        return code
    before, expression, after = code.split('"', 2)
    words = expression.split()
    for name, text in computed.items():
        words[_PLACES[name]] = f"{{{text}}}"
    return f'{before}f"{" ".join(words)}"{after}'


def _fields(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields as texts: 1 in place of what the program computes."""
    for name in CRON_FIELDS:
        if isinstance(one := given.get(name), Code) and (
            name not in _PLACES or '"' in one.text or "\\" in one.text
        ):
            raise Untold(f"{name}={one.text} is computed at run time")
    return {
        name: "1" if isinstance(given[name], Code) else str(given[name])
        for name in CRON_FIELDS
        if given.get(name) is not None
    }


def _crontab(given: Mapping[str, Any], settings: Settings) -> str:
    zone, text = zone_named(given, settings), given.get("expression", "")
    if isinstance(text, Code):
        raise Untold(f"its crontab, {text.text}, is computed at run time")
    return times_of(fields_of(str(text))).code(zone)


def _edges(given: Mapping[str, Any], zone: str) -> str:
    return "".join(
        f", {name[:-5]}={moment_code(given[name], zone, name)}"
        for name in ("start_date", "end_date")
        if given.get(name) is not None
    )


def _interval(given: Mapping[str, Any], settings: Settings) -> str:
    spans = {name: given[name] for name in SPANS if given.get(name)}
    first = given.get("next_run_time")
    at_once = ", immediate=True" if isinstance(first, Code) and "now(" in first.text else ""
    period = ", ".join(f"{name}={as_code(value)}" for name, value in (spans or {"seconds": 1}).items())
    edged = any(given.get(name) is not None for name in ("start_date", "end_date"))
    return f"Interval({period}{_edges(given, zone_named(given, settings)) if edged else ''}{at_once})"


def _date(given: Mapping[str, Any], settings: Settings) -> str:
    return f"At({moment_code(given.get('run_date'), zone_named(given, settings), 'run_date')})"


def _calendar(given: Mapping[str, Any], settings: Settings) -> str:
    zone, counts = (
        zone_named(given, settings),
        {name: given.get(name) or 0 for name in ("months", "weeks", "days")},
    )
    for name in ("years", *counts, "hour", "minute", "second"):
        if isinstance(given.get(name), Code):
            raise Untold(f"{name}={given[name].text} is computed at run time")
    counts["months"] += 12 * (given.get("years") or 0)
    used = {name: count for name, count in counts.items() if count}
    if len(used) != 1:
        raise Untold("its period is of several units; Every(…) takes months, weeks or days")
    days = {
        name: moment_of(given[f"{name}_date"], zone) for name in ("start", "end") if given.get(f"{name}_date")
    }
    if None in days.values() or "start" not in days:
        raise Untold("it counts from the day of its start; Every(…, start=date(…)) names the day")
    clock = [given.get(name) or 0 for name in ("hour", "minute", "second")]
    at = ", ".join(map(str, clock if clock[2] else clock[:2]))
    edges = "".join(
        f", {name}=date({day.year}, {day.month}, {day.day})" for name, day in days.items() if day is not None
    )
    ((unit, count),) = used.items()
    return f'Every({unit}={count}, at=time({at}){edges}, timezone="{zone}")'


def _parts(given: Mapping[str, Any], settings: Settings) -> list[Said]:
    """Return the parts of a trigger of triggers: each is an object, and so is of the host's zone if it has none."""
    return [
        (kind, more if kind == "interval" or more.get("timezone") else {**more, "timezone": settings.host})
        for kind, more in given["triggers"]
    ]


def _or(given: Mapping[str, Any], settings: Settings) -> str:
    return f"AnyOf({', '.join(trigger_code(kind, more, settings) for kind, more in _parts(given, settings))})"


def _and(given: Mapping[str, Any], settings: Settings) -> str:
    """Return the cron expression of what several ones have in common."""
    parts = _parts(given, settings)
    if any(kind not in ("cron", "crontab") for kind, _ in parts):
        raise Untold(
            "an AndTrigger of more than cron has no one trigger here: trigger.only(weekday=…) and trigger.except_(…) "
            "leave due times out"
        )
    zones = {zone_named(more, settings) for _, more in parts}
    if len(zones) > 1:
        raise Untold(f"an AndTrigger in several zones ({', '.join(sorted(zones))})")
    fields: dict[str, str] | None = None
    edges: dict[str, Any] = {}
    for kind, more in parts:
        if computed := [name for name in (*CRON_FIELDS, "expression") if isinstance(more.get(name), Code)]:
            raise Untold(f"{computed[0]}={more[computed[0]].text} is computed at run time")
        one = fields_of(str(more.get("expression"))) if kind == "crontab" else _fields(more)
        fields = one if fields is None else overlapping(fields, one)
        for name in ("start_date", "end_date"):
            if more.get(name) is not None and edges.setdefault(name, more[name]) != more[name]:
                raise Untold(f"an AndTrigger with several {name}")
    (zone,) = zones
    return times_of(fields or {}).code(zone, _edges(edges, zone))


_CODES = {
    "cron": _cron, "crontab": _crontab, "interval": _interval, "date": _date, "calendarinterval": _calendar,
    "or": _or, "and": _and,
}  # fmt: skip


def jitter_of(given: Mapping[str, Any]) -> Any:
    """Return the jitter of a trigger, or the largest of its parts'."""
    inner = [jitter_of(more) for _, more in given.get("triggers", ())]
    found = [one for one in [given.get("jitter"), *inner] if one]
    computed = [one for one in found if isinstance(one, Code)]
    return computed[0] if computed else max(found, default=None)


def due_at(given: Mapping[str, Any], settings: Settings) -> datetime | None:
    """Return the moment of a date job; ``None`` if the program computes it, or it is the moment of the call."""
    if given.get("run_date") is None:
        return None
    return moment_of(given["run_date"], zone_named(given, settings))
