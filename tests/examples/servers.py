"""Examples run as users run them: a process of their own, a free port, real requests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import httpx

from tests import preloaded
from tests.waiting import PATIENCE, until

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Program:
    """A running example and what it has printed so far."""

    process: subprocess.Popen[bytes]
    file: IO[bytes]
    client: httpx.Client
    """Requests that a busy machine is given its time for."""

    @property
    def url(self) -> str:
        return str(self.client.base_url).rstrip("/")

    @property
    def output(self) -> str:
        self.file.seek(0)
        return self.file.read().decode()

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """Send the signal and return the exit code."""
        self.process.send_signal(signum)
        return self.process.wait(PATIENCE)


@contextmanager
def running(*arguments: str, serves: bool = True, **variables: str) -> Iterator[Program]:
    """Run ``python -m …`` and, if it serves, wait until it says at which address."""
    env = {**os.environ, "PYTHONUNBUFFERED": "1", **variables}
    with (
        TemporaryFile() as file,
        preloaded.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=env,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
        httpx.Client(
            timeout=PATIENCE, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
        ) as client,
    ):
        program = Program(process, file, client)
        try:
            if serves:
                client.base_url = until(lambda: _address(program))
            yield program
        finally:
            with suppress(ProcessLookupError):  # its workers, too, which would go on without it
                os.killpg(process.pid, signal.SIGKILL)


def _address(program: Program) -> str | None:
    assert program.process.poll() is None, program.output
    found = re.search(r"(?:open|[Rr]unning on) (http://[\w.]+:\d+)", program.output)
    return found and found[1]
