"""Every public value is a FastAPI response and a field of a pydantic model as it is, whatever a job was given."""

from __future__ import annotations

import inspect
import json
from dataclasses import is_dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, TypeAdapter

import asyncsched
from asyncsched import (
    AnyOf,
    At,
    Cron,
    Explanation,
    Health,
    Instance,
    Interval,
    Limit,
    Misfire,
    Progress,
    RateLimit,
    Retry,
    Run,
    Schedule,
    Scheduler,
    Window,
    events,
)  # fmt: skip
from asyncsched.testing import VirtualClock
from asyncsched.views import Attempt, Coming, Pause

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Thing:
    """No JSON has it: a socket, a session."""

    def __repr__(self) -> str:
        return "<Thing>"


class Own:
    """A trigger of the user's."""

    def next(self, after: datetime) -> datetime | None:
        return after + timedelta(hours=1)

    def __repr__(self) -> str:
        return "Own()"


CRON = Cron("0 7 * * mon-fri", timezone="Europe/Paris")
TRIGGERS = [
    CRON,
    Cron("0 7 * * *", timezone=timezone(timedelta(hours=2)), start=NOW, end=NOW + timedelta(days=9)),
    Interval(minutes=5, start=NOW),
    At(NOW),
    AnyOf(CRON, Interval(hours=1)),
    CRON.except_(date(2026, 12, 25)),
    Interval(minutes=5).except_(Window(time(22), time(6)), timezone="Europe/Paris"),
]


def schedule(trigger: Any, *args: Any) -> Schedule:
    return Schedule(
        id="s", job="job", trigger=trigger, describe="", next_due=NOW, paused=False, note="", by="", declared=True,
        orphaned=False, rescheduled=False, revision=1, args=args, kwargs={"more": args}, jitter=timedelta(0), tags=("a",),
        last_slot=None, failures=0,
    )  # fmt: skip


RUN = Run(
    id="f" * 32, job="job", schedule="s", origin="schedule", state="failed", scheduled_for=NOW, due=NOW, ready_at=None,
    waiting_for=None, started_at=NOW, finished_at=NOW, late=timedelta(seconds=1), attempt=1, max_attempts=2, why="",
    error_type="ValueError", message="no", traceback="", result=None, progress=Progress(1, 2), attempts=(
        Attempt(1, NOW, NOW, "failed"),
    ), args=(1, "a"), kwargs={"more": [NOW]}, key="k", priority=0, tags=("a",), executor="loop", instance="1f",
)  # fmt: skip

VALUES: list[Any] = [
    *TRIGGERS, schedule(CRON, 1, "a"), RUN, RUN.attempts[0], RUN.progress, RUN.outcome, Pause("moving", "me", NOW),
    Instance("1f", "host", 7, "1", "both", frozenset({"job"}), NOW, NOW), Health("away", NOW, NOW),
    Explanation("s", NOW, "ran", "It ran.", RUN), Coming(NOW, "s", "job"), Misfire(grace=timedelta(seconds=3)),
    Window(time(22), time(6), "sat"), Retry(3, on=(OSError, ValueError)), Retry(2, on=lambda error: True),
    Limit(3), RateLimit("10/s"), *CRON.upcoming(1, NOW),
    events.RunSucceeded(NOW, RUN), events.SlotsSkipped(NOW, "s", NOW, NOW, 1, True, "missed"),
    events.SchedulePaused(NOW, "s", "note", "me"), events.LoopStalled(NOW, "job", None, 3.5, "stack"),
]  # fmt: skip

NO_ANSWERS = {
    "CurrentRun", "Scheduler", "Scope", "RunIdFilter", "Provide", "Once", "RunHandle", "JobDefaults", "JobOptions", "Retention"
}  # fmt: skip
"""Public classes that are no values, but for ``RunHandle``, which has a test of its own; and ``Once`` is a call."""


def test_no_public_value_is_forgotten() -> None:
    named = [getattr(asyncsched, name) for name in asyncsched.__all__] + [*vars(asyncsched.views).values()]
    public = {value for value in named if inspect.isclass(value)}
    values = {one.__name__ for one in public if not issubclass(one, BaseException)} - NO_ANSWERS
    assert values - {type(value).__name__ for value in VALUES} == set()
    assert {type(one).__name__ for one in VALUES if is_dataclass(one)} >= {"Run", "Schedule", "Health"}


def app_of(kind: Any, value: Any) -> FastAPI:
    app = FastAPI()

    async def one() -> Any:
        return value

    async def many() -> Any:
        return {"listed": [value]}

    one.__annotations__["return"] = kind
    many.__annotations__["return"] = dict[str, list[kind]]
    app.get("/one")(one)
    app.get("/many")(many)
    return app


