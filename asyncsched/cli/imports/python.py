"""Python files, read and never executed: calls with their literal arguments."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Code:
    """An argument that is no literal, as it stands in the source."""

    text: str


def value_of(node: ast.expr | None, names: Mapping[str, ast.expr] | None = None) -> Any:
    """Return a literal's value, a ``timedelta``'s, or the source text as :class:`Code`."""
    if node is None:
        return None
    if isinstance(node, ast.Name) and names and node.id in names:
        return value_of(names[node.id])
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        pass
    if isinstance(node, ast.JoinedStr):
        plain = all(not isinstance(one, ast.FormattedValue) or one.format_spec is None for one in node.values)
        parts = [value_of(one.value if isinstance(one, ast.FormattedValue) else one) for one in node.values]
        if plain and all(isinstance(one, str | int) for one in parts):
            return "".join(map(str, parts))
    if isinstance(node, ast.Call) and called(node) == "timedelta":
        given = {word.arg: value_of(word.value) for word in node.keywords}
        spans = [value_of(one) for one in node.args]
        if all(isinstance(one, int | float) for one in [*given.values(), *spans]):
            return timedelta(*spans, **{str(key): one for key, one in given.items()})
    if isinstance(node, ast.BinOp):
        left, right = value_of(node.left, names), value_of(node.right, names)
        if (
            isinstance(left, int | float)
            and isinstance(right, int | float)
            and isinstance(node.op, ast.Mult | ast.Add)
        ):
            return left * right if isinstance(node.op, ast.Mult) else left + right
        if isinstance(left, str) and isinstance(right, str) and isinstance(node.op, ast.Add):
            return left + right
    return Code(ast.unparse(node))


def called(node: ast.expr) -> str:
    """Return the last name of what a call calls: ``add_job`` of ``scheduler.add_job(…)``."""
    target = node.func if isinstance(node, ast.Call) else node
    if isinstance(target, ast.Attribute):
        return target.attr
    return target.id if isinstance(target, ast.Name) else ""


def keywords(node: ast.Call) -> dict[str, ast.expr]:
    """Return the named arguments of a call; ``**{…}`` of literal keys is unfolded."""
    found: dict[str, ast.expr] = {}
    for word in node.keywords:
        found |= {word.arg: word.value} if word.arg is not None else entries(word.value) or {}
    return found


def entries(node: ast.expr | None) -> dict[str, ast.expr] | None:
    """Return the entries of a mapping in the code, ``{…}`` or ``dict(…)``; ``None`` if it is neither."""
    if isinstance(node, ast.Call) and called(node) == "dict" and not node.args:
        return keywords(node)
    if not isinstance(node, ast.Dict):
        return None
    pairs = zip(node.keys, node.values, strict=True)
    return {str(key.value): one for key, one in pairs if isinstance(key, ast.Constant)}


def assigned(tree: ast.Module) -> dict[str, ast.expr]:
    """Return the names that the module gives a value once, at its top level."""
    found: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            found[node.target.id] = node.value
    return found


_MADE = (
    "timedelta", "datetime", "date", "time", "fromisoformat", "timezone", "ZoneInfo", "gettz", "dict", "get_localzone",
    "CronTrigger", "IntervalTrigger", "DateTrigger", "CalendarIntervalTrigger", "OrTrigger", "AndTrigger", "from_crontab",
    "SQLAlchemyJobStore", "MemoryJobStore", "RedisJobStore", "MongoDBJobStore", "ThreadPoolExecutor", "ProcessPoolExecutor",
    "AsyncIOExecutor",
)  # fmt: skip
"""The calls whose value stands in for a name: times, zones, and what a scheduler of APScheduler is made with."""


def constants(tree: ast.Module) -> dict[str, ast.expr]:
    """Return the names that have one value in the module, and no other anywhere in it, with what stands for it."""
    bound = Counter(
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )
    shared = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
    return {
        name: value
        for name, value in assigned(tree).items()
        if bound[name] == 1 and name not in shared and _stands(value)
    }


def _stands(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return called(node) in _MADE
    if isinstance(node, ast.Attribute):
        return node.attr.lower() == "utc"
    plain = ast.Constant | ast.List | ast.Tuple | ast.Set | ast.Dict | ast.UnaryOp | ast.BinOp | ast.JoinedStr
    return isinstance(node, plain)


class _Filled(ast.NodeTransformer):
    """Puts the values of a module's constants where their names stand, and APScheduler's own names for others."""

    def __init__(self, values: Mapping[str, ast.expr], own: Mapping[str, str]) -> None:
        self.values, self.own = values, own
        self._hidden: Collection[str] = ()
        self._within: tuple[str, ...] = ()

    def _function(self, node: ast.AST) -> ast.AST:
        before = self._hidden
        self._hidden = {*before, *(one.arg for one in ast.walk(node) if isinstance(one, ast.arg))}
        self.generic_visit(node)
        self._hidden = before
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _function

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if not isinstance(node.ctx, ast.Load) or node.id in self._hidden or node.id in self._within:
            return node
        if node.id in self.own:
            return ast.copy_location(ast.Name(self.own[node.id], node.ctx), node)
        if node.id not in self.values:
            return node
        before, self._within = self._within, (*self._within, node.id)
        found: ast.AST = self.visit(deepcopy(self.values[node.id]))
        self._within = before
        return found


def filled(tree: ast.Module) -> ast.Module:
    """Return the module with its constants' values in place of their names.

    What is imported from APScheduler under another name gets its own.
    """
    own = {
        name: place.partition(":")[2]
        for name, place in imported_from(tree).items()
        if place.startswith("apscheduler") and place.partition(":")[2] != name
    }
    made: ast.Module = _Filled(constants(tree), own).visit(deepcopy(tree))
    return made


def functions(tree: ast.Module) -> Iterator[FunctionNode]:
    """Yield the functions of a module, those inside others included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imported_from(tree: ast.Module) -> dict[str, str]:
    """Return where the module's imported names come from: ``name`` to ``module:name``."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}:{alias.name}"
    return found


def at_top(tree: ast.Module) -> set[str]:
    """Return the names that another module can import: what stands at the top level, conditions and tries included."""
    found: set[str] = set(assigned(tree))
    rest: list[ast.stmt] = list(tree.body)
    for node in rest:
        if isinstance(node, ast.If | ast.Try):
            rest += node.body
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
    return found


def modules(tree: ast.Module) -> dict[str, str]:
    """Return the modules that are imported whole, by the names that they have: of ``import a.b as c``, ``c``."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name] = alias.name
    return found


def source_of(text: str, node: ast.AST) -> str:
    """Return what stands in the source, without indentation."""
    return ast.get_source_segment(text, node) or ""


def as_code(value: Any) -> str:
    """Return a value as code."""
    return value.text if isinstance(value, Code) else repr(value)
