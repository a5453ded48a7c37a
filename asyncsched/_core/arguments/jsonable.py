"""The limits of JSON: types, values and texts that would not come back as they were written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from pydantic_core import from_json

from asyncsched._core.text import safe_repr, shorten

_MOST_DIGITS = 4300
_DEEPEST = 190
SURELY_READABLE = 2 * _DEEPEST
"""A text of at most so many characters is surely readable: too short for a long number or deep lists."""

_LONG_NUMBER = re.compile(rf"(?<![0-9])[0-9]{{{_MOST_DIGITS + 1}}}")

NO_NUMBER = "JSON has no nan or inf; annotate it as float where it stands, or give a text or None"

_SCALARS = (str, int, float, NoneType)
PLAIN = frozenset({*_SCALARS, bool})
"""The types whose values come back as they are."""


def is_untyped(hint: Any) -> bool:
    """Return whether a hint leaves the type open as which a value from JSON, or an item in it, comes back."""
    if hint in (Any, object, list, dict):
        return True
    kind, of = get_origin(hint), get_args(hint)
    if kind is dict and of[0] is not str:
        return False
    open_end = any(map(is_untyped, of))
    return (
        kind in (list, dict, Union, UnionType)
        and open_end
        and all(one in (str, int, float, bool, NoneType) or is_untyped(one) for one in of)
    )


def first_unjsonable(value: Any) -> str:
    """Return in words the first part of a value that JSON cannot express; ``""`` if there is none."""
    items: Iterable[Any]
    kind = type(value)  # a subclass comes back as the plain type
    if kind is dict:
        for key in value:
            if type(key) is not str:
                return f"a dict with the key {safe_repr(key)}"
        items = value.values()
    elif kind is list:
        items = value
    else:
        return "" if kind in PLAIN else f"something of type {shorten(kind.__name__)}"
    for item in items:
        # Most items are plain: a call for each would cost the most.
        if type(item) not in PLAIN and (found := first_unjsonable(item)):
            return found
    return ""


def count_nonfinite(value: Any) -> int:
    """Return how many nan and inf there are in a value."""
    if isinstance(value, _SCALARS):
        return isinstance(value, float) and not isfinite(value)
    return sum(map(count_nonfinite, _parts(value)))


def without_order(value: Any) -> Any:
    """Return a form that is equal for two JSON values that differ in the order of lists only, as sets do."""
    if isinstance(value, dict):
        return frozenset((name, without_order(item)) for name, item in value.items())
    if isinstance(value, list):
        return frozenset(Counter(map(without_order, value)).items())
    return (type(value), value) if value == value else "nan"


def holds_secret(value: Any) -> bool:
    """Return whether a value is, or holds, one of pydantic's secrets."""
    return isinstance(value, (Secret, SecretStr, SecretBytes)) or any(map(holds_secret, _parts(value)))


def _parts(value: Any) -> Iterable[Any]:
    """Return the items of a container, or the fields of a model or dataclass."""
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, (list, tuple, set, frozenset)):
        return value
    if isinstance(value, BaseModel) or is_dataclass(value):
        return getattr(value, "__dict__", {}).values()
    return ()


def refuse_unreadable(text: str) -> None:
    """Refuse JSON that pydantic writes but cannot read: too long a number, or too deep a nesting."""
    if _LONG_NUMBER.search(text) or text.count("[") + text.count("{") > _DEEPEST:
        try:
            from_json(text)  # the digits may be part of a string, and the lists may stand side by side
        except ValueError as error:
            if "recursion" in str(error):
                raise ValueError("it is nested too deep to be read back; give it as a text") from None
            raise ValueError(
                f"a whole number of more than {_MOST_DIGITS} digits is not read back; give it as a text"
            ) from None
