"""The same under one ``uvicorn --workers 4``: the server's own supervisor replaces what dies."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.chaos.fleet import ROOT, free_port, signal_to

logger = logging.getLogger(__name__)


class Workers:
    """One uvicorn with four worker processes on one port."""

    def __init__(self, store: str, log: Path, lease: float, size: int = 4) -> None:
        self._store = store
        self._log = log
        self._lease = lease
        self._size = size
        self._version_file = log.with_suffix(".version")
        self.version = 1
        self.ports = [free_port()]
        self.killed: dict[int, float] = {}
        self._server: subprocess.Popen[bytes] | None = None

    def start_all(self) -> None:
        self._version_file.write_text("1")
        self._serve()

    def _serve(self) -> None:
        env = {
            **os.environ,
            "CHAOS_STORE": self._store,
            "CHAOS_LOG": str(self._log),
            "CHAOS_LEASE": str(self._lease),
            "CHAOS_VERSION_FILE": str(self._version_file),
            "PYTHONPATH": str(ROOT),
        }
        command = [
            sys.executable, "-m", "uvicorn", "tests.chaos.app:app", "--port", str(self.ports[0]),
            "--workers", str(self._size), "--log-level", "warning", "--timeout-graceful-shutdown", "2",
        ]  # fmt: skip
        with open(self._log.with_suffix(".err"), "ab") as errors:
            self._server = subprocess.Popen(command, env=env, cwd=ROOT, stderr=errors, stdout=errors)

    def alive(self) -> list[int]:
        """Return the pids of the workers; multiprocessing's own helper process is none."""
        assert self._server is not None
        if self._server.poll() is not None:
            return []
        found = []
        for child in psutil.Process(self._server.pid).children():
            try:
                if "resource_tracker" not in " ".join(child.cmdline()) and child.status() != "zombie":
                    found.append(child.pid)
            except psutil.NoSuchProcess:
                pass
        return found

    def revive(self) -> None:
        """Start the server again if it has ended; its workers are its supervisor's affair.

        It ends when one of them cannot start: when a process that is stopped holds the file's lock for
        longer than a start waits.
        """
        assert self._server is not None
        if self._server.poll() is not None:
            logger.warning("the server had ended, because a worker could not start; it is started again")
            self._serve()

    def kill(self, pid: int) -> int:
        """kill -9."""
        signal_to(pid, signal.SIGKILL)
        self.killed[pid] = time.time()
        return pid

    def freeze(self, pid: int, seconds: float) -> None:
        signal_to(pid, signal.SIGSTOP)
        time.sleep(seconds)  # the frozen process's real time
        if not signal_to(pid, signal.SIGCONT):  # the supervisor kills a worker that does not answer for 5 s
            self.killed[pid] = time.time()

    def roll(self) -> None:
        """Have the supervisor replace its workers by those of the next version."""
        assert self._server is not None
        self.version += 1
        self._version_file.write_text(str(self.version))
        self._server.send_signal(signal.SIGHUP)
        time.sleep(3)  # the workers' own restart

    def stop(self) -> None:
        assert self._server is not None
        for pid in self.alive():
            signal_to(pid, signal.SIGCONT)
        self._server.terminate()
        try:
            self._server.wait(15)
        except subprocess.TimeoutExpired:
            for pid in self.alive():
                signal_to(pid, signal.SIGKILL)
            self._server.kill()
            self._server.wait()

    def errors(self) -> str:
        path = self._log.with_suffix(".err")
        return path.read_text() if path.exists() else ""
