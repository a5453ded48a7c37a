"""A real HTTP server in a thread, which keeps what it is sent and answers as it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit


class Received(NamedTuple):
    """One request."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Sink:
    """A service that takes check-ins.

    Attributes:
        statuses: the statuses of the next answers; afterwards all are 200.
        silent: while set, no request is answered.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.statuses: list[int] = []
        self.answers = threading.Event()
        self.answers.set()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                sink.received.append(Received(parts.path, query, headers, body))
                sink.answers.wait(45)
                self.send_response(sink.statuses.pop(0) if sink.statuses else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def paths(self) -> list[str]:
        return [one.path for one in self.received]


@contextmanager
def listening() -> Iterator[Sink]:
    """Run a sink."""
    sink = Sink()
    thread = threading.Thread(target=sink.server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield sink
    finally:
        sink.answers.set()
        sink.server.shutdown()
        thread.join()
        sink.server.server_close()
