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
        needs: what the options name, as ``module:name``.
        imports: lines that import what the options name whole.
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
    needs: set[str] = field(default_factory=set)
    imports: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    fault: str = ""


@dataclass(frozen=True)
class CallFound:
    """A call that changes schedules while the program runs, and what to write in its place."""

    line: int
    source: str
    told: str


@dataclass
class Imported:
    """All that was found in a file: the schedules, and notes that hold for all of them."""

    kind: str
    schedules: list[Found] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    head: list[str] = field(default_factory=list)
    """Lines of code before the first schedule."""
    imports: set[str] = field(default_factory=set)
    store: str = ""
    """The URL of the store that does what the old one did; ``""`` for memory."""
    store_notes: list[str] = field(default_factory=list)
    """Notes on the old store, for a program that is not given another one."""
    calls: list[CallFound] = field(default_factory=list)

    def names_from(self, module: str) -> list[str]:
        """Return what the code imports from a module: functions, and what options name."""
        good = [one for one in self.schedules if one.trigger]
        places = [place for one in good for place in (one.call, *sorted(one.needs))]
        return list(
            dict.fromkeys(place.partition(":")[2] for place in places if place.startswith(f"{module}:"))
        )

    def notes_on_store(self) -> list[str]:
        """Return the notes on the old store, and what becomes of the jobs where none could be taken over."""
        if not self.store_notes or self.store:
            return self.store_notes
        lost = "without --store, such as sqlite:///jobs.db, the schedules are in memory, and one-offs that wait are lost at a restart"
        return [*self.store_notes, lost]

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


_HOMES = {
    "asyncsched": ("AnyOf", "At", "Cron", "Interval", "Limit", "Misfire", "Retry"),
    "asyncsched.triggers": ("Every",),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
}
"""The modules of the names that triggers and options are written with."""


def written(found: Imported, source: str, store: str | None) -> str:
    """Return runnable code for what was found; without ``store`` it has the store that was found."""
    good = [one for one in found.schedules if one.trigger]
    calls = [one.call for one in good if one.call]
    url = found.store or None if store is None else store
    used = _imported(good)
    used["asyncsched"].add("Scheduler")
    if len(set(calls)) < len(calls):
        used.setdefault("functools", set()).add("partial")
    own = {module: names for module, names in used.items() if not module.startswith("asyncsched")}
    lines = [f'"""Schedules that were imported from {found.kind} ({source})."""', ""]
    first = found.imports.union(*(one.imports for one in good)) | {
        f"from {module} import {', '.join(sorted(names))}" for module, names in own.items()
    }
    lines += sorted(first, key=lambda line: (line.startswith("from"), line))
    lines += [""] if first else []
    lines += [
        f"from {module} import {', '.join(sorted(used[module]))}"
        for module in sorted(used)
        if module not in own
    ]
    functions = _functions(good)
    lines += ["", *_import_lines(good, functions)]
    lines += ["" for _ in calls[:1]]
    lines += [f"scheduler = Scheduler({'' if url is None else repr(url)})", *found.head]
    seen: set[str] = set()
    ids = {one.options["id"].strip("'\"") for one in good if "id" in one.options}
    names = set(map(_last, calls))
    for one in found.schedules:
        lines += ["", ""] if one.body or not one.trigger else [""]
        lines += _schedule(one, functions, seen, names, ids)
    lines += [
        "", "", 'if __name__ == "__main__":', "    import anyio", "", "    anyio.run(scheduler.run_forever)", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _imported(good: list[Found]) -> dict[str, set[str]]:
    """Return what triggers and options are written with, by module."""
    text = " ".join(part for one in good for part in [one.trigger, *one.options.values()])
    found: dict[str, set[str]] = {"asyncsched": set()}
    for module, names in _HOMES.items():
        used = {name for name in names if re.search(rf"(?<![\w.]){name}(\(|\.fromisoformat|\.utc)", text)}
        if used:
            found.setdefault(module, set()).update(used)
    return found


def _functions(good: list[Found]) -> dict[str, str]:
    """Return the names that the functions have in the code; one that another module has as well is told by its module."""
    found: dict[str, str] = {}
    for call in dict.fromkeys(one.call for one in good if one.call):
        module, _, path = call.partition(":")
        root = path.partition(".")[0]
        others = {other.partition(":")[0] for other in found if found[other].partition(".")[0] == root}
        own = root if others <= {module} else f"{module.replace('.', '_')}_{root}"
        found[call] = own + path.removeprefix(root)
    return found


def _import_lines(good: list[Found], functions: dict[str, str]) -> list[str]:
    """Return the lines that import the functions and what the options name, by module."""
    found: dict[str, set[str]] = {}
    for call, own in functions.items():
        module, _, path = call.partition(":")
        name, own = path.partition(".")[0], own.partition(".")[0]
        found.setdefault(module, set()).add(name if own == name else f"{name} as {own}")
    for place in {place for one in good for place in one.needs}:
        module, _, name = place.partition(":")
        if name not in _HOMES.get(module, ()):
            found.setdefault(module, set()).add(name)
    return [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(found.items())]


def _last(call: str) -> str:
    """Return the name of a function, which its job has if it is given none."""
    return call.partition(":")[2].rpartition(".")[2]


def _schedule(
    one: Found, functions: dict[str, str], seen: set[str], names: set[str], ids: set[str]
) -> list[str]:
    """Return the code of one schedule.

    Args:
        one: what was found.
        functions: the names of functions in the code.
        seen: the functions that have a job; this one is added.
        names: what is taken as a job's name; this one's is added.
        ids: those that schedules were given.

    """
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
    function, named = functions[one.call], _last(one.call)
    again = one.call in seen  # one function can be one job only
    taken = {*map(_last, seen), *(ids if "id" not in one.options else ())}
    seen.add(one.call)
    if not again and named not in taken:
        return [*lines, f"scheduler.job({one.trigger}{options})({function})"]
    name = name_of(one.name, names if "id" in one.options else names | ids)
    names.add(name)
    called = f"partial({function})" if again else function
    return [*lines, f"scheduler.job({one.trigger}, name={name!r}{options})({called})"]
