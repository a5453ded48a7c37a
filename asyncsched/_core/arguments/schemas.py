"""The pydantic schemas of a job's call and of its result, and which of them are exact.

A schema is exact if whatever it accepts comes back from JSON equal and of the same type. It is found out once,
when a job's codec is built: an argument or a result of an exact schema is never compared.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    ConfigDict,
    GetCoreSchemaHandler,
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
    PydanticUserError,
    TypeAdapter,
)
from pydantic_core import CoreSchema, core_schema

from asyncsched._core.arguments.jsonable import is_untyped
from asyncsched._core.errors import ConfigurationError
from asyncsched._core.text import shorten

BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
GATHERING = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

_SCALARS = frozenset({"str", "int", "float", "bool", "none"})
_EXACT = _SCALARS | {"uuid", "date"}
_OPEN = re.compile(r"'type': '(union|tagged-union|any)'")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+|:[0-9]{6,}")
_BESIDE = frozenset({"default", "default_factory", "metadata"})
"""The keys in a schema that say nothing of the form in which a value is stored."""

_NO_SCHEMA = (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError)


class CallSchema:
    """The schema of a call: a dict of the arguments by name.

    ``*`` says how many were given by position, and ``@`` where a datetime has which zone.
    """

    def __init__(self, job: str, signature: inspect.Signature, hints: Mapping[str, Any]) -> None:
        self._job = job
        self._parameters = signature.parameters
        self._hints = hints
        for name, parameter in self._parameters.items():
            if parameter.annotation is not parameter.empty and name not in hints:
                raise ConfigurationError(
                    f"job {job!r}: the annotation of {name!r}, {shorten(str(parameter.annotation), 120)}, cannot be "
                    "resolved; import the names in it at run time, not only under TYPE_CHECKING, or define them "
                    "in the function's module"
                )
        self._inexact: list[str] = []
        self.adapter = _adapter(Annotated[dict, self], extra="forbid")

    def compared(self) -> dict[str, bool]:
        """Return the parameters whose arguments are to be compared, and whether each leaves its type open."""
        whole: Any = self.adapter.core_schema
        shared = str(whole.get("definitions", ""))
        fields = (whole if whole["type"] == "typed-dict" else whole["schema"])["fields"]
        texts = {name: str(fields[name]) for name in self._inexact}
        return {
            name: _OPEN.search(text + (shared if "'definition-ref'" in text else "")) is not None
            for name, text in texts.items()
        }

    def fingerprint(self) -> str:
        """Return a text that is the same in each process of the same code."""
        text = _ADDRESS.sub("", _written(self.adapter.core_schema))
        return blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        field = core_schema.typed_dict_field
        fields = {"*": field(core_schema.int_schema(), required=False)}
        self._inexact = []
        for name, parameter in self._parameters.items():
            hint = self._hints.get(name, Any)
            schema = self._generate(parameter, hint, handler)
            if schema["type"] == "default":  # the annotation has a Field with a default, which a call ignores
                schema = schema["schema"]
            if not is_untyped(hint) and not is_exact(schema):
                self._inexact.append(name)
            required = parameter.default is parameter.empty and parameter.kind not in GATHERING
            fields[name] = field(schema, required=required)
        if self._inexact:
            step = core_schema.union_schema([core_schema.int_schema(), core_schema.str_schema()])
            place = core_schema.tuple_schema([core_schema.list_schema(step), core_schema.str_schema()])
            fields["@"] = field(core_schema.list_schema(place), required=False)
        return core_schema.typed_dict_schema(fields, extra_behavior="forbid")

    def _generate(self, parameter: inspect.Parameter, hint: Any, handler: GetCoreSchemaHandler) -> Any:
        if parameter.kind is parameter.VAR_POSITIONAL:
            hint = tuple[hint, ...]
        elif parameter.kind is parameter.VAR_KEYWORD:
            hint = dict[str, hint]
        try:
            return handler.generate_schema(hint)
        except _NO_SCHEMA as error:
            raise _no_json(self._job, f"its parameter {parameter.name!r}", error) from None


def result_adapter(job: str, hint: Any) -> TypeAdapter[Any]:
    """Return what writes and reads a result; ``Annotated`` metadata, which need not be pydantic's, is left out.

    Raises:
        ConfigurationError: JSON cannot carry such a result.

    """
    kind = get_args(hint)[0] if get_origin(hint) is Annotated else (None if hint is None else hint)
    try:
        return _adapter(kind)
    except _NO_SCHEMA as error:
        raise _no_json(job, "its result", error) from None


def _no_json(job: str, what: str, error: Exception) -> ConfigurationError:
    said = (
        str(error).splitlines()[0].partition(". Set `arbitrary_types_allowed")[0]
    )  # which would carry nothing
    return ConfigurationError(
        f"job {job!r}: JSON cannot carry {what} ({said}); use types that pydantic knows, "
        "or Provide for a value that is opened for each attempt"
    )


def _adapter(kind: Any, extra: Literal["forbid"] | None = None) -> TypeAdapter[Any]:
    try:
        made = TypeAdapter(kind, config=ConfigDict(extra=extra, ser_json_inf_nan="strings"))
    except PydanticUserError:  # a model or a dataclass brings its own configuration
        made = TypeAdapter(kind)
    made.rebuild()  # raises if a name in a model is undefined
    return made


def is_exact(schema: Any) -> bool:
    """Return whether a schema reads each value that it writes as the same value of the same type."""
    kind = schema["type"]
    if "serialization" in schema:
        return False
    if kind in _EXACT:
        return True
    if kind in ("nullable", "default"):
        return is_exact(schema["schema"])
    if kind in ("list", "set", "frozenset"):
        return "items_schema" in schema and is_exact(schema["items_schema"])
    if kind == "tuple":
        return all(map(is_exact, schema["items_schema"]))
    if kind == "dict" and "keys_schema" in schema and "values_schema" in schema:
        return schema["keys_schema"]["type"] == "str" and is_exact(schema["values_schema"])
    if kind == "union":  # of plain types JSON itself tells which one it is
        return schema.get("mode", "smart") == "smart" and all(map(_is_scalar, schema["choices"]))
    return False


def _is_scalar(choice: Any) -> bool:
    schema = choice[0] if isinstance(choice, tuple) else choice
    return schema["type"] in _SCALARS and schema.keys() <= {"type", "metadata"}


def _written(part: Any) -> str:
    """Return a part of a schema as a text that no hash seed, address or default value changes."""
    if isinstance(part, dict):
        return f"({','.join(f'{key}:{_written(one)}' for key, one in part.items() if key not in _BESIDE)})"
    if isinstance(part, list | tuple):
        return f"[{','.join(map(_written, part))}]"
    if isinstance(part, set | frozenset):
        return f"[{','.join(sorted(map(_written, part)))}]"
    if isinstance(part, type) or callable(part):
        return getattr(part, "__qualname__", type(part).__qualname__)
    return str(part)


def is_open(schema: Any) -> bool:
    """Return whether a schema leaves open as which type a value comes back."""
    return _OPEN.search(str(schema)) is not None


# The first schema makes pydantic look for its plugins, which reads files. It is built at import, so
# that no event loop has to wait for it when a scheduler starts.
TypeAdapter(int)
