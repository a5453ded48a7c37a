"""What the tests of the stores share."""

import contextlib
from typing import Any

# pydantic reads its plugins' entry points when the first model is made: not in a test's event loop.
import asyncsched._core.arguments.codec

# And the statements of the PostgreSQL store are read from their files when it is imported.
with contextlib.suppress(ImportError):
    import asyncsched.stores.postgres  # noqa: F401


def is_taken(stage: Any) -> bool:
    """Whether the writer's thread has taken the request that it was given, and waits for the database."""
    writer = stage.store._writer
    return bool(writer._under_way) and not writer._next and not writer._queue
