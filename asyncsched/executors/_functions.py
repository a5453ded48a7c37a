"""What an executor says of functions that it cannot run."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from asyncsched._errors import ConfigurationError
from asyncsched._functions import check_function, is_coroutine_function


def refuse_unless_sync(func: Callable[..., Any], job: str, kind: str) -> None:
    """Raise ``ConfigurationError`` unless calling ``func`` does the work there and then."""
    check_function(func, f"job {job!r}")
    if is_coroutine_function(func):
        raise ConfigurationError(
            f"job {job!r} is a coroutine function and a {kind} runs plain functions; "
            f'leave executor= out (or say executor="loop"), or declare it with "def"'
        )


def returned_awaitable(job: str, value: object) -> ConfigurationError:
    """Return the error for a plain function that gave back a coroutine; the coroutine is closed."""
    close = getattr(value, "close", None)
    if inspect.iscoroutine(value) and close is not None:
        close()
    what = "a coroutine" if inspect.iscoroutine(value) else f"an awaitable {type(value).__name__}"
    return ConfigurationError(
        f"job {job!r} returned {what}, which nobody would await there; "
        f'declare it "async def" and let it run in executor="loop"'
    )
