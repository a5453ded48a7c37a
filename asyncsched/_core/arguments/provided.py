"""Parameters that a provider fills, and the refusal of those that only a web framework could fill."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Protocol, runtime_checkable

from asyncsched._core.arguments.functions import name_of, type_hints
from asyncsched._core.errors import ConfigurationError
from asyncsched._core.text import safe_repr, shorten

Factory = Callable[..., Any]


class Opening:
    """The provided values of one attempt: each is made once, and closed after the attempt.

    Attributes:
        stack: closes what it is given, last first, after the attempt.
        overrides: factories to call in place of others, for tests.
        needs: the providers of a factory's own parameters, by factory; it is kept for all attempts of a job.
        values: the values that this attempt has, by factory.

    """

    __slots__ = ("needs", "overrides", "stack", "values")

    def __init__(
        self, stack: AsyncExitStack, overrides: Mapping[Any, Factory], needs: dict[Any, dict[str, Provider]]
    ) -> None:
        self.stack = stack
        self.overrides = overrides
        self.needs = needs
        self.values: dict[Any, Any] = {}


@runtime_checkable
class Provider(Protocol):
    """Fills a parameter for each attempt: what stands in its ``Annotated``, as ``Provide`` does.

    A class that inherits from this one writes ``enter``; ``check`` has a default.
    """

    def check(self, what: str, /) -> None:
        """Raise ``ConfigurationError``, beginning with ``what``, at declaration if it cannot work."""
        return

    async def enter(self, opening: Opening, /) -> Any:
        """Return the parameter's value; ``opening.stack`` closes what is to be closed after the attempt."""
        ...


def provided_parameters(
    func: Callable[..., Any], signature: inspect.Signature, what: str
) -> dict[str, Provider]:
    """Return the parameters whose ``Annotated`` has a provider: an object with the methods of ``Provider``.

    Raises:
        ConfigurationError: a parameter is one that FastAPI would fill in, or its annotation cannot be resolved.

    """
    annotated = any(p.annotation is not p.empty for p in signature.parameters.values())
    hints = type_hints(func) if annotated else {}
    found: dict[str, Provider] = {}
    for name, parameter in signature.parameters.items():
        if name not in hints and isinstance(parameter.annotation, str):
            _refuse_unresolved(name, parameter.annotation, what)
        metadata = getattr(hints.get(name), "__metadata__", ())
        for item in (*metadata, parameter.default):
            if _is_of_a_request(item):
                raise ConfigurationError(f"{what}: {_instead(name, parameter, hints.get(name), item)}")
        for item in metadata:
            if isinstance(item, Provider) and not isinstance(item, type):
                found[name] = item
    return found


def _refuse_unresolved(name: str, annotation: str, what: str) -> None:
    if any(f"{word}(" in annotation for word in ("Provide", "Depends", "Security")):
        raise ConfigurationError(
            f"{what}: the annotation of {name!r}, {shorten(annotation, 120)}, cannot be resolved; "
            "define the names in it in the function's module"
        )


def _is_of_a_request(item: object) -> bool:
    """Whether FastAPI fills the parameter from a request: ``Depends``, ``Query``, ``Header`` and the like."""
    kind = type(item)
    return kind.__name__ in ("Depends", "Security") or any(
        base.__module__ == "fastapi.params" for base in kind.__mro__
    )


def _instead(name: str, parameter: inspect.Parameter, hint: Any, item: Any) -> str:
    """Return the words for a parameter that only a web framework fills in."""
    kind = type(item).__name__
    if kind not in ("Depends", "Security"):
        return (
            f"the parameter {name!r} has {kind}(...), which FastAPI fills in from a request, and a job has none; "
            "write it as a plain parameter, and give its value to schedule_once or args="
        )
    factory = getattr(item, "dependency", None)
    plain = getattr(hint, "__origin__", hint)
    if plain is None:
        plain = parameter.annotation
    shown = "..." if plain is parameter.empty else inspect.formatannotation(plain)
    made = "..." if factory is None else name_of(factory)
    return (
        f"the parameter {name!r} has {kind}({made}), which FastAPI fills in from a request, and a job has none; "
        f"write {name}: Annotated[{shorten(shown, 80)}, Provide({made})], or give its value to schedule_once"
    )


def needs_of(factory: Factory, what: str) -> dict[str, Provider]:
    """Return the providers of a factory's own parameters.

    Raises:
        ConfigurationError: a parameter has neither a provider nor a default.

    """
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # a type written in C: it is called without arguments
        return {}
    found = provided_parameters(factory, signature, what)
    for name, parameter in signature.parameters.items():
        optional = parameter.default is not parameter.empty or parameter.kind in (
            parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD,
        )  # fmt: skip
        if name in found and parameter.kind is parameter.POSITIONAL_ONLY:
            raise ConfigurationError(
                f"{what}: its parameter {name!r} is positional-only, and is filled by name"
            )
        if name not in found and not optional:
            raise ConfigurationError(
                f"{what}: its parameter {name!r} has no value; write {name}: Annotated[..., Provide(...)], give it "
                f"a default, or use a function without it; the provider is {safe_repr(factory)}"
            )
    return found
