"""The name of a function in an engine elsewhere, for functions whose code is not in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from asyncsched._core.errors import ConfigurationError
from asyncsched._core.text import safe_repr

F = TypeVar("F", bound=Callable[..., Any])

_NAME = "__asyncsched_remote__"


def remote(name: str) -> Callable[[F], F]:
    """Mark a function as standing for the one that the engine's workers know as ``name``.

    Its body is never called here; its signature checks the arguments, and its annotation reads the result::

        @scheduler.cron("0 3 * * *", executor="celery")
        @remote("reports.tasks.nightly")
        def nightly(region: str = "eu") -> int: ...

    Args:
        name: the name of a Celery task, or the import path of a function for RQ.

    Raises:
        ConfigurationError: ``name`` is no text, or empty.

    """
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"remote() takes the name of a task as text, not {safe_repr(name)}")

    def mark(func: F) -> F:
        setattr(func, _NAME, name)
        return func

    return mark


def remote_name(func: Callable[..., Any]) -> str | None:
    """Return the name that :func:`remote` gave to a function, or ``None``."""
    name: str | None = getattr(func, _NAME, None)
    return name


def import_path(func: Callable[..., Any], job: str, engine: str) -> str:
    """Return the path by which an engine's worker imports a function.

    Raises:
        ConfigurationError: a worker could not import it.

    """
    name = remote_name(func)
    if name is not None:
        return name
    module, qualname = getattr(func, "__module__", None), getattr(func, "__qualname__", "")
    if not module or module == "__main__" or not qualname or "<" in qualname:
        raise ConfigurationError(
            f"job {job!r}: {engine}'s workers cannot import {safe_repr(func)}; use a function at the top level of a "
            'module that they have, or mark a stand-in with @remote("module.function")'
        )
    return f"{module}.{qualname}"
