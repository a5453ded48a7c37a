"""Long lists a piece at a time, so that nobody has to wait for the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from anyio.lowlevel import checkpoint

T = TypeVar("T")
V = TypeVar("V")


def portions(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """Yield them in order, at most so many at once."""
    for first in range(0, len(items), most):
        yield items[first : first + most]


async def in_turns(make: Callable[[T], V], items: Sequence[T], most: int) -> list[V]:
    """Return what is made of each, while others get their turn after every ``most``."""
    made = [make(item) for item in items[:most]]
    for some in portions(items[most:], most):
        await checkpoint()
        made += [make(item) for item in some]
    return made
