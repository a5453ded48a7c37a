"""The reference has every public name, option, setting, metric, event, error and command, made from the code."""

from __future__ import annotations

import re

import pytest

from tests.docs.reference import ENVIRONMENT, MODULES, NAMES, PAGE, error_classes, page, public
from tests.structure.measure import PACKAGE

MADE, WRITTEN = page(), PAGE.read_text("utf-8")
ANEW = "make it anew: python -m tests.docs.reference"


def test_every_public_name_stands_in_the_reference_and_no_other() -> None:
    assert re.findall(r"^## (\w+)$", WRITTEN, re.M) == NAMES, ANEW


def test_it_has_the_headings_that_the_code_gives() -> None:
    headings = re.compile(r"^#+ .*$", re.M)
    assert headings.findall(WRITTEN) == headings.findall(MADE), ANEW


@pytest.mark.parametrize(
    "table", ["options of a job", "settings of a scheduler", "metrics", "errors", "commands"]
)
def test_its_tables_are_those_of_the_code(table: str) -> None:
    def rows(text: str) -> list[str]:
        found = text.partition(f"\n## All {table}\n")[2].partition("\n## ")[0]
        return [line.split(" | ")[0] for line in found.splitlines() if line.startswith("| ")]

    assert len(rows(MADE)) > 5
    assert rows(WRITTEN) == rows(MADE), ANEW


@pytest.mark.parametrize(
    "heading",
    [
        "### Scheduler.schedule_once",
        "### Scheduler.stop",
        "### RunHandle.result",
        "### RunFinished of asyncsched.events",
    ],
)
def test_the_calls_of_a_class_stand_below_it(heading: str) -> None:
    assert f"\n{heading}\n" in MADE
    assert f"\n{heading}\n" in WRITTEN


def test_each_name_is_explained() -> None:
    """A block is a signature, an empty line and the docstring."""
    blocks = re.findall(r"^#+ (\w[\w.]*)(?: of [\w.]+)?\n\n```text\n(.*?)\n```", WRITTEN, re.M | re.S)
    assert len(blocks) > 150
    assert [name for name, text in blocks if not text.partition("\n\n")[2].strip()] == []


def test_every_variable_that_is_read_from_the_environment_is_told() -> None:
    code = "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    named = set(re.findall(r"ASYNCSCHED_[A-Z]+(?:_[A-Z]+)*", code)) - {
        "ASYNCSCHED_COMPLETE"
    }  # of the completion
    assert named == set(ENVIRONMENT)
    assert [name for name in ENVIRONMENT if f"`{name}` | " not in WRITTEN] == []


def test_the_errors_are_public() -> None:
    assert {one.__name__ for one in error_classes()} - set(NAMES) == set()


def test_each_module_of_the_reference_has_names() -> None:
    assert [module for module in MODULES if not public(module)] == []
