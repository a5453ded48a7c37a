"""Once, at a given moment."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from asyncsched import At, ConfigurationError
from asyncsched.triggers.codec import trigger_from_json, trigger_to_json

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)


def test_it_is_due_once() -> None:
    at = At(MOMENT)
    assert at.next(MOMENT - TICK) == MOMENT
    assert at.next(MOMENT) is None
    assert at.previous(MOMENT) == MOMENT
    assert at.previous(MOMENT - TICK) is None
    assert at.upcoming(5, MOMENT - TICK) == [MOMENT]


def test_the_two_passes_of_a_repeated_hour_are_two_moments() -> None:
    paris = ZoneInfo("Europe/Paris")
    first, second = (At(datetime(2026, 10, 25, 2, 30, tzinfo=paris, fold=fold)) for fold in (0, 1))
    assert first != second
    assert second.next(first.next(MOMENT) or MOMENT) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_it_is_a_value() -> None:
    at = At(MOMENT)
    assert at == At(MOMENT.astimezone(ZoneInfo("Asia/Tokyo")))
    assert hash(at) == hash(At(MOMENT))
    assert pickle.loads(pickle.dumps(at)) == at
    assert trigger_from_json(trigger_to_json(at)) == at
    assert repr(at) == "At(2026-03-01 12:00:00+00:00)"
    assert at.describe() == "once at 2026-03-01 12:00:00+00:00"


@pytest.mark.parametrize("when", [datetime(2026, 3, 1, 12), "2026-03-01", None, 1.0])
def test_what_is_no_moment_is_refused(when: Any) -> None:
    with pytest.raises(ConfigurationError, match="At: when"):
        At(when)
