"""What the tests of the stores share."""

import contextlib
from pathlib import Path
from typing import Any

import pytest

# pydantic reads its plugins' entry points when the first model is made: not in a test's event loop.
import asyncsched._core.arguments.codec
from tests.each_store import sqlite_file

# And the statements of the PostgreSQL store are read from their files when it is imported.
with contextlib.suppress(ImportError):
    import asyncsched.stores.postgres  # noqa: F401


@pytest.fixture
def jobs_file(tmp_path: Path) -> Path:
    """Return a SQLite file that has the tables: what a test is about begins after that."""
    return sqlite_file(tmp_path)


def is_taken(stage: Any) -> bool:
    """Whether the writer's thread has taken the request that it was given, and waits for the database."""
    writer = stage.store._writer
    return bool(writer._under_way) and not writer._next and not writer._queue
