"""The house keeps its layers: every module imports only what stands above it, and only one reads a clock."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "asyncsched"

LAYERS = {
    "words": "abc _models _events _errors _instants _ids _ledger _cluster _context _version",
    "plain": "_clock _functions _json _pieces _plan _spawn _server _port _timers _seats",
    "rooms": "triggers policies executors stores observers",
    "machine": "_hub _steps _engine _recorder _runner _live _outcome _keeper _handle _progress _views _jobs _codec _carry _explain",
    "face": "__init__ _scheduler _declare _once _enqueue _operate _by_hand _look _scope _registry _options _machine _chain _line _deploy",
    "surfaces": "asgi dashboard cli testing __main__",
}
ORDER = list(LAYERS)
LAYER = {name: layer for layer, names in LAYERS.items() for name in names.split()}

CLOCKS = {
    "_clock": "the door",
    "executors._process_link": "how long a process has to answer and to die, a matter of the machine's own time",
    "executors.stall": "how long the machine's own loop stands still, which its clock cannot tell",
    "stores._postgres_hints": "how long a thread sleeps between two looks at a connection",
    "stores._schema": "how long a thread waits for a database that is locked or away",
    "stores._sqlite_file": "how long a thread waits for a file's lock",
    "stores._worker": "how long a thread took to write a batch",
    "stores.postgres": "how old the server's last answer is",
    "testing._asyncio_loop": "how long virtual time may stand still for real work",
    "testing._trio_clock": "the same for trio",
}
"""Modules that may read a clock, and why. Whatever is about schedules goes through ``_clock``."""


class Import(NamedTuple):
    module: str
    target: str
    line: int
    deferred: bool
    """Whether it happens in a function, when that is called."""

    def __str__(self) -> str:
        return f"asyncsched.{self.module}:{self.line} imports asyncsched.{self.target}"


def modules() -> dict[str, Path]:
    """Return the modules of the package by their name below it."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        found[name] = path
    return found


MODULES = modules()


def statements(node: ast.AST, deferred: bool = False) -> Iterator[tuple[ast.stmt, bool]]:
    """Yield every import statement that can happen at run time, and whether it stands in a function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from statements(ast.Module([other], []), deferred)
        elif isinstance(child, ast.Import | ast.ImportFrom):
            yield child, deferred
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from statements(child, deferred or inside)


def imports(module: str) -> Iterator[Import]:
    """Yield what a module imports of the package."""
    for node, deferred in statements(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            assert isinstance(node, ast.ImportFrom)
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] != "asyncsched":
                continue
            target = name.removeprefix("asyncsched").removeprefix(".")
            while target and target not in MODULES:
                target = target.rpartition(".")[0]
            yield Import(module, target or "__init__", node.lineno, deferred)


def allowed(one: Import) -> bool:
    """Whether an import keeps the rule."""
    above, below = (LAYER.get(name.split(".")[0], "words") for name in (one.target, one.module))
    if above == below == "rooms":
        return one.target.split(".")[0] == one.module.split(".")[0]
    if below == "machine" and above == "rooms":
        return False
    return ORDER.index(above) <= ORDER.index(below)


def test_every_module_has_its_layer() -> None:
    homeless = {name.split(".")[0] for name in MODULES} - set(LAYER)
    assert not homeless, "say in LAYERS where it stands"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_stands_above_it(module: str) -> None:
    wrong = [str(one) for one in imports(module) if not allowed(one)]
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: {one.target for one in imports(name) if not one.deferred} - {name} for name in MODULES}
    # Importing a part of a folder imports the folder, and that may import the part: no circle of ours.
    for name, targets in graph.items():
        targets -= {parent for parent in targets if name.startswith(f"{parent}.")}
    while leaves := [name for name, targets in graph.items() if not targets]:
        for name in leaves:
            del graph[name]
        for targets in graph.values():
            targets.difference_update(leaves)
    assert graph == {}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_reads_no_clock_but_through_the_door(module: str) -> None:
    if module in CLOCKS:
        return
    assert list(clock_readings(MODULES[module].read_text())) == []


def clock_readings(source: str) -> Iterator[str]:
    """Yield where a clock is read: any use of ``time``, and what asks for now or today."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import) and any(alias.name == "time" for alias in node.names):
            yield f"{node.lineno}: import time"
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield f"{node.lineno}: from time import"
        elif isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today"):
            if ast.unparse(node.value) in ("datetime", "datetime.datetime", "date", "datetime.date"):
                yield f"{node.lineno}: {ast.unparse(node)}"


def test_those_that_may_read_a_clock_do() -> None:
    idle = [
        module for module in CLOCKS
        if module in MODULES and not list(clock_readings(MODULES[module].read_text()))
    ]  # fmt: skip
    assert idle == []


@pytest.mark.parametrize(
    "module, target, fine",
    [
        ("_engine", "stores.memory", False),
        ("_engine", "_plan", True),
        ("_plan", "_engine", False),
        ("stores.sqlite", "stores._sql", True),
        ("stores.sqlite", "triggers.cron", False),
        ("_scheduler", "asgi", False),
        ("testing.plugin", "stores.memory", True),
    ],
)
def test_the_rule_knows_right_from_wrong(module: str, target: str, fine: bool) -> None:
    assert allowed(Import(module, target, 1, False)) is fine


@pytest.mark.parametrize(
    "source, read",
    [
        ("import time", True),
        ("from time import monotonic", True),
        ("datetime.now(UTC)", True),
        ("datetime.datetime.utcnow()", True),
        ("date.today()", True),
        ("clock.now()", False),
        ("from datetime import time", False),
    ],
)
def test_reading_a_clock_is_seen(source: str, read: bool) -> None:
    assert bool(list(clock_readings(source))) is read
