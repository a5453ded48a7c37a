"""Real servers as subprocesses, on free ports of the loopback interface."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import preloaded
from tests.waiting import PATIENCE, until

SERVERS = {
    "uvicorn-asyncio": ["uvicorn", "{app}", "--port", "{port}", "--loop", "asyncio"],
    "uvicorn-uvloop": ["uvicorn", "{app}", "--port", "{port}", "--loop", "uvloop"],
    "hypercorn-asyncio": ["hypercorn", "{app}", "--bind", "127.0.0.1:{port}", "-k", "asyncio"],
    "hypercorn-trio": ["hypercorn", "{app}", "--bind", "127.0.0.1:{port}", "-k", "trio"],
    "granian": ["granian", "{app}", "--interface", "asgi", "--port", "{port}"],
}

GUNICORN = ["gunicorn", "{app}", "--bind", "127.0.0.1:{port}", "-k"]
SUPERVISORS = {
    "gunicorn-uvicorn": [*GUNICORN, "uvicorn_worker.UvicornWorker"],
    "gunicorn-asgi": [*GUNICORN, "asgi"],
}
"""Servers of worker processes, which serve the app as the servers above do."""


class Server:
    """A server that runs, and the log that its app writes."""

    def __init__(self, process: subprocess.Popen[str], port: int, log: Path) -> None:
        self.process = process
        self.log = log
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False, verify=False)

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def until_logged(self, line: str, times: int = 1) -> None:
        """Wait for a line of the app's log: the app is another process, so this looks again and again."""
        until(
            lambda: self.lines().count(line) >= times,
            lambda: f"No {line!r} in {self.lines()}\n{self.output()}",
        )

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self) -> None:
        """Wait until the process has ended; it may not wait for what takes a minute."""
        self.process.wait(PATIENCE)

    def output(self) -> str:
        return (self.log.parent / "output").read_text()


@contextmanager
def ending(process: subprocess.Popen[Any]) -> Iterator[None]:
    """End a process with the block, whatever happens in it."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def serving(
    kind: str, folder: Path, *options: str, app: str = "tests.servers.app:app", **environment: str
) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [part.format(app=app, port=port) for part in {**SERVERS, **SUPERVISORS}[kind]]
    env = {**os.environ, "SERVER_LOG": str(folder / "log"), **environment}
    with (folder / "output").open("w") as output:
        process = preloaded.Popen(
            [sys.executable, "-m", *command, *options], env=env, stdout=output, stderr=output, text=True,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
    server = Server(process, port, folder / "log")
    with ending(process), server.client:
        yield server


def wait_until_served(server: Server) -> None:
    def answers() -> bool:
        assert server.process.poll() is None, server.output()
        try:
            return server.client.get("/").status_code == 200
        except httpx.TransportError:
            return False

    until(answers, server.output)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start a server that ends with the test."""
    with ExitStack() as stack:

        def start(kind: str = "uvicorn-asyncio", *options: str, **environment: str) -> Server:
            server = stack.enter_context(serving(kind, tmp_path, *options, **environment))
            wait_until_served(server)
            return server

        yield start


@pytest.fixture(scope="module", params=list(SERVERS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server of each kind, for all tests of a module."""
    with serving(request.param, tmp_path_factory.mktemp(request.param)) as server:
        wait_until_served(server)
        yield server
