"""Start the uptime monitor on uvicorn and say which address to open."""

import argparse
import os
import socket
import threading
import time
from contextlib import suppress

import uvicorn


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket at the port, or at a free one if it is taken."""
    try:
        return socket.create_server((host, port))
    except OSError:
        return socket.create_server((host, 0))


def say_when_open(host: str, port: int, url: str, workers: int) -> None:
    """Wait until the first worker answers, and say where to look."""
    while True:
        try:
            socket.create_connection((host, port), 1).close()
            break
        except OSError:
            time.sleep(0.1)
    print(
        f"Uptime monitor: open {url} (Ctrl-C ends it)\n"
        f"  {workers} workers share one SQLite file; the page has a button to kill one, and one to block its loop.\n"
        f"  The scheduler's own live page is at {url}/scheduler/",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.uptime", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="8000, or a free one if it is taken")
    parser.add_argument("--workers", type=int, default=4, help="processes that share the SQLite file")
    options = parser.parse_args()
    listener = bind(options.host, options.port)
    port = listener.getsockname()[1]
    url = f"http://{options.host}:{port}"
    os.environ.setdefault("UPTIME_URL", url)  # the app watches itself, so that there is something to see

    listener.close()
    print(f"Starting {options.workers} workers…", flush=True)
    threading.Thread(
        target=say_when_open, args=(options.host, port, url, options.workers), daemon=True
    ).start()
    with suppress(KeyboardInterrupt):  # uvicorn has shut down by then
        uvicorn.run(
            "examples.uptime.app:app",
            host=options.host,
            port=port,
            workers=options.workers,
            log_level="warning",
            timeout_graceful_shutdown=5,
        )


if __name__ == "__main__":
    main()
