"""Errors of the JSON API as problem+json (RFC 9457), and which status each error of the scheduler has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio

from asyncsched._core.errors import (
    ArgumentError,
    AsyncSchedError,
    ConfigurationError,
    KeyConflict,
    NotCancellable,
    NotFound,
    ScheduleExists,
    SchedulerStateError,
    StoreError,
)
from asyncsched.dashboard.jsons import Answer

_STATUS: tuple[tuple[type[AsyncSchedError], int, str], ...] = (
    (NotFound, 404, "Not found"),
    (NotCancellable, 409, "Not possible in this state"),
    (KeyConflict, 409, "Conflict"),
    (ScheduleExists, 409, "Conflict"),
    (StoreError, 503, "Store unreachable"),
    (SchedulerStateError, 409, "Not possible in this state"),
    (ArgumentError, 422, "Wrong arguments"),
    (ConfigurationError, 422, "Wrong value"),
)


PATIENCE = 10.0
"""Seconds that an answer waits for the store in all."""


class Problem(Exception):
    """An answer that is an error: its status, title, and a sentence about this occurrence."""

    def __init__(self, status: int, title: str, detail: str = "", **more: Any) -> None:
        super().__init__(detail or title)
        self.status = status
        self.title = title
        self.detail = detail
        self.more = more

    def response(self, headers: dict[str, str] | None = None) -> Answer:
        """Return the answer."""
        body = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.more,
        }
        return Answer(body, self.status, headers, media_type="application/problem+json")


@contextmanager
def in_time() -> Iterator[None]:
    """Bound the time of what is read for one answer.

    Raises:
        Problem: 503 when the time is over.

    """
    with anyio.move_on_after(PATIENCE) as scope:
        yield
    if scope.cancelled_caught:
        raise Problem(503, "Store too slow", f"the store has not answered within {PATIENCE:g} s")


def problem_of(error: AsyncSchedError) -> Problem:
    """Return the problem that an error of the scheduler is."""
    for kind, status, title in _STATUS:
        if isinstance(error, kind):
            return Problem(status, title, str(error))
    return Problem(500, "Error", str(error))
