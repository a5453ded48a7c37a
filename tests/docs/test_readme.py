"""The README is run: its programs in virtual time, its shell lines checked, its promises looked up.

An HTML comment right above a block says what is done with it: ``app: POST /path; GET /path`` are
requests that the block's app must answer well, ``asyncio`` is for programs whose libraries know no
trio, ``conftest`` belongs to the tests that follow, ``shell: …`` and ``ci: …`` name a shell block. The two of ``ci`` are executed by ``.ci/run``.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

import asyncsched
from asyncsched._scheduler.scheduler import Role
from asyncsched.testing import VirtualClock
from tests.structure.measure import PACKAGE, READING_PATH, lines, modules

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
FENCE = re.compile(r"(?:<!-- (?P<marker>.*?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
A_DAY = 86_400


@dataclass(frozen=True)
class Block:
    line: int
    marker: str
    language: str
    text: str


def blocks(language: str, *, pytest_ones: bool = False) -> list[Any]:
    chosen = []
    for found in FENCE.finditer(README):
        line = README.count("\n", 0, found.start("text")) + 1
        block = Block(line, found["marker"] or "", found["language"], found["text"])
        if block.language == language and ("import pytest" in block.text) == pytest_ones:
            chosen.append(pytest.param(block, id=f"line-{line}"))
    return chosen


@pytest.fixture
def names(
    block: Block, virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> dict[str, Any]:
    """What the block's module level leaves, run with every scheduler in virtual time."""

    class Scheduler(asyncsched.Scheduler):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, clock=virtual_clock, **kwargs)

    monkeypatch.setattr(asyncsched, "Scheduler", Scheduler)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile("\n" * (block.line - 1) + block.text, "README.md", "exec"), names)
    return names


@pytest.mark.anyio
@pytest.mark.parametrize("block", blocks("python"))
async def test_a_program_of_the_readme_runs(
    block: Block, names: dict[str, Any], virtual_clock: VirtualClock, anyio_backend_name: str
) -> None:
    if block.marker == "asyncio" and anyio_backend_name == "trio":
        pytest.skip("SQLAlchemy's async engine is for asyncio")
    if "main" in names:
        await names["main"]()
        return
    async with _started(names) as state:
        for request in block.marker.removeprefix("app: ").split("; ") if block.marker else ():
            await _request(names["app"], state, *request.split(" "))
        await virtual_clock.advance(A_DAY)
        runs = await names["scheduler"].runs(limit=10_000)
        assert {run.state for run in runs} == {"succeeded"}, runs


@asynccontextmanager
async def _started(names: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    if "app" not in names:
        async with names["scheduler"]:
            yield {}
        return
    async with names["app"].router.lifespan_context(names["app"]) as state:
        yield state


async def _request(app: Any, state: dict[str, Any], method: str, path: str) -> None:
    async def with_state(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "state": dict(state)}, receive, send)

    transport = httpx.ASGITransport(app=with_state)
    async with httpx.AsyncClient(transport=transport, base_url="http://readme") as client:
        answer = await client.request(method, path)
        assert answer.is_success, answer.text


def test_the_tests_of_the_readme_pass(pytester: pytest.Pytester) -> None:
    for parameters in blocks("python", pytest_ones=True):
        (block,) = parameters.values
        name = "conftest" if block.marker == "conftest" else f"test_line_{block.line}"
        pytester.makepyfile(**{name: block.text})
    result = pytester.runpytest("-p", "no:cacheprovider", "-p", "no:asyncio")
    result.assert_outcomes(passed=2)  # one test, on asyncio and trio


def test_every_block_is_run_or_checked() -> None:
    markers = {found["language"]: set[str]() for found in FENCE.finditer(README)}
    for found in FENCE.finditer(README):
        markers[found["language"]].add(found["marker"] or "")
    assert set(markers) == {"python", "sh", "text"}
    assert markers["text"] == {"tree", "firing"}
    assert markers["sh"] == {"ci: demo", "ci: tests", "shell: uvicorn", "shell: role", "shell: chaos"}


