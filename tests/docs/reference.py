"""Write the reference from the docstrings: ``python -m tests.docs.reference`` makes ``examples/guide/reference.md`` anew."""

from __future__ import annotations

import inspect
from typing import Any

import asyncsched
from tests.docs.pages import GUIDE

PAGE = GUIDE / "reference.md"
NAMES = [name for name in asyncsched.__all__ if not name.startswith("_")]


def page() -> str:
    """Return the reference: every public name with its signature and its docstring, and the methods of classes."""
    parts = [
        "# Reference\n\nEvery public name of `asyncsched`, made from its docstrings by `python -m tests.docs.reference`. "
        "The protocols\nfor parts of your own stand in [`asyncsched.abc`](../../asyncsched/abc.py), the events in\n"
        "[`asyncsched.events`](../../asyncsched/events.py), and the commands on [The command line](cli.md).\n"
    ]
    for name in NAMES:
        thing = getattr(asyncsched, name)
        parts.append(f"## {name}\n\n{_block(name, thing)}")
        for method, found in sorted(_methods(thing).items()):
            parts.append(f"### {name}.{method}\n\n{_block(method, found)}")
    return "\n".join(parts)


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
