"""Arguments and results as JSON through pydantic types. Never pickle: a row is not code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    ConfigDict,
    GetCoreSchemaHandler,
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import CoreSchema, PydanticSerializationError, core_schema, from_json

from asyncsched._core.arguments.functions import type_hints
from asyncsched._core.arguments.jsonable import (
    PLAIN,
    SURELY_READABLE,
    count_nonfinite,
    first_unjsonable,
    holds_secret,
    is_untyped,
    refuse_unreadable,
    without_order,
)
from asyncsched._core.errors import ArgumentError, ConfigurationError
from asyncsched._core.text import safe_repr, shorten

_NO_NUMBER = "JSON has no nan or inf; annotate it as float where it stands, or give a text or None"
_CUSTOM_FORM = re.compile(r"'type': '(model|dataclass|enum)'|'serialization'")
"""Marks in a pydantic schema of a class with its own way of writing, which its way of reading need not match."""

_MASK = "*****"
"""The text that pydantic writes in place of a secret, or of most of it."""

_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_GATHERING = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class _Call:
    """The schema of a call: a dict of the arguments by name; ``*`` says how many were given by position."""

    def __init__(self, signature: inspect.Signature, hints: Mapping[str, Any]) -> None:
        self._signature = signature
        self._hints = hints

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        field = core_schema.typed_dict_field
        fields = {"*": field(core_schema.int_schema(), required=False)}
        for name, parameter in self._signature.parameters.items():
            schema = handler.generate_schema(_annotation(parameter, self._hints.get(name, Any)))
            if schema["type"] == "default":  # the annotation has a Field with a default, which a call ignores
                schema = schema["schema"]
            required = parameter.default is parameter.empty and parameter.kind not in _GATHERING
            fields[name] = field(schema, required=required)
        return core_schema.typed_dict_schema(fields, extra_behavior="forbid")


class Codec:
    """Writes a call of one function as a JSON object by parameter name, and reads it back."""

    def __init__(self, func: Callable[..., Any], job: str, signature: inspect.Signature) -> None:
        self._job = job
        self._signature = signature
        hints = type_hints(func)
        parameters = signature.parameters.values()
        self._untyped = [p for p in parameters if is_untyped(hints.get(p.name, Any))]
        self._names = tuple(p.name for p in parameters if p.kind in _BY_PLACE)
        self._by_position = {given: self._names[:given] for given in range(len(self._names) + 1)}
        self._gathers = any(p.kind in _GATHERING for p in parameters)
        try:
            call = _adapter(Annotated[dict, _Call(signature, hints)], extra="forbid")
            result = _adapter(_stripped(hints.get("return", Any)))
        except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation) as error:
            raise ConfigurationError(
                f"job {job!r}: JSON cannot carry its parameters or result "
                f"({str(error).splitlines()[0]}); use types that pydantic knows, "
                "or Provide for a value that is opened for each attempt"
            ) from None
        self._has_custom_form = _CUSTOM_FORM.search(str(call.core_schema)) is not None
        # Bound once, past the adapters: the adapters' methods take longer than all of the work.
        self._validate, self._write = call.validator.validate_python, call.serializer.to_json
        self._read = call.validator.validate_json
        self._write_result, self._read_result = result.serializer.to_json, result.validator.validate_json

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
            text = self._write(made, by_alias=True, round_trip=True).decode()
            if _MASK in text:
                self._refuse_secrets(made)
            if len(text) > SURELY_READABLE:
                refuse_unreadable(text)
            if ("NaN" in text or "Infinity" in text or "null" in text) and count_nonfinite(made):
                self._refuse_lost_numbers(made, text)
            if self._has_custom_form:
                self._refuse_changed_values(made, text)
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

    def _refuse_changed_values(self, made: dict[str, Any], text: str) -> None:
        """Refuse an argument whose class does not read the form that it writes, as under another alias."""
        try:
            back = self._read(text)
        except ValidationError as error:
            what = _first(error)
        else:
            changed = self._changed_argument(made, text, back)
            if changed is None:
                return
            what = f"argument {changed!r}: It is another value"
        raise ArgumentError(
            f"job {self._job!r}: {what}, when it is read back from the JSON that its class makes of it; let the "
            "class read the form that it writes"
        )

    def _changed_argument(self, made: dict[str, Any], text: str, back: dict[str, Any]) -> str | None:
        """Return the argument that came back as another value: it is unequal, and its JSON is unequal.

        Both are asked: a class may write one value in many ways, and need not define equality.
        """
        try:
            again = self._write(back, by_alias=True, round_trip=True).decode()
        except PydanticSerializationError:
            return None
        if again == text:
            return None
        first: dict[str, Any] = from_json(text)
        second: dict[str, Any] = from_json(again)
        for name, value in first.items():
            if without_order(value) != without_order(second.get(name)) and not _equal(
                made[name], back.get(name)
            ):
                return name
        return None

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
            raise ArgumentError(f"job {self._job!r}: argument {lost[0]!r}: {_NO_NUMBER}")

    def decode(self, text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the call that ``text`` describes."""
        try:
            made = self._read(text)
        except ValidationError as error:
            raise ArgumentError(
                f"job {self._job!r}: the stored arguments do not fit: {_first(error)}"
            ) from None
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

    def encode_result(self, value: Any) -> str:
        """Return a result as JSON.

        Raises:
            ArgumentError: JSON cannot carry it.

        """
        try:
            text = self._write_result(value, warnings="error").decode()
            if (lost := count_nonfinite(value)) and count_nonfinite(self._read_result(text)) != lost:
                raise ValueError(_NO_NUMBER)
            if len(text) > SURELY_READABLE:
                refuse_unreadable(text)
            return text
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            raise ArgumentError(
                f"job {self._job!r}: its result {safe_repr(value)} cannot be written as JSON: "
                f"{shorten(str(error), 160)}"
            ) from None

    def decode_result(self, text: str) -> Any:
        """Return the result that was written, as the type the function declares."""
        try:
            return self._read_result(text)
        except ValidationError as error:
            raise ArgumentError(
                f"job {self._job!r}: the stored result does not fit: {_first(error)}"
            ) from None

    def _unserialisable(self, bound: dict[str, Any]) -> str:
        for name, value in bound.items():
            try:
                refuse_unreadable(TypeAdapter(Any).dump_json(value).decode())
            except (PydanticSerializationError, ValueError):
                return f"argument {name!r}"
        return "an argument"


def _equal(one: Any, other: Any) -> bool:
    """Return whether two values are equal by their own ``==``."""
    try:
        return bool(one == other)
    except Exception:  # a user's class may raise anything here, and an array does: not known to be equal
        return False


def _annotation(parameter: inspect.Parameter, hint: Any) -> Any:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return tuple[hint, ...]
    if parameter.kind is parameter.VAR_KEYWORD:
        return dict[str, hint]
    return hint


def _adapter(kind: Any, extra: Literal["forbid"] | None = None) -> TypeAdapter[Any]:
    try:
        made = TypeAdapter(kind, config=ConfigDict(extra=extra, ser_json_inf_nan="strings"))
    except PydanticUserError:  # a model or a dataclass brings its own configuration
        made = TypeAdapter(kind)
    made.rebuild()  # raises if a name in a model is undefined
    return made


def _stripped(hint: Any) -> Any:
    """Return a return annotation without its ``Annotated`` metadata, which need not be pydantic's."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else (None if hint is None else hint)


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in detail["loc"]) or "arguments"
    return f"argument {place!r}: {detail['msg']}"


# The first schema makes pydantic look for its plugins, which reads files. It is built at import, so
# that no event loop has to wait for it when a scheduler starts.
TypeAdapter(int)
