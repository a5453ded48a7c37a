"""The durable stores as parameters of fixtures, each on one backend.

The conformance suite holds every store on both. What a test asks of the database itself, or of a
scheduler over it, does not depend on the backend, and every virtual hour costs hundreds of real round trips.
"""

from __future__ import annotations

import pytest

on_trio, on_asyncio = pytest.mark.only_on("trio"), pytest.mark.only_on("asyncio")

SQLITE = pytest.param("sqlite", marks=on_trio)
POSTGRES = pytest.param("postgres", marks=on_asyncio)
