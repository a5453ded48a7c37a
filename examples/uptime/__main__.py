"""Start the uptime monitor on uvicorn and say which address to open."""

import argparse
import os
import socket
from contextlib import suppress

import uvicorn


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket at the port, or at a free one if it is taken."""
    try:
        return socket.create_server((host, port))
    except OSError:
        return socket.create_server((host, 0))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.uptime", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="8000, or a free one if it is taken")
    options = parser.parse_args()
    listener = bind(options.host, options.port)
    url = f"http://{options.host}:{listener.getsockname()[1]}"
    os.environ.setdefault("UPTIME_URL", url)  # the app watches itself, so that there is something to see

    print(f"Uptime monitor: open {url} (Ctrl-C ends it)", flush=True)
    config = uvicorn.Config("examples.uptime.app:app", log_level="warning", timeout_graceful_shutdown=5)
    with suppress(KeyboardInterrupt):  # uvicorn has shut down by then
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
