"""The README is short, and its map of the code and its promises are looked up; the guide's map of the words, too."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import asyncsched
from tests.docs.pages import GUIDE, PAGES, ROOT, marked, section, text
from tests.structure.measure import PACKAGE, READING_PATH, lines, modules

README = ROOT / "README.md"


def test_the_readme_has_at_most_300_lines() -> None:
    assert lines(README) <= 300


def test_the_readme_leads_to_every_page_of_the_guide() -> None:
    readme = text(README)
    assert [page.name for page in PAGES[1:] if f"](examples/guide/{page.name})" not in readme] == []


def _rows(page: Path, title: str) -> list[str]:
    """Return the rows of the table below a title, with links as from the top of the repository."""
    table = section(page, title).replace("](../../", "](")
    return [line for line in table.splitlines() if line.startswith("| ")][1:]


def test_every_promise_names_tests_that_exist() -> None:
    told, rows = _rows(README, "What it promises"), _rows(GUIDE / "promises.md", "Each with its test")
    assert len(rows) > 30 and len(told) > 5
    assert set(told) <= set(rows)
    assert f"are {len(rows)}" in section(README, "What it promises")
    for row in rows:
        named = re.findall(r"\[`(\w+)`\]\(([\w/.]+)\)", row)
        assert named, f"no test stands in {row}"
        for test, path in named:
            assert f"def {test}(" in (ROOT / path).read_text("utf-8"), f"{path} has no {test}"


def test_the_tree_is_that_of_the_package() -> None:
    drawn = set()
    parents = [PACKAGE.parent]
    for line in marked("tree").splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        path = parents[depth] / line.split()[0]
        parents[depth + 1 :] = [path]
        drawn.add(path)
    assert [path for path in drawn if not path.exists()] == []
    assert {path.parent for path in PACKAGE.rglob("*.py")} == {path for path in drawn if path.is_dir()}
    assert {*PACKAGE.glob("*.py")} - drawn == {PACKAGE / "__init__.py"}


def test_the_firing_is_drawn_with_places_that_exist() -> None:
    steps = [line for line in marked("firing").splitlines() if line.strip() != "↓"]
    places = [word for line in steps for word in line[71:].split()]
    assert len(places) > 10
    assert "\n".join(steps) in text(README)
    assert [place for place in places if place.replace("/", ".") not in modules()] == []


def test_the_reading_path_is_the_one_that_is_measured() -> None:
    said, path = re.findall(
        r"about ([\d,]+) lines in all, show how it works:\n(.*?)\n\n", text(README), re.S
    )[0]
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


@pytest.mark.parametrize("title", ["Words", "Where is it decided?"])
def test_words_and_answers_name_what_stands_in_the_code(title: str) -> None:
    rows = _rows(GUIDE / "how-it-works.md", title)
    assert len(rows) == 12
    for row in rows:
        named = re.findall(r"\[`([\w.]+)`\]\((asyncsched/[\w/]+\.py)\)", row)
        assert named, f"no place stands in {row}"
        assert [name for name, path in named if name not in _defined(path)] == []


def test_the_readme_has_the_twelve_words_and_the_twelve_answers() -> None:
    built = section(README, "How it is built")
    words = [row.split(" | ")[0].strip("| ") for row in _rows(GUIDE / "how-it-works.md", "Words")]
    assert [word for word in words if f"*{word}*" not in built] == []
    assert _rows(GUIDE / "how-it-works.md", "Where is it decided?") == _rows(README, "How it is built")
