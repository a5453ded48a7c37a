"""The messages between a process executor and its workers, and the child's end of the socket.

A message is one byte for its kind, eight for the length of its body, and the body. The socket is a
separate descriptor: 1 and 2 of a worker belong to the jobs.
"""

from __future__ import annotations

import pickle
import socket
import struct
import threading
from importlib import import_module
from typing import Any

HEADER = struct.Struct(">BQ")

CHUNK = 16_384
"""Bytes asked for when a message may come: a larger buffer costs more than all the rest of a call."""
LARGE_CHUNK = 262_144
"""Bytes asked for when more of a message must come."""

# to the child
HELLO = 1
"""The settings of the worker: a pickled dict."""
RUN = 2
"""The run's fields, whether the call needs the main file, and the pickled call."""
ANSWER = 3
"""The answer to ``ASK``: ``b"1"`` or ``b"0"``."""

# to the parent, ending a run
VALUE = 11
"""The pickled value; an empty body is ``None``."""
ERROR = 12
"""The function's exception, as ``child.describe`` writes it."""
NOT_LOADED = 13
"""The function or its arguments could not be loaded: an error, as above."""
NOT_RETURNED = 14
"""The value cannot be sent: its type's name and the reason; an empty reason means an awaitable."""

# to the parent, at any time
NOT_STARTED = 21
"""The initializer failed: an error, as above. The worker ends."""
PROGRESS = 22
EXTEND = 23
LOG = 24
"""A log record's fields."""
ASK = 25
"""A question: was the run's cancellation requested?"""
BEGAN = 26
"""The function of a worker's first run is called now: set-up and imports are done."""


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
        cloudpickle = import_module("cloudpickle")
    except ImportError:
        return None
    return cloudpickle


class Pipe:
    """The child's end of the socket. Any thread of the child may send.

    Attributes:
        ended: whether the parent has asked this worker to end while a job was running.

    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        self._buffer = bytearray()
        self.ended = False

    def send(self, kind: int, body: bytes) -> None:
        """Send a message; waits as long as the parent does not read."""
        with self._lock:
            self._sock.sendall(HEADER.pack(kind, len(body)) + body)

    def ask(self) -> bool:
        """Ask the parent whether the run's cancellation was requested, and wait for the answer."""
        with self._lock:
            self._sock.sendall(HEADER.pack(ASK, 0))
            return self.receive()[1] == b"1"

    def receive(self) -> tuple[int, bytes]:
        """Return the next message, kind and body; raises ``EOFError`` when the parent has closed."""
        buffer = self._buffer
        while len(buffer) < HEADER.size:
            data = self._read(CHUNK)
            if not buffer and len(data) >= HEADER.size:
                kind, length = HEADER.unpack_from(data)
                if len(data) == HEADER.size + length:
                    return kind, data[HEADER.size :]
            buffer += data
        kind, length = HEADER.unpack_from(buffer)
        end = HEADER.size + length
        while len(buffer) < end:
            buffer += self._read(LARGE_CHUNK)
        body = bytes(memoryview(buffer)[HEADER.size : end])
        del buffer[:end]
        return kind, body

    def closed(self) -> bool:
        """Return whether the parent has closed its end, or is gone."""
        try:
            return not self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _read(self, size: int) -> bytes:
        data = self._sock.recv(size)
        if not data:
            raise EOFError
        return data
