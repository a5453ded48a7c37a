"""Classes of frozen values: dataclasses whose methods are compiled when the first value needs one.

``dataclasses.dataclass`` writes the text of up to six methods for each class and compiles it. There are some forty
classes of views and events, of which one program makes a few: to compile all of them took a third of the time of
``import asyncsched``.
"""

from __future__ import annotations

from dataclasses import Field, FrozenInstanceError, dataclass, field, fields, make_dataclass
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")

METHODS = ("__init__", "__repr__", "__eq__", "__hash__")


class _Later:
    """A method that is not compiled yet: the first look at it compiles the methods of its class."""

    def __init__(self, owner: type, name: str) -> None:
        self._owner = owner
        self._name = name

    def __get__(self, value: Any, kind: type) -> Any:
        # Several threads may come here at once, each of which makes the same methods.
        made = _compiled(self._owner)
        for name in METHODS:
            if isinstance(vars(self._owner)[name], _Later):
                setattr(self._owner, name, vars(made)[name])
        return vars(made)[self._name].__get__(value, kind)


def compile_methods(*classes: type) -> None:
    """Compile the methods of classes of values now, where there is time for it: each takes half a millisecond or more."""
    for one in classes:
        getattr(one, METHODS[0])


@dataclass_transform(frozen_default=True, field_specifiers=(Field, field))
def value(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass with slots, as ``@dataclass(frozen=True, slots=True)`` does."""
    made = dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    for name in METHODS:
        if name not in vars(made):
            setattr(made, name, _Later(made, name))
    for name, method in _SHARED.items():
        setattr(made, name, method)
    return made


def _compiled(owner: Any) -> type:
    return make_dataclass(owner.__name__, [(one.name, one.type, one) for one in fields(owner)], frozen=True)


def _set(self: Any, name: str, given: object) -> None:
    if _is_frozen(self, name):
        raise FrozenInstanceError(f"cannot assign to field {name!r}")
    object.__setattr__(self, name, given)


def _delete(self: Any, name: str) -> None:
    if _is_frozen(self, name):
        raise FrozenInstanceError(f"cannot delete field {name!r}")
    object.__delattr__(self, name)


def _is_frozen(self: Any, name: str) -> bool:
    """Whether an attribute is the class's own: a subclass that is no class of values may have others."""
    return not hasattr(self, "__dict__") or any(one.name == name for one in fields(self))


def _get_state(self: Any) -> list[Any]:
    return [getattr(self, one.name) for one in fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for one, given in zip(fields(self), state, strict=True):
        object.__setattr__(self, one.name, given)


_SHARED = {
    "__setattr__": _set,
    "__delattr__": _delete,
    "__getstate__": _get_state,
    "__setstate__": _set_state,
}
