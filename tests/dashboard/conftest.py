"""A scheduler in virtual time with the page mounted, and clients that call it as a browser and a program would."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from asyncsched import Scheduler
from asyncsched.dashboard import Dashboard
from asyncsched.testing import VirtualClock

WRITES = {"X-Asyncsched": "1", "Sec-Fetch-Site": "same-origin"}
"""The headers that the page's own script sends with every write."""


@asynccontextmanager
async def looking(
    scheduler: Scheduler, *, mount: str = "/scheduler", headers: dict[str, str] | None = None,
    client: tuple[str, int] = ("127.0.0.1", 5000), host: str = "127.0.0.1:8000", **options: Any,
) -> AsyncIterator[httpx.AsyncClient]:  # fmt: skip
    """Mount the page of a scheduler, and return a client of it."""
    app = Starlette()
    app.mount(mount, Dashboard(scheduler, **options))
    transport = httpx.ASGITransport(app, client=client)
    async with httpx.AsyncClient(
        transport=transport, base_url=f"http://{host}{mount}", headers={**WRITES, **(headers or {})}
    ) as found:
        yield found


Look = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def look() -> Look:
    return looking


@pytest.fixture
def scheduler(virtual_clock: VirtualClock) -> Scheduler:
    return Scheduler(clock=virtual_clock)
