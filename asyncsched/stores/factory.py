"""Make the store of a ``Scheduler`` from its argument: ``None``, a URL or a store, checked before it is opened."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from asyncsched._core.errors import ConfigurationError
from asyncsched._core.rules.retention import BoundedStore, Bounds
from asyncsched._core.text import shorten
from asyncsched.abc import Store

_POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg_async")
"""The URL schemes of PostgreSQL. The last two are SQLAlchemy's names for psycopg."""


def open_store(
    store: Any, namespace: str, timeout: float = 5.0, bounds: Bounds | None = None
) -> Callable[[], Store]:
    """Return a function that makes the store of a scheduler at each of its starts.

    Args:
        store: ``None`` or ``memory://``, another URL, a ``Store``, or a function that returns one of these at
            each start.
        namespace: the cluster whose rows are used, if several share a database.
        timeout: seconds that a call to a store named by URL waits for an answer.
        bounds: of the history; ``None`` for the usual ones.

    Raises:
        ConfigurationError: the URL's scheme is unknown, its driver is not installed, or the value is no store.

    """
    if store is None or store == "memory://":
        return lambda: _memory(bounds)
    if isinstance(store, str):
        make = _from_url(store, namespace, timeout)
        return make if bounds is None else lambda: _bounded(make(), bounds)
    if callable(store) and not isinstance(store, (type, Store)):
        return lambda: open_store(store(), namespace, timeout, bounds)()
    if isinstance(store, type) or not isinstance(store, Store):
        raise ConfigurationError(  # without a repr: that of a URL object would show the password
            f"store must be None, a URL as text or a Store, not of type {shorten(type(store).__name__)}"
        )
    if bounds is not None:
        _bounded(store, bounds)
    return lambda: store


def _memory(bounds: Bounds | None) -> Store:
    from asyncsched.stores.memory.store import MemoryStore

    return MemoryStore(bounds)


def _bounded(store: Store, bounds: Bounds) -> Store:
    if not isinstance(store, BoundedStore):
        raise ConfigurationError(
            f"retention: a {shorten(type(store).__name__)} has no bounds that can be set; leave retention= out, or "
            "name the store by its URL"
        )
    store.bounds = bounds
    return store


def _from_url(url: str, namespace: str, timeout: float) -> Callable[[], Store]:
    scheme = _scheme_of(url)
    if scheme == "sqlite":
        from asyncsched.stores.sqlite.store import SqliteStore, path_of

        path = path_of(url).absolute()  # by the working directory of now, and outside the event loop
        return lambda: SqliteStore(path, namespace, timeout=timeout)
    if find_spec("psycopg") is None:
        raise ConfigurationError(
            'a PostgreSQL store needs psycopg; install it with pip install "asyncsched[postgres]"'
        )
    from asyncsched.stores.postgres.store import PostgresStore, conninfo

    conninfo(url, timeout)  # a faulty URL raises here, not at start
    return lambda: PostgresStore(url, namespace, timeout=timeout)


def _scheme_of(url: str) -> str:
    """Return the kind of store that a URL names: ``sqlite`` or ``postgresql``.

    Raises:
        ConfigurationError: the URL names neither. The text repeats no part that could be a password.

    """
    scheme = url.partition(":")[0]
    family, plus, driver = scheme.partition("+")
    if scheme == "sqlite":
        return "sqlite"
    if scheme in _POSTGRESQL and url.startswith(f"{scheme}://"):
        return "postgresql"
    if family in ("sqlite", *_POSTGRESQL) and plus and url.startswith(f"{scheme}://"):
        raise ConfigurationError(
            f"store: the driver {shorten(driver)!r} is not used here; write {family}:// in place of {shorten(scheme)}://"
        )
    if re.match(r"\s*\w+\s*=", url):
        raise ConfigurationError(
            "store: that is a libpq connection string; write it as a URL, "
            "postgresql://user:password@host:port/database?option=value"
        )
    if re.fullmatch(r"[\w./~-]+", url):
        raise ConfigurationError(
            f"store: {shorten(url)!r} is no URL; for a file, write {'sqlite:///' + url!r}"
        )
    known = "there are sqlite:///file.db, postgresql://… and memory://"
    if re.fullmatch(r"[A-Za-z][\w.+-]*", scheme) and url.startswith(f"{scheme}://"):
        raise ConfigurationError(f"store: the scheme {shorten(scheme)!r} is not known; {known}")
    raise ConfigurationError(f"store: that is no URL; {known}")
