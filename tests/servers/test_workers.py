"""A server with several worker processes, and a scheduler in memory: each process is for itself, and says so.

Real time, because servers are other processes.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.servers.conftest import Server
from tests.waiting import until

pytestmark = pytest.mark.real_time

SAID = "this is one of {} worker processes, and each keeps its schedules and runs in its own memory"


@pytest.mark.parametrize("kind", ["uvicorn-asyncio", "gunicorn-uvicorn", "gunicorn-asgi"])
def test_worker_processes_without_a_store_are_warned_of(kind: str, start: Callable[..., Server]) -> None:
    server = start(kind, "--workers", "2")
    until(lambda: SAID.format(2) in server.output(), server.output)


@pytest.mark.parametrize("kind", ["uvicorn-asyncio", "gunicorn-uvicorn"])
def test_one_worker_is_not(kind: str, start: Callable[..., Server]) -> None:
    server = start(kind, "--workers", "1", WEB_CONCURRENCY="2")
    server.until_logged("tick", times=2)  # the start is over
    assert "worker processes" not in server.output()