async def get(app: FastAPI, path: str) -> Any:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
async def test_it_is_a_response_and_a_field_of_a_model(value: Any) -> None:
    kind = type(value)
    app = app_of(kind, value)
    one = await get(app, "/one")
    assert one not in (None, {}, "")
    assert await get(app, "/many") == {"listed": [one]}
    assert "/one" in (await get(app, "/openapi.json"))["paths"]

    class Model(BaseModel):
        value: kind  # type: ignore[valid-type]

    assert json.loads(Model(value=value).model_dump_json())["value"] == one
    assert json.loads(TypeAdapter(kind).dump_json(value)) == one
    assert Model(value=value).model_dump()["value"] is not None


def bare_app_of(value: Any) -> FastAPI:
    app = FastAPI()

    @app.get("/one")
    async def one():  # type: ignore[no-untyped-def]  # no annotation: FastAPI takes the value apart itself
        return value

    @app.get("/many")
    async def many():  # type: ignore[no-untyped-def]
        return {"listed": [value]}

    return app


PLAIN = [value for value in VALUES if not (isinstance(value, Retry) and isinstance(value.on, tuple))]
"""FastAPI alone cannot write a tuple of exception classes, which a ``Retry`` may have."""


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: type(value).__name__)
async def test_a_handler_without_an_annotation_answers_with_it(value: Any) -> None:
    app = bare_app_of(value)
    one = await get(app, "/one")
    assert one not in (None, {}, "")
    assert await get(app, "/many") == {"listed": [one]}
    trigger, written = (value.trigger, one["trigger"]) if isinstance(value, Schedule) else (value, one)
    if isinstance(trigger, tuple(map(type, TRIGGERS))):
        assert written == json.loads(TypeAdapter(Any).dump_json(trigger))


async def test_a_trigger_is_no_sequence_and_its_data_can_be_read() -> None:
    assert dict(CRON) == {"cron": "0 7 * * mon-fri", "timezone": "Europe/Paris"}  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        iter(CRON)  # type: ignore[call-overload]
    assert await get(bare_app_of(AnyOf(CRON, Own())), "/one") not in (None, {})


async def test_handlers_of_any_type_answer_with_them_too() -> None:
    listed = [schedule(CRON, Thing()), replace(RUN, result=Thing()), CRON, Retry(3)]
    for kind in (Any, list, dict[str, Any]):
        answer = await get(app_of(kind, {"one": listed} if kind == dict[str, Any] else listed), "/one")
        one, run, trigger, retry = answer["one"] if isinstance(answer, dict) else answer
        assert trigger == one["trigger"] == {"cron": "0 7 * * mon-fri", "timezone": "Europe/Paris"}
        assert one["args"] == [run["result"]] == ["<Thing>"]
        assert retry["attempts"] == 3


@pytest.mark.parametrize(
    "trigger, data",
    [
        (CRON, {"cron": "0 7 * * mon-fri", "timezone": "Europe/Paris"}),
        (Own(), "Own()"),
    ],
    ids=["cron", "own"],
)
async def test_a_schedule_shows_its_trigger_as_data_or_as_its_text(trigger: Any, data: Any) -> None:
    assert (await get(app_of(list[Schedule], [schedule(trigger)]), "/one"))[0]["trigger"] == data


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    "given, text",
    [
        (Thing(), "<Thing>"),
        ({"a": [Thing(), {1, 2}]}, {"a": ["<Thing>", [1, 2]]}),
        (float("nan"), "null"),
        (b"\xff", "b'\\xff'"),
        ("\ud800", "'\\ud800'"),
        (CIRCLE, "[[...]]"),
        (Progress(1, 2, "half"), {"done": 1.0, "total": 2.0, "message": "half"}),
        ([CRON], None),
        (ValueError("no"), "ValueError('no')"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_arguments_and_results_that_json_does_not_have_break_no_answer(given: Any, text: Any) -> None:
    found = (await get(app_of(list[Schedule], [schedule(CRON, given)]), "/one"))[0]
    run = await get(app_of(Run, replace(RUN, result=given, args=(given,))), "/one")
    if text is not None:
        assert run["result"] == (None if text == "null" else text)
    assert found["args"] is not None


async def test_what_a_scheduler_answers_is_a_response(virtual_clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=virtual_clock)
    app = FastAPI()

    @scheduler.cron("0 7 * * *", timezone="Europe/Paris")
    async def digest() -> None: ...

    @app.get("/schedules")
    async def schedules() -> list[Schedule]:
        return await scheduler.schedules()

    @app.get("/runs")
    async def runs() -> list[Run]:
        return await scheduler.runs()

    @app.get("/health")
    async def health() -> Health:
        return scheduler.health()

    @app.get("/start")
    async def start() -> asyncsched.RunHandle[None]:
        return await scheduler.schedule_once(digest)

    @app.get("/bare")
    async def bare():  # type: ignore[no-untyped-def]
        return await scheduler.schedule_once(digest)

    async with scheduler:
        assert [one["id"] for one in await get(app, "/schedules")] == ["digest"]
        started = await get(app, "/start")
        assert started == {"id": (await get(app, "/runs"))[0]["id"], "created": True}
        assert (await get(app, "/bare")).keys() == started.keys()
        assert (await get(app, "/health"))["trouble"] == ""
        assert "/start" in (await get(app, "/openapi.json"))["paths"]
