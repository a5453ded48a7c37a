"""Python files, read and never executed: calls with their literal arguments."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
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
    if isinstance(node, ast.Call) and called(node) == "timedelta":
        given = {word.arg: value_of(word.value) for word in node.keywords}
        parts = [value_of(one) for one in node.args]
        if all(isinstance(one, int | float) for one in [*given.values(), *parts]):
            return timedelta(*parts, **{str(key): one for key, one in given.items()})
    if isinstance(node, ast.BinOp):
        left, right = value_of(node.left, names), value_of(node.right, names)
        if (
            isinstance(left, int | float)
            and isinstance(right, int | float)
            and isinstance(node.op, ast.Mult | ast.Add)
        ):
            return left * right if isinstance(node.op, ast.Mult) else left + right
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
        if word.arg is not None:
            found[word.arg] = word.value
        elif isinstance(word.value, ast.Dict):
            for key, one in zip(word.value.keys, word.value.values, strict=True):
                if isinstance(key, ast.Constant):
                    found[str(key.value)] = one
    return found


def assigned(tree: ast.Module) -> dict[str, ast.expr]:
    """Return the names that the module gives a value once, at its top level."""
    found: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            found[node.target.id] = node.value
    return found


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
