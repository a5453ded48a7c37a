"""Errors of the JSON API as problem+json (RFC 9457), and which status each error of the scheduler has."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse

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


class Problem(Exception):
    """An answer that is an error: its status, title, and a sentence about this occurrence."""

    def __init__(self, status: int, title: str, detail: str = "", **more: Any) -> None:
        super().__init__(detail or title)
        self.status = status
        self.title = title
        self.detail = detail
        self.more = more

    def response(self, headers: dict[str, str] | None = None) -> JSONResponse:
        """Return the answer."""
        body = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.more,
        }
        return JSONResponse(body, self.status, headers, media_type="application/problem+json")


def problem_of(error: AsyncSchedError) -> Problem:
    """Return the problem that an error of the scheduler is."""
    for kind, status, title in _STATUS:
        if isinstance(error, kind):
            return Problem(status, title, str(error))
    return Problem(500, "Error", str(error))
