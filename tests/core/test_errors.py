"""Errors: one tree, drawn and documented, and none that echoes what it was given at length."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import asyncsched
from asyncsched._core import errors as _errors
from asyncsched._core import instants as _instants
from asyncsched._core.errors import AsyncSchedError
from asyncsched._core.text import safe_repr

LONG = "x" * 1_000_000


def tree() -> dict[str, tuple[str | None, str | None]]:
    """Return the drawn tree: each name's parent, and the builtin it says it also is."""
    assert _errors.__doc__ is not None
    found: dict[str, tuple[str | None, str | None]] = {}
    path: list[str] = []
    for line in _errors.__doc__.splitlines():
        drawn = re.match(r"    ([│├└─ ]*)([A-Z]\w+)(?: \((\w+)\))?(?:  |$)", line)
        if drawn:
            depth = len(drawn[1]) // 4
            del path[depth:]
            found[drawn[2]] = path[-1] if path else None, drawn[3]
            path.append(drawn[2])
    return found


def classes() -> list[type[AsyncSchedError]]:
    return [
        one for one in vars(_errors).values() if isinstance(one, type) and issubclass(one, AsyncSchedError)
    ]


def test_the_drawn_tree_is_the_tree_of_the_classes() -> None:
    built: dict[str, tuple[str | None, str | None]] = {}
    for one in classes():
        ours = [base.__name__ for base in one.__bases__ if issubclass(base, AsyncSchedError)]
        others = [base.__name__ for base in one.__bases__ if not issubclass(base, AsyncSchedError)]
        if one is AsyncSchedError:
            others = []
        assert len(ours) <= 1
        assert len(others) <= 1
        built[one.__name__] = ours[0] if ours else None, others[0] if others else None
    assert tree() == built
    assert len(built) >= 20


@pytest.mark.parametrize("one", classes(), ids=lambda one: one.__name__)
def test_every_error_is_documented_and_public(one: type[AsyncSchedError]) -> None:
    own = one.__dict__.get("__doc__")
    assert own, f"{one.__name__} has no docstring of its own"
    assert getattr(asyncsched, one.__name__) is one


@pytest.mark.parametrize("one", classes(), ids=lambda one: one.__name__)
def test_every_attribute_that_an_error_carries_is_documented(one: type[AsyncSchedError]) -> None:
    made: dict[str, Any] = {
        "TriggerError": lambda: one("text", field="hour", token="99"),  # type: ignore[call-arg]
        "KeyConflict": lambda: one("text", "1"),
    }
    if issubclass(one, asyncsched.RunFailed):
        error = one("1", "job", asyncsched.Outcome("failed", "why"))
        assert isinstance(pickle.loads(pickle.dumps(error)), one)
    else:
        error = made.get(one.__name__, lambda: one("text"))()
    documented = "\n".join(
        base.__doc__ or "" for base in type(error).__mro__ if issubclass(base, AsyncSchedError)
    )
    for name in vars(error):
        assert f"{name}:" in documented, f"{one.__name__}.{name}"


def test_control_flow_is_no_error() -> None:
    for one in (_errors.TryAgain, _errors.Snooze, _errors.Discard):
        assert not issubclass(one, AsyncSchedError)
        assert "Not an error of asyncsched" in (one.__doc__ or "")


class Hostile:
    def __repr__(self) -> str:
        raise OSError("no")


def test_any_value_can_be_shown_in_40_characters() -> None:
    assert safe_repr(LONG) == "'" + "x" * 38 + "…"
    assert safe_repr(10**5000) == "<int>"
    assert safe_repr(Hostile()) == "<Hostile>"
    assert safe_repr([1, 2]) == "[1, 2]"


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: asyncsched.Cron(LONG),
        lambda: asyncsched.Cron(f"{LONG[:200]} * * * *"),
        lambda: asyncsched.Cron("* * * * *", timezone=LONG),
        lambda: asyncsched.Interval(seconds=LONG),  # type: ignore[arg-type]
        lambda: asyncsched.At(LONG),  # type: ignore[arg-type]
        lambda: asyncsched.AnyOf(LONG),
        lambda: asyncsched.Interval(seconds=1).except_(LONG),  # type: ignore[arg-type]
        lambda: asyncsched.Window(LONG, LONG),  # type: ignore[arg-type]
        lambda: asyncsched.Misfire(LONG),  # type: ignore[arg-type]
        lambda: asyncsched.Retry(LONG),  # type: ignore[arg-type]
        lambda: asyncsched.RateLimit(LONG),
        lambda: asyncsched.Scheduler(role=LONG),  # type: ignore[arg-type]
        lambda: asyncsched.Scheduler(timezone=LONG),
        lambda: asyncsched.Scheduler(shutdown_timeout=LONG),  # type: ignore[arg-type]
        lambda: asyncsched.Scheduler().job(LONG)(print),  # type: ignore[arg-type]
        lambda: asyncsched.Scheduler().job(overlap=LONG)(print),  # type: ignore[arg-type]
        lambda: asyncsched.Scheduler().job(executor=LONG)(print),
        lambda: asyncsched.Scheduler().job(name=LONG)(print),
        lambda: asyncsched.Scheduler().interval(seconds=1, id=LONG)(print),
        lambda: asyncsched.Scheduler().interval(seconds=1, jitter=LONG)(print),  # type: ignore[arg-type]
    ],
)
def test_no_error_echoes_a_megabyte(attempt: Callable[[], object]) -> None:
    with pytest.raises(asyncsched.ConfigurationError) as caught:
        attempt()
    assert len(re.findall("x", str(caught.value))) <= 50
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "value, words",
    [
        (True, "must be a number of seconds or a timedelta, not True"),
        ("5", "must be a number of seconds or a timedelta, not '5'"),
        (None, "must be a number of seconds or a timedelta, not None"),
        (float("nan"), "must be finite, not nan"),
        (float("inf"), "must be finite, not inf"),
        (-float("inf"), "must be finite, not -inf"),
        (1e308, "is longer than 100 years: 1e\\+308"),
        (-1e308, "is longer than 100 years"),
        pytest.param(10**5000, "is longer than 100 years: <int>", id="huge"),
        (timedelta.max, "is longer than 100 years"),
        (timedelta.min, "is longer than 100 years"),
    ],
)
def test_a_stretch_of_time_that_is_none_is_refused_in_words(value: Any, words: str) -> None:
    with pytest.raises(asyncsched.ConfigurationError, match=f"delay {words}"):
        _instants.to_micros(value, "delay")


@pytest.mark.parametrize(
    "value, micros", [(0, 0), (1.5, 1_500_000), (timedelta(days=1), 86_400_000_000), (-1, -1_000_000)]
)
def test_a_stretch_of_time_is_whole_microseconds(value: Any, micros: int) -> None:
    assert _instants.to_micros(value, "delay") == micros


@pytest.mark.parametrize(
    "zone", ["", "Mars/Olympus", "../etc/passwd", "/etc/passwd", "Europe", "Europe/Paris\0", "é"]
)
def test_a_zone_that_is_none_has_one_clear_error(zone: str) -> None:
    with pytest.raises(asyncsched.ConfigurationError, match=r"timezone .* is not known"):
        _instants.to_zone(zone)


@pytest.mark.parametrize("zone", [None, 5, timedelta(hours=1)])
def test_what_is_no_zone_at_all_is_refused_too(zone: Any) -> None:
    with pytest.raises(asyncsched.ConfigurationError, match="timezone must be an IANA name, a ZoneInfo or"):
        _instants.to_zone(zone)
