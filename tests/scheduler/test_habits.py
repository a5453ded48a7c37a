"""What somebody writes from habit, as another scheduler has it, is answered with what to write here."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from asyncsched import ConfigurationError, Cron, Scheduler, TriggerError
from asyncsched._scheduler.habits import CALLS
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "name, told",
    [
        ("add_job", "await scheduler.add_schedule"),
        ("scheduled_job", "@scheduler.interval"),
        ("start", "lifespan=scheduler.lifespan"),
        ("shutdown", "the end of the lifespan"),
        ("remove_job", "await scheduler.remove"),
        ("get_jobs", "await scheduler.schedules"),
        ("add_listener", "@scheduler.on_failure"),
        ("running", "scheduler.ready()"),
    ],
)
def test_a_name_of_apscheduler_is_answered_with_the_one_here(name: str, told: str) -> None:
    with pytest.raises(AttributeError, match=f"'Scheduler' object has no attribute '{name}'") as raised:
        getattr(Scheduler(), name)
    assert told in str(raised.value)


async def test_a_scope_answers_too(virtual_clock: VirtualClock) -> None:
    async with Scheduler(clock=virtual_clock) as scheduler, scheduler.scope() as scope:
        with pytest.raises(AttributeError, match="'Scope' object has no attribute 'add_job': write"):
            scope.add_job  # type: ignore[attr-defined]  # noqa: B018


def test_another_name_is_missing_as_always() -> None:
    scheduler: Any = Scheduler()
    assert not hasattr(scheduler, "add_job")
    assert not {"add_job", "get_jobs"} & set(dir(scheduler)) and {"pause", "runs"} <= set(dir(scheduler))
    with pytest.raises(AttributeError) as raised:
        scheduler.intervall  # noqa: B018
    assert (str(raised.value), raised.value.name) == (
        "'Scheduler' object has no attribute 'intervall'",
        "intervall",
    )
    assert raised.value.obj is scheduler  # by which Python says what else was meant
    assert repr(copy.copy(scheduler)) == repr(scheduler)


@pytest.mark.parametrize("text", CALLS.values(), ids=CALLS)
def test_what_is_told_to_write_is_there(text: str) -> None:
    missing = [name for name in re.findall(r"scheduler\.([a-z_]+)", text) if not hasattr(Scheduler(), name)]
    assert missing == []


@pytest.mark.parametrize(
    "decorator, options, told",
    [
        ("cron", {"tz": "Europe/Berlin"}, "no argument 'tz'; did you mean timezone="),
        ("cron", {"start_date": "2026-01-01"}, "no argument 'start_date'; did you mean start="),
        ("interval", {"end_date": "2026-01-01"}, "no argument 'end_date'; did you mean end="),
        ("interval", {"timezone": "Europe/Berlin"}, r"an interval has no zone; Cron\(…, timezone=…\)"),
        ("interval", {"tz": "Europe/Berlin"}, r"an interval has no zone; Cron\(…, timezone=…\)"),
        ("interval", {"next_run_time": None}, "immediate=True"),
        ("interval", {"replace_existing": True}, "leave it out"),
    ],
)
def test_an_option_of_another_scheduler_is_answered(
    decorator: str, options: dict[str, Any], told: str
) -> None:
    given = ["0 7 * * *"] if decorator == "cron" else []
    with pytest.raises(ConfigurationError, match=told):
        getattr(Scheduler(), decorator)(*given, **options)


@pytest.mark.parametrize(
    "expression, told",
    [
        ("0 7 * * monday-friday", "day of week: 'monday-friday' is not understood; write 'mon-fri'"),
        ("0 7 * * Tuesday,fri", "day of week: 'Tuesday' is not understood; write 'tue'"),
        ("0 7 * * thursday#2", "day of week: 'thursday#2' is not understood; write 'thu#2'"),
        ("0 7 1 january-march/2 *", "month: 'january-march/2' is not understood; write 'jan-mar/2'"),
        ("0 7 * * weekday", "day of week: 'weekday' is not understood$"),
    ],
)
def test_days_and_months_that_are_written_out_have_three_letters(expression: str, told: str) -> None:
    with pytest.raises(TriggerError, match=told):
        Cron(expression)


async def test_a_call_without_its_argument_names_itself(virtual_clock: VirtualClock) -> None:
    async with Scheduler(clock=virtual_clock) as scheduler:
        with pytest.raises(TypeError, match=r"pause\(\) missing a required argument: 'id'"):
            await scheduler.pause()  # type: ignore[call-arg]
