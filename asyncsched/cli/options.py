"""The options that commands share: the target, and how the answer is written."""

from __future__ import annotations

import json as json_text
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

import click

from asyncsched.cli.faults import USAGE, Fault
from asyncsched.cli.output import Style, colours, present
from asyncsched.cli.target import Target

F = TypeVar("F", bound=Callable[..., Any])


def writes(*, json: bool = True) -> Callable[[F], F]:
    """Give a command ``--json``, ``--utc``, ``--color`` and ``--debug``, gathered in its argument ``style``."""

    def decorate(command: F) -> F:
        found = command
        for option in _style_options(json):
            found = option(found)
        return found

    return decorate


def _style_options(json: bool) -> list[Callable[[F], F]]:
    def kept(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
        def keep(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
            style = style_of(context)
            if value is not None and value is not False:
                setattr(style, name, value)
            if name == "color" and value is not None:
                context.color = colours(str(value))
            return value

        return keep

    options: list[Callable[[F], F]] = [
        click.option("--debug", is_flag=True, expose_value=False, callback=kept("debug"),
                     help="Show the traceback of an error."),
        click.option("--color", type=click.Choice(["auto", "always", "never"]), expose_value=False,
                     callback=kept("color"), help="Colours; by default on a terminal, without NO_COLOR."),
        click.option("--utc", is_flag=True, expose_value=False, callback=kept("utc"),
                     help="Show times in UTC, not in the local zone."),
    ]  # fmt: skip
    if json:
        options.append(
            click.option("--json", is_flag=True, expose_value=False, callback=kept("json"),
                         help="Write JSON: times in UTC, durations in seconds.")
        )  # fmt: skip
    return options


def style_of(context: click.Context | None = None) -> Style:
    """Return how the present command writes."""
    return (context or click.get_current_context()).find_root().ensure_object(Style)


def targets(*, url: bool = True) -> Callable[[F], F]:
    """Give a command the options of a target, gathered in its argument ``target``."""

    def decorate(command: F) -> F:
        def with_target(
            *args: Any,
            app: str | None,
            store: str | None,
            namespace: str | None,
            url: str | None = None,
            token: str | None = None,
            **rest: Any,
        ) -> Any:
            return command(*args, target=Target(app, store, url, namespace, token), **rest)

        with_target.__name__, with_target.__doc__ = command.__name__, command.__doc__
        with_target.__dict__.update(command.__dict__)
        options = [
            click.option("--app", envvar="ASYNCSCHED_APP", metavar="MODULE:ATTR", help="The scheduler in the code."),
            click.option("--store", envvar="ASYNCSCHED_STORE", metavar="URL", help="The store itself."),
            click.option("--namespace", envvar="ASYNCSCHED_NAMESPACE", metavar="NAME",
                         help="The cluster in the store; by default that of --app, else 'default'."),
        ]  # fmt: skip
        if url:
            options += [
                click.option("--token", envvar="ASYNCSCHED_TOKEN", metavar="TOKEN", help="The page's bearer token."),
                click.option("--url", envvar="ASYNCSCHED_URL", metavar="URL", help="The page of a running app."),
            ]  # fmt: skip
        found: Any = with_target
        for option in options:
            found = option(found)
        return cast(F, found)

    return decorate


class Moment(click.ParamType[datetime]):
    """A moment: ISO 8601 with an offset, ``now``, ``+2h``, ``-30m``; without an offset in the local zone, without a date today."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        if text == "now":
            return present()
        if text[:1] in "+-" and text[1:]:
            span = seconds_of(text[1:])
            return present() + timedelta(seconds=span if text[0] == "+" else -span)
        try:
            if re.match(r"\d{1,2}:\d\d", text):  # of today, in the local zone
                text = f"{present().astimezone():%Y-%m-%d}T{text.zfill(5) if len(text) < 5 else text}"
            return datetime.fromisoformat(text).astimezone()
        except ValueError:
            raise Fault(
                USAGE,
                f"{value!r} is no time",
                "write 09:00 (today), 2026-11-30T09:00, 2026-11-30T09:00+01:00, now, +2h or -30m",
            ) from None


class Span(click.ParamType[float]):
    """A stretch of time in seconds: ``90``, ``12s``, ``5m``, ``2h``, ``7d``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        return value if isinstance(value, float) else seconds_of(str(value))


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "": 1.0}


def seconds_of(text: str) -> float:
    """Return the seconds of ``12s``, ``5m``, ``1h30m`` and the like.

    Raises:
        Fault: it is no duration.

    """
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(ms|min|[smhdw])?\s*", text)
    written = re.fullmatch(r"(?:\d+(?:\.\d+)?\s*(?:ms|min|[smhdw])?\s*)+", text.strip())
    if not written or not parts:
        raise Fault(USAGE, f"{text!r} is no duration", "write 90, 12s, 5m, 1h30m or 7d")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def given(arguments: tuple[str, ...], named: tuple[str, ...]) -> tuple[list[Any], dict[str, Any]]:
    """Return arguments from the command line: each is JSON, or the text itself."""
    kwargs = {}
    for one in named:
        name, equals, value = one.partition("=")
        if not equals or not name.isidentifier():
            raise Fault(
                USAGE, f"--arg {one!r} is no NAME=VALUE", "write --arg account=7 or --arg 'tags=[\"a\"]'"
            )
        kwargs[name] = _value(value)
    return [_value(one) for one in arguments], kwargs


def _value(text: str) -> Any:
    try:
        return json_text.loads(text)
    except ValueError:
        return text
