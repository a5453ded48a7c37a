"""Inspection of a job's function, through partials, methods and callable objects."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from types import FunctionType
from typing import Any

from asyncsched._core.errors import ConfigurationError
from asyncsched._core.text import safe_repr


def path_of(func: Callable[..., Any]) -> str:
    """Return where a function stands: its module and its name there."""
    inner = unpartial(func)
    return f"{getattr(inner, '__module__', '?')}.{getattr(inner, '__qualname__', type(inner).__name__)}"


_GENERATORS = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


def unpartial(func: Callable[..., Any]) -> Any:
    """Return the callable at the end of a chain of ``functools.partial`` objects."""
    while isinstance(func, functools.partial):
        func = func.func
    return func


def is_coroutine_function(func: Callable[..., Any]) -> bool:
    """Return whether calling ``func`` makes a coroutine."""
    if isinstance(func, FunctionType) and func.__code__.co_flags & inspect.CO_COROUTINE:
        return True
    return _is(inspect.iscoroutinefunction, func)


def is_generator_function(func: Callable[..., Any]) -> bool:
    """Return whether calling ``func`` makes a generator, async or not."""
    func = unpartial(func)
    if isinstance(func, FunctionType):  # nearly every one is, and its flags tell at once
        return bool(func.__code__.co_flags & _GENERATORS)
    return _is(inspect.isgeneratorfunction, func) or _is(inspect.isasyncgenfunction, func)


def _is(predicate: Callable[[Any], bool], func: Callable[..., Any]) -> bool:
    func = unpartial(func)
    if predicate(func):
        return True
    if inspect.isroutine(func):  # and no object with a __call__ of its own
        return False
    # Calling a class makes an object; the __call__ of its instances plays no part.
    return not inspect.isclass(func) and predicate(getattr(type(func), "__call__", None))  # noqa: B004


def name_of(func: Callable[..., Any]) -> str:
    """Return the name of a job that was declared without one."""
    target = unpartial(func)
    name = getattr(target, "__name__", None) or type(target).__name__
    return str(name)


def check_function(func: object, what: str) -> None:
    """Refuse an object that cannot be a job's function; the error says what to do instead.

    Raises:
        ConfigurationError: a coroutine object, a generator function, a class, or nothing callable.

    """
    if (
        isinstance(func, FunctionType)
        and not func.__code__.co_flags & _GENERATORS
        and not _lacks_object(func)
    ):
        return  # nearly every one
    if inspect.iscoroutine(func):
        func.close()
        raise ConfigurationError(
            f"{what}: got a coroutine object; pass the function itself and its arguments, without calling it"
        )
    if not callable(func):
        raise ConfigurationError(
            f"{what}: {safe_repr(func)} is not a function; pass the function itself and its arguments, "
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
            f"{what}: {name_of(func)!r} is a generator function, which is never iterated; "
            "use a plain function and current_run().progress() to report progress"
        )
    if inspect.isfunction(func) and _lacks_object(func):
        raise ConfigurationError(
            f"{what}: {name_of(func)!r} is a method without its object; make the object first, and pass its "
            f"method: scheduler.job()(thing.{name_of(func)})"
        )


def _lacks_object(func: FunctionType) -> bool:
    """Return whether a function stands in a class body and takes the object as its first argument."""
    inside = func.__qualname__.rpartition(".")[0]
    first = func.__code__.co_varnames[:1] if func.__code__.co_argcount else ()
    return inside != "" and not inside.endswith("<locals>") and first in (("self",), ("cls",))


def type_hints(func: Callable[..., Any]) -> dict[str, Any]:
    """Return a function's annotations, resolved; those that cannot be resolved are left out."""
    target = inspect.unwrap(unpartial(func))  # as inspect.signature() does: a Celery task wraps its function
    if not inspect.isroutine(target) and not isinstance(target, type):
        target = type(target).__call__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except Exception:  # an annotation that only a type checker can resolve is no reason to refuse a job
        found = {}
        for name, hint in getattr(target, "__annotations__", {}).items():
            try:
                found[name] = _resolved(name, hint, target)
            except Exception:
                continue
        return found


def _resolved(name: str, hint: Any, target: Any) -> Any:
    """Return one annotation on its own, so that one that fails does not hide the others."""
    holder = type("holder", (), {"__annotations__": {name: hint}})
    names = {**getattr(target, "__globals__", {}), **_closed_over(target)}
    return typing.get_type_hints(holder, names, names, include_extras=True)[name]


def _closed_over(target: Any) -> dict[str, Any]:
    names = getattr(getattr(target, "__code__", None), "co_freevars", ())
    found = {}
    for name, cell in zip(names, getattr(target, "__closure__", None) or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # the variable is assigned later
            continue
    return found


def refuse_unless_sync(func: Callable[..., Any], job: str, kind: str) -> None:
    """Raise ``ConfigurationError`` unless calling ``func`` does the work there and then."""
    check_function(func, f"job {job!r}")
    if is_coroutine_function(func):
        raise ConfigurationError(
            f"job {job!r} is a coroutine function and a {kind} runs plain functions; "
            f'leave executor= out (or say executor="loop"), or declare it with "def"'
        )


def returned_awaitable(job: str, value: object) -> ConfigurationError:
    """Return the error for a plain function that returned a coroutine; the coroutine is closed."""
    close = getattr(value, "close", None)
    if inspect.iscoroutine(value) and close is not None:
        close()
    what = "a coroutine" if inspect.iscoroutine(value) else f"an awaitable {type(value).__name__}"
    return ConfigurationError(
        f"job {job!r} returned {what}, which is never awaited there; "
        f'declare it "async def" and let it run in executor="loop"'
    )
