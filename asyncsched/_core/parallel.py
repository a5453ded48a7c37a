"""The errors of a parallel loop: one item that failed, and all of them at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from asyncsched._core.errors import AsyncSchedError
from asyncsched._core.text import describe_error

KEPT = 100
"""The most failed items that a loop keeps for its end: a million of them must not fill the memory."""


class ItemFailed(AsyncSchedError):
    """The function of a parallel loop failed for one item. The ``__cause__`` is its exception.

    Attributes:
        index: the item's place among the items, from 0.
        item: the item.
        job: the name of the function, or of its job.

    """

    def __init__(self, index: int, item: Any, job: str, error: BaseException) -> None:
        super().__init__(f"item {index} of map over {job!r} failed: {describe_error(error)}")
        self.index = index
        self.item = item
        self.job = job
        self.__cause__ = error

    def __reduce__(self) -> Any:
        return type(self), (self.index, self.item, self.job, self.__cause__)


class MapFailed(ExceptionGroup[ItemFailed], AsyncSchedError):
    """Some items of a parallel loop failed; all others were done. Holds an ``ItemFailed`` for each, at most 100.

    Attributes:
        failed: the number of items that failed.

    """

    failed: int

    def __new__(cls, job: str, failed: int, errors: Sequence[ItemFailed]) -> Self:
        first = f"; the first {len(errors)} are here" if failed > len(errors) else ""
        self = super().__new__(cls, f"map over {job!r}: {failed} of its items failed{first}", errors)
        self.failed = failed
        return self

    def __init__(self, job: str, failed: int, errors: Sequence[ItemFailed]) -> None:
        super().__init__(self.message, errors)

    def derive(self, excs: Sequence[Any], /) -> ExceptionGroup[Any]:
        """Return a group of a part of the errors, for ``except*``."""
        return ExceptionGroup(self.message, excs)
