"""Long lists in portions, so that other tasks need not wait for the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from anyio.lowlevel import checkpoint

T = TypeVar("T")
V = TypeVar("V")


def portions(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """Yield the items in order, at most ``most`` at once."""
    for first in range(0, len(items), most):
        yield items[first : first + most]


async def in_turns(make: Callable[[Sequence[T]], Iterable[V]], items: Sequence[T], most: int) -> list[V]:
    """Return what ``make`` makes of portions of the items; other tasks get a turn after each of ``most`` items."""
    made = [*make(items[:most])]
    for some in portions(items[most:], most):
        await checkpoint()
        made += make(some)
    return made
