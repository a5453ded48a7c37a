"""What the tests of the stores share."""

import contextlib

# pydantic reads its plugins' entry points when the first model is made: not in a test's event loop.
import asyncsched._core.arguments.codec

# And the statements of the PostgreSQL store are read from their files when it is imported.
with contextlib.suppress(ImportError):
    import asyncsched.stores.postgres  # noqa: F401
