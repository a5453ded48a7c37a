"""Celery beat: ``beat_schedule`` and ``add_periodic_task`` in a Python file."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from asyncsched._core.errors import AsyncSchedError
from asyncsched.cli.imports.fields import Times, Untold, with_both
from asyncsched.cli.imports.found import Found, Imported, name_of
from asyncsched.cli.imports.python import (
    Code,
    as_code,
    assigned,
    called,
    imported_from,
    keywords,
    source_of,
    value_of,
)

_FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
_SCHEDULES = ("beat_schedule", "CELERYBEAT_SCHEDULE", "CELERY_BEAT_SCHEDULE")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WEEKS = {"1-7": 1, "8-14": 2, "15-21": 3, "22-28": 4}


def read_celery(text: str, module: str, zone: str | None) -> Imported:
    """Return the periodic tasks of a Python file; the file is not executed.

    Args:
        text: the file.
        module: the name by which the file is imported.
        zone: the time zone in place of the one in the file.

    """
    tree = ast.parse(text)
    found = Imported("Celery beat")
    names = assigned(tree)
    zone = zone or _zone(tree)
    come_from = imported_from(tree)
    for name, entry in _entries(tree, names):
        words = _items(entry) if isinstance(entry, ast.Dict) else {}
        task = value_of(words.get("task"), names)
        call = _function(task) if isinstance(task, str) else ""
        _keep(found, text, name, entry, call, words.get("schedule"), words, zone, names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) == "add_periodic_task":
            words = keywords(node)
            signature = node.args[1] if len(node.args) > 1 else words.get("sig")
            call, extra = _signature(signature, module, come_from)
            schedule = node.args[0] if node.args else words.get("schedule")
            name = value_of(words.get("name"), names) or call.partition(":")[2] or "task"
            _keep(found, text, str(name), node, call, schedule, {**extra, **words}, zone, names)
    _tell(found, zone)
    return found


def _zone(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            target = node.targets[0]
            named = (
                target.attr
                if isinstance(target, ast.Attribute)
                else target.id
                if isinstance(target, ast.Name)
                else ""
            )
            if named in ("timezone", "CELERY_TIMEZONE") and isinstance(value_of(node.value), str):
                return str(value_of(node.value))
        if isinstance(node, ast.Call) and "timezone" in keywords(node):
            zone = value_of(keywords(node)["timezone"])
            if isinstance(zone, str):
                return zone
    return "UTC"


def _entries(tree: ast.Module, names: Mapping[str, ast.expr]) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(tree):
        value: ast.expr | None = None
        if isinstance(node, ast.Assign):
            target = node.targets[0]
            named = (
                target.attr
                if isinstance(target, ast.Attribute)
                else target.id
                if isinstance(target, ast.Name)
                else ""
            )
            value = node.value if named in _SCHEDULES else None
        elif isinstance(node, ast.Call):
            value = keywords(node).get("beat_schedule")
        if isinstance(value, ast.Name):
            value = None if value.id in _SCHEDULES else names.get(value.id)
        if isinstance(value, ast.Dict):
            yield from _items(value).items()


def _items(node: ast.Dict) -> dict[str, ast.expr]:
    return {
        str(value_of(key)): value
        for key, value in zip(node.keys, node.values, strict=True)
        if key is not None
    }


def _function(task: str) -> str:
    module, _, name = task.rpartition(".")
    return f"{module}:{name}" if module else ""


def _signature(
    node: ast.expr | None, module: str, come_from: Mapping[str, str]
) -> tuple[str, dict[str, ast.expr]]:
    """Return the task of ``task.s(1, x=2)`` with its arguments."""
    if not (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("s", "si", "signature")
    ):
        return "", {}
    name = ast.unparse(node.func.value)
    extra: dict[str, ast.expr] = {}
    if node.args:
        extra["args"] = ast.Tuple(list(node.args), ast.Load())
    if node.keywords:
        extra["kwargs"] = ast.Dict(
            [ast.Constant(word.arg) for word in node.keywords], [word.value for word in node.keywords]
        )
    return come_from.get(name, f"{module}:{name}"), extra


def _keep(
    found: Imported, text: str, name: str, node: ast.expr, call: str, schedule: ast.expr | None,
    words: Mapping[str, ast.expr], zone: str, names: Mapping[str, ast.expr],
) -> None:  # fmt: skip
    taken = [other.name for other in found.schedules]
    one = Found(name_of(name, taken), f"line {node.lineno}", f"{name}: {source_of(text, node)}", call=call)
    found.schedules.append(one)
    if not call:
        one.fault = "the task is no name that could be imported"
        return
    try:
        one.trigger = trigger_of(schedule, zone, names)
    except (Untold, AsyncSchedError) as error:
        one.fault = str(error)
        return
    one.options["id"] = repr(name)
    for key in ("args", "kwargs"):
        value = value_of(words.get(key), names)
        if value:
            one.options[key] = as_code(tuple(value) if isinstance(value, list) else value)
    if words.get("options") is not None:
        one.notes.append(f"options={ast.unparse(words['options'])} are left out")


def trigger_of(node: ast.expr | None, zone: str, names: Mapping[str, ast.expr]) -> str:
    """Return the trigger of a schedule: seconds, a ``timedelta``, or a ``crontab()``.

    Raises:
        Untold: there is none that means the same.

    """
    if isinstance(node, ast.Name) and node.id in names:
        node = names[node.id]
    if isinstance(node, ast.Call) and called(node) == "crontab":
        given = dict(zip(_FIELDS, map(value_of, node.args), strict=False))
        given |= {name: value_of(one, names) for name, one in keywords(node).items()}
        return _times(given).code(zone)
    if isinstance(node, ast.Call) and called(node) == "solar":
        raise Untold(
            "solar(): sunrise and sunset are not supported; a trigger of your own is an object with next(after)"
        )
    if isinstance(node, ast.Call) and called(node) == "schedule":
        node = keywords(node).get("run_every") or (node.args[0] if node.args else None)
    value = value_of(node, names)
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, int | float) and seconds > 0:
        return f"Interval(seconds={int(seconds) if float(seconds).is_integer() else seconds!r})"
    raise Untold(f"the schedule {as_code(value)} is not known here")


def _times(given: Mapping[str, Any]) -> Times:
    """Return when Celery's ``crontab()`` is due: its day and weekday must both hold.

    Raises:
        Untold: there is none that means the same.

    """
    fields = {name: _field(name, given.get(name, "*")) for name in _FIELDS}
    day, weekday, days = with_both(fields["day_of_month"], _weekdays(fields["day_of_week"]))
    return Times(f"{fields['minute']} {fields['hour']} {day} {fields['month_of_year']} {weekday}", days)


def _field(name: str, value: Any) -> str:
    if isinstance(value, Code):
        raise Untold(f"{name}={value.text} is computed at run time")
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(str(one) for one in sorted(value))
    return str(value).replace(" ", "").lower()


def _weekdays(text: str) -> str:
    """Return weekdays by name; Celery's count from Sunday = 0, and a step begins at Sunday."""
    if text == "*":
        return text
    found: set[int] = set()
    for part in text.split(","):
        head, _, step = part.partition("/")
        first, _, last = head.partition("-")
        begin = 0 if head == "*" else _day(first)
        end = 6 if head == "*" else _day(last or first)
        days = list(range(begin, end + 1)) if begin <= end else [*range(begin, 7), *range(end + 1)]
        found |= set(days[:: int(step or 1)])
    numbers = sorted(found)
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)) and numbers[0] > 0:
        return f"{_DAYS[numbers[0]]}-{_DAYS[numbers[-1]]}"
    return ",".join(_DAYS[number] for number in numbers)


def _day(word: str) -> int:
    if word[:3] in _DAYS:
        return _DAYS.index(word[:3])
    if word.isdigit() and int(word) <= 7:
        return int(word) % 7
    raise Untold(f"day_of_week: {word!r} is not known")


def _tell(found: Imported, zone: str) -> None:
    found.note(
        "the tasks are called as functions, in a thread of this process; a broker and a beat process fall away"
    )
    if any(one.trigger.startswith("Cron") for one in found.schedules):
        found.note(f"crontab() is read in {zone}, the timezone of the Celery app")
    if any(one.trigger.startswith("Interval") for one in found.schedules):
        found.note(
            "beat counts an interval from the last run that it sent, and so drifts; here it is a grid that does not"
        )
    found.note(
        "beat sends a task even when the one before still runs; here the second is skipped with a record: "
        'overlap="allow" lets both run'
    )
