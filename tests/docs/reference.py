"""Write the reference from the docstrings: ``python -m tests.docs.reference`` makes ``examples/guide/reference.md`` anew."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import asyncsched
from asyncsched._core import errors
from asyncsched._scheduler.options import JobOptions
from asyncsched._scheduler.settings import SchedulerOptions
from asyncsched.cli.main import COMMANDS, SUMMARIES
from asyncsched.observers.metrics.families import FAMILIES
from tests.docs.pages import GUIDE

PAGE = GUIDE / "reference.md"
NAMES = [name for name in asyncsched.__all__ if not name.startswith("_")]

MODULES = {
    "asyncsched.events": "what observers hear",
    "asyncsched.views": "what the calls answer",
    "asyncsched.triggers": "when",
    "asyncsched.executors": "where functions run",
    "asyncsched.executors.handoff": "engines elsewhere",
    "asyncsched.observers.metrics": "figures for Prometheus and OpenTelemetry",
    "asyncsched.observers.tracing": "spans",
    "asyncsched.observers.alerts": "a hook, and check-ins elsewhere",
    "asyncsched.asgi": "the scheduler in a request, and probes",
    "asyncsched.dashboard": "the page and its JSON API",
    "asyncsched.testing": "virtual time and assertions",
}
"""The modules with public names of their own, and what they are for; the seams of ``asyncsched.abc`` are read there."""

FACES = ("asyncsched.events", "asyncsched.views")
"""The modules that name what is defined elsewhere."""

ENVIRONMENT = {
    "ASYNCSCHED_STORE": "the store: of `Scheduler.from_env`, and the target of a command",
    "ASYNCSCHED_NAMESPACE": "the namespace, for both",
    "ASYNCSCHED_TIMEZONE": "the zone of cron expressions without one, for `Scheduler.from_env`",
    "ASYNCSCHED_ROLE": "the role of a process: `both`, `run`, `submit` or `off`; `role=` goes before it",
    "ASYNCSCHED_SHUTDOWN_TIMEOUT": "seconds for running attempts at the end, for `Scheduler.from_env`",
    "ASYNCSCHED_STORE_TIMEOUT": "seconds for an answer of the store, for `Scheduler.from_env`",
    "ASYNCSCHED_APP": "the scheduler in the code that a command looks at, as `module:attribute`",
    "ASYNCSCHED_URL": "the page of a running app that a command looks at",
    "ASYNCSCHED_TOKEN": "the bearer token for that page",
}
"""What is read from the environment."""


def page() -> str:
    """Return the reference: every public name with its signature and its docstring, and the methods of classes."""
    parts = [
        "# Reference\n\nEvery public name of `asyncsched`, made from its docstrings by `python -m tests.docs.reference`. "
        "The protocols\nfor parts of your own stand in [`asyncsched.abc`](../../asyncsched/abc.py). Below the names follow those of "
        "the modules beside it,\nand tables of all [options of a job](#all-options-of-a-job), [settings](#all-settings-of-a-scheduler), "
        "[variables of the environment](#the-environment),\n[metrics](#all-metrics), [errors](#all-errors) and "
        "[commands](#all-commands).\n"
    ]
    for name in NAMES:
        thing = getattr(asyncsched, name)
        parts.append(f"## {name}\n\n{_block(name, thing)}")
        for method, found in sorted(_methods(thing).items()):
            parts.append(f"### {name}.{method}\n\n{_block(method, found)}")
    for module, about in MODULES.items():
        parts.append(f"## {module}: {about}\n")
        parts += [
            f"### {name} of {module}\n\n{_block(name, thing)}" for name, thing in public(module).items()
        ]
    return "\n".join([*parts, _options(), _settings(), _metrics(), _errors(), _commands()])


def public(module: str) -> dict[str, Any]:
    """Return the public names of a module that the package's own do not have already."""
    found = import_module(module)
    names = getattr(found, "__all__", None) or [
        name for name, thing in vars(found).items()
        if not name.startswith("_") and getattr(thing, "__module__", "").startswith("asyncsched" if module in FACES else module)
    ]  # fmt: skip
    return {name: getattr(found, name) for name in sorted(names) if name not in NAMES}


def _listed(title: str, head: str, rows: list[str]) -> str:
    columns = head.count("|") + 1
    return f"## {title}\n\n| {head} |\n|{'---|' * columns}\n" + "\n".join(f"| {row} |" for row in rows) + "\n"


def _typed(dictionary: Any) -> list[str]:
    hints = inspect.get_annotations(dictionary)
    return [f"`{name}` | `{_plain(hint)}`" for name, hint in hints.items()]


def _plain(hint: Any) -> str:
    text = getattr(hint, "__forward_arg__", hint)
    return str(text).replace("|", "or")


def _options() -> str:
    return _listed("All options of a job", "option | type", _typed(JobOptions)) + (
        "\nEach is explained at [`Scheduler.job`](#schedulerjob).\n"
    )


def _settings() -> str:
    found = _listed("All settings of a scheduler", "setting | type", _typed(SchedulerOptions))
    found += "\nEach is explained at [`Scheduler`](#scheduler).\n\n"
    rows = [f"`{name}` | {about}" for name, about in ENVIRONMENT.items()]
    return found + _listed("The environment", "variable | meaning", rows)


def _metrics() -> str:
    rows = []
    for name, one in FAMILIES.items():
        labels = ", ".join(f"`{label}`" for label in (*(("job",) if one.of_job else ()), *one.labels)) or "–"
        buckets = ", ".join(f"{bound:g}" for bound in one.buckets)
        rows.append(
            f"`{name}` | {one.kind} | {labels} | {one.help}{f' Bounds: {buckets}.' if buckets else ''}"
        )
    return _listed("All metrics", "metric | kind | labels | meaning", rows)


def error_classes() -> list[type[Exception]]:
    """Return the errors of the library, each below the one that it is a kind of."""

    def below(kind: type[Exception]) -> list[type[Exception]]:
        return [kind, *(deeper for one in sorted(kind.__subclasses__(), key=str) for deeper in below(one))]

    return [one for one in below(errors.AsyncSchedError) if one.__module__ == errors.__name__]


def _errors() -> str:
    rows = []
    for one in error_classes():
        depth = sum(issubclass(base, errors.AsyncSchedError) for base in one.__mro__) - 1
        rows.append(f"{'· ' * depth}`{one.__name__}` | {(inspect.getdoc(one) or '').splitlines()[0]}")
    return _listed("All errors", "error | meaning", rows)


def _commands() -> str:
    names = [name for group in COMMANDS.values() for name in group]
    return _listed(
        "All commands", "command | what it does", [f"`{name}` | {SUMMARIES[name]}" for name in names]
    )


def _methods(thing: Any) -> dict[str, Any]:
    if not inspect.isclass(thing) or issubclass(thing, BaseException):
        return {}
    found: dict[str, Any] = {}
    for base in reversed(thing.__mro__):
        if base.__module__.startswith("asyncsched"):
            for name, member in vars(base).items():
                plain = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
                if not name.startswith("_") and (inspect.isfunction(plain) or isinstance(member, property)):
                    found[name] = plain
    return found


def _block(name: str, thing: Any) -> str:
    try:
        signature = str(inspect.signature(thing))
    except (TypeError, ValueError):
        signature = ""
    text = (inspect.getdoc(thing) or "").rstrip()
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return f"```text\n{name}{signature}\n\n{lines}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
