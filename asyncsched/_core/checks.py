"""Checks of values from users: each error names the argument and the values that are allowed."""

from __future__ import annotations

from asyncsched._core.errors import ConfigurationError
from asyncsched._core.text import safe_repr


def check_int(value: object, what: str, least: int, most: int) -> int:
    """Return ``value`` if it is a whole number within bounds (a bool is not)."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigurationError(
            f"{what} must be a whole number from {least} to {most}, not {safe_repr(value)}"
        )
    return value


def check_choice(value: object, what: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is not among ``choices``."""
    if value not in choices:
        raise ConfigurationError(
            f"{what} must be one of {', '.join(map(repr, choices))}, not {safe_repr(value)}"
        )


def can_be_kept(text: str) -> bool:
    """Return whether every store can keep a text: it has no zero character and no lone surrogate."""
    if "\0" in text:
        return False
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def check_text(value: object, what: str) -> None:
    """Refuse a text that no store can keep; a value of another type passes."""
    if isinstance(value, str) and not can_be_kept(value):
        raise ConfigurationError(
            f"{what} has a zero character or a lone surrogate, which no store can keep: {safe_repr(value)}"
        )
