"""A worker's end of the socket to its executor, and what a job sends through it while it runs."""

from __future__ import annotations

import logging
import pickle
import select
import socket
import struct
import threading
import time
from typing import Any

from asyncsched._core.errors import SchedulerStateError
from asyncsched._core.text import safe_repr

HEADER = struct.Struct(">BQ")
"""The beginning of a message to the executor: its kind and the length of its body, since the event loop never
waits for the rest of one. What the executor sends are pickles, which end by themselves."""

VALUE = 1  # ends a run: the pickled value; an empty body is None
ERROR = 2  # ends a run: the function's exception, by `errors.describe`
REFUSED = (
    3  # ends a run: the text of a ConfigurationError, and the error that led to it, by `errors.describe`
)
NOT_STARTED = 4  # the same, where the initializer has failed; the worker ends
BEGAN = 5  # the function of a worker's first run is called now: set-up and imports are done
ITEM = 6  # an answer of `child.call_each`, its kind in the first byte
ASK = 7  # a question, which is answered: was the run's cancellation requested?
PROGRESS, EXTEND = 8, 9
LOG = 10  # a log record's fields

PROGRESS_EVERY = 0.1
"""Seconds between two messages about a run's progress; the latest report is always sent."""

ASK_EVERY = 0.05
"""Seconds for which an answer to ``current_run().cancelled`` stays valid."""


class Pipe:
    """The worker's end of the socket. Any thread may send.

    Attributes:
        lock: held for every message, so that a question and its answer stay together.
        ended: whether this worker was told to end while a job was running.
        forked: whether this process was forked from a worker, so that the pipe is not its own.

    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = open(sock.fileno(), "rb", closefd=False)  # noqa: SIM115 - faster than sock.makefile()
        self._poll = select.poll()
        self._poll.register(sock, 0)  # tells of a hang-up only
        self.lock = threading.RLock()
        self.ended = self.forked = False

    def send(self, kind: int, body: bytes = b"") -> None:
        """Send a message; waits as long as the executor does not read."""
        with self.lock:
            self._sock.sendall(HEADER.pack(kind, len(body)) + body)

    def receive(self) -> Any:
        """Return the executor's next message. Raises ``EOFError`` when its end is closed."""
        return pickle.load(self._file)

    def closed(self) -> bool:
        """Return whether the executor has closed its end, or is gone."""
        return bool(self._poll.poll(0))

    def leave(self) -> None:
        """Give up this end, in a process that was forked from the worker."""
        self.forked = True
        self._sock.close()  # and not the file: a thread that reads in the worker may have had its lock


class ProcessLink:
    """The link of ``current_run()`` in a worker process: it sends the calls on to the scheduler's process."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe
        self._latest: tuple[float, float | None, str] | None = None
        self._timer: threading.Timer | None = None
        self._sent_at = self._asked_at = 0.0
        self._cancelled = self._over = False

    def _own(self) -> threading.RLock:
        if self.pipe.forked:
            raise SchedulerStateError(
                "current_run() belongs to the parent of this process: the job has forked it, and only the "
                "job's own process can report progress, extend the timeout or ask for cancellation"
            )
        return self.pipe.lock

    def progress(self, done: float, total: float | None, message: str) -> None:
        with self._own():
            self._latest = (done, total, message)
            wait = self._sent_at + PROGRESS_EVERY - time.monotonic()
            if wait <= 0:
                self._send_latest()
            elif self._timer is None:
                self._timer = threading.Timer(wait, self._send_latest)
                self._timer.daemon = True
                self._timer.start()

    def _send_latest(self) -> None:
        with self.pipe.lock:
            timer, self._timer = self._timer, None
            latest, self._latest = self._latest, None
            if timer is not None:
                timer.cancel()
            if latest is not None and not self._over:
                self._sent_at = time.monotonic()
                self.pipe.send(PROGRESS, pickle.dumps(latest))

    def close(self) -> None:
        """Send the progress that was held back; send nothing for this run afterwards."""
        with self.pipe.lock:
            self._send_latest()
            self._over = True

    def began(self) -> None:
        """Do nothing: the scheduler's own process was told before the function was called."""

    def extend(self, micros: int) -> None:
        with self._own():
            if not self._over:
                self.pipe.send(EXTEND, pickle.dumps(micros))

    def cancelled(self) -> bool:
        with self._own():
            if not self._over and time.monotonic() - self._asked_at >= ASK_EVERY:
                self.pipe.send(ASK)
                self._cancelled = self.pipe.receive()
                self._asked_at = time.monotonic()
        return self._cancelled or self.pipe.ended

    def complete_in(self, connection: Any) -> Any:
        raise SchedulerStateError(
            "complete_in() cannot be called in a process job, because only the scheduler's process "
            'can write the run; return the data, or use executor="thread"'
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
            self._pipe.send(LOG, pickle.dumps(_sendable(fields)))
        except Exception:
            self.handleError(record)


def _sendable(value: Any) -> Any:
    # A user's extra that cannot be pickled is sent as a text, and the others as they are.
    if isinstance(value, dict):
        return {str(name): _sendable(one) for name, one in value.items()}
    try:
        pickle.dumps(value)
    except Exception:
        return safe_repr(value)
    return value
