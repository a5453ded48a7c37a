"""How pydantic and FastAPI write the public values: as they are, whatever a job was given or has returned.

pydantic finds these methods by their names, and is imported only by an app that uses it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from typing import Any, Protocol, runtime_checkable

from asyncsched._core.text import safe_repr
from asyncsched._core.values import value

_LONGEST = 1000
"""Characters of an object that JSON does not have, written as its ``repr``."""


@runtime_checkable
class Written(Protocol):
    """A value that a store keeps as data, such as a trigger."""

    def to_json(self) -> dict[str, Any]:
        """Return the value as data that JSON can carry."""
        ...


def shown(value: Any) -> Any:
    """Return a value as JSON can carry it; what JSON does not have, a connection for example, as its ``repr``."""
    from pydantic_core import from_json, to_json

    try:
        if isinstance(value, Written):
            value = value.to_json()
        # Through the text, which has no nan, no lone surrogate and no number that JSON could not carry.
        return from_json(to_json(value, fallback=_as_text, inf_nan_mode="null"))
    except Exception:  # a circle, bytes that are no text, a trigger of the user's that is kept by no store
        return _as_text(value)


def _as_text(value: object) -> str:
    return safe_repr(value, _LONGEST)


class AnyValue:
    """Marks a field whose value is the user's: ``Annotated[Any, AnyValue()]``."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Return pydantic's schema: every value is taken, and written by :func:`shown`."""
        from pydantic_core import core_schema

        write = core_schema.plain_serializer_function_ser_schema(shown, when_used="json")
        return core_schema.any_schema(serialization=write)


class SerializerOf:
    """The class attribute by which pydantic writes a value inside ``Any``: made when it is first read."""

    def __get__(self, value: object, cls: type) -> Any:
        """Return the class's serializer."""
        from pydantic import TypeAdapter

        found = TypeAdapter(cls).serializer
        setattr(cls, "__pydantic_serializer__", found)  # noqa: B010 - the name is pydantic's
        return found


class ShownAsData:
    """The base of values that pydantic takes as they are and writes as an object, by :func:`shown`.

    Such a value is also a mapping of its data, as far as ``dict(value)`` asks for one: FastAPI calls it for what a
    handler without an annotation returns.
    """

    __slots__ = ()

    __pydantic_serializer__ = SerializerOf()
    __iter__ = None  # else __getitem__ would make it a sequence

    def keys(self) -> Collection[str]:
        """Return the names of its data."""
        return self._data().keys()

    def __getitem__(self, name: str) -> Any:
        return self._data()[name]

    def _data(self) -> dict[str, Any]:
        found = shown(self)
        return (
            found if isinstance(found, dict) else {"repr": found}
        )  # the trigger of a user's inside has no data

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Return pydantic's schema: an instance is taken, and written as data."""
        from pydantic_core import core_schema

        write = core_schema.plain_serializer_function_ser_schema(shown, when_used="json")
        return core_schema.is_instance_schema(cls, serialization=write)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        """Return the schema for OpenAPI documents."""
        return {"type": "object", "title": cls.__name__}


@value
class SafeRepr:
    """Has a short ``repr`` that never raises: that of a job's arguments or result may be long, or raise."""

    __pydantic_serializer__ = SerializerOf()

    def __repr__(self) -> str:
        named = (f"{one.name}={safe_repr(getattr(self, one.name), 200)}" for one in fields(self))
        return f"{type(self).__name__}({', '.join(named)})"
