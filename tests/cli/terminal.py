"""The command line as a process: through pipes, or in a pseudo-terminal of a given width."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import preloaded

ROOT = Path(__file__).resolve().parents[2]

_PATIENCE = 50
"""Seconds after which a command counts as hung."""


@dataclass(frozen=True)
class Answer:
    """The exit code and what was written; ``out`` has both streams where it was a terminal."""

    code: int
    out: str
    err: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def plain(self) -> str:
        """The output without colours."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.out).replace("\r\n", "\n")


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without settings of whoever runs the tests."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ASYNCSCHED_", "NO_COLOR", "COLUMNS", "LINES"))
    }
    return {**kept, "PYTHONPATH": str(ROOT), "TZ": "Europe/Berlin", "PYTHONWARNINGS": "error", **more}


def command(*words: str) -> list[str]:
    """Return the command that runs the command line with these words."""
    return [sys.executable, "-m", "asyncsched", *words]


def piped(*words: str, cwd: Path, **more: str) -> Answer:
    """Run a command through pipes."""
    done = preloaded.run(command(*words), cwd=cwd, env=environment(more), text=True, timeout=_PATIENCE)
    return Answer(done.returncode, done.stdout, done.stderr)


class Terminal:
    """A command in a pseudo-terminal."""

    def __init__(self, *words: str, cwd: Path, columns: int = 80, **more: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        env = {**environment(more), "TERM": "xterm-256color"}
        self.process = preloaded.Popen(
            command(*words), cwd=cwd, env=env, stdin=slave, stdout=slave, stderr=slave, close_fds=True,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.out = b""

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return True
        try:
            part = os.read(self._master, 65_536)
        except OSError:  # the other end is closed
            return False
        self.out += part
        return bool(part)

    def wait_for(self, text: str) -> None:
        """Wait until a text has been written."""
        deadline = time.monotonic() + _PATIENCE
        while text not in self.answer(0).plain:
            assert time.monotonic() < deadline, f"{text!r} was not written: {self.answer(0).plain}"
            assert self._read(0.5), f"it ended without {text!r}: {self.answer(0).plain}"

    def press(self, keys: str) -> None:
        """Type keys."""
        os.write(self._master, keys.encode())

    def forget(self) -> None:
        """Leave out of later answers what has been written so far."""
        self.out = b""

    def modes(self) -> list[Any]:
        """Return the modes of the terminal, such as whether it waits for Enter."""
        return termios.tcgetattr(self._master)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self.process.send_signal(number)

    def end(self) -> Answer:
        """Wait for the end, and return what was written."""
        deadline = time.monotonic() + _PATIENCE
        while self._read(0.5) and time.monotonic() < deadline:
            pass
        return self.answer(self.process.wait(_PATIENCE))

    def answer(self, code: int) -> Answer:
        """Return what has been written so far."""
        return Answer(code, self.out.decode(errors="replace"))

    def close(self) -> None:
        """End the process if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


def on_terminal(*words: str, cwd: Path, columns: int = 80, **more: str) -> Answer:
    """Run a command in a pseudo-terminal, to its end."""
    terminal = Terminal(*words, cwd=cwd, columns=columns, **more)
    try:
        return terminal.end()
    finally:
        terminal.close()
