"""Arguments and results as JSON through pydantic types. Never pickle: a row is not code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from math import isfinite
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
    PydanticUserError,
    Secret,
    SecretBytes,
    SecretStr,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic_core import PydanticSerializationError, from_json

from asyncsched._errors import ArgumentError, ConfigurationError, shorten, shown
from asyncsched._jobs import type_hints

_NO_NUMBER = "JSON has no nan or inf; annotate it as float where it stands, or give a text or None"
_MOST_DIGITS = 4300
_ENDLESS = re.compile(rf"(?<![0-9])[0-9]{{{_MOST_DIGITS + 1}}}")

_MASK = "*****"
"""What pydantic writes instead of a secret, or the most of it."""

_SCALARS = (str, int, float, NoneType)
_PLAIN = frozenset({*_SCALARS, bool})


class _Call(BaseModel):
    """A call by the names of its parameters, and how many of them were given by position."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    by_position: int = Field(0, alias="*")


class Codec:
    """Writes a call of one function as a JSON object by parameter name, and reads it back."""

    def __init__(self, func: Callable[..., Any], job: str, signature: inspect.Signature) -> None:
        self._job = job
        self._signature = signature
        hints = type_hints(func)
        fields: dict[str, Any] = {}
        self._fields: dict[str, inspect.Parameter] = {}
        self._untyped: list[inspect.Parameter] = []
        for number, parameter in enumerate(signature.parameters.values()):
            # Aliases, because a parameter may be called `copy` or `_x`, which a model's field may not.
            field = f"p{number}"
            hint = hints.get(parameter.name, Any)
            if _says_nothing(hint):
                self._untyped.append(parameter)
            kind = _annotation(parameter, hint)
            default = ... if parameter.default is parameter.empty else parameter.default
            if parameter.kind is parameter.VAR_POSITIONAL:
                default = ()
            elif parameter.kind is parameter.VAR_KEYWORD:
                default = {}
            fields[field] = (kind, Field(default, alias=parameter.name))
            self._fields[field] = parameter
        by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        self._names = [p.name for p in signature.parameters.values() if p.kind in by_place]
        places = [f"p{number}" for number in range(len(self._names))]
        self._by_position = [
            (places[:given], {"by_position", *places[:given]}) for given in range(len(places) + 1)
        ]
        try:
            self._model = create_model(f"arguments of {job}", __base__=_Call, **fields)
            self._validator = self._model.__pydantic_validator__
            self._serializer = self._model.__pydantic_serializer__
            self._result = _adapter(_stripped(hints.get("return", Any)))
        except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation) as error:
            raise ConfigurationError(
                f"job {job!r}: JSON cannot carry its parameters or result "
                f"({str(error).splitlines()[0]}); use types that pydantic knows, "
                "or Provide for what is opened for each attempt"
            ) from None

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Return the call as JSON; only what was given, so that a changed default takes effect."""
        if kwargs or len(args) > len(self._names):
            bound = self._signature.bind(*args, **kwargs).arguments
        else:  # nearly every call: what `bind` would say, at a fifth of its cost
            bound = dict(zip(self._names, args, strict=False))
        for parameter in self._untyped:
            if type(value := bound.get(parameter.name)) not in _PLAIN:
                self._check_untyped(parameter, value)
        if args:
            bound["*"] = len(args)
        try:
            # What model_validate and model_dump_json come to, in half of their time.
            made = self._validator.validate_python(bound)
            text: str = self._serializer.to_json(made, by_alias=True, exclude_unset=True).decode()
            if _MASK in text:
                self._refuse_secrets(made)
            if ("NaN" in text or "Infinity" in text or "null" in text) and _boundless(made):
                self._refuse_lost_numbers(made, text)
            _refuse_endless_numbers(text)
            return text
        except ValidationError as error:
            raise ArgumentError(f"job {self._job!r}: {_first(error)}") from None
        except (PydanticSerializationError, ValueError) as error:
            raise ArgumentError(
                f"job {self._job!r}: {self._unserialisable(bound)} cannot be written as JSON: "
                f"{shorten(str(error), 120)}"
            ) from None

    def _check_untyped(self, parameter: inspect.Parameter, value: Any) -> None:
        """Refuse what would come back as something else: no type says what to make of it."""
        if parameter.kind is parameter.VAR_POSITIONAL:
            value = list(value or ())
        try:
            foreign = _foreign(value)
        except RecursionError:  # pydantic says it better
            return
        if foreign:
            raise ArgumentError(
                f"job {self._job!r}: argument {parameter.name!r} is or has {foreign}, which JSON cannot carry as it "
                "is; annotate the parameter with its type, or give text, numbers, True, False or None, or "
                "lists and dicts of those"
            )

    def _refuse_secrets(self, made: BaseModel) -> None:
        """Refuse what pydantic writes as asterisks: it would come back as those."""
        for field, parameter in self._fields.items():
            if _is_secret(getattr(made, field)):
                raise ArgumentError(
                    f"job {self._job!r}: argument {parameter.name!r} has a secret in it, which is not written to a "
                    "store; give what it can be looked up by"
                )

    def _refuse_lost_numbers(self, made: BaseModel, text: str) -> None:
        """Refuse a nan or inf that would come back as something else: JSON itself has no such number."""
        try:
            back = self._model.model_validate_json(text)
            lost = [
                parameter.name
                for field, parameter in self._fields.items()
                if _boundless(getattr(made, field)) != _boundless(getattr(back, field))
            ]
        except ValidationError as error:  # it came back as null, where a number is needed
            lost = [str(error.errors()[0]["loc"][0])]
        if lost:
            raise ArgumentError(f"job {self._job!r}: argument {lost[0]!r}: {_NO_NUMBER}")

    def decode(self, text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the call that ``text`` describes."""
        try:
            made = self._validator.validate_json(text)
        except ValidationError as error:
            raise ArgumentError(
                f"job {self._job!r}: the stored arguments do not fit: {_first(error)}"
            ) from None
        if made.by_position < len(self._by_position):
            places, given = self._by_position[made.by_position]
            if made.__pydantic_fields_set__ == given:  # nearly every call
                values = made.__dict__
                return tuple([values[place] for place in places]), {}
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for field, parameter in self._fields.items():
            value = getattr(made, field)
            if parameter.kind is parameter.VAR_POSITIONAL:
                args.extend(value)
            elif parameter.kind is parameter.VAR_KEYWORD:
                kwargs.update(value)
            elif parameter.kind is parameter.POSITIONAL_ONLY or (
                parameter.kind is parameter.POSITIONAL_OR_KEYWORD and len(args) < made.by_position
            ):
                args.append(value)
            elif field in made.model_fields_set:
                kwargs[parameter.name] = value
        return tuple(args), kwargs

    def encode_result(self, value: Any) -> str:
        """Return a result as JSON.

        Raises:
            ArgumentError: JSON cannot carry it.

        """
        try:
            text = self._result.dump_json(value, warnings="error").decode()
            if (lost := _boundless(value)) and _boundless(self._result.validate_json(text)) != lost:
                raise ValueError(_NO_NUMBER)
            _refuse_endless_numbers(text)
            return text
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            raise ArgumentError(
                f"job {self._job!r}: its result {shown(value)} cannot be written as JSON: "
                f"{shorten(str(error), 160)}"
            ) from None

    def decode_result(self, text: str) -> Any:
        """Return the result that was written, as the type the function declares."""
        try:
            return self._result.validate_json(text)
        except ValidationError as error:
            raise ArgumentError(
                f"job {self._job!r}: the stored result does not fit: {_first(error)}"
            ) from None

    def _unserialisable(self, bound: dict[str, Any]) -> str:
        for name, value in bound.items():
            try:
                _refuse_endless_numbers(TypeAdapter(Any).dump_json(value).decode())
            except (PydanticSerializationError, ValueError):
                return f"argument {name!r}"
        return "an argument"


