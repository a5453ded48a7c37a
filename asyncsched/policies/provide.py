"""Parameters of a job that are opened for each attempt, and closed after it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from asyncsched._core.errors import ConfigurationError
from asyncsched._core.text import safe_repr


@dataclass(frozen=True, slots=True)
class Provide:
    """Fill a parameter for each attempt: ``session: Annotated[Session, Provide(open_session)]``.

    Args:
        factory: called without arguments. Its value is entered if it is an async or a plain context
            manager, awaited if it is awaitable, and used as it is otherwise. A function
            with one ``yield`` is a context manager by that alone, as FastAPI's dependencies are.

    """

    factory: Callable[[], Any]

    def __post_init__(self) -> None:
        if not callable(self.factory):
            raise ConfigurationError(
                f"Provide: {safe_repr(self.factory)} is not callable; give the function itself"
            )

    async def enter(self, stack: AsyncExitStack) -> Any:
        """Return the parameter's value; ``stack`` closes it after the attempt."""
        made = self._open()
        if hasattr(made, "__aenter__"):
            return await stack.enter_async_context(made)
        if inspect.isawaitable(made):
            return await made
        if hasattr(made, "__enter__") and hasattr(made, "__exit__"):
            return stack.enter_context(made)
        return made

    def _open(self) -> Any:
        if inspect.isasyncgenfunction(self.factory):
            return asynccontextmanager(self.factory)()
        if inspect.isgeneratorfunction(self.factory):
            return contextmanager(self.factory)()
        return self.factory()
