"""Built-in triggers as data that JSON can carry: a store keeps them so."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from asyncsched._core.errors import TriggerError
from asyncsched._core.text import safe_repr, shorten
from asyncsched._core.trigger import InstantTrigger


class _Kept(Protocol):
    """A class of triggers that a store keeps."""

    def to_json(self) -> dict[str, Any]:
        """Return the trigger as data, its kind among the keys."""
        ...

    @classmethod
    def from_json(cls, data: dict[str, Any], /) -> InstantTrigger:
        """Return the trigger that ``to_json`` wrote."""
        ...


K = TypeVar("K", bound=type[_Kept])

_KINDS: dict[str, type[_Kept]] = {}


def kept_as(kind: str) -> Callable[[K], K]:
    """Return a decorator for a class of triggers whose data has ``kind`` among its keys."""

    def keep(cls: K) -> K:
        _KINDS[kind] = cls
        return cls

    return keep


def trigger_to_json(trigger: Any) -> dict[str, Any]:
    """Return a built-in trigger as data that JSON can carry.

    Raises:
        TriggerError: it is a user's trigger, which only code can declare.

    """
    if type(trigger) not in _KINDS.values():
        raise TriggerError(
            f"{safe_repr(trigger)} cannot be kept by a store: a trigger of a kind of your own "
            "must be declared in code, with @scheduler.job(trigger)"
        )
    written: dict[str, Any] = trigger.to_json()
    return written


def is_known(data: dict[str, Any]) -> bool:
    """Whether the data is of a known kind."""
    return not _KINDS.keys().isdisjoint(data)


def trigger_from_json(data: dict[str, Any]) -> InstantTrigger:
    """Return the trigger that :func:`trigger_to_json` wrote.

    Raises:
        TriggerError: the data is not of a known kind.

    """
    for kind, cls in _KINDS.items():
        if kind in data:
            return cls.from_json(data)
    raise TriggerError(f"no trigger can be read from {shorten(json.dumps(data))}")
