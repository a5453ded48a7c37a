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

For tests of pytest-asyncio, in its strict and in its auto mode, in ``conftest.py``::

    from asyncsched.testing.plugin import virtual_loop

    def pytest_asyncio_loop_factories(config, item):
        return {"virtual": virtual_loop}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from asyncsched.testing import VirtualClock


class _Test:
    """The clock of the running test: the fixture and the loop of pytest-asyncio share it, whichever is made first."""

    clock: VirtualClock | None = None

    @classmethod
    def its_clock(cls) -> VirtualClock:
        if cls.clock is None:
            from asyncsched.testing import VirtualClock

            cls.clock = VirtualClock()
        return cls.clock


def pytest_runtest_setup() -> None:
    """Give every test a clock of its own."""
    _Test.clock = None


def virtual_loop() -> AbstractEventLoop:
    """Return an event loop in the time of ``virtual_clock``: a loop factory for pytest-asyncio."""
    return _Test.its_clock().new_event_loop()


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """Return a fresh :class:`asyncsched.testing.VirtualClock` for this test."""
    return _Test.its_clock()


@pytest.fixture(params=["asyncio", "trio"])
def virtual_anyio_backend(request: pytest.FixtureRequest, virtual_clock: VirtualClock) -> Any:
    """Return the value of an ``anyio_backend`` fixture for virtual time, once for each backend."""
    from asyncsched.testing import virtual_backend

    if request.param == "trio":
        pytest.importorskip("trio")
    return virtual_backend(request.param, virtual_clock)
