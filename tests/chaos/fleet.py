"""The processes under chaos: started, frozen, killed, and rolled over to a new version."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def signal_to(pid: int, number: int) -> bool:
    """Send a signal to a process that may have ended by itself at this moment; return whether it was there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


class Fleet:
    """Four single-worker servers on ports of their own, each restarted when it has died."""

    def __init__(
        self, store: str, log: Path, lease: float, size: int = 4, skews: tuple[float, ...] = ()
    ) -> None:
        self._store = store
        self._log = log
        self._lease = lease
        self._skews = skews or (0.0,) * size
        self.version = 1
        self.ports = [free_port() for _ in range(size)]
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * size
        self.killed: dict[int, float] = {}

    def start(self, index: int) -> None:
        env = {
            **os.environ,
            "CHAOS_STORE": self._store,
            "CHAOS_LOG": str(self._log),
            "CHAOS_LEASE": str(self._lease),
            "CHAOS_VERSION": str(self.version),
            "CHAOS_SKEW": str(self._skews[index]),
            "PYTHONPATH": str(ROOT),
        }
        command = [
            sys.executable, "-m", "uvicorn", "tests.chaos.app:app", "--port", str(self.ports[index]),
            "--log-level", "warning", "--timeout-graceful-shutdown", "2",
        ]  # fmt: skip
        errors = open(self._log.with_suffix(f".{index}.err"), "ab")  # noqa: SIM115  # the child's, for its life
        with errors:
            self._processes[index] = subprocess.Popen(
                command, env=env, cwd=ROOT, stderr=errors, stdout=errors
            )

    def start_all(self) -> None:
        for index in range(len(self.ports)):
            self.start(index)

    def alive(self) -> list[int]:
        """Return the indexes of the processes that live, after starting again those that do not."""
        living = []
        for index, process in enumerate(self._processes):
            if process is not None and process.poll() is None:
                living.append(index)
        return living

    def revive(self) -> None:
        for index in set(range(len(self.ports))) - set(self.alive()):
            self.start(index)

    def pid(self, index: int) -> int:
        process = self._processes[index]
        assert process is not None
        return process.pid

    def kill(self, index: int) -> int:
        """kill -9; return the pid."""
        pid = self.pid(index)
        os.kill(pid, signal.SIGKILL)
        process = self._processes[index]
        assert process is not None
        process.wait()
        self.killed[pid] = time.time()
        return pid

    def terminate(self, index: int, patience: float) -> float:
        """Send SIGTERM; return how many seconds the process took to end. One that does not end is killed."""
        process = self._processes[index]
        assert process is not None
        process.terminate()
        began = time.monotonic()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill(index)
        else:
            self.killed[process.pid] = time.time()  # it may have left runs behind
        return time.monotonic() - began

    def freeze(self, index: int, seconds: float) -> None:
        pid = self.pid(index)
        signal_to(pid, signal.SIGSTOP)
        time.sleep(seconds)  # the frozen process's real time
        signal_to(pid, signal.SIGCONT)

    def roll(self) -> None:
        """Replace every process, one after the other, by one of the next version."""
        self.version += 1
        for index in self.alive():
            process = self._processes[index]
            assert process is not None
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self.start(index)
            self._await(index)

    def _await(self, index: int) -> None:
        """Wait until a process serves, at most ten seconds."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[index]), 1):
                return
            time.sleep(0.1)

    def stop(self) -> None:
        for process in self._processes:
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self._processes:
            if process is not None:
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def errors(self) -> str:
        return "".join(path.read_text() for path in sorted(self._log.parent.glob("*.err")))
