"""What a function is, seen through partials, methods and callable objects."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from asyncsched._errors import ConfigurationError


def unwrapped(func: Callable[..., Any]) -> Callable[..., Any]:
    """Return what a chain of ``functools.partial`` objects calls in the end."""
    while isinstance(func, functools.partial):
        func = func.func
    return func


def _is(predicate: Callable[[Any], bool], func: Callable[..., Any]) -> bool:
    func = unwrapped(func)
    if predicate(func):
        return True
    # A class is called to make an object; its instances' __call__ has no part in that.
    return not inspect.isclass(func) and predicate(getattr(type(func), "__call__", None))  # noqa: B004


def is_coroutine_function(func: Callable[..., Any]) -> bool:
    """Return whether calling ``func`` makes a coroutine."""
    return _is(inspect.iscoroutinefunction, func)


def is_generator_function(func: Callable[..., Any]) -> bool:
    """Return whether calling ``func`` makes a generator, async or not."""
    return _is(inspect.isgeneratorfunction, func) or _is(inspect.isasyncgenfunction, func)


def refuse_generator(func: Callable[..., Any], job: str) -> None:
    """Raise ``ConfigurationError`` for generator functions: a run has one value, not a stream."""
    if is_generator_function(func):
        raise ConfigurationError(
            f"job {job!r} is a generator function, which would never be iterated; "
            f"return a value, and tell how far it is with current_run().progress()"
        )


def refuse_unless_sync(func: Callable[..., Any], job: str, kind: str) -> None:
    """Raise ``ConfigurationError`` unless calling ``func`` does the work there and then."""
    if not callable(func):
        raise ConfigurationError(f"job {job!r} is no function but a {type(func).__name__}")
    if is_coroutine_function(func):
        raise ConfigurationError(
            f"job {job!r} is a coroutine function and a {kind} runs plain functions; "
            f'leave executor= out (or say executor="loop"), or declare it with "def"'
        )
    refuse_generator(func, job)


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
