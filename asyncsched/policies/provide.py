"""Parameters of a job that are made for each attempt, and closed after it."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, cast

from asyncsched._core.arguments.functions import is_generator_function, name_of, unpartial
from asyncsched._core.arguments.provided import Factory, Opening, needs_of
from asyncsched._core.errors import ConfigurationError
from asyncsched._core.text import safe_repr


@dataclass(frozen=True, slots=True)
class Provide:
    """Fill a parameter for each attempt: ``session: Annotated[Session, Provide(open_session)]``.

    Args:
        factory: a function, called in the event loop. A generator function with one ``yield``, or a
            function decorated as a context manager, is opened, and closed after the attempt. A coroutine
            function is awaited. What any other function returns is used as it is, and is never closed: a
            pool that the app opened stays the app's. Its own parameters may have ``Provide`` as well; one
            attempt has one value of each factory.

    Example:
        >>> async def open_session(pool: Annotated[Pool, Provide(lambda: scheduler.state["pool"])]):
        ...     async with pool.acquire() as connection:
        ...         yield connection

    """

    factory: Factory

    def __post_init__(self) -> None:
        if not callable(self.factory):
            raise ConfigurationError(
                f"Provide: {safe_repr(self.factory)} is not callable; give the function itself"
            )

    def check(self, what: str) -> None:
        """Refuse a factory whose parameters nobody fills, at the declaration of the job.

        Raises:
            ConfigurationError: a parameter has no value, or needs the factory itself.

        """
        _check(self.factory, what, ())

    async def enter(self, opening: Opening) -> Any:
        """Return the parameter's value; the opening closes it after the attempt."""
        factory = _overridden(self.factory, opening)
        key = _key(factory)
        if key in opening.values:
            return opening.values[key]
        if key not in opening.needs:
            opening.needs[key] = needs_of(factory, f"provider {name_of(factory)!r}")
        given = {name: await item.enter(opening) for name, item in opening.needs[key].items()}
        value = opening.values[key] = await _made(factory, given, opening)
        return value


def _overridden(factory: Factory, opening: Opening) -> Factory:
    if not opening.overrides:
        return factory
    try:
        found: object = opening.overrides.get(factory, factory)
    except TypeError:  # an unhashable callable has no override
        return factory
    if not callable(found):
        raise ConfigurationError(
            f"overrides: {safe_repr(found)} in place of {name_of(factory)!r} is not callable; give a function that "
            "returns it, such as lambda: fake"
        )
    return found


async def _made(factory: Factory, given: dict[str, Any], opening: Opening) -> Any:
    made: Any = factory(**given)
    if not _opens(factory):
        return await made if inspect.iscoroutine(made) else made
    if inspect.isasyncgen(made):
        made = asynccontextmanager(cast("Callable[[], AsyncIterator[Any]]", lambda: made))()
    elif inspect.isgenerator(made):
        made = contextmanager(cast("Callable[[], Iterator[Any]]", lambda: made))()
    if hasattr(made, "__aenter__"):
        return await opening.stack.enter_async_context(made)
    return opening.stack.enter_context(made) if hasattr(made, "__enter__") else made


def _opens(factory: Factory) -> bool:
    """Whether the factory is a generator function, decorated or not: ``@asynccontextmanager`` keeps the original."""
    target = unpartial(factory)
    while target is not None:
        if is_generator_function(target):
            return True
        target = getattr(target, "__wrapped__", None)
    return False


def _check(factory: Factory, what: str, path: tuple[object, ...]) -> None:
    key, where = _key(factory), f"{what}: provider {name_of(factory)!r}"
    if key in path:
        raise ConfigurationError(f"{where} needs itself; a provider is made before those that need it")
    for item in needs_of(factory, where).values():
        if isinstance(item, Provide):
            _check(item.factory, what, (*path, key))
        else:
            item.check(where)


def _key(factory: Callable[..., Any]) -> object:
    """Return what the factory is found by: equal methods are one factory, an unhashable object is itself."""
    try:
        hash(factory)
    except TypeError:
        return id(factory)
    return factory
