"""The version is written down once, and everything else reads it."""

from __future__ import annotations

import re
from pathlib import Path

from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

import asyncsched
from asyncsched._core.version import VERSION

ROOT = Path(__file__).resolve().parents[2]


def test_the_package_tells_its_version() -> None:
    assert asyncsched.__version__ == VERSION
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)


def test_what_is_built_has_this_version() -> None:
    metadata = ProjectMetadata(str(ROOT), PluginManager())
    assert metadata.version == VERSION


def test_it_stands_in_one_file_only() -> None:
    texts = [*(ROOT / "asyncsched").rglob("*.py"), ROOT / "pyproject.toml"]
    assert [path.name for path in texts if f'"{VERSION}"' in path.read_text("utf-8")] == ["version.py"]


def test_the_changelog_has_it_as_the_newest_version() -> None:
    found = re.findall(
        r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M
    )
    assert found[0] == VERSION


def test_each_version_of_the_changelog_has_each_section_once_and_in_order() -> None:
    order = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
    for part in re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.M)[1:]:
        sections = re.findall(r"^### (.+)$", part, re.M)
        assert sections == [name for name in order if name in sections], part.splitlines()[0]


def test_the_typed_marker_and_the_command_are_declared() -> None:
    metadata = ProjectMetadata(str(ROOT), PluginManager()).core
    assert metadata.scripts == {"asyncsched": "asyncsched.__main__:main"}
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)} <= set(
        metadata.classifiers
    )
    assert "Programming Language :: Python :: 3.14" not in metadata.classifiers  # not before it has been run
