"""Fields given by name, as in other schedulers, in place of an expression: the error says what to write."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from asyncsched import ConfigurationError, Cron, Scheduler

Calls = pytest.mark.parametrize("call, name", [(Cron, "Cron"), (Scheduler().cron, "@scheduler.cron")])


@Calls
@pytest.mark.parametrize(
    ("given", "expression"),
    [
        ({"hour": 7, "minute": 0}, "0 7 * * *"),
        ({"hour": 7}, "0 7 * * *"),
        ({"minute": "*/5"}, "*/5 * * * *"),
        ({"day_of_week": "mon"}, "0 0 * * mon"),
        ({"day_of_week": "mon-fri", "hour": 9, "minute": 30}, "30 9 * * mon-fri"),
        ({"month": 3}, "0 0 1 3 *"),
        ({"second": 30}, "30 * * * * *"),
        ({}, "0 7 * * *"),
        ({"timezone": "Europe/Paris"}, "0 7 * * *"),
    ],
)
def test_the_error_spells_the_expression(
    call: Any, name: str, given: dict[str, Any], expression: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        call(**given)
    assert f'write {name}("{expression}")' in str(caught.value)
    assert Cron(expression).upcoming(
        1, datetime(2026, 1, 1, tzinfo=UTC)
    )  # what it says to write is understood


@Calls
def test_an_expression_is_taken_by_position_and_by_name(call: Any, name: str) -> None:
    assert call("0 7 * * *")
    assert call(expression="0 7 * * *")