def _says_nothing(hint: Any) -> bool:
    """Whether a hint leaves open what a value, or the items in it, come back as from JSON."""
    if hint in (Any, object, list, dict):
        return True
    kind, of = get_origin(hint), get_args(hint)
    if kind is dict and of[0] is not str:
        return False
    open_end = any(map(_says_nothing, of))
    return (
        kind in (list, dict, Union, UnionType)
        and open_end
        and all(one in (str, int, float, bool, NoneType) or _says_nothing(one) for one in of)
    )


def _foreign(value: Any) -> str:
    """Return what in a value JSON has no equal of, in words; ``""`` if there is nothing."""
    items: Iterable[Any]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                return f"a dict with the key {shown(key)}"
        items = value.values()
    elif isinstance(value, list):
        items = value
    else:
        return "" if isinstance(value, _SCALARS) else f"something of type {shorten(type(value).__name__)}"
    for item in items:
        if type(item) not in _PLAIN and (
            found := _foreign(item)
        ):  # most are: a call for each would cost most
            return found
    return ""


def _boundless(value: Any) -> int:
    """Return how many nan and inf there are in a value."""
    if isinstance(value, float):
        return not isfinite(value)
    if isinstance(value, Mapping):
        return sum(map(_boundless, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return sum(map(_boundless, value))
    if isinstance(value, BaseModel) or is_dataclass(value):
        return sum(map(_boundless, vars(value).values())) if hasattr(value, "__dict__") else 0
    return 0


def _is_secret(value: Any) -> bool:
    """Return whether there is a secret of pydantic's in a value."""
    if isinstance(value, (Secret, SecretStr, SecretBytes)):
        return True
    if isinstance(value, Mapping):
        return any(map(_is_secret, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(map(_is_secret, value))
    if isinstance(value, BaseModel) or is_dataclass(value):
        return any(map(_is_secret, vars(value).values())) if hasattr(value, "__dict__") else False
    return False


def _refuse_endless_numbers(text: str) -> None:
    """Refuse JSON with a number that pydantic writes and does not read."""
    if len(text) > _MOST_DIGITS and _ENDLESS.search(text):
        try:
            from_json(text)  # the digits may stand in a text
        except ValueError:
            raise ValueError(
                f"a whole number of more than {_MOST_DIGITS} digits is not read back; give it as a text"
            ) from None


def _annotation(parameter: inspect.Parameter, hint: Any) -> Any:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return tuple[hint, ...]
    if parameter.kind is parameter.VAR_KEYWORD:
        return dict[str, hint]
    return hint


def _adapter(kind: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(kind, config=ConfigDict(ser_json_inf_nan="strings"))
    except PydanticUserError:  # a model or a dataclass has a configuration of its own
        return TypeAdapter(kind)


def _stripped(hint: Any) -> Any:
    """Return a return annotation without metadata that is no pydantic's business."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else (None if hint is None else hint)


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in detail["loc"]) or "arguments"
    return f"argument {place!r}: {detail['msg']}"


# pydantic looks for its plugins at the first schema, which reads files: here, at import, and not
# when a scheduler starts in its event loop.
TypeAdapter(int)
