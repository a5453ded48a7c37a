"""The comparison of a value with what comes back from its JSON: in depth, and with the types.

Two parts of a value that differ are no difference where the written text tells all: the time zone of a
datetime, which is noted so that it can be restored, and a plain value of a subclass, as a member of a ``StrEnum``
is of ``str``, where the declared type says which one arrives.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, MutableMapping, Set
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from asyncsched._core.arguments.jsonable import PLAIN
from asyncsched._core.text import safe_repr, shorten

Path = tuple[str | int, ...]

Zones = list[tuple[Path, str]]
"""The place of each datetime whose zone JSON does not carry, and the name of that zone."""

_VALUES = frozenset({str, int, float, Decimal, bytes, date, datetime, timedelta})
"""The types that a value of a subclass may arrive as, if it is declared so and is equal."""

_NUMBERS = (int, float, Decimal)


class _Missing:
    """Stands for a field or an item that one of two values lacks."""

    def __repr__(self) -> str:
        return "nothing"


_MISSING = _Missing()
_IDENTITY: Any = object.__eq__


class Difference(NamedTuple):
    """A part of a value that comes back as another one."""

    path: Path
    given: Any
    back: Any

    def __str__(self) -> str:
        given, back = safe_repr(self.given, 100), safe_repr(self.back, 100)
        if given == back or type(self.given) is not type(self.back):
            given, back = (
                f"{text} of type {shorten(type(value).__name__)}"
                for text, value in ((given, self.given), (back, self.back))
            )
        return f"{given} would come back from JSON as {back}"

    @property
    def remedy(self) -> str:
        """What to do instead."""
        if isinstance(self.given, (datetime, time)) and self.given.tzinfo is not None:
            return "give a time that exists, in UTC or in a zone of zoneinfo: JSON has offsets of whole minutes only"
        return "annotate it with the one type that it has, or give a value of that type"


class Comparison:
    """Compares values with what came back of them.

    Args:
        open: whether the declared types leave open as which type a value comes back, as a union does.

    """

    def __init__(self, open: bool) -> None:
        self._open = open
        self.zones: Zones = []
        """The zones to restore, as far as values were compared."""
        self.undecided = False
        """Whether an object was met that has no equality of its own: only its text can be compared."""

    def find(self, given: Any, back: Any, path: Path) -> Difference | None:
        """Return the first difference between a value and what came back of it; ``None`` if there is none."""
        kind = type(given)
        if isinstance(given, datetime) and type(back) is datetime and (kind is datetime or not self._open):
            return self._find_in_datetime(given, back, path)
        if kind is not type(back):
            return None if self._may_arrive_as(given, back) else Difference(path, given, back)
        if kind in PLAIN:
            return None if given == back or given != given else Difference(path, given, back)
        if isinstance(given, time):
            same = given == back and (given.tzinfo is None) == (back.tzinfo is None)
            return None if same else Difference(path, given, back)
        if isinstance(given, BaseModel) and isinstance(back, BaseModel):
            return self._find_in_model(given, back, path)
        if is_dataclass(given) and not isinstance(given, type):
            return self._find_in_dataclass(given, back, path)
        if isinstance(given, Mapping):
            return self._find_in_mapping(given, back, path) or _find_in_settings(given, back, path)
        if isinstance(given, (list, tuple, deque)):
            return self._find_in_items(given, back, path) or _find_in_settings(given, back, path)
        if isinstance(given, Set):
            return self._find_in_set(given, back, path)
        return self._find_in_object(given, back, path)

    def _may_arrive_as(self, given: Any, back: Any) -> bool:
        kind = type(back)
        numbers = isinstance(given, _NUMBERS) and kind in _NUMBERS
        return (
            not self._open
            and kind in _VALUES
            and (numbers or isinstance(given, kind))
            and _equal(given, back)
        )

    def _find_in_datetime(self, given: datetime, back: datetime, path: Path) -> Difference | None:
        if given.tzinfo is None or back.tzinfo is None or _is_fixed(given.tzinfo):
            same = given == back and given.utcoffset() == back.utcoffset()
            return None if same else Difference(path, given, back)
        key = given.tzinfo.key if type(given.tzinfo) is ZoneInfo else None
        if key is None:
            return Difference(path, given, back)
        restored = back.astimezone(given.tzinfo)
        if restored.replace(tzinfo=None) != given.replace(tzinfo=None) or restored != given:
            return Difference(path, given, back)  # an hour that a clock change leaves out, or an odd offset
        self.zones.append((path, key))
        return None

    def _find_in_model(self, given: BaseModel, back: BaseModel, path: Path) -> Difference | None:
        one, other = given.__dict__, back.__dict__  # not by getattr: a deprecated field warns
        for name in type(given).model_fields:
            if found := self.find(one.get(name, _MISSING), other.get(name, _MISSING), (*path, name)):
                return found
        return self._find_in_mapping(
            given.__pydantic_extra__ or {}, back.__pydantic_extra__ or {}, (*path, "__pydantic_extra__")
        )

    def _find_in_dataclass(self, given: Any, back: Any, path: Path) -> Difference | None:
        for name in [one.name for one in fields(given) if one.compare]:
            one, other = getattr(given, name, _MISSING), getattr(back, name, _MISSING)
            if found := self.find(one, other, (*path, name)):
                return found
        return None

    def _find_in_mapping(self, given: Any, back: Any, path: Path) -> Difference | None:
        if len(given) != len(back):
            return Difference(path, given, back)
        for (key, value), (key_back, value_back) in zip(given.items(), back.items(), strict=True):
            if (type(key) is not str or key != key_back) and self._differ_as_keys(key, key_back):
                return Difference((*path, f"key {safe_repr(key)}"), key, key_back)
            if type(value) in PLAIN and type(value) is type(value_back) and value == value_back:
                continue  # most values: a call for each would cost the most
            before = len(self.zones)
            if found := self.find(value, value_back, (*path, key if type(key) is str else safe_repr(key))):
                return found
            if len(self.zones) > before and not (type(key) is str and isinstance(given, MutableMapping)):
                return Difference((*path, safe_repr(key)), value, value_back)  # no place to restore a zone at
        return None

    def _differ_as_keys(self, key: Any, back: Any) -> bool:
        inner = Comparison(self._open)
        return bool(inner.find(key, back, ()) or inner.undecided or inner.zones)

    def _find_in_items(self, given: Any, back: Any, path: Path) -> Difference | None:
        if len(given) != len(back):
            return Difference(path, given, back)
        for number, (one, other) in enumerate(zip(given, back, strict=True)):
            if type(one) in PLAIN and type(one) is type(other) and one == other:
                continue  # most items: a call for each would cost the most
            if found := self.find(one, other, (*path, number)):
                return found
        return None

    def _find_in_set(self, given: Any, back: Any, path: Path) -> Difference | None:
        twins = {one: one for one in back}
        if len(given) != len(back):
            return Difference(path, given, back)
        before = len(self.zones)
        for one in given:
            if found := self.find(one, twins.get(one, _MISSING), path):
                return found
            if len(self.zones) > before:  # the items of a set have no place to restore a zone at
                return Difference(path, one, twins[one])
        return None

    def _find_in_object(self, given: Any, back: Any, path: Path) -> Difference | None:
        if type(given).__eq__ is _IDENTITY and given is not back:
            self.undecided = True
            return None
        try:
            return None if given == back else Difference(path, given, back)
        except Exception:  # a user's class may raise anything here, and an array does
            self.undecided = True
            return None


def _find_in_settings(given: Any, back: Any, path: Path) -> Difference | None:
    """Compare what a container has beside its items: a default for missing ones, or a bound."""
    name = (
        "default_factory" if isinstance(given, defaultdict) else "maxlen" if isinstance(given, deque) else ""
    )
    if name and getattr(given, name) != getattr(back, name):
        return Difference((*path, name), getattr(given, name), getattr(back, name))
    return None


def _is_fixed(zone: tzinfo) -> bool:
    """Return whether a zone has one offset at all times, with which a datetime is written."""
    try:
        return zone.utcoffset(None) is not None
    except Exception:  # a zone of a user's class need not take None
        return False


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # a user's class may raise anything here
        return False


def restore(value: Any, path: Path, name: str) -> Any:
    """Return ``value`` with the datetime at ``path`` brought into the zone ``name``."""
    if not path:
        return value.astimezone(ZoneInfo(name))
    step: Any = path[0]
    if isinstance(value, tuple):
        items = list(value)
        items[step] = restore(items[step], path[1:], name)
        return tuple(items) if type(value) is tuple else type(value)(*items)  # a named tuple
    if isinstance(value, (Mapping, list, deque)):
        place: Any = value
        place[step] = restore(place[step], path[1:], name)
    else:  # a model or a dataclass, frozen or not
        object.__setattr__(value, step, restore(getattr(value, step), path[1:], name))
    return value


def place_of(path: Path) -> str:
    """Return a path in words: ``order.items.0``."""
    return ".".join(str(step) for step in path if step != "__pydantic_extra__")
