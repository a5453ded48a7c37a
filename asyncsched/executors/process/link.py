"""What a job in a worker process reports while it runs: progress and log records."""

from __future__ import annotations

import logging
import pickle
import threading
import time
from typing import Any

from asyncsched._core.errors import SchedulerStateError
from asyncsched._core.text import safe_repr
from asyncsched.executors.process.protocol import ASK, EXTEND, LOG, PROGRESS, Pipe

PROGRESS_EVERY = 0.1
"""Seconds between two messages about a run's progress; the latest report is always sent."""

ASK_EVERY = 0.05
"""Seconds for which an answer to ``current_run().cancelled`` stays valid."""


def _monotonic() -> float:
    # A worker has neither an event loop nor the scheduler's clock. This time only spaces messages.
    return time.monotonic()


class ProcessLink:
    """The link of ``current_run()`` in a worker process: it sends the calls on to the scheduler's process."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._latest: tuple[float, float | None, str] | None = None
        self._sent_at = -PROGRESS_EVERY
        self._timer: threading.Timer | None = None
        self._asked_at = -ASK_EVERY
        self._cancelled = False
        self._over = False

    def progress(self, done: float, total: float | None, message: str) -> None:
        self._refuse_in_a_fork()
        with self._pipe.lock:
            self._latest = (done, total, message)
            wait = self._sent_at + PROGRESS_EVERY - _monotonic()
            if wait <= 0:
                self._send_latest()
            elif self._timer is None:
                self._timer = threading.Timer(wait, self._send_latest)
                self._timer.daemon = True
                self._timer.start()

    def _send_latest(self) -> None:
        with self._pipe.lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._latest is not None and not self._over:
                latest, self._latest = self._latest, None
                self._sent_at = _monotonic()
                self._pipe.send(PROGRESS, pickle.dumps(latest))

    def close(self) -> None:
        """Send the progress that was held back; send nothing for this run afterwards."""
        with self._pipe.lock:
            self._send_latest()
            self._over = True

    def began(self) -> None:
        """Do nothing: the scheduler's own process was told before the function was called."""

    def extend(self, micros: int) -> None:
        self._refuse_in_a_fork()
        with self._pipe.lock:
            if not self._over:
                self._pipe.send(EXTEND, pickle.dumps(micros))

    def cancelled(self) -> bool:
        self._refuse_in_a_fork()
        with self._pipe.lock:
            if not self._over and _monotonic() - self._asked_at >= ASK_EVERY:
                self._pipe.send(ASK)
                self._cancelled = self._pipe.receive()
                self._asked_at = _monotonic()
        return self._cancelled or self._pipe.ended

    def complete_in(self, connection: Any) -> Any:
        raise SchedulerStateError(
            "complete_in() cannot be called in a process job, because only the scheduler's process "
            'can write the run; return the data, or use executor="thread"'
        )

    def _refuse_in_a_fork(self) -> None:
        if self._pipe.forked:
            raise SchedulerStateError(
                "current_run() belongs to the parent of this process: the job has forked it, and only the "
                "job's own process can report progress, extend the timeout or ask for cancellation"
            )


class RelayHandler(logging.Handler):
    """Sends log records to the scheduler's process, prepared as ``logging.handlers.QueueHandler`` would.

    In a process that a job has forked it writes them to the job's stderr instead.
    """

    def __init__(self, pipe: Pipe) -> None:
        super().__init__()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        if self._pipe.forked:
            logging.StreamHandler().handle(record)
            return
        try:
            # structlog's message is a dict, which the formatter of the scheduler's process renders.
            said = record.msg if isinstance(record.msg, dict) and not record.args else record.getMessage()
            fields = dict(record.__dict__, msg=said, args=None, exc_info=None)
            if record.exc_info and not record.exc_text:
                fields["exc_text"] = logging.Formatter().formatException(record.exc_info)
            self._pipe.send(LOG, _pickled(fields))
        except Exception:
            self.handleError(record)


def _pickled(fields: dict[str, Any]) -> bytes:
    try:
        return pickle.dumps(fields)
    except Exception:  # a user's extra cannot be pickled: it is sent as a text, and the others as they are
        return pickle.dumps({name: _sendable(value) for name, value in fields.items()})


def _sendable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _sendable(one) for name, one in value.items()}
    try:
        pickle.dumps(value)
    except Exception:
        return safe_repr(value)
    return value
