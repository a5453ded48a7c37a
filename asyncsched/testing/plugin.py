"""The pytest plugin. It does nothing until a test uses one of its fixtures.

For tests marked ``anyio``, on both backends, in ``conftest.py`` or in one test module::

    @pytest.fixture
    def anyio_backend(virtual_anyio_backend):
        return virtual_anyio_backend

or, to choose::

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(request, virtual_clock):
        return virtual_backend(request.param, virtual_clock)

Then a test's ``anyio.sleep`` is virtual, and ``virtual_clock`` is the clock of that time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from asyncsched.testing import VirtualClock


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """Return a fresh :class:`asyncsched.testing.VirtualClock` for this test."""
    from asyncsched.testing import VirtualClock

    return VirtualClock()


@pytest.fixture(params=["asyncio", "trio"])
def virtual_anyio_backend(request: pytest.FixtureRequest, virtual_clock: VirtualClock) -> Any:
    """Return the value of an ``anyio_backend`` fixture for virtual time, once for each backend."""
    from asyncsched.testing import virtual_backend

    if request.param == "trio":
        pytest.importorskip("trio")
    return virtual_backend(request.param, virtual_clock)
