"""The record of what somebody did, on its way into the ledger in the transactions of the writes that it tells of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

from asyncsched._core.reporting import Entry

if TYPE_CHECKING:
    from asyncsched.stores.sql.session import Session

_ENTRY: ContextVar[Entry | None] = ContextVar("asyncsched_entry", default=None)


@contextmanager
def carrying(entry: Entry) -> Iterator[None]:
    """Have the calls that this task makes inside the block carry a record."""
    token = _ENTRY.set(entry)
    try:
        yield
    finally:
        _ENTRY.reset(token)


def carried() -> Entry | None:
    """Return the record that calls carry here, if they carry one."""
    return _ENTRY.get()


def payload_of(operation: Callable[..., Any], args: tuple[Any, ...]) -> Callable[[Session], Any]:
    """Return a request's payload: the operation, which finds the record that it carries in its session."""
    entry = carried()
    if entry is None:
        return lambda session: operation(session, *args)
    return partial(_with_entry, entry, operation, args)


def _with_entry(entry: Entry, operation: Callable[..., Any], args: tuple[Any, ...], session: Session) -> Any:
    session.entry, entry.kept = entry, None
    try:
        return operation(session, *args)
    finally:
        session.entry = None
