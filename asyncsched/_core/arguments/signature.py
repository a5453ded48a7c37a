"""A job's parameters: the check of a call against them, and the call as JSON."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from asyncsched._core.arguments.provided import provided_parameters
from asyncsched._core.errors import ArgumentError, ConfigurationError
from asyncsched._core.records import NO_ARGUMENTS, Arguments, Given
from asyncsched._core.text import safe_repr

if typing.TYPE_CHECKING:
    from asyncsched._core.arguments.codec import Codec

_NO_KWARGS: dict[str, Any] = {}  # shared by all runs: an empty dict takes 64 bytes, and there are many runs


class Signature:
    """Checks calls of a job's function, and writes them as JSON; parameters that ``Provide`` fills are left out."""

    def __init__(self, func: Callable[..., Any], job: str) -> None:
        self._func = func
        self._job = job
        try:
            self._whole = inspect.signature(func)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"job {job!r}: the parameters of {safe_repr(func)} cannot be read ({error}); "
                "wrap it in a function with plain parameters"
            ) from None
        self.provided = provided_parameters(func, self._whole, f"job {job!r}")
        for provider in self.provided.values():
            provider.check(f"job {job!r}")
        kept = [p for p in self._whole.parameters.values() if p.name not in self.provided]
        self.signature = self._whole.replace(parameters=kept) if self.provided else self._whole
        self._least, self._most, self._plain = _arity(kept)
        self._codec: Codec | None = None
        self.differs_elsewhere = False
        """Whether a living instance runs this job with another signature: it may read what does not fit here."""

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> Given:
        """Return the arguments if the function takes them.

        Raises:
            ArgumentError: too few, too many, or of unknown names.

        """
        if type(args) is not tuple:
            if not isinstance(args, list | tuple):
                raise ArgumentError(
                    f"job {self._job!r}: args must be a tuple or a list, not {safe_repr(args)}"
                )
            args = tuple(args)
        if not kwargs and self._plain and self._least <= len(args) <= self._most:
            return (args, _NO_KWARGS) if args else NO_ARGUMENTS
        if kwargs is not None and not isinstance(kwargs, Mapping):
            raise ArgumentError(f"job {self._job!r}: kwargs must be a dict, not {safe_repr(kwargs)}")
        given = dict(kwargs or {})
        try:
            self.signature.bind(*args, **given)
        except TypeError as error:
            raise ArgumentError(
                f"job {self._job!r} does not take these arguments: {error}; "
                f"its signature is {self._job}{self.signature}"
            ) from None
        return args, given

    def canonical(self, arguments: Given) -> Given:
        """Return the call in its canonical form, so that two calls can be compared."""
        bound = self.signature.bind(*arguments[0], **arguments[1])
        return bound.args, bound.kwargs

    def merged(self, given: Arguments, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Given:
        """Return the call ``given`` with some of its arguments replaced.

        Raises:
            ArgumentError: the function does not take them.

        """
        try:
            new = self.signature.bind_partial(*args, **kwargs).arguments
            try:
                old = self.decode(given) if isinstance(given, str) else given
                bound = self.signature.bind(*old[0], **old[1])
            except TypeError:  # the call is of another signature: the new arguments must be complete
                bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentError(
                f"job {self._job!r} does not take these arguments: {error}; "
                f"its signature is {self._job}{self.signature}"
            ) from None
        for name, value in new.items():
            extra = self.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
            bound.arguments[name] = {**bound.arguments.get(name, {}), **value} if extra else value
        return bound.args, bound.kwargs

    def named(self, arguments: Given) -> dict[str, Any]:
        """Return the arguments by name, defaults filled in."""
        bound = self.signature.bind(*arguments[0], **arguments[1])
        bound.apply_defaults()
        return bound.arguments

    def encode(self, arguments: Given) -> str:
        """Return the arguments as a JSON object by parameter name.

        Raises:
            ArgumentError: JSON cannot carry an argument; the error names it.

        """
        return self._coder().encode(*arguments)

    def decode(self, text: str) -> Given:
        """Return the arguments that :meth:`encode` wrote.

        Raises:
            ArgumentError: the text is not what this signature can take.

        """
        return self._coder().decode(text)

    def fingerprint(self) -> str:
        """Return a text that changes when the stored form of a call changes."""
        return self._coder().fingerprint

    def prepare(self) -> None:
        """Build the codec now, so that a type that JSON cannot carry is refused at declaration."""
        self._coder()

    def encode_result(self, value: Any) -> str:
        """Return the job's return value as JSON."""
        return self._coder().result.encode(value)

    def decode_result(self, text: str) -> Any:
        """Return the value that :meth:`encode_result` wrote."""
        return self._coder().result.decode(text)

    def _coder(self) -> Codec:
        if self._codec is None:
            from asyncsched._core.arguments.codec import (
                Codec,  # pydantic models, built only where they are needed
            )

            self._codec = Codec(self._func, self._job, self.signature)
        return self._codec


def _arity(parameters: list[inspect.Parameter]) -> tuple[int, float, bool]:
    """Return least and most positional arguments, and whether they alone can make a call."""
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    least = sum(p.default is p.empty for p in positional)
    many = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    plain = not any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters)
    return least, float("inf") if many else len(positional), plain
