"""The size of a result that is kept as a reference: about the bytes that it would have as JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

_CONTAINERS = (list, tuple, set, frozenset)


def size_beyond(value: Any, limit: int) -> int:
    """Return the size of a value as far as it was counted: counting ends soon after ``limit``.

    Texts and bytes count by their length, the items of containers with them, and any other object by what it
    says of its own size in memory.
    """
    todo, size = [value], 0
    while todo and size <= limit:
        one = todo.pop()
        size += 1
        if isinstance(one, (str, bytes)):
            size += _size_of_text(one)
        elif isinstance(one, Mapping):
            todo += one.keys()
            todo += one.values()
        elif isinstance(one, _CONTAINERS):
            todo += one
        else:
            size += _own_size(one)
    return size


def _own_size(value: Any) -> int:
    try:
        size = sys.getsizeof(value)
    except Exception:  # the __sizeof__ of a user's object failed
        return 0
    fields = getattr(value, "__dict__", None)
    return size if not isinstance(fields, dict) else size + sum(map(_size_of_text, fields.values()))


def _size_of_text(value: Any) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    return len(value) if isinstance(value, bytes) else 0
