"""The README and the guide are run: their programs in virtual time, their tests by pytest, their shell lines checked."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast, get_args

import click
import httpx
import pytest
from starlette.routing import Route

import asyncsched
from asyncsched import Scheduler
from asyncsched._scheduler.scheduler import Role
from asyncsched.cli.main import cli
from asyncsched.dashboard import Dashboard
from asyncsched.testing import VirtualClock
from tests.docs.pages import PAGES, ROOT, Block, blocks, text

pytest_plugins = ["pytester"]

A_DAY = 86_400


def _is_a_test(block: Block) -> bool:
    return "import pytest" in block.text or "\ndef test_" in block.text or "conftest" in block.markers


def _programs() -> list[Block]:
    return [block for block in blocks("python") if not _is_a_test(block) and "recipe" not in block.markers]


@pytest.fixture
def in_virtual_time(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> VirtualClock:
    """Give every scheduler of a program the virtual clock, and the program an empty folder."""

    class Scheduler(asyncsched.Scheduler):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, clock=virtual_clock, **kwargs)

    monkeypatch.setattr(asyncsched, "Scheduler", Scheduler)
    monkeypatch.chdir(tmp_path)
    return virtual_clock


def _execute(block: Block, names: dict[str, Any]) -> Any:
    """Run a block at module level, with the lines of its page; return a coroutine where it awaits."""
    source = "\n" * (block.line - 1) + block.text
    return eval(compile(source, str(block.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)


@pytest.fixture
def names(block: Block, in_virtual_time: VirtualClock) -> dict[str, Any]:
    """Return what the module level of a block leaves, executed outside the event loop."""
    if "needs" in block.markers:
        pytest.importorskip(block.markers["needs"])
    names: dict[str, Any] = {"__name__": block.page.stem}
    _execute(block, names)
    return names


@pytest.mark.anyio
@pytest.mark.parametrize("block", [pytest.param(block, id=str(block)) for block in _programs()])
async def test_a_program_runs(
    block: Block, names: dict[str, Any], in_virtual_time: VirtualClock, anyio_backend_name: str
) -> None:
    if "asyncio" in block.markers and anyio_backend_name == "trio":
        pytest.skip("a library of this program is for asyncio")
    if "main" in names:
        await names["main"]()
        return
    async with _started(names) as state:
        for request in filter(None, block.markers.get("app", "").split("; ")):
            await _request(names["app"], state, *request.split(" "))
        if "scheduler" in names:
            await in_virtual_time.advance(A_DAY)
            runs = await names["scheduler"].runs(limit=10_000)
            assert {run.state for run in runs} <= {"succeeded"}, runs


@asynccontextmanager
async def _started(names: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    if "app" in names:
        async with names["app"].router.lifespan_context(names["app"]) as state:
            yield state
    elif "scheduler" in names:
        async with names["scheduler"]:
            yield {}
    else:
        yield {}


async def _request(app: Any, state: dict[str, Any], method: str, path: str) -> None:
    async def with_state(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "state": dict(state or {})}, receive, send)

    transport = httpx.ASGITransport(app=with_state)
    async with httpx.AsyncClient(transport=transport, base_url="http://guide") as client:
        answer = await client.request(method, path)
        assert answer.is_success, answer.text


RECIPES = [block for block in blocks("python") if "recipe" in block.markers]


def _declares(block: Block) -> bool:
    return "@scheduler." in block.text


@pytest.fixture
def declared(in_virtual_time: VirtualClock) -> dict[str, Any]:
    """Return what the recipes declare at module level."""
    names: dict[str, Any] = {"__name__": "recipes"}
    for block in filter(_declares, RECIPES):
        _execute(block, names)
    return names


@pytest.mark.anyio
async def test_the_recipes_are_one_program(declared: dict[str, Any], in_virtual_time: VirtualClock) -> None:
    async with declared["scheduler"] as scheduler:
        for block in RECIPES:
            if not _declares(block) and (rest := _execute(block, declared)) is not None:
                await rest
        await (await scheduler.run_now("rebuild")).wait()
        await in_virtual_time.advance(60)  # a database is asked for news four times a second
        runs = await scheduler.runs()
        assert {run.job for run in runs} == {"sync", "send_mail", "rebuild"}
        assert {run.state for run in runs} == {"succeeded"}, runs


@pytest.mark.parametrize("page", [pytest.param(page, id=page.stem) for page in PAGES])
@pytest.mark.parametrize("plugin", ["anyio", "pytest-asyncio"])
@pytest.mark.blocking_ok  # the tests of a page import on their way
def test_the_tests_of_a_page_pass(page: Path, plugin: str, pytester: pytest.Pytester) -> None:
    ours, expected = plugin == "anyio", 0
    for block in blocks("python", page):
        if _is_a_test(block) and ("pytest-asyncio" in block.markers) is not ours:
            name = "conftest" if "conftest" in block.markers else f"test_line_{block.line}"
            pytester.makepyfile(**{name: block.text})
            runs = 2 if ours else 1  # on asyncio and trio
            expected += runs * len(re.findall(r"^async def test_", block.text, re.M))
            expected += len(re.findall(r"^def test_", block.text, re.M))
    if expected:
        options = ("-p", "no:asyncio") if ours else ("-o", "asyncio_default_fixture_loop_scope=function")
        result = pytester.runpytest("-p", "no:cacheprovider", *options)
        result.assert_outcomes(passed=expected)


SHELL = {"uvicorn", "role", "chaos", "cli"}
"""The shell blocks that a test here looks at."""


def test_every_block_is_run_or_checked() -> None:
    for block in blocks():
        if block.language == "sh":
            assert block.markers.keys() <= {"ci", "shell"}, block
            assert block.markers.get("ci") or block.markers.get("shell") in SHELL, block
        elif block.language == "text":
            assert block.markers.keys() <= {"tree", "firing"}, block
        elif (
            block.language == "js"
        ):  # of the user's own front end: the address that it opens is one of the page's
            address = re.search(r"`/scheduler(/\S+)`", block.text)
            assert address is not None
            path = address[1].replace("${id}", "{id}")
            assert path in [route.path for route in Dashboard(Scheduler()).routes if isinstance(route, Route)]
        else:
            assert block.language == "python" or "file" in block.markers, block
    named = {block.markers["shell"] for block in blocks("sh") if "shell" in block.markers}
    assert named == SHELL


def test_the_two_commands_of_ci_stand_in_the_readme() -> None:
    assert {block.markers["ci"] for block in blocks("sh", PAGES[0]) if "ci" in block.markers} == {
        "demo", "tests",
    }  # fmt: skip


def _described(*command: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", *command, "--help"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


def _all_text() -> str:
    return "\n".join(text(page) for page in PAGES)


def test_the_options_given_to_uvicorn_exist() -> None:
    lines = re.findall(r"^uvicorn (.*)$", _all_text(), re.M)
    options = re.findall(r"--[\w-]+", " ".join(lines))
    described = _described("uvicorn")
    assert options
    assert [option for option in options if option not in described] == []


def test_the_options_given_to_chaos_exist() -> None:
    (line,) = re.findall(r"-m tests\.chaos (.*)$", _all_text(), re.M)
    described = _described("tests.chaos")
    assert [word for word in line.split() if not word.isdigit() and word not in described] == []


def _lines_of_the_command_line() -> list[str]:
    """Return the words after ``asyncsched`` in shell blocks, unit files, crontabs and manifests."""
    found = []
    for block in blocks():
        plain = re.sub(r'", "', " ", block.text) if "file" in block.markers else block.text
        found += (
            re.findall(r"(?:^|-m )asyncsched (.*?)[\"\]]*$", plain, re.M)
            if block.language != "python"
            else []
        )
    return found


@pytest.mark.parametrize("line", _lines_of_the_command_line())
def test_a_line_of_the_command_line_names_a_command_and_options_that_exist(line: str) -> None:
    words = shlex.split(line)
    context, command = click.Context(cli), cast("click.Command", cli)
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None, line
        command = found
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert [
        word for word in words if word.startswith("-") and not re.match(r"-\d", word) and word not in options
    ] == []


def test_the_roles_and_extras_named_exist() -> None:
    assert set(re.findall(r"^ASYNCSCHED_ROLE=(\w+)", _all_text(), re.M)) <= set(get_args(Role))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = set(re.findall(r"(?:asyncsched|\.)\[(\w+)\]", _all_text()))
    assert {"examples", "test"} <= named <= set(extras)


@pytest.mark.parametrize("page", [pytest.param(page, id=page.stem) for page in PAGES])
def test_every_link_leads_to_a_file(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#\s]+)", text(page))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", [pytest.param(page, id=page.stem) for page in PAGES])
def test_every_link_to_a_heading_leads_to_one(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)", text(page)):
        headings = re.findall(r"^#+ (.*)$", text((page.parent / target) if target else page), re.M)
        slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert anchor in slugs, f"{target} has no heading #{anchor}"


def test_the_tour_leads_to_every_page() -> None:
    tour = text(ROOT / "examples/guide/tour.md")
    others = [page.name for page in PAGES[1:] if page.name != "tour.md"]
    assert [name for name in others if f"]({name})" not in tour] == []
