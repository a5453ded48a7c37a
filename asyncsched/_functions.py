"""What a function is, seen through partials, methods and callable objects."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

from asyncsched._errors import ConfigurationError, shown


def unpartial(func: Callable[..., Any]) -> Any:
    """Return what a chain of ``functools.partial`` objects calls in the end."""
    while isinstance(func, functools.partial):
        func = func.func
    return func


def is_coroutine_function(func: Callable[..., Any]) -> bool:
    """Return whether calling ``func`` makes a coroutine."""
    return _is(inspect.iscoroutinefunction, func)


def is_generator_function(func: Callable[..., Any]) -> bool:
    """Return whether calling ``func`` makes a generator, async or not."""
    return _is(inspect.isgeneratorfunction, func) or _is(inspect.isasyncgenfunction, func)


def _is(predicate: Callable[[Any], bool], func: Callable[..., Any]) -> bool:
    func = unpartial(func)
    if predicate(func):
        return True
    # A class is called to make an object; its instances' __call__ has no part in that.
    return not inspect.isclass(func) and predicate(getattr(type(func), "__call__", None))  # noqa: B004


def name_of(func: Callable[..., Any]) -> str:
    """Return the name a job gets unless it is given one."""
    target = unpartial(func)
    name = getattr(target, "__name__", None) or type(target).__name__
    return str(name)


def check_function(func: object, what: str) -> None:
    """Refuse what cannot be a job's function, saying what to do instead.

    Raises:
        ConfigurationError: a coroutine object, a generator function, a class, or nothing callable.

    """
    if inspect.iscoroutine(func):
        func.close()
        raise ConfigurationError(
            f"{what}: got a coroutine object; pass the function itself and its arguments, without calling it"
        )
    if not callable(func):
        raise ConfigurationError(
            f"{what}: {shown(func)} is not a function; pass the function itself and its arguments, "
            "without calling it"
        )
    target = unpartial(func)
    if inspect.isclass(target):
        raise ConfigurationError(
            f"{what}: {name_of(func)!r} is a class, and calling it would only make an object; pass a function, "
            "or an object that has __call__"
        )
    if is_generator_function(func):
        raise ConfigurationError(
            f"{what}: {name_of(func)!r} is a generator function, which nobody would iterate; "
            "use a plain function and current_run().progress() to tell what is done"
        )
    if inspect.isfunction(func) and _lacks_object(func):
        raise ConfigurationError(
            f"{what}: {name_of(func)!r} is a method without its object; make the object first, and pass its "
            f"method: scheduler.job()(thing.{name_of(func)})"
        )


def _lacks_object(func: FunctionType) -> bool:
    """Whether it stands in the body of a class and wants the object as its first argument."""
    inside = func.__qualname__.rpartition(".")[0]
    first = func.__code__.co_varnames[:1] if func.__code__.co_argcount else ()
    return inside != "" and not inside.endswith("<locals>") and first in (("self",), ("cls",))
