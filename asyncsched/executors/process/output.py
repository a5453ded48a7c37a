"""Turns the output and the log records of worker processes into log lines of this process."""

from __future__ import annotations

import logging
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncsched._core.context import CurrentRun

logger = logging.getLogger("asyncsched.job")

LONGEST_LINE = 8192
"""Bytes after which a line is cut in two."""


class Output:
    """Cuts a worker's output into lines and logs each with its job and run.

    Attributes:
        rest: the output since the last end of line.
        tail: the latest lines, for the error of a worker that died.

    """

    def __init__(self) -> None:
        self.rest = b""
        self.tail: deque[str] = deque(maxlen=20)

    def feed(self, data: bytes, run: CurrentRun | None, pid: int) -> None:
        """Log the lines in ``data``; ``run`` is the worker's current run, if any."""
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()
        while len(self.rest) >= LONGEST_LINE:
            lines.append(self.rest[:LONGEST_LINE])
            self.rest = self.rest[LONGEST_LINE:]
        for line in lines:
            for start in range(0, len(line) or 1, LONGEST_LINE):
                self._line(line[start : start + LONGEST_LINE], run, pid)

    def flush(self, run: CurrentRun | None, pid: int) -> None:
        """Log the output since the last end of line as a line."""
        if self.rest:
            rest, self.rest = self.rest, b""
            self._line(rest, run, pid)

    def _line(self, raw: bytes, run: CurrentRun | None, pid: int) -> None:
        text = raw.decode(errors="backslashreplace").rstrip("\r")
        self.tail.append(text)
        if _logged():
            logger.info("%s", text, extra=_extra(run, pid))
        elif logger.level == logging.NOTSET:
            # Logging is neither set up to show the line nor told to drop it: a print stays a print.
            print(text, file=sys.stdout, flush=True)


def _logged() -> bool:
    return logger.isEnabledFor(logging.INFO) and logger.hasHandlers()


def _extra(run: CurrentRun | None, pid: int) -> dict[str, Any]:
    return {"job": run.job if run else None, "run_id": run.id if run else None, "worker": pid}


def relay_record(fields: dict[str, Any], run: CurrentRun | None, pid: int) -> None:
    """Hand a log record of a worker to this process's logging, if it is enabled here."""
    record = logging.makeLogRecord({**_extra(run, pid), **fields})
    target = logging.getLogger(record.name)
    if target.isEnabledFor(record.levelno):
        target.handle(record)
