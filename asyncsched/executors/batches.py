"""Many items in one call of an executor, for as long as that pays."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from asyncsched._core.arguments.functions import returned_awaitable
from asyncsched._core.execution import Answer

if TYPE_CHECKING:
    from asyncsched._core.context import CurrentRun

LONGEST = 0.05
"""Seconds after which a batch gives back the items that it has not begun, so that others can take them."""


def _monotonic() -> float:
    # How long a thread or a process was busy is a matter of the machine's own time.
    return time.monotonic()


def one_by_one(call: Callable[[Any], object], items: Iterable[Any]) -> float:
    """Make the call for the items, one after another and at least one; return the seconds that it took."""
    began, seconds = _monotonic(), 0.0
    for item in items:
        call(item)
        seconds = _monotonic() - began
        if seconds > LONGEST:
            break
    return seconds


def is_awaitable(result: Any) -> bool:
    """Return whether a plain function returned what only an event loop can end."""
    return isinstance(result, CoroutineType) or (result is not None and hasattr(type(result), "__await__"))


def call_each(
    run: CurrentRun, func: Callable[..., Any], items: Sequence[Any], answers: list[Answer]
) -> float:
    """Call a function with each item in this thread; put the answers into ``answers``, and return the seconds."""

    def call(item: Any) -> None:
        if run.cancelled:  # the thread is abandoned, and ends with the item that it was at
            return
        try:
            value = func(item)
        except BaseException as error:
            answers.append(Answer(error=error))
        else:
            wrong = returned_awaitable(run.job, value) if is_awaitable(value) else None
            answers.append(Answer(value, wrong))

    return one_by_one(call, items)
