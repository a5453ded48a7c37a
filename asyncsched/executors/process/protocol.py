"""The messages between a process executor and its workers, and both ends of the socket they take.

A worker writes one byte for the kind of a message, eight for the length of its body, and the body, so that
the event loop never waits for the rest of one. The executor writes pickles, which end by themselves. The
socket is a descriptor of its own: 1 and 2 of a worker belong to the jobs.
"""

from __future__ import annotations

import io
import pickle
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncsched._backends.base import Port

HEADER = struct.Struct(">BQ")
CHUNK = 65_536
"""Bytes asked for at once: much larger buffers cost more than all the rest of a call."""

# Answers, which end a run.
VALUE = 1  # the pickled value; an empty body is None
ERROR = 2  # the function's exception, by `errors.describe`
NOT_LOADED = 3  # the error because of which the function or its arguments could not be loaded
NOT_RETURNED = 4  # the type's name of a value that cannot be sent, and the reason; without one, an awaitable
DIED = 5  # stands for the answer of a worker that has ended; none sends it

# At any time.
NOT_STARTED = 11  # the initializer's error; the worker ends
BEGAN = 12  # the function of a worker's first run is called now: set-up and imports are done
PROGRESS = 13
EXTEND = 14
LOG = 15  # a log record's fields
ITEM = 17  # an answer of `child.call_each`, its kind in the first byte
ASK = 16  # a question, which is answered: was the run's cancellation requested?


def dumps(value: Any) -> bytes:
    """Pickle ``value``; with cloudpickle where it is installed and plain pickle fails."""
    try:
        return pickle.dumps(value, 5)
    except Exception:
        if (by_value := cloud()) is None:
            raise
    return bytes(by_value.dumps(value, 5))


def cloud() -> Any:
    """Return the module ``cloudpickle`` if it is installed."""
    try:
        return import_module("cloudpickle")
    except ImportError:
        return None


class WorkerSocket:
    """The executor's end. All from the loop's thread.

    Args:
        port: the event loop.
        sock: a connected socket, which does not block from now on.
        receive: called whenever :meth:`messages` may bring something.

    """

    def __init__(self, port: Port, sock: socket.socket, receive: Callable[[], object]) -> None:
        sock.setblocking(False)
        self._port, self._sock, self._fd = port, sock, sock.fileno()
        self._unread, self._unsent = bytearray(), bytearray()
        port.watch(self._fd, receive)

    def send(self, message: Any) -> None:
        """Send a message, now or as soon as the worker reads; one for a dead worker is dropped."""
        data = pickle.dumps(message, 5)
        waits = bool(self._unsent)
        self._unsent += data
        if not waits and not self._write():
            self._port.drain(self._fd, self._write)

    def _write(self) -> bool:
        try:
            while self._unsent:
                del self._unsent[: self._sock.send(self._unsent)]
        except BlockingIOError:
            return False
        except OSError:
            self._unsent.clear()  # the worker is gone, as its process will tell
        return True

    def messages(self) -> Iterator[tuple[int, bytes]]:
        """Read once; yield the messages that are complete, kind and body. Raises ``EOFError`` at the end."""
        try:
            data = self._sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            raise EOFError
        unread = self._unread
        unread += data
        while len(unread) >= HEADER.size:
            kind, length = HEADER.unpack_from(unread)
            end = HEADER.size + length
            if len(unread) < end:
                return
            body = bytes(memoryview(unread)[HEADER.size : end])
            del unread[:end]
            yield kind, body

    def close(self) -> None:
        """Let the worker read an end, even where a process forked from this one has the socket open as well."""
        self._port.unwatch(self._fd)
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


class Pipe:
    """The worker's end. Any thread may send.

    Attributes:
        lock: held for every message, so that a question and its answer stay together.
        ended: whether this worker was told to end while a job was running.
        forked: whether this process was forked from a worker, so that the pipe is not its own.

    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = io.BufferedReader(io.FileIO(sock.fileno(), closefd=False))  # faster than sock.makefile()
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
