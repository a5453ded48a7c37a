"""Turns the output and the log records of worker processes into log lines of this process."""

from __future__ import annotations

import logging
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncsched._core.context import CurrentRun

logger = logging.getLogger("asyncsched.job")

_NO_RUN = {"job": None, "run_id": None, "attempt": None}

LONGEST_LINE = 8192
"""Bytes after which a line is cut in two."""


class Output:
    """Cuts a worker's output into lines and logs each with its job and run.

    Attributes:
        rest: the output since the last end of line.
        tail: the latest lines, for the error of a worker that died.

    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.rest = b""
        self.tail: deque[str] = deque(maxlen=20)

    def feed(self, data: bytes, run: CurrentRun | None) -> None:
        """Log the lines in ``data``; ``run`` is the worker's current run, if any."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        while len(self.rest) >= LONGEST_LINE:
            lines.append(self.rest[:LONGEST_LINE])
            self.rest = self.rest[LONGEST_LINE:]
        for line in lines:
            for start in range(0, len(line) or 1, LONGEST_LINE):
                self._line(line[start : start + LONGEST_LINE], run)

    def flush(self, run: CurrentRun | None) -> None:
        """Log the output since the last end of line as a line."""
        if self.rest:
            self.feed(b"\n", run)

    def _line(self, raw: bytes, run: CurrentRun | None) -> None:
        text = raw.decode(errors="backslashreplace").rstrip("\r")
        self.tail.append(text)
        if logger.isEnabledFor(logging.INFO) and logger.hasHandlers():
            logger.info("%s", text, extra=self._extra(run))
        elif logger.level == logging.NOTSET:
            # Logging is neither set up to show the line nor told to drop it: a print stays a print.
            print(text, file=sys.stdout, flush=True)

    def _extra(self, run: CurrentRun | None) -> dict[str, Any]:
        known = {"job": run.job, "run_id": run.id, "attempt": run.attempt} if run else _NO_RUN
        return {**known, "worker": self._pid}

    def relay(self, fields: dict[str, Any], run: CurrentRun | None) -> None:
        """Hand a log record of the worker to this process's logging, if it is enabled here."""
        record = logging.makeLogRecord({**self._extra(run), **fields})
        target = logging.getLogger(record.name)
        if target.isEnabledFor(record.levelno):
            target.handle(record)
