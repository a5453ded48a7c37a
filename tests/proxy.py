"""A small TCP proxy before a PostgreSQL server, which can fall silent as a middlebox does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from tests.postgres import Server


class Proxy:
    """Passes everything on, until it is told to be silent: then it acknowledges what comes, and passes on nothing.

    Args:
        server: the server that it leads to.

    """

    def __init__(self, server: Server) -> None:
        from psycopg.conninfo import conninfo_to_dict

        self._server = server
        given = conninfo_to_dict(server.dsn("postgres"))
        host, port = str(given.get("host", "")), str(given.get("port") or 5432)
        self._target = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, int(port))
        self._silent: set[socket.socket] = set()
        self._open: dict[
            socket.socket, socket.socket
        ] = {}  # of the client and of the server, not ended on both sides
        self.frozen = False
        """Whether new connections are silent, too."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def dsn(self, database: str, **options: str) -> str:
        """Return the URL of a database of the server, by way of the proxy."""
        port = str(self._listener.getsockname()[1])
        return self._server.dsn(database, host="127.0.0.1", port=port, **options)

    def silence(self, which: Callable[[], bool] = lambda: True) -> None:
        """Let the present connections be silent from now on, or those for which ``which`` returns true."""
        for pair in list(self._open.items()):
            if which():
                self._silent.update(pair)

    def freeze(self) -> None:
        """Let all connections be silent, the new ones, too."""
        self.frozen = True
        self.silence()

    def thaw(self) -> None:
        """Let new connections pass again; those that are silent stay so."""
        self.frozen = False

    def close(self) -> None:
        """Close all connections."""
        for one in (self._listener, *self._open.keys(), *self._open.values()):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                kind = socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET
                server = socket.socket(kind)
                try:
                    server.connect(self._target)
                except OSError:  # the server is down
                    client.close()
                    server.close()
                    continue
                self._open[client] = server
                ended: list[socket.socket] = []
                if self.frozen:
                    self._silent.update((client, server))
                for source, sink in ((client, server), (server, client)):
                    args = (source, sink, ended)
                    threading.Thread(target=self._pass_on, args=args, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, ended: list[socket.socket]) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if source not in self._silent:
                    sink.sendall(data)
        if source not in self._silent:  # else the other side does not hear of the end either
            with suppress(OSError):
                sink.shutdown(socket.SHUT_RDWR)
        ended.append(source)
        if len(ended) == 2:
            for one in ended:
                one.close()
                self._silent.discard(one)
                self._open.pop(one, None)
