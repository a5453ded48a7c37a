"""Wheel and sdist carry every file of the package: `py.typed`, the SQL, and whatever comes."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).resolve().parents[2]
NOT_SHIPPED = {"__pycache__", ".pyc"}


def _built(builder: Any, folder: Path) -> Path:
    (artifact,) = builder(str(ROOT)).build(directory=str(folder))
    return Path(artifact)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    with zipfile.ZipFile(_built(WheelBuilder, tmp_path_factory.mktemp("wheel"))) as file:
        return set(file.namelist())


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    with tarfile.open(_built(SdistBuilder, tmp_path_factory.mktemp("sdist"))) as file:
        return {name.partition("/")[2] for name in file.getnames()}


@pytest.fixture(scope="module")
def package() -> set[str]:
    files = (path for path in (ROOT / "asyncsched").rglob("*") if path.is_file())
    return {
        path.relative_to(ROOT).as_posix() for path in files if not NOT_SHIPPED & {*path.parts, path.suffix}
    }


def test_the_wheel_is_the_whole_package_and_nothing_else(wheel: set[str], package: set[str]) -> None:
    assert {name for name in wheel if ".dist-info/" not in name} == package
    assert "asyncsched/py.typed" in wheel


def test_the_wheel_carries_the_licence_and_the_pytest_plugin(wheel: set[str]) -> None:
    names = {name.partition(".dist-info/")[2] for name in wheel}
    assert {"licenses/LICENSE", "entry_points.txt"} <= names


def test_the_sdist_carries_the_package_its_tests_and_its_documents(
    sdist: set[str], package: set[str]
) -> None:
    assert package <= sdist
    assert {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "tests/conftest.py"} <= sdist
    assert {"examples/minimal.py", "examples/uptime/page.html"} <= sdist
    assert [name for name in sdist if NOT_SHIPPED & {*Path(name).parts, Path(name).suffix}] == []
