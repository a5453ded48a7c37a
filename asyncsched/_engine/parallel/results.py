"""Results of a parallel loop that are not handed out yet, and the size of its batches."""

from __future__ import annotations

from collections import deque
from typing import Any

from asyncsched.abc import Batch

NOTHING: Any = object()
"""Stands for a result that is not there yet."""

SKIPPED: Any = object()
"""Stands for the result of an item that is not to be handed out, because it failed."""

TARGET = 0.01
"""Seconds that a batch is to last: long beside its hand-over, and short beside a person's patience."""

MOST_ITEMS, MOST_BYTES = 256, 262_144
"""The most items of a batch, and the most bytes sent with it."""


class Results:
    """Keeps results until they are handed out, in the order of the items or as they come.

    Attributes:
        handed: the number of items that need no room any more.

    """

    def __init__(self, *, ordered: bool) -> None:
        self._order: deque[int] | None = None if ordered else deque()
        self._kept: dict[int, Any] = {}
        self.handed = 0

    def put(self, index: int, value: Any) -> None:
        """Keep an item's result."""
        self._kept[index] = value
        if self._order is not None:
            self._order.append(index)

    def pop(self) -> Any:
        """Return the next result to hand out, or ``NOTHING``."""
        while self._kept:
            index = self.handed if self._order is None else self._order.popleft()
            if index not in self._kept:
                break
            self.handed += 1
            if (value := self._kept.pop(index)) is not SKIPPED:
                return value
        return NOTHING


class BatchSize:
    """How many items go into one batch: measured, unless it is given.

    Args:
        given: the user's number; ``None`` to measure.

    Attributes:
        items: the number of items.

    """

    def __init__(self, given: int | None) -> None:
        self._fixed = given is not None
        self._seconds = 0.0
        self.items = given or 1

    def fit(self, cost: Batch, items: int) -> None:
        """Fit the size to what the latest batch took: at once where calls got longer, by halves where shorter."""
        if self._fixed or not cost.seconds:
            return
        latest = cost.seconds / items
        self._seconds = max(latest, (self._seconds + latest) / 2)
        most = min(MOST_ITEMS, 4 * self.items, MOST_BYTES // (cost.size or 1))
        self.items = max(1, min(int(TARGET / self._seconds), most))
