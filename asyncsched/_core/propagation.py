"""Context variables that travel with a run: from the request into the attempt, and on into a process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextvars import Context, copy_context
from importlib import import_module
from typing import Any

from asyncsched._core.errors import ArgumentError, ConfigurationError
from asyncsched._core.execution import Carried
from asyncsched._core.jobs import Job
from asyncsched._core.text import safe_repr

Place = tuple[str, str]
"""Where another process finds a context variable: a module, and its name there."""


class WholeContext:
    """What ``carry=True`` has travel in memory: every context variable of the call, but for those of asyncsched."""

    name = "context"

    def get(self) -> Context:
        """Return a copy of the present context."""
        return copy_context()

    def set(self, value: Any) -> None:
        """Set the variables of another context in the present one."""
        for variable, one in value.items():
            if not variable.name.startswith("asyncsched_"):  # the caller's own run, for example
                variable.set(one)


class StructlogContext:
    """What structlog binds by ``bind_contextvars``, as what travels with a run: ``carry=[structlog_context]``."""

    name = "structlog"

    def get(self) -> dict[str, Any]:
        """Return the bound values; raise ``LookupError`` if there are none."""
        bound: dict[str, Any] = import_module("structlog.contextvars").get_contextvars()
        if not bound:
            raise LookupError("structlog has bound nothing here")
        return bound

    def set(self, value: Any) -> None:
        """Bind the values in the present context."""
        import_module("structlog.contextvars").bind_contextvars(**value)


structlog_context = StructlogContext()
"""structlog's context, to be named by a job: ``carry=[structlog_context]``."""


def capture(job: Job, as_json: bool) -> dict[str, Any] | None:
    """Return the current values of the job's context variables, of those that are set; ``None`` if none is.

    Raises:
        ArgumentError: a value is to be written as JSON, and cannot be.

    """
    found = {name: variable.get() for name, variable in job.carry.items() if _is_set(variable)}
    if as_json:
        for name, value in found.items():
            try:
                found[name] = json.loads(json.dumps(value, allow_nan=False))
            except (TypeError, ValueError, RecursionError):
                if isinstance(value, Context):
                    raise ArgumentError(
                        f"job {job.name!r}: carry=True takes the whole context in memory only; with a database, name "
                        "the variables: carry=[…]"
                    ) from None
                raise ArgumentError(
                    f"job {job.name!r}: carry: the context variable {name!r} is {safe_repr(value)}, which JSON "
                    "cannot carry; set it to a text, a number, or a list or dict of those"
                ) from None
    return found or None


def propagating(job: Job) -> Callable[[], Callable[..., Any]]:
    """Return a factory for one attempt in another process: it makes the job's function with the variables' values.

    Raises:
        ConfigurationError: a variable stands in no module, so another process could not find it.

    """
    places = {name: _place_of(variable, job.name) for name, variable in job.carry.items()}
    return lambda: WithVariables(
        job.func, {places[name]: value for name, value in (capture(job, as_json=True) or {}).items()}
    )


class WithVariables:
    """A function that is called with context variables set to the given values."""

    def __init__(self, func: Callable[..., Any], values: dict[Place, Any]) -> None:
        self.__wrapped__ = func  # inspect.signature follows this to the parameters
        self._values = values

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return copy_context().run(self._call, args, kwargs)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for (module, name), value in self._values.items():
            getattr(import_module(module), name).set(value)
        return self.__wrapped__(*args, **kwargs)


def _is_set(variable: Carried) -> bool:
    try:
        variable.get()
    except LookupError:
        return False
    return True


def _place_of(variable: Carried, job: str) -> Place:
    # __main__ is searched last: a variable that the main file imports is found in the module that defines it,
    # and the worker process need not run the main file.
    for module, loaded in sorted(sys.modules.items(), key=lambda one: one[0] == "__main__"):
        for name, value in list(getattr(loaded, "__dict__", {}).items()):
            if value is variable:
                return module, name
    raise ConfigurationError(
        f"job {job!r}: carry: the context variable {variable.name!r} stands in no module, so a worker "
        "process cannot find it; define it at the top level of a module"
    )
