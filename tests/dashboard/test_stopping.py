"""A server stops in its time however many pages are open."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import httpx
import pytest

import asyncsched
from tests.servers.conftest import Server, serving
from tests.waiting import until

PACKAGE = f"{Path(asyncsched.__file__).parent}/"

PAGES = 10

# A server is another process, and how long it takes to stop is the promise.
pytestmark = [pytest.mark.real_time, pytest.mark.blocking_ok, pytest.mark.timeout(120)]


def answers(server: Server) -> bool:
    try:
        return server.client.get("/health").is_success
    except httpx.TransportError:
        return False


def watch(server: Server, number: int, heard: set[int], told: set[int]) -> None:
    """Read one stream until it ends, and note that it began and whether it said that it ends."""
    try:
        with httpx.stream(
            "GET", f"{server.url}/scheduler/events?page=/", timeout=60, trust_env=False
        ) as stream:
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    heard.add(number)
                if line == "event: bye":
                    told.add(number)
    except httpx.TransportError:
        pass  # the server has gone


@pytest.mark.parametrize(
    "kind, options, most",
    [
        ("uvicorn-asyncio", (), 4.0),
        ("uvicorn-asyncio", ("--workers", "4"), 6.0),
        ("uvicorn-asyncio", ("--reload",), 6.0),
        ("hypercorn-asyncio", (), 6.0),
        ("hypercorn-trio", (), 6.0),
        ("granian", (), 32.0),
    ],
)
def test_a_server_stops_with_ten_pages_open(
    kind: str, options: tuple[str, ...], most: float, tmp_path: Path
) -> None:
    # A few times what a stop takes on an idle machine: this one may be busy.
    with serving(
        kind, tmp_path, *options, app="tests.browser.app:app", PAGE_DB=f"sqlite:///{tmp_path}/jobs.db"
    ) as server:
        until(lambda: answers(server), server.output)
        heard: set[int] = set()
        told: set[int] = set()
        watchers = [
            threading.Thread(target=watch, args=(server, number, heard, told), daemon=True)
            for number in range(PAGES)
        ]
        for one in watchers:
            one.start()
        until(lambda: len(heard) == PAGES)
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        server.wait()
        took = time.monotonic() - began
        for one in watchers:
            one.join(30)
        assert not any(one.is_alive() for one in watchers)
        assert len(told) == PAGES  # each stream has ended by itself, before the server cut it off
        assert took < most, f"{kind} took {took:.1f} s"
        assert PACKAGE not in server.output(), server.output()  # hypercorn logs its own cancelled reads
        print(f"{kind} {' '.join(options)}: {took:.2f} s")
