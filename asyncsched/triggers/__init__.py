"""Triggers, which say when work is due: intervals, cron expressions, moments, and combinations of them.

This folder may import ``_core``, ``abc`` and ``_backends``. Begin reading at ``base``.
"""

from __future__ import annotations

import json
from typing import Any

from asyncsched._core.errors import TriggerError
from asyncsched._core.text import safe_repr, shorten
from asyncsched.triggers.at import At as At
from asyncsched.triggers.base import BaseTrigger as BaseTrigger
from asyncsched.triggers.combine import AnyOf as AnyOf
from asyncsched.triggers.combine import Except as Except
from asyncsched.triggers.cron.trigger import Cron as Cron
from asyncsched.triggers.interval import Interval as Interval
from asyncsched.triggers.windows import Window as Window

_KINDS: dict[str, Any] = {"interval": Interval, "cron": Cron, "at": At, "any_of": AnyOf, "except": Except}


def trigger_to_json(trigger: Any) -> dict[str, Any]:
    """Return a built-in trigger as data that JSON can carry.

    Raises:
        TriggerError: it is a user's trigger, which only code can declare.

    """
    if not isinstance(trigger, BaseTrigger) or type(trigger) not in _KINDS.values():
        raise TriggerError(
            f"{safe_repr(trigger)} cannot be kept by a store: a trigger of a kind of your own "
            "must be declared in code, with @scheduler.job(trigger)"
        )
    written: dict[str, Any] = trigger.to_json()  # type: ignore[attr-defined]  # every kind has it
    return written


def trigger_from_json(data: dict[str, Any]) -> BaseTrigger:
    """Return the trigger that :func:`trigger_to_json` wrote.

    Raises:
        TriggerError: the data is not of a known kind.

    """
    for kind, cls in _KINDS.items():
        if kind in data:
            made: BaseTrigger = cls.from_json(data)
            return made
    raise TriggerError(f"no trigger can be read from {shorten(json.dumps(data))}")
