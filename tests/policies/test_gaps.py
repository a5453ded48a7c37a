"""Local times that a clock change skips: an `at=` in one is moved to the change itself, and the log says so."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from asyncsched import At, Scheduler
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

CHANGES = pytest.mark.parametrize(
    ("zone", "local", "change"),
    [
        ("Europe/Berlin", datetime(2026, 3, 29, 2, 30), datetime(2026, 3, 29, 1, 0, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 3, 29, 2, 0), datetime(2026, 3, 29, 1, 0, tzinfo=UTC)),
        (
            "Australia/Lord_Howe",
            datetime(2026, 10, 4, 2, 29, 59, 999999),
            datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
        ),
        ("Pacific/Apia", datetime(2011, 12, 30, 12, 0), datetime(2011, 12, 30, 10, 0, tzinfo=UTC)),
    ],
)


@CHANGES
@pytest.mark.parametrize("fold", [0, 1])
def test_a_skipped_time_is_the_change_itself(
    zone: str, local: datetime, change: datetime, fold: int, caplog: pytest.LogCaptureFixture
) -> None:
    trigger = At(local.replace(tzinfo=ZoneInfo(zone), fold=fold))
    assert trigger.upcoming(1, LONG_AGO) == [change]
    (said,) = caplog.messages
    assert f"there is no {local.isoformat(' ')} in {zone}" in said


@pytest.mark.parametrize(
    ("fold", "hour"),
    [(0, 0), (1, 1)],
)
def test_a_time_that_comes_twice_is_the_one_that_its_fold_says(
    fold: int, hour: int, caplog: pytest.LogCaptureFixture
) -> None:
    local = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=fold)
    assert At(local).upcoming(1, LONG_AGO) == [datetime(2026, 10, 25, hour, 30, tzinfo=UTC)]
    assert caplog.messages == []


@pytest.mark.parametrize("fold", [0, 1])
async def test_a_one_off_at_a_skipped_time_is_never_early(
    virtual_clock: VirtualClock, fold: int, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = Scheduler(clock=virtual_clock)
    at = datetime(2026, 3, 29, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=fold)
    async with scheduler:
        handle = await scheduler.schedule_once(print, at=at)
        assert (await handle.status()).due == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
        assert caplog.messages == [
            "at: there is no 2026-03-29 02:30:00 in Europe/Berlin, because the clock goes forward over it; it is "
            "taken as 2026-03-29 03:00:00+02:00"
        ]
        await handle.cancel()
