"""The durable stores as parameters of fixtures, each on one backend.

The conformance suite holds every store on both. What a test asks of the database itself, or of a
scheduler over it, does not depend on the backend, and every virtual hour costs hundreds of real round trips.
"""

from __future__ import annotations

import contextlib

import pytest

# The statements of the PostgreSQL store are read from their files when it is imported: not in a test's event loop.
with contextlib.suppress(ImportError):
    import asyncsched.stores.postgres  # noqa: F401

on_trio, on_asyncio = pytest.mark.only_on("trio"), pytest.mark.only_on("asyncio")

SQLITE = pytest.param("sqlite", marks=on_trio)
POSTGRES = pytest.param("postgres", marks=on_asyncio)
