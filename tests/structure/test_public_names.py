"""What is public: the names of ``asyncsched``, each documented, and what importing them brings along."""

from __future__ import annotations

import ast
import importlib
import inspect
import pydoc
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import asyncsched

PUBLIC = [name for name in asyncsched.__all__ if not name.startswith("_")]

CONTRACT = """
AnyOf At Cron Discard Interval Limit Misfire Provide RateLimit Retry Run RunCancelled RunFailed RunHandle
RunLost RunTimedOut Schedule Scheduler SchedulerClosed Snooze StoreUnavailable TryAgain current_run
"""
"""The names that the contract of the library speaks of."""


def test_every_name_of_the_contract_is_there() -> None:
    assert set(CONTRACT.split()) <= set(PUBLIC)


@pytest.mark.parametrize(
    "module, public", [("_core.errors", "asyncsched"), ("_core.events", "asyncsched.events")]
)
def test_every_error_and_event_has_its_public_name(module: str, public: str) -> None:
    where = importlib.import_module(f"asyncsched.{module}")
    made = {name for name, value in vars(where).items() if getattr(value, "__module__", "") == where.__name__}
    known = set(dir(importlib.import_module(public)))
    assert {name for name in made if inspect.isclass(getattr(where, name))} <= known


def test_the_public_names_are_few() -> None:
    assert len(PUBLIC) <= 50


def test_names_are_exported_as_themselves_and_sorted() -> None:
    tree = ast.parse(Path(asyncsched.__file__).read_text())
    (typed,) = [node for node in tree.body if isinstance(node, ast.If)]
    lines = [node for node in typed.body if isinstance(node, ast.ImportFrom)]
    exported = [(alias.name, alias.asname) for node in lines for alias in node.names]
    assert all(name == asname for name, asname in exported)
    assert sorted(name for name, _ in exported) == sorted(PUBLIC)
    assert list(asyncsched.__all__) == sorted([*PUBLIC, "__version__"])
    modules = [node.module or "" for node in lines]
    assert modules == sorted(modules)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_name_is_found_where_type_checkers_see_it(name: str) -> None:
    tree = ast.parse(Path(asyncsched.__file__).read_text())
    lines = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    (module,) = [node.module for node in lines if name in {alias.name for alias in node.names}]
    assert getattr(asyncsched, name) is getattr(importlib.import_module(module or ""), name)


def test_a_star_import_gives_the_public_names() -> None:
    found: dict[str, Any] = {}
    exec("from asyncsched import *", found)
    assert set(PUBLIC) <= set(found)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_thing_is_documented(name: str) -> None:
    thing = getattr(asyncsched, name)
    assert (inspect.getdoc(thing) or "").strip()
    if inspect.isclass(thing):
        assert list(undocumented(thing)) == []


def undocumented(cls: type) -> list[str]:
    """Return the public methods and properties of a class of ours that have no docstring of their own."""
    found = []
    for base in cls.__mro__:
        if not base.__module__.startswith("asyncsched"):
            continue
        for name, member in vars(base).items():
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if name.startswith("_") or not inspect.isfunction(function):
                continue
            if not inspect.getdoc(getattr(cls, name)):
                found.append(f"{base.__name__}.{name}")
    return found


@pytest.mark.parametrize(
    "room", ["abc", "asgi", "events", "views", "executors", "stores", "testing", "triggers", "policies"]
)
def test_a_public_room_is_documented(room: str) -> None:
    module = importlib.import_module(f"asyncsched.{room}")
    assert module.__doc__
    for name in getattr(module, "__all__", ()):
        assert inspect.getdoc(getattr(module, name)), name


def test_help_shows_every_public_name_and_the_version() -> None:
    shown = pydoc.plain(pydoc.render_doc(asyncsched))
    assert [name for name in PUBLIC if f"class {name}(" not in shown and f"{name}(" not in shown] == []
    assert f"VERSION\n    {asyncsched.__version__}" in shown


HEAVY = {
    "fastapi": "only asyncsched.asgi's dependency needs it",
    "starlette": "only asyncsched.asgi and the dashboard need it",
    "jinja2": "only the dashboard needs it",
    "sqlite3": "only the SQLite store needs it",
    "psycopg": "only the PostgreSQL store needs it",
    "pydantic": "only arguments that go through JSON need it",
    "trio": "only who runs on it needs it",
    "uvloop": "the same",
    "subprocess": "only the process executor needs it",
    "multiprocessing": "nobody needs it",
    "pickle": "only the process executor needs it",
    "cloudpickle": "the same",
    "pytest": "only asyncsched.testing's plugin needs it",
    "httpx": "only examples and tests need it",
    "croniter": "only a cron expression needs it",
}
"""What ``import asyncsched`` must not bring along, and who needs it."""


def test_importing_it_brings_nothing_heavy_along() -> None:
    # asyncio itself imports subprocess; only what comes on top of it counts.
    code = (
        "import asyncio, anyio, sys; before = set(sys.modules); from asyncsched import *; Scheduler(); "
        f"print(*sorted(({set(HEAVY)!r} & set(sys.modules)) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


FIRST_USE = """
import sys, threading

import asyncsched

loaded = {name for name in sys.modules if name.startswith("asyncsched.")}
assert loaded <= {"asyncsched._core", "asyncsched._core.version"}, loaded
assert {"Scheduler", "events", "__version__"} <= set(dir(asyncsched))

found, ready = [], threading.Barrier(4)

def use():
    ready.wait()
    found.append([getattr(asyncsched, name) for name in asyncsched.__all__])

threads = [threading.Thread(target=use) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(found) == 4 and found[0] == found[1] == found[2] == found[3]
assert asyncsched.triggers.Cron is asyncsched.Cron
"""


def test_names_are_imported_when_first_used_by_several_threads_at_once() -> None:
    subprocess.run([sys.executable, "-c", FIRST_USE], check=True)


@pytest.mark.parametrize("name", ["nonsense", "currentscheduler"])
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    from asyncsched import asgi

    for module in (asyncsched, asgi):
        with pytest.raises(AttributeError, match=name):
            getattr(module, name)
