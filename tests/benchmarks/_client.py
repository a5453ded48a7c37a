"""A client that asks at a steady rate: ``python -m tests.benchmarks._client PORT RATE SECONDS DELAY``."""

from __future__ import annotations

import json
import socket
import sys
import time

from tests.benchmarks._measure import percentile

_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def main(port: int, rate: float, seconds: float, delay: float) -> dict[str, float]:
    """Send requests on one connection; return the percentiles of their times in milliseconds."""
    now, took = time.perf_counter, []
    with socket.create_connection(("127.0.0.1", port)) as server:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        free = first = now() + delay
        for number in range(int(rate * seconds)):
            due = first + number / rate
            if (left := due - now()) > 0:
                time.sleep(left)
            # What this process slept too long is not the server's, unless the server kept it from its sleep.
            began = due if free > due else now()
            server.sendall(_REQUEST)
            answer = b""
            while not answer.endswith(b"hello"):
                if not (read := server.recv(4096)):
                    raise RuntimeError("the server has closed the connection")
                answer += read
            free = now()
            took.append((free - began) * 1e3)
    return {"p50_ms": percentile(took, 0.5), "p99_ms": percentile(took, 0.99)}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), *map(float, sys.argv[2:]))))
