"""An engine that a test drives: its tasks end when the test says so, and it can be away or lose its data."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from asyncsched.abc import Answer


class Elsewhere:
    name = "elsewhere"
    away: tuple[type[BaseException], ...] = (ConnectionError,)

    def __init__(self) -> None:
        self.submitted: list[str] = []
        self.cancelled: list[str] = []
        self.forgotten: list[str] = []
        self.polls = 0
        self.is_away = threading.Event()
        self.at_submit: Callable[[], None] = lambda: None
        self._calls: dict[str, Callable[[], Any]] = {}
        self._answers: dict[str, Answer] = {}

    def end(self, number: int = -1) -> None:
        """Execute a task that was submitted."""
        id = self.submitted[number]
        try:
            self._answers[id] = Answer(self._calls[id]())
        except Exception as error:
            self._answers[id] = Answer(error=error)

    def lose(self) -> None:
        """Forget every task, as an engine does whose data is not on a disk."""
        self._calls.clear()
        self._answers.clear()

    # ── what the executor calls ──────────────────────────────────────────────────────────────

    def open(self) -> None:
        self._reach()

    def close(self) -> None: ...

    def check(self, func: Callable[..., Any], job: str) -> None: ...

    def submit(
        self, id: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._reach()
        self.at_submit()
        self.submitted.append(id)
        self._calls[id] = lambda: func(*args, **kwargs)

    def poll(self, ids: Sequence[str]) -> Mapping[str, Answer]:
        self._reach()
        self.polls += 1
        ended = {id: self._answers[id] for id in ids if id in self._answers}
        return ended | {id: Answer(unknown=True) for id in ids if id not in self._calls}

    def cancel(self, id: str) -> None:
        self._reach()
        self.cancelled.append(id)

    def forget(self, id: str) -> None:
        self.forgotten.append(id)

    def page(self, id: str) -> str:
        return f"http://engine/{id}"

    def _reach(self) -> None:
        if self.is_away.is_set():
            raise ConnectionError("nobody listens")
