"""APScheduler 3 in Python code: ``add_job``, ``scheduled_job``, triggers as words and as objects."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from asyncsched._core.errors import AsyncSchedError
from asyncsched.cli.imports.calls import report_calls
from asyncsched.cli.imports.fields import Untold
from asyncsched.cli.imports.flask import listed_jobs
from asyncsched.cli.imports.found import Found, Imported, name_of
from asyncsched.cli.imports.options import ORDER, Names, arguments_of, code_values, options_of
from asyncsched.cli.imports.python import (
    Code,
    as_code,
    at_top,
    called,
    entries,
    filled,
    functions,
    imported_from,
    keywords,
    modules,
    source_of,
    value_of,
)
from asyncsched.cli.imports.settings import Settings, read_settings
from asyncsched.cli.imports.times import at_or_delay
from asyncsched.cli.imports.triggers import CRON_FIELDS, Said, due_at, needs_zone, said, trigger_code

Words = dict[str, ast.expr]


def read_apscheduler(text: str, module: str, zone: str) -> Imported:
    """Return the jobs that a Python file gives to APScheduler 3; the file is not executed.

    Args:
        text: the file.
        module: the name by which the file is imported.
        zone: the time zone of the host, which APScheduler takes for its own.

    """
    plain = ast.parse(text)
    tree = filled(plain)
    found = Imported("APScheduler 3")
    settings = read_settings(tree, zone, found)
    come_from = {name: f"{module}:{name}" for name in at_top(plain)} | imported_from(plain)
    reader = _Reader(text, found, settings, Names(come_from, modules(plain)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) == "add_job":
            reader.add_job(node)
    for item, words in listed_jobs(tree):
        reader.listed(item, words)
    flask = any(place.startswith("flask_apscheduler:") for place in come_from.values())
    decorators = ("scheduled_job", "task") if flask else ("scheduled_job",)
    for function in functions(tree):
        for decorator in function.decorator_list:
            if isinstance(decorator, ast.Call) and called(decorator) in decorators:
                reader.scheduled_job(function.name, decorator)
    found.schedules.sort(key=lambda one: int(one.where.removeprefix("line ")))
    for number, one in enumerate(found.schedules):
        one.name = name_of(one.name, [other.name for other in found.schedules[:number]])
    report_calls(tree, text, settings, reader.kinds, found)
    tell(found, settings)
    _tell_imports(found, module)
    return found


class _Reader:
    """Reads the calls by which jobs are added.

    Args:
        text: the file.
        found: takes what is found.
        settings: those of the scheduler.
        names: those of the module's top level.

    """

    def __init__(self, text: str, found: Imported, settings: Settings, names: Names) -> None:
        self._text, self._found, self._settings, self._names = text, found, settings, names
        self.kinds: dict[str, str] = {}
        """What became of the jobs, by the code of their ids: ``declared``, ``added`` or ``once``."""

    def add_job(self, node: ast.Call) -> None:
        """Read ``add_job(func, trigger, …)``."""
        self.listed(node, {**dict(zip(ORDER, node.args, strict=False)), **keywords(node)})

    def listed(self, node: ast.expr, words: Words) -> None:
        """Read the arguments of ``add_job``, which stand in a call or in a list of jobs."""
        func = words.pop("func", None)
        if isinstance(func, ast.Call) and called(func) == "partial" and func.args:
            func = _apart(func, words)
        self._keep(node, _place_of(func, self._names), ast.unparse(func) if func else "f", words)

    def scheduled_job(self, function: str, node: ast.Call) -> None:
        """Read the decorator ``@scheduled_job(trigger, …)`` of a function."""
        words = {**dict(zip(ORDER[1:], node.args, strict=False)), **keywords(node)}
        self._keep(node, self._names.places.get(function, ""), function, words)

    def _keep(self, node: ast.expr, call: str, func: str, words: Words) -> None:
        trigger = words.pop("trigger", None)
        given = {name: value_of(one) for name, one in words.items()}
        id = given.get("id")
        title = (
            str(id) if id and not isinstance(id, Code) else call.partition(":")[2].rpartition(".")[2] or "job"
        )
        one = Found(title, f"line {node.lineno}", source_of(self._text, node))
        self._found.schedules.append(one)
        more = node.keywords if isinstance(node, ast.Call) else []
        unread = [word.value for word in more if word.arg is None and entries(word.value) is None]
        if not call:
            one.fault = "the function cannot be imported: make it one at the top level of a module"
            return
        if unread:
            one.fault = f"its arguments, **{ast.unparse(unread[0])}, are computed at run time"
            return
        kind, inner = said(trigger)
        settings = self._settings
        if isinstance(trigger, ast.Call):
            settings = self._with_zone_of_host(one, kind, inner)
        if isinstance(given.get("name"), str):
            self._found.note("name= is left out: a job has the name of its function, and a schedule its id")
        everything = {**inner, **given}
        if (
            kind == "date"
            and everything.get("run_date") is None
            and everything.get("next_run_time") is not None
        ):
            everything["run_date"] = everything.pop("next_run_time")
        if kind == "date" or self._names.local(code_values(kind, everything)):
            self._call_or_moment(one, call, func, (kind, everything), settings)
        else:
            complete(one, call, kind, everything, settings, self._names)
        if "id" in words:
            self.kinds[ast.unparse(words["id"])] = (
                "declared" if one.trigger else "once" if kind == "date" else "added"
            )

    def _with_zone_of_host(self, one: Found, kind: str, more: Mapping[str, Any]) -> Settings:
        """Return the settings for a trigger object, which takes the host's zone where it has none."""
        settings = self._settings
        parts: list[Said] = more["triggers"] if kind in ("or", "and") else [(kind, dict(more))]
        if settings.host != settings.zone and any(needs_zone(*part) for part in parts):
            one.notes.append(
                f"its trigger object has no timezone, so APScheduler takes the host's: {settings.host}"
            )
        return replace(settings, zone=settings.host)

    def _call_or_moment(
        self, one: Found, call: str, func: str, trigger: tuple[str, dict[str, Any]], settings: Settings
    ) -> None:
        """Declare a job of a known moment; for one that is added while the program runs, tell the call."""
        kind, given = trigger
        local = self._names.local(code_values(kind, given))
        try:
            if kind != "date":
                when = trigger_code(kind, given, settings)
                fields = [name for name in CRON_FIELDS if isinstance(given.get(name), Code)]
                why = "; ".join(f"{name}={given[name].text} is computed at run time" for name in fields)
                one.fault = (
                    f"{why or 'it is added while the program runs, by ' + ', '.join(local)}: write await "
                    f"scheduler.add_schedule({func}, {when}{_more(given, 'id')})"
                )
            elif due_at(given, settings) is None or local:
                one.fault = _once(func, given, settings)
            else:
                complete(one, call, kind, given, settings, self._names)
                return
        except (Untold, AsyncSchedError) as error:
            one.fault = str(error)
            return
        self._found.note(
            "what schedule_once and add_schedule are given is declared with @scheduler.job() where a database is used"
        )


