"""What JSON can carry, and what would come back as something else: of types, of values, and of its text."""

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
SURELY_READ = 2 * _DEEPEST
"""How many characters a text has at most whose numbers are short enough, and lists not too deep."""

_ENDLESS = re.compile(rf"(?<![0-9])[0-9]{{{_MOST_DIGITS + 1}}}")

_SCALARS = (str, int, float, NoneType)
PLAIN = frozenset({*_SCALARS, bool})
"""The types whose values come back as they are."""


def says_nothing(hint: Any) -> bool:
    """Whether a hint leaves open what a value, or the items in it, come back as from JSON."""
    if hint in (Any, object, list, dict):
        return True
    kind, of = get_origin(hint), get_args(hint)
    if kind is dict and of[0] is not str:
        return False
    open_end = any(map(says_nothing, of))
    return (
        kind in (list, dict, Union, UnionType)
        and open_end
        and all(one in (str, int, float, bool, NoneType) or says_nothing(one) for one in of)
    )


def foreign(value: Any) -> str:
    """Return what in a value JSON has no equal of, in words; ``""`` if there is nothing."""
    items: Iterable[Any]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                return f"a dict with the key {safe_repr(key)}"
        items = value.values()
    elif isinstance(value, list):
        items = value
    else:
        return "" if isinstance(value, _SCALARS) else f"something of type {shorten(type(value).__name__)}"
    for item in items:
        if type(item) not in PLAIN and (found := foreign(item)):  # most are: a call for each would cost most
            return found
    return ""


def boundless(value: Any) -> int:
    """Return how many nan and inf there are in a value."""
    if isinstance(value, _SCALARS):
        return isinstance(value, float) and not isfinite(value)
    return sum(map(boundless, _parts(value)))


def unordered(value: Any) -> Any:
    """Return what is equal for JSON that is alike but for the order in its lists, in which sets are written."""
    if isinstance(value, dict):
        return frozenset((name, unordered(item)) for name, item in value.items())
    if isinstance(value, list):
        return frozenset(Counter(map(unordered, value)).items())
    return (type(value), value) if value == value else "nan"


def is_secret(value: Any) -> bool:
    """Return whether there is a secret of pydantic's in a value."""
    return isinstance(value, (Secret, SecretStr, SecretBytes)) or any(map(is_secret, _parts(value)))


def _parts(value: Any) -> Iterable[Any]:
    """Return what a value holds, one step into it."""
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, (list, tuple, set, frozenset)):
        return value
    if isinstance(value, BaseModel) or is_dataclass(value):
        return getattr(value, "__dict__", {}).values()
    return ()


def refuse_unreadable(text: str) -> None:
    """Refuse JSON that pydantic writes and does not read: a number too long, or lists in lists too deep."""
    if _ENDLESS.search(text) or text.count("[") + text.count("{") > _DEEPEST:
        try:
            from_json(text)  # the digits may stand in a text, and the lists side by side
        except ValueError as error:
            if "recursion" in str(error):
                raise ValueError("it is nested too deep to be read back; give it as a text") from None
            raise ValueError(
                f"a whole number of more than {_MOST_DIGITS} digits is not read back; give it as a text"
            ) from None
