"""Short texts about values and exceptions from users, safe whatever their classes do."""

from __future__ import annotations


def shorten(text: str, limit: int = 40) -> str:
    """Return at most ``limit`` characters of ``text``, so that no error echoes hostile input."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def safe_repr(value: object, limit: int = 40) -> str:
    """Return at most ``limit`` characters of a value's ``repr``; its type where the ``repr`` fails."""
    try:
        return shorten(repr(value), limit)
    except Exception:  # an integer with more digits than Python writes, or a broken __repr__
        return f"<{shorten(type(value).__name__)}>"


def writable(text: str) -> str:
    """Return the text with lone surrogates and NUL escaped, which neither a log nor a database takes."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def counted(count: int, noun: str) -> str:
    """Return a number of things, such as ``1 run`` or ``2 runs``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def describe_error(error: BaseException, limit: int = 200) -> str:
    """Return an exception's type and at most ``limit`` characters of its text; never raises."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception as broken:
        text = f"its text raised {type(broken).__name__}"
    return f"{name}: {shorten(text, limit)}" if text else name
