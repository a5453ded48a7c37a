"""A PostgreSQL server under chaos: restarted and cut at random, while its clients work."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.postgres import open_server

Outage = Callable[[random.Random], None]


@contextmanager
def server() -> Iterator[tuple[str, Outage]]:
    """Yield the URL of an empty database, and what makes one outage of its server.

    A server that is not ours is never stopped; its connections are cut.
    """
    own = open_server()
    try:
        name = own.create_database()

        def outage(dice: random.Random) -> None:
            if not own.can_restart or dice.random() < 0.5:
                own.cut_connections(name)
                return
            own.stop()
            time.sleep(dice.choice((0.0, 2.0, 8.0)))  # the outage's real time
            own.start()

        try:
            yield own.dsn(name), outage
        finally:
            own.drop_database(name)
    finally:
        own.close()
