"""How many attempts each executor may still take, shared by all engines of a scheduler."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from asyncsched.abc import Executor


class Capacity:
    """Counts the free places of every executor. A run whose executor is full stays pending."""

    def __init__(self, executors: Mapping[str, Executor]) -> None:
        self.free = {name: executor.capacity for name, executor in executors.items()}
        self._full: set[str] = {name for name, free in self.free.items() if free <= 0}
        self._on_free: list[Callable[[], None]] = []

    def on_free(self, call: Callable[[], None]) -> None:
        """Have ``call`` called when a full executor has a place again."""
        self._on_free.append(call)

    def forget(self, call: Callable[[], None]) -> None:
        """Call it no more."""
        self._on_free.remove(call)

    def take(self, name: str) -> None:
        """Take a place."""
        self.free[name] -= 1
        if self.free[name] <= 0:
            self._full.add(name)

    def give_back(self, name: str) -> None:
        """Free a place; tell the engines if it was a full executor's."""
        self.free[name] += 1
        if name in self._full:
            self._full.discard(name)
            for call in list(self._on_free):
                call()
