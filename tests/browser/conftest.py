"""A real Chromium on a real uvicorn with a real SQLite file. Where there is no Chromium, the tests say so."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import preloaded
from tests.waiting import PATIENCE, until

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)

APP = Path(__file__).with_name("app.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests here: they are about other processes, in the machine's own time."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.blocking_ok)
            item.add_marker(pytest.mark.timeout(120))


@pytest.fixture(scope="module")  # while it lives, its event loop counts as running in this thread
def chromium() -> Iterator[object]:
    """Return the browser."""
    if CHROMIUM is None:
        reason = "there is no Chromium here: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


class Server:
    """A uvicorn with the app of these tests."""

    def __init__(
        self, folder: Path, *options: str, app: str = "tests.browser.app:app", **environment: str
    ) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.page = f"{self.url}/scheduler"
        self._app = app
        self._options = options
        self._environment = {**os.environ, "PAGE_DB": f"sqlite:///{folder}/jobs.db", **environment}
        self.process: subprocess.Popen[bytes]
        self.start()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            self._app,
            "--port",
            str(self.port),
            *self._options,
        ]
        with (self.folder / "output").open("ab") as output:
            self.process = preloaded.Popen(command, env=self._environment, stdout=output, stderr=output)
        until(self._answers, lambda: (self.folder / "output").read_text())

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", trust_env=False, verify=False, timeout=5).is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """Stop the server as Ctrl-C does."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server that the tests of one module share: each leaves what the others need as it was."""
    found = Server(tmp_path_factory.mktemp("server"))
    try:
        yield found
    finally:
        found.stop()


class Console:
    """What a page complained about, and where it went."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []


@pytest.fixture
def console() -> Console:
    return Console()


@pytest.fixture
def page(chromium: object, console: Console) -> Iterator[object]:
    """Return a tab whose complaints and requests are kept."""
    context = chromium.new_context(viewport={"width": 1440, "height": 1000})  # type: ignore[attr-defined]
    context.set_default_timeout(30_000)
    tab = context.new_page()
    tab.on(
        "console", lambda message: console.complaints.append(message.text) if message.type != "log" else None
    )
    tab.on("pageerror", lambda error: console.complaints.append(str(error)))
    tab.on("request", lambda request: console.requests.append(request.url))
    try:
        yield tab
    finally:
        context.close()
