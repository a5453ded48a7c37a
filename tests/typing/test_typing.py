"""Both type checkers read ``api.py``: what must be right is, and what must be wrong is an error."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(180)  # the first time mypy reads everything it meets, and pyright fetches itself
@pytest.mark.parametrize(
    "checker, arguments",
    [
        ("mypy", ["--follow-imports=silent", "tests/typing/api.py"]),
        ("pyright", ["--pythonpath", sys.executable, "--project", "tests/typing"]),
    ],
)
def test_the_usage_file_is_as_its_marks_say(checker: str, arguments: list[str]) -> None:
    if importlib.util.find_spec(checker) is None:  # `.ci/run` has both
        pytest.skip(f"{checker} is not installed: pip install asyncsched[lint]")
    done = subprocess.run(
        [sys.executable, "-m", checker, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
