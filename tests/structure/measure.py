"""The imports between the modules of the package, and the figures of its structure.

Imports are read from the text. Those under ``TYPE_CHECKING`` and those inside functions count, because a reader
of the module has to know them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[2] / "asyncsched"

READING_PATH = (
    "abc", "_core.models", "_core.rules.due", "_core.rules.transitions", "_engine.engine", "_engine.runner",
    "_engine.worker",
)  # fmt: skip
"""The modules that show how it works, in the order in which they are read."""


class Import(NamedTuple):
    """One module of the package importing another."""

    module: str
    target: str
    line: int
    typing: bool = False
    """Whether it stands under ``TYPE_CHECKING``, so that it is not made at run time."""

    def __str__(self) -> str:
        return f"asyncsched.{self.module}:{self.line} imports asyncsched.{self.target}"


def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Return the modules of a package by their name below it; a folder's ``__init__`` by the folder's."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        found[name] = path
    return found


def imports(module: str, known: dict[str, Path]) -> Iterator[Import]:
    """Yield what a module imports of the package."""
    for name, line, typing in _imported(known[module]):
        target = name.removeprefix("asyncsched").removeprefix(".")
        while target and target not in known:
            target = target.rpartition(".")[0]
        yield Import(module, target or "__init__", line, typing)


@cache
def _imported(path: Path) -> list[tuple[str, int, bool]]:
    """Return what a file imports of the package: the name, its line, and whether for type checkers only."""
    tree = ast.parse(path.read_text())
    typing = {inner for node in ast.walk(tree) if _is_type_checking(node) for inner in ast.walk(node)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found += [(name, node.lineno, node in typing) for name in names if name.split(".")[0] == "asyncsched"]
    return found


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def graph(known: dict[str, Path], *, at_run_time: bool = False) -> dict[str, set[str]]:
    """Return which modules each module imports, the ``__init__`` of its own folder left out.

    Args:
        known: the modules.
        at_run_time: whether the imports under ``TYPE_CHECKING`` are left out.

    """

    def targets(name: str) -> set[str]:
        return {one.target for one in imports(name, known) if not (at_run_time and one.typing)} - {name}

    faces = {name for name, path in known.items() if path.name == "__init__.py"}
    found = {}
    for name in known.keys() - faces:
        found[name] = targets(name) - {face for face in faces if name.startswith(f"{face}.")}
    for face in faces & set().union(*found.values()):
        found[face] = targets(face)
    return found


def circles(edges: dict[str, set[str]]) -> list[set[str]]:
    """Return the groups of modules that import one another in a circle (Tarjan's strong components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in edges.get(node, ()):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            group = set(stack[stack.index(node) :])
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(group)

    for node in edges:
        if node not in index:
            visit(node)
    return found


def floors(edges: dict[str, set[str]]) -> dict[str, int]:
    """Return on which floor each module stands: one above the highest that it imports, a circle as one."""
    group_of = {name: frozenset({name}) for name in edges}
    for circle in circles(edges):
        group_of |= dict.fromkeys(circle, frozenset(circle))
    height: dict[frozenset[str], int] = {}

    def floor(group: frozenset[str]) -> int:
        if group not in height:
            below = {group_of[target] for name in group for target in edges[name] if target in group_of}
            height[group] = 1 + max((floor(other) for other in below - {group}), default=0)
        return height[group]

    return {name: floor(group) for name, group in group_of.items()}


def entries(known: dict[str, Path]) -> list[str]:
    """Return the modules and folders at the top of the package: ``__init__`` is one, ``py.typed`` is none."""
    return sorted({name.split(".")[0] for name in known})


def entries_floors(edges: dict[str, set[str]]) -> dict[str, int]:
    """Return the floors of the modules and folders at the top of the package."""
    tops: dict[str, set[str]] = {}
    for name, targets in edges.items():
        top = name.split(".")[0]
        tops.setdefault(top, set()).update(target.split(".")[0] for target in targets)
    return floors({name: targets - {name} for name, targets in tops.items()})


def constructor_parameters(known: dict[str, Path]) -> dict[str, int]:
    """Return how many parameters each class's own ``__init__`` has, ``self`` left out."""
    found = {}
    for module, path in known.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ClassDef):
                continue
            for part in node.body:
                if isinstance(part, ast.FunctionDef) and part.name == "__init__":
                    given = part.args.posonlyargs + part.args.args + part.args.kwonlyargs
                    found[f"{module}.{node.name}"] = len(given) - 1
    return found


def lines(path: Path) -> int:
    """Return how many lines a file has."""
    return len(path.read_text().splitlines())
