"""Copies of arguments in memory, so that no attempt sees the changes of its caller or of another attempt.

A durable store writes arguments as JSON, which copies them. Memory keeps the objects: what is plain and
mutable is copied at the call and for each attempt, and what has an identity (a connection, a websocket, a
row of a database session, an object of a class of one's own) stays the same object.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from copy import copy
from datetime import date, datetime, time, timedelta
from typing import Any

from asyncsched._core.records import NO_ARGUMENTS, Given

_ATOMS = frozenset(
    {
        type(None), bool, int, float, complex, str, bytes, date, datetime, time, timedelta, type, frozenset, range
    }
)  # fmt: skip
"""Types whose values nobody can change: nearly all arguments."""

Memo = dict[int, Any]


def copied(arguments: Given) -> Given:
    """Return a call whose plain mutable arguments are copies, and the call itself if it has none."""
    if arguments is NO_ARGUMENTS:
        return arguments
    args, kwargs = arguments
    for value in args:
        if type(value) not in _ATOMS:
            break
    else:
        if not kwargs:
            return arguments
        for value in kwargs.values():
            if type(value) not in _ATOMS:
                break
        else:
            return args, {**kwargs}
    memo: Memo = {}
    return tuple([_copy(value, memo) for value in args]), {
        name: _copy(value, memo) for name, value in kwargs.items()
    }


def _copy(value: Any, memo: Memo) -> Any:
    kind = type(value)
    if kind in _ATOMS:
        return value
    copier = _COPIERS.get(kind) or _copier_of(kind)
    if copier is None:
        return value
    known = memo.get(id(value))
    return copier(value, memo) if known is None else known


def _copier_of(kind: type) -> Callable[[Any, Memo], Any] | None:
    """Return the copier of a record's type, or ``None`` for a type whose objects stay themselves."""
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return _named_tuple
    fields = _fields_of(kind)
    # Objects that are compared by identity have one, and so has what a session of SQLAlchemy tracks.
    if fields is None or vars(object)["__eq__"] is kind.__eq__ or hasattr(kind, "__mapper__"):
        return None
    return lambda value, memo: _record(value, memo, fields)


def _fields_of(kind: Any) -> Callable[[Any], Iterable[str]] | None:
    if dataclasses.is_dataclass(kind):
        return lambda value: [field.name for field in dataclasses.fields(value)]
    if hasattr(kind, "__attrs_attrs__"):
        return lambda value: [field.name for field in kind.__attrs_attrs__]
    if hasattr(kind, "__pydantic_fields_set__"):  # a model: pydantic may not even be imported here
        return lambda value: list(value.__dict__)
    return None


def _record(value: Any, memo: Memo, fields: Callable[[Any], Iterable[str]]) -> Any:
    """Copy a dataclass, a class of attrs or a model of pydantic, field by field; one that refuses it stays."""
    try:
        memo[id(value)] = twin = copy(value)
        for name in fields(value):
            if hasattr(value, name):
                object.__setattr__(twin, name, _copy(getattr(value, name), memo))
        for extra in ("__pydantic_extra__", "__pydantic_private__"):
            if isinstance(more := getattr(value, extra, None), dict):
                object.__setattr__(twin, extra, _copy(more, memo))
    except Exception:
        memo[id(value)] = value
        return value
    return twin


def _list(value: list[Any], memo: Memo) -> list[Any]:
    memo[id(value)] = twin = value.copy()
    if not _ATOMS.issuperset(map(type, value)):
        twin[:] = [one if type(one) in _ATOMS else _copy(one, memo) for one in value]
    return twin


def _deque(value: deque[Any], memo: Memo) -> deque[Any]:
    memo[id(value)] = twin = deque[Any](maxlen=value.maxlen)
    twin.extend([_copy(one, memo) for one in value])
    return twin


def _dict(value: dict[Any, Any], memo: Memo) -> dict[Any, Any]:
    memo[id(value)] = twin = value.copy()  # of the same type, and with the same default_factory
    for key, one in value.items():
        if type(one) not in _ATOMS:
            twin[key] = _copy(one, memo)
    return twin


def _set(value: Any, memo: Memo) -> Any:
    return memo.setdefault(id(value), value.copy())


def _tuple(value: tuple[Any, ...], memo: Memo) -> tuple[Any, ...]:
    parts = [_copy(one, memo) for one in value]
    return value if all(map(_is, parts, value)) else memo.setdefault(id(value), tuple(parts))


def _named_tuple(value: Any, memo: Memo) -> Any:
    parts = [_copy(one, memo) for one in value]
    return value if all(map(_is, parts, value)) else memo.setdefault(id(value), type(value)._make(parts))


def _is(one: object, other: object) -> bool:
    return one is other


_COPIERS: dict[type, Callable[[Any, Memo], Any]] = {
    list: _list, dict: _dict, set: _set, bytearray: _set, tuple: _tuple, deque: _deque,
    defaultdict: _dict, OrderedDict: _dict, Counter: _dict,
}  # fmt: skip
"""By the exact type: a class of one's own that inherits from one of these has its own meaning, and stays."""
