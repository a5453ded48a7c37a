"""Long lists in portions, so that other tasks need not wait for the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from anyio.lowlevel import checkpoint

T = TypeVar("T")
V = TypeVar("V")


def portions(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """Yield the items in order, at most ``most`` at once."""
    for first in range(0, len(items), most):
        yield items[first : first + most]


async def in_turns(make: Callable[[T], V], items: Sequence[T], most: int) -> list[V]:
    """Return the results of ``make`` for all items; other tasks get a turn after every ``most``."""
    made = [make(item) for item in items[:most]]
    for some in portions(items[most:], most):
        await checkpoint()
        made += [make(item) for item in some]
    return made
