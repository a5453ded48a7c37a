"""What schemathesis makes of the OpenAPI document is answered as the document says, by a real server."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import Server

pytestmark = [pytest.mark.real_time, pytest.mark.blocking_ok, pytest.mark.timeout(180)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "gate").touch()
    found = Server(tmp_path, app="tests.browser.app:bare")
    try:
        yield found
    finally:
        found.stop()


def test_the_api_keeps_to_its_document(server: Server, tmp_path: Path) -> None:
    pytest.importorskip("schemathesis", reason="pip install schemathesis")
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "--config-file", str(Path(__file__).with_name("schemathesis.toml")),
        "run", f"{server.url}/api/v1/openapi.json", "--max-examples", "5", "--seed", "1",
        "--phases", "examples,coverage,fuzzing,stateful", "--suppress-health-check", "all", "--request-timeout", "30",
        "-H", "X-Asyncsched: 1",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-1000:]
    assert "Tested: 31" in done.stdout
    assert not re.search(r"API Links: +0 covered", done.stdout), done.stdout
    assert "Traceback" not in (tmp_path / "output").read_text()
