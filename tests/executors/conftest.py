"""Both backends for every async test here, and a check that nothing is left behind."""

from __future__ import annotations

import pytest

ASYNCIO = pytest.param(("asyncio", {}), id="asyncio")
UVLOOP = pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop")
TRIO = pytest.param(("trio", {}), id="trio")

on_every_loop = pytest.mark.parametrize("anyio_backend", [ASYNCIO, UVLOOP, TRIO])


@pytest.fixture(params=[ASYNCIO, TRIO])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


@pytest.fixture(autouse=True)
def each_test_leaves_nothing_behind(nothing_is_left_behind: None) -> None:
    """The check is for every test here."""
