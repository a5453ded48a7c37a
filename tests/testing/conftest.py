"""Every test here that is marked ``anyio`` runs in virtual time on both backends."""

from __future__ import annotations

from typing import Any

import pytest

from asyncsched.testing.plugin import virtual_anyio_backend as virtual_anyio_backend
from asyncsched.testing.plugin import virtual_clock as virtual_clock


@pytest.fixture
def anyio_backend(virtual_anyio_backend: Any) -> Any:
    return virtual_anyio_backend


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> Any:
    """The backend's name, for tests that start their runs themselves."""
    return request.param
