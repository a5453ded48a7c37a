"""The store under chaos, as every process of it opens it."""

from __future__ import annotations

from typing import Any

LEASE = 15.0
"""Seconds: what a store has by default."""


def ledger(url: str, lease: float = LEASE) -> Any:
    """Return what a scheduler is given: the URL, or a SQLite store that declares dead sooner."""
    if lease == LEASE:
        return url
    from asyncsched.stores.sqlite import SqliteStore
    from asyncsched.stores.sqlite.file import path_of

    return SqliteStore(path_of(url), lease=lease, beat=lease / 3)
