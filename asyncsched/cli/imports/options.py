"""A job's options in APScheduler 3, as those of the job here, with the differences in meaning."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from asyncsched.cli.imports.found import Found
from asyncsched.cli.imports.python import Code, as_code
from asyncsched.cli.imports.settings import Settings
from asyncsched.cli.imports.times import at_or_delay
from asyncsched.cli.imports.triggers import CRON_FIELDS, SPANS, jitter_of

ORDER = (
    "func", "trigger", "args", "kwargs", "id", "name", "misfire_grace_time", "coalesce", "max_instances", "next_run_time",
    "jobstore", "executor", "replace_existing",
)  # fmt: skip
"""The order of the arguments of ``add_job``; ``scheduled_job`` has no function."""

_OF_CALLS = ("id", "args", "kwargs", "jitter")
"""The options that are code in the output, which may use names of the module only."""


@dataclass
class Names:
    """The names that a module has at its top level: what another module can import."""

    places: Mapping[str, str] = field(default_factory=dict)
    """By name, as ``module:name``."""
    modules: Mapping[str, str] = field(default_factory=dict)
    """The modules that are imported whole, by the names that they have."""

    def local(self, values: Iterable[Any]) -> list[str]:
        """Return the names in values that no module has: those of a function's arguments and variables."""
        known = {*self.places, *self.modules, *vars(builtins)}
        return sorted(
            {name for value in values for name in _names(value) if name.partition(".")[0] not in known}
        )

    def imports(self, values: Iterable[Any]) -> tuple[set[str], set[str]]:
        """Return what values need: names as ``module:name``, and lines that import modules whole."""
        used = {name for value in values for name in _names(value)}
        whole = {
            f"import {module}" + ("" if module == name else f" as {name}")
            for name, module in self.modules.items()
            if name in used and name != "datetime"
        }
        return {self.places[name] for name in used if name in self.places}, whole


def _names(value: Any) -> set[str]:
    if not isinstance(value, Code):
        return set()
    tree = ast.parse(value.text, mode="eval")
    bound = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    bound |= {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - bound


def code_values(kind: str, given: Mapping[str, Any]) -> list[Any]:
    """Return the values of which the output has the code: options, and the parts of a trigger."""
    names = (*_OF_CALLS, *{"interval": SPANS, "cron": CRON_FIELDS}.get(kind, ()))
    parts = [value for part in given.get("triggers", ()) for value in code_values(*part)]
    return [given[name] for name in names if name in given] + parts


def options_of(one: Found, given: Mapping[str, Any], settings: Settings) -> dict[str, str]:
    """Return the options of the job here as code, and note what is different."""
    found = (
        {"id": _code(given["id"] if isinstance(given["id"], Code) else str(given["id"]))}
        if given.get("id")
        else {}
    )
    found |= arguments_of(given)
    most = given.get("max_instances", 1)
    if isinstance(most, int) and most > 1:
        found["overlap"], found["max_running"] = '"allow"', f'Limit({most}, full="skip")'
    elif isinstance(most, Code):
        one.notes.append(
            f'max_instances={most.text} is left out: write max_running=Limit({most.text}, full="skip")'
        )
    found |= _misfire(given)
    if isinstance(grace := given.get("misfire_grace_time"), Code):
        one.notes.append(
            f"misfire_grace_time={grace.text} is left out: write misfire=Misfire(grace={grace.text})"
        )
    if jitter := jitter_of(given):
        found["jitter"] = as_code(jitter)
        one.notes.append(
            "APScheduler moves a due time by jitter in both directions; here it only comes later"
        )
    _note_first(one, given)
    found |= _executor(one, given, settings)
    if given.get("jobstore") not in (None, "default"):
        one.notes.append(f"jobstore={as_code(given['jobstore'])} is left out: a scheduler has one store here")
    return found


def arguments_of(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the arguments of the function as code."""
    found = {}
    if args := given.get("args"):
        found["args"] = _code(_tuple(args))
    if kwargs := given.get("kwargs"):
        found["kwargs"] = _code(kwargs)
    return found


def _tuple(args: Any) -> Any:
    if not isinstance(args, Code):
        return tuple(args)
    node = ast.parse(args.text, mode="eval").body
    if isinstance(node, ast.List | ast.Tuple):
        return Code(ast.unparse(ast.Tuple(node.elts, ast.Load())))
    return Code(f"tuple({args.text})")


def _code(value: Any) -> str:
    """Return a value as code of a module that has ``from datetime import datetime``."""
    return re.sub(r"\bdatetime\.(datetime|date|timedelta|timezone|time)\b", r"\1", as_code(value))


def _misfire(given: Mapping[str, Any]) -> dict[str, str]:
    grace, coalesce = given.get("misfire_grace_time", 1), given.get("coalesce", True)
    catch_up = "latest" if coalesce is not False else "all"
    if isinstance(grace, timedelta):
        grace = grace.total_seconds()
    if "misfire_grace_time" not in given and catch_up == "latest":
        return {}
    bound = "" if grace is None or isinstance(grace, Code) else f", grace={grace!r}"
    return {"misfire": f'Misfire(catch_up="{catch_up}"{bound})'}


def _note_first(one: Found, given: Mapping[str, Any]) -> None:
    if "next_run_time" not in given:
        return
    first = given["next_run_time"]
    if first is None:
        one.notes.append("it was added as paused: await scheduler.pause(id) where the app starts")
    elif "immediate=True" not in one.trigger:
        one.notes.append(
            f"next_run_time={as_code(first)} is left out: `await scheduler.run_now(id)` at the start"
        )
    elif (later := at_or_delay(first)).startswith("delay="):
        one.notes.append(f"its first run comes at once, and not after {later.removeprefix('delay=')}")


def _executor(one: Found, given: Mapping[str, Any], settings: Settings) -> dict[str, str]:
    name = given.get("executor", "default")
    kind = settings.executors.get(str(name), "")
    if kind == "process":
        return {"executor": '"process"'}
    if name == "default":
        return {}
    if kind == "thread" or (not kind and "thread" in as_code(name).lower()):
        hint = "a plain def runs in a thread here; nothing to do"
    elif kind == "loop":
        hint = "a coroutine runs on the event loop here; nothing to do"
    else:
        hint = 'a coroutine runs on the event loop and a plain def in a thread; for CPU work write executor="process"'
    one.notes.append(f"executor={as_code(name)} is left out: {hint}")
    return {}
