"""``@repeat_every`` of fastapi-utils (and fastapi-utilities) in a Python file."""

from __future__ import annotations

import ast

from asyncsched.cli.imports.found import Found, Imported, name_of
from asyncsched.cli.imports.python import (
    Code,
    as_code,
    assigned,
    called,
    functions,
    keywords,
    source_of,
    value_of,
)


def read_repeat_every(text: str, module: str) -> Imported:
    """Return the functions that a Python file repeats; the file is not executed."""
    tree = ast.parse(text)
    found = Imported("repeat_every")
    names = assigned(tree)
    for function in functions(tree):
        for decorator in function.decorator_list:
            if isinstance(decorator, ast.Call) and called(decorator) == "repeat_every":
                _keep(found, text, module, function.name, decorator, names)
    found.note(
        "repeat_every waits after each run, so it drifts by how long a run takes; here the period is a grid"
    )
    found.note(
        "take the decorator and the startup handler away: FastAPI(lifespan=scheduler.lifespan) starts the schedules"
    )
    found.note(
        "with several workers repeat_every runs in each; with a database here one of them runs each due time"
    )
    if moved := found.names_from(module):
        found.note(
            f"the code imports {', '.join(moved)} from {module}: if that module makes the app, whose lifespan needs the "
            "scheduler, move them to one of their own, since two modules cannot import each other"
        )
    return found


def _keep(
    found: Imported, text: str, module: str, name: str, decorator: ast.Call, names: dict[str, ast.expr]
) -> None:
    words = {key: value_of(one, names) for key, one in keywords(decorator).items()}
    seconds = words.get("seconds", value_of(decorator.args[0], names) if decorator.args else None)
    one = Found(
        name_of(name, [other.name for other in found.schedules]),
        f"line {decorator.lineno}",
        source_of(text, decorator),
    )
    found.schedules.append(one)
    if isinstance(seconds, Code) or not isinstance(seconds, int | float) or seconds <= 0:
        one.fault = f"the period ({as_code(seconds)}) is computed at run time"
        return
    wait = words.get("wait_first", False)
    waits = wait is not False and wait is not None
    one.call = f"{module}:{name}"
    one.trigger = f"Interval(seconds={seconds!r}{'' if waits else ', immediate=True'})"
    if waits and wait is not True:
        one.notes.append(f"wait_first={as_code(wait)}: the first run comes after one period")
    if words.get("max_repetitions"):
        one.notes.append(
            f"max_repetitions={as_code(words['max_repetitions'])} is left out: it runs without end"
        )
    if words.get("raise_exceptions"):
        one.notes.append(
            "raise_exceptions=True ended the repetition at a failure; pause_after=1 does that here"
        )
        one.options["pause_after"] = "1"
