"""A worker's end of the socket to its executor, and what a job sends through it while it runs."""

from __future__ import annotations

import logging
import os
import pickle
import select
import signal
import socket
import struct
import threading
import time
from types import FrameType
from typing import Any

from asyncsched._core.errors import SchedulerStateError
from asyncsched._core.text import safe_repr

HEADER = struct.Struct(">BQ")
"""The beginning of a message to the executor: its kind and the length of its body, since the event loop never
waits for the rest of one. What the executor sends are pickles, which end by themselves."""

VALUE = 1  # ends a run: the pickled value; an empty body is None
ERROR = 2  # ends a run: an exception, by `errors.describe`
NOT_STARTED = 3  # the same, where the initializer has failed; the worker ends
ITEM = 4  # an answer of `child.call_each`, its kind in the first byte
LINK = 5  # a call of the run's link in the scheduler's process: the method's name and the arguments
LOG = 6  # a log record's fields

PROGRESS_EVERY = 0.1
"""Seconds between two messages about a run's progress; the latest report is always sent."""


class Pipe:
    """The worker's end of the socket. Any thread may send.

    Attributes:
        lock: held for every message.
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

    def send(self, kind: int, body: bytes) -> None:
        """Send a message; waits as long as the executor does not read."""
        with self.lock:
            self._sock.sendall(HEADER.pack(kind, len(body)) + body)

    def receive(self) -> Any:
        """Return the executor's next message. Raises ``EOFError`` when its end is closed."""
        return pickle.load(self._file)

    def obey_signals(self) -> None:
        """Obey the executor's SIGTERM; leave a process that a job forks neither this end nor the handler."""

        def terminate(signum: int, frame: FrameType | None) -> None:
            # The executor closes its end before it sends the signal. A signal from elsewhere is ignored: a service
            # manager sends one to every process of the service, and the scheduler is to end the jobs in order.
            if self._poll.poll(0):
                self.ended = True
                # The job's "finally" blocks run, for as long as the grace lasts.
                raise SystemExit(128 + signum)

        def forked() -> None:
            self.forked = True
            self._sock.close()  # and not the file: a thread that reads in the worker may have had its lock
            if signal.getsignal(signal.SIGTERM) is terminate:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
            mask(signal.SIG_UNBLOCK)

        def mask(how: int) -> None:
            # A signal that comes before the new process has its own handler is not to be lost.
            signal.pthread_sigmask(how, {signal.SIGTERM})

        signal.signal(signal.SIGTERM, terminate)
        os.register_at_fork(
            before=lambda: mask(signal.SIG_BLOCK),
            after_in_parent=lambda: mask(signal.SIG_UNBLOCK),
            after_in_child=forked,
        )


class ProcessLink:
    """The link of ``current_run()`` in a worker process: it sends the calls on to the scheduler's process."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe
        self._latest: tuple[float, float | None, str] | None = None
        self._timer: threading.Timer | None = None
        self._sent_at = 0.0
        self._over = False

    def _send(self, *call: Any) -> None:
        if not self._over:
            self.pipe.send(LINK, pickle.dumps(call))

    def _own(self) -> threading.RLock:
        if self.pipe.forked:
            raise SchedulerStateError(
                "current_run() belongs to the parent of this process: the job has forked it, and only the "
                "job's own process can report progress, extend the timeout or ask for cancellation"
            )
        return self.pipe.lock

    def began(self) -> None:
        self._send("began")

    def extend(self, micros: int) -> None:
        with self._own():
            self._send("extend", micros)

    def cancelled(self) -> bool:
        # A run that is cancelled loses its worker at once, so all that can ask afterwards is its "finally".
        with self._own():
            return self.pipe.ended

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
            if self._timer is not None:
                self._timer.cancel()
            if self._latest is not None:
                self._sent_at = time.monotonic()
                self._send("progress", *self._latest)
            self._timer = self._latest = None

    def close(self) -> None:
        """Send the progress that was held back; send nothing for this run afterwards."""
        with self.pipe.lock:
            self._send_latest()
            self._over = True

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
