"""Arguments and results as JSON through pydantic types. Never pickle: a row is not code."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from asyncsched._core.arguments.comparison import Comparison, Zones, place_of, restore
from asyncsched._core.arguments.functions import type_hints
from asyncsched._core.arguments.jsonable import (
    NO_NUMBER,
    PLAIN,
    SURELY_READABLE,
    count_nonfinite,
    first_unjsonable,
    holds_secret,
    is_untyped,
    refuse_unreadable,
    without_order,
)
from asyncsched._core.arguments.results import ResultCodec
from asyncsched._core.arguments.schemas import BY_PLACE, GATHERING, CallSchema
from asyncsched._core.errors import ArgumentError
from asyncsched._core.text import shorten

_MASK = "*****"
"""The text that pydantic writes in place of a secret, or of most of it."""


class Codec:
    """Writes a call of one function as a JSON object by parameter name, and reads it back.

    Raises:
        ConfigurationError: a parameter or the result is of a type that JSON cannot carry, or that cannot be resolved.

    """

    def __init__(self, func: Callable[..., Any], job: str, signature: inspect.Signature) -> None:
        self._job = job
        self._signature = signature
        hints = type_hints(func)
        parameters = signature.parameters.values()
        self._untyped = [p for p in parameters if is_untyped(hints.get(p.name, Any))]
        self._names = tuple(p.name for p in parameters if p.kind in BY_PLACE)
        self._by_position = {given: self._names[:given] for given in range(len(self._names) + 1)}
        self._gathers = any(p.kind in GATHERING for p in parameters)
        schema = CallSchema(job, signature, hints)
        self._compared = schema.compared()
        # Bound once, past the adapter: its methods take longer than all of the work.
        self._validate, self._write = (
            schema.adapter.validator.validate_python,
            schema.adapter.serializer.to_json,
        )
        self._read = schema.adapter.validator.validate_json
        self.fingerprint = schema.fingerprint()
        self.result = ResultCodec(job, hints.get("return", Any))

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Return a call that the signature takes as JSON.

        Only the arguments that were given are written, so that a changed default of the function takes
        effect. Each of them is written whole: a model's default may be a fresh id, or a list that was added to.
        """
        if len(args) > len(self._names) or (kwargs and self._gathers):
            given = self._signature.bind(*args, **kwargs).arguments
        else:  # nearly every call: the result of `bind`, at a tenth of its cost
            given = dict(zip(self._names, args))  # noqa: B905 - its keyword costs as much again
            if kwargs:
                given |= kwargs
        for parameter in self._untyped:
            if type(value := given.get(parameter.name)) not in PLAIN:
                self._check_untyped(parameter, value)
        if args:
            given["*"] = len(args)
        try:
            made = self._validate(given)
            text = self._write(made, by_alias=True, round_trip=True, warnings=False).decode()
            if _MASK in text:
                self._refuse_secrets(made)
            if len(text) > SURELY_READABLE:
                refuse_unreadable(text)
            if ("NaN" in text or "Infinity" in text or "null" in text) and count_nonfinite(made):
                self._refuse_lost_numbers(made, text)
            if self._compared and not self._compared.keys().isdisjoint(made):
                return self._with_zones(made, text)
            return text
        except ValidationError as error:
            raise ArgumentError(f"job {self._job!r}: {_first(error)}") from None
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            raise ArgumentError(
                f"job {self._job!r}: {self._unserialisable(given)} cannot be written as JSON: "
                f"{shorten(str(error), 120)}"
            ) from None

    def _check_untyped(self, parameter: inspect.Parameter, value: Any) -> None:
        """Refuse an argument of an untyped parameter if it would come back from JSON as another value."""
        if parameter.kind is parameter.VAR_POSITIONAL:
            value = list(value or ())
        try:
            found = first_unjsonable(value)
        except RecursionError:  # the error of pydantic is the better one
            return
        if found:
            raise ArgumentError(
                f"job {self._job!r}: argument {parameter.name!r} is or has {found}, which JSON cannot carry as it "
                "is; annotate the parameter with its type, or give text, numbers, True, False or None, or "
                "lists and dicts of those"
            )

    def _refuse_secrets(self, made: dict[str, Any]) -> None:
        """Refuse an argument that pydantic writes as asterisks: it would come back as asterisks."""
        for name, value in made.items():
            if holds_secret(value):
                raise ArgumentError(
                    f"job {self._job!r}: argument {name!r} has a secret in it, which is not written to a "
                    "store; give an id by which the job can look it up"
                )

    def _with_zones(self, made: dict[str, Any], text: str) -> str:
        """Return the text with the zones of datetimes that it lacks; refuse a call that would come back as another."""
        try:
            back = self._read(text)
        except ValidationError as error:
            raise ArgumentError(
                f"job {self._job!r}: {_first(error)}, when it is read back from the JSON that is made of it; {_remedy(error)}"
            ) from None
        zones: Zones = []
        for name, open in self._compared.items():
            if name not in made:
                continue
            comparison = Comparison(open)
            found = comparison.find(made[name], back[name], (name,))
            if found is not None:
                raise ArgumentError(
                    f"job {self._job!r}: argument {place_of(found.path)!r}: {found}; {found.remedy}"
                )
            if comparison.undecided:
                self._refuse_another_text(name, text, back)
            zones += comparison.zones
        return f'{text[:-1]},"@":{to_json(zones).decode()}}}' if zones else text

    def _refuse_another_text(self, name: str, text: str, back: dict[str, Any]) -> None:
        """Refuse an argument that has no equality and whose JSON is another one after it was read back."""
        again = self._write(back, by_alias=True, round_trip=True, warnings=False).decode()
        if again != text and without_order(from_json(again)[name]) != without_order(from_json(text)[name]):
            raise ArgumentError(
                f"job {self._job!r}: argument {name!r} comes back as another value from the JSON that its class makes "
                "of it; let the class read the form that it writes"
            )

    def _refuse_lost_numbers(self, made: dict[str, Any], text: str) -> None:
        """Refuse a nan or inf that would come back as another value: JSON has no such number."""
        try:
            back = self._read(text)
            lost = [
                name for name, value in made.items() if count_nonfinite(value) != count_nonfinite(back[name])
            ]
        except ValidationError as error:
            place = error.errors()[0]["loc"]
            if not place:  # the whole is nested too deep to be read
                raise
            lost = [str(place[0])]  # it came back as null, where a number is needed
        if lost:
            raise ArgumentError(f"job {self._job!r}: argument {lost[0]!r}: {NO_NUMBER}")

    def decode(self, text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the call that ``text`` describes."""
        try:
            made = self._read(text)
        except ValidationError as error:
            raise ArgumentError(
                f"job {self._job!r}: the stored arguments do not fit: {_first(error)}"
            ) from None
        if "@" in made:
            self._restore(made)
        by_position = made.pop("*", 0)
        if tuple(made) == self._by_position.get(by_position):  # nearly every call
            return tuple(made.values()), {}
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, parameter in self._signature.parameters.items():
            if parameter.kind is parameter.VAR_POSITIONAL:
                args.extend(made.get(name, ()))
            elif parameter.kind is parameter.VAR_KEYWORD:
                kwargs.update(made.get(name, {}))
            elif parameter.kind is parameter.POSITIONAL_ONLY or (
                parameter.kind is parameter.POSITIONAL_OR_KEYWORD and len(args) < by_position
            ):
                args.append(made.get(name, parameter.default))
            elif name in made:
                kwargs[name] = made[name]
        return tuple(args), kwargs

    def _restore(self, made: dict[str, Any]) -> None:
        """Bring the datetimes into the zones that were written beside them."""
        for path, zone in made.pop("@"):
            try:
                restore(made, tuple(path), zone)
            except (
                LookupError,
                TypeError,
                ValueError,
                AttributeError,
            ) as error:  # edited, or the zone is unknown
                raise ArgumentError(
                    f"job {self._job!r}: the stored arguments do not fit: the zone {shorten(zone)!r} of "
                    f"{place_of(tuple(path))!r}: {shorten(str(error), 120)}"
                ) from None

    def _unserialisable(self, bound: dict[str, Any]) -> str:
        for name, value in bound.items():
            try:
                refuse_unreadable(TypeAdapter(Any).dump_json(value).decode())
            except (PydanticSerializationError, ValueError):
                return f"argument {name!r}"
        return "an argument"


def _remedy(error: ValidationError) -> str:
    if "[key]" in error.errors(include_url=False, include_input=False)[0]["loc"]:
        return "the keys of JSON are texts: give a list of pairs"
    return "let its class read the form that it writes"


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in detail["loc"]) or "arguments"
    return f"argument {place!r}: {detail['msg']}"
