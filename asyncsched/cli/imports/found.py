"""What was found in a file of another scheduler, and the code that is made of it."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Found:
    """One schedule that was found.

    Attributes:
        name: of the function or schedule, unique in the file.
        where: the place in the source, such as ``line 3``.
        source: what stands there.
        trigger: the trigger as an expression, such as ``Cron("0 7 * * *")``; ``""`` if it cannot be carried over.
        body: the lines of the function; without them, ``call`` names a function that is imported.
        call: ``module:function`` of an existing function.
        options: further arguments of the decorator, as code.
        notes: differences in meaning.
        fault: why it cannot be carried over.

    """

    name: str
    where: str
    source: str
    trigger: str = ""
    body: tuple[str, ...] = ()
    call: str = ""
    options: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    fault: str = ""


@dataclass
class Imported:
    """All that was found in a file: the schedules, and notes that hold for all of them."""

    kind: str
    schedules: list[Found] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    head: list[str] = field(default_factory=list)
    """Lines of code before the first schedule."""
    imports: set[str] = field(default_factory=set)

    def note(self, text: str) -> None:
        """Keep a note that holds for all, once."""
        if text not in self.notes:
            self.notes.append(text)


def name_of(text: str, taken: Iterable[str]) -> str:
    """Return a name for a function that says what ``text`` does, and is not taken."""
    words = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_").lower()[:40].strip("_") or "job"
    if words[0].isdigit() or keyword.iskeyword(words):
        words = f"job_{words}"
    known, name, number = set(taken), words, 2
    while name in known:
        name, number = f"{words}_{number}", number + 1
    return name


def written(found: Imported, source: str, store: str | None) -> str:
    """Return runnable code for what was found."""
    good = [one for one in found.schedules if one.trigger]
    names = sorted({"Scheduler", *(name for one in good for name in _names_in(one))})
    calls = [one.call for one in good if one.call]
    imports = found.imports | ({"from functools import partial"} if len(set(calls)) < len(calls) else set())
    lines = [f'"""Schedules that were imported from {found.kind} ({source})."""', ""]
    lines += sorted(imports, key=lambda line: (line.startswith("from"), line))
    lines += [""] if imports else []
    lines += [f"from asyncsched import {', '.join(names)}", ""]
    lines += [
        f"from {module} import {', '.join(sorted(their))}" for module, their in sorted(_modules(good).items())
    ]
    lines += ["" for _ in calls[:1]]
    lines += [f"scheduler = Scheduler({'' if store is None else repr(store)})", *found.head]
    seen: set[str] = set()
    for one in found.schedules:
        again = one.call != "" and one.call in seen
        lines += (
            ["", "", *_schedule(one, again)] if one.body or not one.trigger else ["", *_schedule(one, again)]
        )
        seen |= {one.call} if one.trigger else set()
    lines += [
        "", "", 'if __name__ == "__main__":', "    import anyio", "", "    anyio.run(scheduler.run_forever)", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _modules(good: list[Found]) -> dict[str, set[str]]:
    """Return the modules of the functions that are called, each with their names."""
    found: dict[str, set[str]] = {}
    for one in good:
        if one.call:
            module, _, path = one.call.partition(":")
            found.setdefault(module, set()).add(path.partition(".")[0])
    return found


def _names_in(one: Found) -> list[str]:
    text = " ".join([one.trigger, *one.options.values()])
    return [
        name
        for name in ("AnyOf", "At", "Cron", "Interval", "Limit", "Misfire", "Retry")
        if f"{name}(" in text
    ]


def _schedule(one: Found, again: bool) -> list[str]:
    lines = [
        f"# {one.where}: {part}" if not number else f"#   {part}"
        for number, part in enumerate(one.source.splitlines()[:6])
    ]
    if not one.trigger:
        return [*lines, f"# not imported: {one.fault}"]
    lines += [f"# ! {note}" for note in one.notes]
    options = "".join(f", {key}={value}" for key, value in one.options.items())
    if one.body:
        return [
            *lines,
            f"@scheduler.job({one.trigger}{options})",
            f"def {one.name}() -> None:",
            *(f"    {line}" for line in one.body),
        ]
    function = one.call.partition(":")[2]
    if again:  # one function can be one job only
        return [*lines, f"scheduler.job({one.trigger}, name={one.name!r}{options})(partial({function}))"]
    return [*lines, f"scheduler.job({one.trigger}{options})({function})"]
