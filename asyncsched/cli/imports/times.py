"""Zones and moments in Python files: texts, and the calls of ``datetime``, ``zoneinfo`` and ``pytz`` that make them."""

from __future__ import annotations

import ast
import re
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from asyncsched.cli.imports.fields import Untold
from asyncsched.cli.imports.python import Code, as_code, called, keywords, value_of

_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,6}))?)?)?")
_NOW = re.compile(r"(?:datetime\.)*(?:now|utcnow)\(.*\)")


def zone_of(value: Any) -> str:
    """Return the name of a time zone: a text, ``pytz.timezone("…")``, ``ZoneInfo("…")``, ``utc``; else ``""``."""
    if isinstance(value, str):
        return value
    if not isinstance(value, Code):
        return ""
    if value.text.split(".")[-1].lower() == "utc":
        return "UTC"
    try:
        call = ast.parse(value.text, mode="eval").body
    except SyntaxError:
        return ""
    given = (
        value_of(next(iter([*call.args, *keywords(call).values()]), None))
        if isinstance(call, ast.Call)
        else ""
    )
    return given if isinstance(given, str) else ""


def moment_of(value: Any, zone: str) -> datetime | None:
    """Return an aware moment as APScheduler reads it: a naive one is of ``zone``; ``None`` if the program computes it.

    Raises:
        Untold: it is a text that is no date.

    """
    if isinstance(value, Code):
        try:
            value = _made(ast.parse(value.text, mode="eval").body)
        except (SyntaxError, ValueError, TypeError):
            return None
    if isinstance(value, str):
        value = _read(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=ZoneInfo(zone))


def _read(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        if (match := _DATE.fullmatch(text)) is None:
            raise Untold(f"{text!r} is no date") from None
        year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
        return datetime.combine(date(year, month, day), time(hour, minute, second))


def _made(node: ast.expr) -> Any:
    """Return the moment, date or zone that an expression makes.

    Raises:
        ValueError: only the program knows.

    """
    if isinstance(node, ast.Call):
        kind, words = called(node), keywords(node)
        if kind == "datetime":
            zone = _zone(words.pop("tzinfo")) if "tzinfo" in words else None
            given: dict[str, Any] = {name: value_of(one) for name, one in words.items()}
            found: datetime = datetime(*map(value_of, node.args), **given)  # noqa: DTZ001 (APScheduler gives it a zone)
            return found if zone is None else found.replace(tzinfo=zone)
        if kind == "date":
            return date(*map(value_of, node.args))
        if kind == "fromisoformat":
            return datetime.fromisoformat(value_of(node.args[0]))
        if kind == "replace" and isinstance(node.func, ast.Attribute) and [*words] == ["tzinfo"]:
            return _made(node.func.value).replace(tzinfo=_zone(words["tzinfo"]))
        if kind == "localize" and isinstance(node.func, ast.Attribute):
            return _made(node.args[0]).replace(tzinfo=ZoneInfo(zone_of(Code(ast.unparse(node.func.value)))))
    raise ValueError


def _zone(node: ast.expr) -> tzinfo:
    text = ast.unparse(node)
    if isinstance(node, ast.Call) and called(node) == "timezone":
        offset = value_of(node.args[0]) if node.args else None
        if isinstance(offset, timedelta):
            return timezone(offset)
        if zone_of(Code(text)) != "UTC":
            raise ValueError  # pytz makes the local mean time of it, which nobody means
    if name := zone_of(Code(text)):
        return ZoneInfo(name)
    raise ValueError


def moment_code(value: Any, zone: str, name: str) -> str:
    """Return the code of a moment.

    Raises:
        Untold: the program computes it.

    """
    found = moment_of(value, zone)
    if found is None:
        raise Untold(f"{name}={as_code(value)} is computed at run time")
    return f"datetime.fromisoformat({found.isoformat()!r})"


def at_or_delay(value: Any) -> str:
    """Return the argument of ``schedule_once`` for a moment that the program computes: of ``now() + x``, a delay."""
    try:
        node = ast.parse(as_code(value), mode="eval").body
    except SyntaxError:
        return f"at={as_code(value)}"
    if (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Add)
        and _NOW.fullmatch(ast.unparse(node.left))
    ):
        return f"delay={ast.unparse(node.right)}"
    return f"at={as_code(value)}"