def test_the_options_given_to_uvicorn_exist() -> None:
    (line,) = re.findall(r"^uvicorn (.*)$", README, re.M)
    described = subprocess.run(
        [sys.executable, "-m", "uvicorn", "--help"], check=True, capture_output=True, text=True
    ).stdout
    options = re.findall(r"--[\w-]+", line)
    assert options
    assert [option for option in options if option not in described] == []


def test_the_options_given_to_chaos_exist() -> None:
    (line,) = re.findall(r"-m tests\.chaos (.*)$", README, re.M)
    described = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--help"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert [word for word in line.split() if not word.isdigit() and word not in described] == []


def test_the_roles_and_extras_named_exist() -> None:
    assert set(re.findall(r"^ASYNCSCHED_ROLE=(\w+)", README, re.M)) <= set(get_args(Role))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = set(re.findall(r'"(?:asyncsched|\.)\[(\w+)\]"', README))
    assert {"examples", "test"} <= named <= set(extras)


def _section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_promise_names_tests_that_exist() -> None:
    table = _section("What it promises")
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 5
    for row in rows:
        named = re.findall(r"\[`(\w+)`\]\(([\w/.]+)\)", row)
        assert named, f"no test stands in {row}"
        for test, path in named:
            assert f"def {test}(" in (ROOT / path).read_text("utf-8"), f"{path} has no {test}"


def test_every_link_leads_to_a_file() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert [target for target in targets if not (ROOT / target).exists()] == []


def _text(marker: str) -> str:
    (text,) = (found["text"] for found in FENCE.finditer(README) if found["marker"] == marker)
    return str(text)


def test_the_tree_is_that_of_the_package() -> None:
    drawn = set[Path]()
    parents = [PACKAGE.parent]
    for line in _text("tree").splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        path = parents[depth] / line.split()[0]
        parents[depth + 1 :] = [path]
        drawn.add(path)
    assert [path for path in drawn if not path.exists()] == []
    assert {path.parent for path in PACKAGE.rglob("*.py")} == {path for path in drawn if path.is_dir()}
    assert {*PACKAGE.glob("*.py")} - drawn == {PACKAGE / "__init__.py"}


def test_the_firing_is_drawn_with_places_that_exist() -> None:
    places = [word for line in _text("firing").splitlines() for word in line[71:].split()]
    assert len(places) > 10
    assert [place for place in places if place.replace("/", ".") not in modules()] == []


def test_the_reading_path_is_the_one_that_is_measured() -> None:
    said, path = re.findall(r"about ([\d,]+) lines in all, show how it works:\n(.*?)\n\n", README, re.S)[0]
    assert [name.replace("/", ".") for name in re.findall(r"\[`(.*?)`\]", path)] == [*READING_PATH]
    assert " → ".join(name.replace(".", "/") for name in READING_PATH) in (asyncsched._core.__doc__ or "")
    known = modules()
    measured = sum(lines(known[name]) for name in READING_PATH)
    assert abs(measured - int(said.replace(",", ""))) < measured / 10


def _defined(path: str) -> set[str]:
    """Return the classes, functions and methods of a file."""
    found = set()
    for node in ast.parse((ROOT / path).read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inside = node.body if isinstance(node, ast.ClassDef) else []
            found.add(node.name)
            found |= {f"{node.name}.{part.name}" for part in inside if hasattr(part, "name")}
    return found


@pytest.mark.parametrize("table", ["| word |", "| question |"])
def test_words_and_answers_name_what_stands_in_the_code(table: str) -> None:
    rows = _section("How it is built").partition(table)[2].partition("\n\n")[0].splitlines()[2:]
    assert len(rows) == 12
    for row in rows:
        named = re.findall(r"\[`([\w.]+)`\]\((asyncsched/[\w/]+\.py)\)", row)
        assert named, f"no place stands in {row}"
        assert [name for name, path in named if name not in _defined(path)] == []
