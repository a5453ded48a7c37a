"""The database servers that the children use: PostgreSQL, one for all with a database for each, and Redis, one for each."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

from tests.benchmarks._bench import DSN, REDIS, Scenario

if TYPE_CHECKING:
    from tests.postgres import Server

_PROMISES = ("server_version", "fsync", "synchronous_commit")


class Servers:
    """What is started when a scenario first needs it, and ends with the block."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}
        """The servers that were used, and what they promise."""
        self._postgres: Server | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._postgres is not None:
            self._postgres.close()

    @contextmanager
    def child(self, scenario: Scenario) -> Iterator[dict[str, str]]:
        """Yield the variables by which one child finds its servers."""
        with ExitStack() as stack:
            environment = {}
            if scenario.postgres:
                environment[DSN] = stack.enter_context(self._database())
            if scenario.redis:
                environment[REDIS] = stack.enter_context(self._redis(scenario.redis == "durable"))
            yield environment

    @contextmanager
    def _database(self) -> Iterator[str]:
        name = self._new_database()
        assert self._postgres is not None
        try:
            yield self._postgres.dsn(name)
        finally:
            self._postgres.drop_database(name)

    def _new_database(self) -> str:
        if self._postgres is not None:
            try:
                return self._postgres.create_database()
            except Exception as error:  # it has ended: the workloads to come get another
                print(f"PostgreSQL is started again: {error}", flush=True)
                self._postgres.close()
        self._postgres = self._open()
        return self._postgres.create_database()

    def _open(self) -> Server:
        from tests.postgres import open_server

        server = open_server(fsync="on", full_page_writes="on", shared_buffers="256MB", max_wal_size="4GB")
        said = {name: str(server.run(f"show {name}")[0][0]) for name in _PROMISES}
        version, *rest = said.items()
        self.said["PostgreSQL"] = ", ".join([version[1], *(f"{name} {value}" for name, value in rest)])
        print(f"PostgreSQL for everyone: {self.said['PostgreSQL']}", flush=True)
        return server

    @contextmanager
    def _redis(self, durable: bool) -> Iterator[str]:
        program = redis_server()
        assert program is not None  # a scenario that needs it is not run without it
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with tempfile.TemporaryDirectory() as folder:
            kept = ["--appendonly", "yes", "--appendfsync", "always"] if durable else ["--appendonly", "no"]
            command = [
                program,
                "--bind",
                "127.0.0.1",
                "--port",
                str(port),
                "--dir",
                folder,
                "--save",
                "",
                *kept,
            ]
            server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            try:
                _wait(port)
                yield f"redis://127.0.0.1:{port}/0"
            finally:
                server.terminate()
                server.wait()
        if "Redis" not in self.said:
            version = subprocess.run(
                [program, "--version"], capture_output=True, text=True, check=True
            ).stdout
            self.said["Redis"] = version.split("v=")[1].split()[0]


def redis_server() -> str | None:
    """Return the program of Redis, or of Valkey, which is the same to its clients; ``None`` if neither is here."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


def _wait(port: int) -> None:
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise TimeoutError("the Redis server does not answer")
