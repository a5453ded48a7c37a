"""A request that the event loop sends to a database thread."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from asyncsched._backends.base import Future

READING = ("read", "poll")
"""The kinds of request that only read."""


class Request:
    """One request: answered with a result or an error, exactly once."""

    __slots__ = (
        "about", "answered", "done", "error", "expires", "kind", "late", "left", "lost", "met_lock", "obstacle", "payload",
        "result", "urgent", "waiter", "weight",
    )  # fmt: skip

    def __init__(self, kind: str, payload: Any, weight: int, urgent: bool, about: Hashable) -> None:
        self.kind = kind
        self.payload = payload
        self.weight = weight
        self.urgent = urgent
        self.about = about
        self.met_lock = False  # it waits for its next try
        self.left = False  # it comes with the next batch
        self.obstacle = ""  # the lock that it met, in words
        self.result: Any = None
        self.error: BaseException | None = None
        self.late: BaseException | None = (
            None  # the error of an answer that did not come in time; the thread does not touch this
        )
        self.answered = False  # by the thread; the caller may not have been woken yet
        self.done = False
        self.lost = False  # no caller waits for it any more, though the thread may still do it
        self.expires = 0.0
        self.waiter: Future | None = None

    def settle(self) -> None:
        """Wake the caller. In the loop's thread."""
        self.done = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)