def _apart(func: ast.Call, words: Words) -> ast.expr:
    """Return the function of ``partial(f, …)``, whose arguments become the job's."""
    rest = words.get("args", ast.List([], ast.Load()))
    more = rest.elts if isinstance(rest, ast.List | ast.Tuple) else [ast.Starred(rest, ast.Load())]
    if func.args[1:]:
        words["args"] = ast.Tuple([*func.args[1:], *more], ast.Load())
    if func.keywords:
        named = {**keywords(func), **(entries(words.get("kwargs")) or {})}
        words["kwargs"] = ast.Dict([ast.Constant(name) for name in named], list(named.values()))
    return func.args[0]


def _place_of(func: ast.expr | None, names: Names) -> str:
    """Return where a function can be imported from, as ``module:name``; ``""`` for one of an object or of a function."""
    if isinstance(func, ast.Constant) and isinstance(func.value, str):
        return func.value if ":" in func.value else ""
    if isinstance(func, ast.Name):
        return names.places.get(func.id, "")
    if isinstance(func, ast.Attribute):
        before, root = ast.unparse(func.value), ast.unparse(func).partition(".")[0]
        if before in names.modules:
            return f"{names.modules[before]}:{func.attr}"
        place = names.places.get(root, "")
        return place and f"{place}{ast.unparse(func).removeprefix(root)}"
    return ""


def _once(func: str, given: Mapping[str, Any], settings: Settings) -> str:
    """Return the fault of a job for one moment that only the program knows: the call to write in its place."""
    at = given.get("run_date")
    if at is None:
        return f"it runs once, at once: write await scheduler.schedule_once({func}{_more(given, 'key')})"
    known = due_at(given, settings)
    when = at_or_delay(at) if known is None else f"at=datetime.fromisoformat({known.isoformat()!r})"
    naive = "" if known is not None or when.startswith("delay=") else "; at= takes an aware datetime"
    return f"it runs once, at {as_code(at)}: write await scheduler.schedule_once({func}{_more(given, 'key', when)}){naive}"


def _more(given: Mapping[str, Any], identity: str, when: str = "") -> str:
    """Return the further arguments of a call: those of the function, the id or key, and whether it replaces."""
    found = arguments_of(given)
    parts = []
    if "args" in found:
        inner = ast.parse(found["args"], mode="eval").body
        listed = inner.elts if isinstance(inner, ast.Tuple) else None
        if identity == "key":
            parts += [f"*{found['args']}"] if listed is None else [ast.unparse(one) for one in listed]
        else:
            parts.append(f"args={found['args']}")
    parts += [f"kwargs={found['kwargs']}"] if "kwargs" in found else []
    parts += [when] if when else []
    if given.get("id"):
        parts.append(f"{identity}={as_code(given['id'])}")
        parts += ["replace=True"] if given.get("replace_existing") else []
    return "".join(f", {part}" for part in parts)


def complete(
    one: Found, call: str, kind: str, given: dict[str, Any], settings: Settings, names: Names | None = None
) -> None:
    """Give what was found its trigger and options, or the fault."""
    one.call = call
    try:
        one.trigger = trigger_code(kind, given, settings)
    except (Untold, AsyncSchedError) as error:
        one.fault = str(error)
        return
    everything = {**settings.defaults, **given}
    one.options = options_of(one, everything, settings)
    one.needs, one.imports = (names or Names()).imports(code_values(kind, everything))


def tell(found: Imported, settings: Settings) -> None:
    """Note the differences that hold for all jobs of APScheduler."""
    if any("Cron(" in one.trigger for one in found.schedules):
        found.note(
            f"cron times are in {settings.zone}. When the clock skips a due time, APScheduler runs it at another time or not; "
            "here it runs once, at the jump, and in a repeated hour a daily job runs once"
        )
        found.note("day_of_week counts from Monday = 0 in APScheduler; here it is written by name")
    if any("Interval(" in one.trigger and "start=" not in one.trigger for one in found.schedules):
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


def _tell_imports(found: Imported, module: str) -> None:
    """Note that the old module, with its scheduler, is imported for its functions."""
    if names := found.names_from(module):
        found.note(
            f"the code imports {', '.join(names)} from {module}, where APScheduler's scheduler is: move them to a module "
            "without it, or importing them makes the old scheduler, and starts it if the module does"
        )
