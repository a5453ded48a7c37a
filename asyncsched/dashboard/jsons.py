"""JSON that every client can read, whatever a user's values are; and bodies that are no trap for what reads them."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse

MOST_DEEP = 32
"""The most lists and objects inside one another that a body may have."""


def dumps(value: Any) -> str:
    """Return a value as JSON in ASCII; numbers that JSON does not have become texts, as ``"NaN"``."""
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:
        told = json.loads(json.dumps(value), parse_constant=str)
        return json.dumps(told, separators=(",", ":"))


class Answer(JSONResponse):
    """An answer in JSON."""

    def render(self, content: Any) -> bytes:
        """Return the bytes."""
        return dumps(content).encode()


def loads(content: bytes) -> Any:
    """Return the value of a body.

    Raises:
        ValueError: it is no JSON, has a number that JSON does not have, or is too deep.

    """
    try:
        value = json.loads(content, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is too deep") from None
    level, deep = [value], 0
    while level := [part for one in level for part in _parts(one)]:
        deep += 1
        if deep > MOST_DEEP:
            raise ValueError(f"more than {MOST_DEEP} lists and objects are inside one another")
    return value


def _parts(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")
