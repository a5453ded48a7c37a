"""The hint for fields that were given by name, as other schedulers take them, in place of an expression."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from asyncsched._core.errors import ConfigurationError
from asyncsched._core.text import safe_repr, shorten

P = ParamSpec("P")
T = TypeVar("T")

_FIELDS = {
    "second": ("second", "seconds"), "minute": ("minute", "minutes"), "hour": ("hour", "hours"),
    "day": ("day", "day_of_month"), "month": ("month", "month_of_year"),
    "day_of_week": ("day_of_week", "weekday"),
}  # fmt: skip
_LEAST = {"second": "0", "minute": "0", "hour": "0", "day": "1", "month": "1"}


def expression_of(given: Mapping[str, object]) -> str:
    """Return the expression of fields that were given by name; that of 7 o'clock where there are none.

    A field before the first given one is at its least, one behind it is ``*``.

    Example:
        >>> expression_of({"hour": 7, "minute": 30})
        '30 7 * * *'

    """
    found = {field: given[name] for field, names in _FIELDS.items() for name in names if name in given}
    if not found:
        return "0 7 * * *"
    fields, met = [], False
    for field in _FIELDS:
        # A day of the week is at its least no restriction of the days: "0 0 * * mon".
        met = met or field in found or (field == "day" and "day_of_week" in found and "month" not in found)
        fields.append(str(found.get(field, "*" if met else _LEAST.get(field, "*"))))
    return " ".join(fields if "second" in found else fields[1:])


def expects_expression(call: Callable[P, T], name: str) -> Callable[P, T]:
    """Return a method that takes a cron expression first, with words for a call without one."""

    @wraps(call)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        if len(args) < 2 and "expression" not in kwargs:
            given: Mapping[str, Any] = kwargs
            shown = ", ".join(f"{shorten(one)}={safe_repr(value)}" for one, value in list(given.items())[:6])
            raise ConfigurationError(
                f'{name} takes a cron expression: write {name}("{shorten(expression_of(given), 80)}"), not {name}({shown})'
            )
        return call(*args, **kwargs)

    return checked
