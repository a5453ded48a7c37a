"""Arguments and results through JSON: what comes back is what was given, or the call is refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from asyncsched import ArgumentError, Discard, Interval, Limit, RunFailed, Scheduler
from asyncsched._core.arguments.signature import Signature
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.testing import VirtualClock, assert_scheduled
from tests.each_store import SQLITE, on_asyncio, on_trio, sqlite_file

pytestmark = pytest.mark.anyio

Make = Callable[[], Scheduler]


@pytest.fixture(
    params=[pytest.param("memory", marks=on_asyncio), pytest.param("strict", marks=on_trio), SQLITE]
)
def make(request: pytest.FixtureRequest, tmp_path: Path, virtual_clock: VirtualClock) -> Make:
    if request.param == "sqlite":
        store = SqliteStore(sqlite_file(tmp_path), poll=600, beat=600, lease=1800, timeout=20)
        return lambda: Scheduler(store, clock=virtual_clock)
    return lambda: Scheduler(clock=virtual_clock, strict=request.param == "strict")


through_json = pytest.mark.parametrize(
    "make", [pytest.param("strict", marks=on_asyncio), SQLITE], indirect=True
)


class Reading(BaseModel):
    value: float


@dataclass
class Point:
    x: float
    more: Any = None


TRACE = ContextVar[Any]("trace")


@through_json
@pytest.mark.parametrize("number", [nan, inf, -inf])
@pytest.mark.parametrize(
    "args, kwargs, name",
    [
        (lambda n: (n,), lambda n: {}, "one"),
        (lambda n: ({"deep": [1, [2, n]]},), lambda n: {}, "one"),
        (lambda n: (), lambda n: {"point": Point(1, n)}, "point"),
        (lambda n: (1, n), lambda n: {}, "more"),
        (lambda n: (), lambda n: {"kept": n, "model": Reading(value=n)}, "model"),
    ],
)
async def test_a_number_that_json_does_not_have_is_refused_where_it_would_come_back_as_something_else(
    make: Make, number: float, args: Any, kwargs: Any, name: str
) -> None:
    scheduler = make()

    @scheduler.job()
    async def take(
        one: Any = None, *more: Any, kept: float = 0, model: Reading | None = None, point: Point | None = None
    ) -> None: ...

    async with scheduler:
        with pytest.raises(ArgumentError, match=f"job 'take': argument '{name}': JSON has no nan or inf"):
            await scheduler.schedule_once(take, *args(number), kwargs=kwargs(number))


@pytest.mark.parametrize("number", [nan, inf, -inf])
async def test_such_a_number_comes_back_where_it_is_annotated(make: Make, number: float) -> None:
    scheduler = make()

    @scheduler.job()
    async def take(kept: float, points: list[Point], text: Any) -> list[float]:
        return [kept, points[0].x]

    async with scheduler:
        run = await scheduler.schedule_once(take, number, [Point(number)], "NaN")
        assert repr(await run.result()) == repr([number, number])
        assert repr((await run.status()).args[2]) == "'NaN'"


@through_json
async def test_a_result_or_a_context_variable_with_such_a_number_is_refused_too(make: Make) -> None:
    scheduler = make()

    @scheduler.job()
    async def measure() -> dict[str, Any]:
        return {"value": nan}

    @scheduler.job(carry=[TRACE])
    async def traced() -> None: ...

    async with scheduler:
        with pytest.raises(RunFailed, match=r"job 'measure': its result .* JSON has no nan or inf"):
            await (await scheduler.schedule_once(measure)).result()
        TRACE.set(inf)
        with pytest.raises(ArgumentError, match="carry: the context variable 'trace' is inf, which JSON"):
            await scheduler.schedule_once(traced)


@through_json
@pytest.mark.parametrize("number", [10**4300, -(10**4300), 10**5000], ids=["least", "negative", "more"])
async def test_a_whole_number_that_would_not_be_read_back_is_refused(make: Make, number: int) -> None:
    scheduler = make()

    @scheduler.job()
    async def take(one: int, deep: Any = None, *, kept: dict[str, Any] | None = None) -> None: ...

    @scheduler.job()
    async def give(power: int) -> Any:
        return {"deep": [10**power]}

    refusal = "cannot be written as JSON: a whole number of more than 4300 digits"
    async with scheduler:
        calls: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
            ((number,), {}, "one"), ((1, [{"in": number}]), {}, "deep"), ((1,), {"kept": {"in": number}}, "kept"),
        ]  # fmt: skip
        for args, kwargs, name in calls:
            with pytest.raises(ArgumentError, match=f"job 'take': argument '{name}' {refusal}"):
                await scheduler.schedule_once(take, *args, kwargs=kwargs)
            with pytest.raises(ArgumentError, match=f"job 'take': argument '{name}' {refusal}"):
                await scheduler.add_schedule(take, Interval(hours=1), args=args, kwargs=kwargs)
        run = await (await scheduler.schedule_once(give, 4300)).wait(timeout=60)
        assert (run.state, run.why) == ("failed", "result")
        assert "job 'give': its result " in run.message and refusal in run.message


@through_json
async def test_what_python_reads_goes_through_however_long(make: Make) -> None:
    scheduler = make()

    @scheduler.job()
    async def echo(one: int, deep: Any = None) -> Any:
        return [one, deep]

    async with scheduler:
        for value in (10**4299, -(10**4299), "1" * 9000):
            run = await scheduler.schedule_once(echo, 1, {"in": value})
            assert await run.result(timeout=60) == [1, {"in": value}]


async def test_a_run_shows_its_arguments_as_they_were_given_on_every_store(make: Make) -> None:
    scheduler = make()

    @scheduler.job()
    async def mail(
        to: str, /, subject: str = "Welcome", *more: int, urgent: bool = False, **rest: str
    ) -> str:
        return f"{to} {subject} {more} {urgent} {rest}"

    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        (("ada",), {}),
        (("ada", "Hello"), {}),
        (("ada",), {"subject": "Hello", "urgent": True}),
        (("ada", "Hello", 1, 2), {"urgent": True, "extra": "x", "self": "y"}),
    ]
    async with scheduler:
        for args, kwargs in calls:
            handle = await scheduler.schedule_once(mail, *args, kwargs=kwargs)
            ended = await handle.wait()
            assert (ended.args, ended.kwargs) == (args, kwargs)
            assert ended.result == await mail(*args, **kwargs)
        schedule = await scheduler.add_schedule(
            mail, Interval(hours=1), args=("ada",), kwargs={"subject": "Hi"}
        )
        assert (schedule.args, schedule.kwargs) == (("ada",), {"subject": "Hi"})


async def test_with_a_key_one_call_has_one_way_to_be_shown(make: Make) -> None:
    scheduler = make()

    @scheduler.job()
    async def mail(to: str, subject: str = "Welcome") -> None: ...

    async with scheduler:
        first = await scheduler.schedule_once(mail, kwargs={"to": "ada"}, key="k", delay=5)
        again = await scheduler.schedule_once(mail, "ada", key="k", delay=5)
        assert not again.created
        assert ((await first.status()).args, (await first.status()).kwargs) == (("ada",), {})


async def test_a_changed_signature_takes_what_was_written_by_name() -> None:
    def before(to: str, subject: str = "") -> None: ...
    def after(flag: bool = False, to: str = "", subject: str = "") -> None: ...

    text = Signature(before, "mail").encode((("ada", "Hi"), {}))
    assert Signature(after, "mail").named(Signature(after, "mail").decode(text)) == {
        "flag": False, "to": "ada", "subject": "Hi"
    }  # fmt: skip


class Unspeakable:
    def __repr__(self) -> str:
        raise OSError("no repr")


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


@through_json
@pytest.mark.parametrize(
    "value", [Unspeakable(), nested(5000), object()], ids=["unspeakable", "deep", "object"]
)
async def test_a_result_that_json_cannot_carry_fails_the_run_with_that(make: Make, value: object) -> None:
    scheduler = make()

    @scheduler.job()
    async def odd() -> Any:
        return value

    async with scheduler:
        run = await (await scheduler.schedule_once(odd)).wait(timeout=60)
    assert (run.state, run.why) == ("failed", "result")
    assert "job 'odd': its result " in run.message and "cannot be written as JSON" in run.message


async def test_runs_and_schedules_can_be_shown_whatever_they_hold(virtual_clock: VirtualClock) -> None:
    heard: list[str] = []
    scheduler = Scheduler(clock=virtual_clock, observers=[lambda event: heard.append(repr(event))])

    @scheduler.job()
    async def odd(one: Any) -> Any:
        return one

    async with scheduler:
        schedule = await scheduler.add_schedule(odd, Interval(hours=1), args=(Unspeakable(),))
        assert "args=<tuple>, kwargs={}" in repr(schedule)
        run = await (await scheduler.schedule_once(odd, Unspeakable())).wait()
        assert "result=<Unspeakable>" in repr(run) and "args=<tuple>" in repr(run)
        assert any(text.startswith("RunSucceeded(at=") for text in heard)
        long = await (await scheduler.schedule_once(odd, "x" * 10**6)).wait()
        assert len(repr(long)) < 3000
        with pytest.raises(AssertionError, match=r"odd\(one=<Unspeakable>\) is not scheduled") as caught:
            await assert_scheduled(scheduler, odd, args=[Unspeakable()])
        assert "odd(<Unspeakable>) by schedule 'odd'" in str(caught.value)


@pytest.mark.parametrize("value", [Unspeakable(), 10**5000], ids=["unspeakable", "huge"])
async def test_a_limit_by_what_cannot_be_written_is_refused_at_the_call(
    value: Any, virtual_clock: VirtualClock
) -> None:
    scheduler = Scheduler(clock=virtual_clock)

    @scheduler.job(max_running=Limit(1, by="one"))
    async def odd(one: Any) -> None: ...

    async with scheduler:
        with pytest.raises(
            ArgumentError, match="job 'odd': argument 'one', by which it is limited, has no repr"
        ):
            await scheduler.schedule_once(odd, value)


@pytest.mark.parametrize(
    "error, why, message",
    [
        (Discard(404), "404", "404"),  # type: ignore[arg-type]
        (Discard(Unspeakable()), "<Unspeakable>", "whose text raised"),  # type: ignore[arg-type]
        (Discard("x" * 10**6), "x" * 4096, "x" * 4096),
        (Discard("half \ud800 none \0"), "half \\ud800 none \\0", "half \\ud800 none \\0"),
        (ValueError("half \ud800 none \0"), "", "half \\ud800 none \\0"),
        (SystemExit(3), "", "3"),
        (BaseException("odd"), "", "odd"),
    ],
    ids=["number", "unspeakable", "huge", "discarded text", "text", "exit", "base"],
)
async def test_whatever_a_job_raises_is_recorded_on_every_store(
    make: Make, error: BaseException, why: str, message: str
) -> None:
    scheduler = make()

    @scheduler.job()
    async def odd() -> None:
        raise error

    async with scheduler:
        run = await (await scheduler.schedule_once(odd)).wait(timeout=60)
    assert (run.state, run.why) == ("failed", why)
    assert message in run.message


# ── what no type describes ───────────────────────────────────────────────────────────────────────


@through_json
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (iter([1]), "something of type list_iterator"),
        (io.StringIO("line\n"), "something of type StringIO"),
        ((1, 2), "something of type tuple"),
        ({1, 2}, "something of type set"),
        (1 + 2j, "something of type complex"),
        (b"ab", "something of type bytes"),
        (datetime(2026, 1, 1), "something of type datetime"),
        ({1: "a", "1": "b"}, "a dict with the key 1"),
        ([{"deep": {(1, 2): 3}}], r"a dict with the key \(1, 2\)"),
    ],
)
@pytest.mark.parametrize("place", ["one", "more", "named", "payload"])
async def test_what_json_cannot_carry_is_refused_unless_a_type_says_what_it_is(
    make: Make, value: Any, said: str, place: str
) -> None:
    scheduler = make()

    @scheduler.job()
    async def take(one=None, /, *more, payload: dict[str, Any] | None = None, **named) -> None: ...  # type: ignore[no-untyped-def]

    args = {"one": (value,), "more": (1, 2, value)}.get(place, ())
    kwargs: dict[str, Any] = {"named": {"x": value}, "payload": {"payload": {"in": value}}}.get(place, {})
    async with scheduler:
        with pytest.raises(
            ArgumentError, match=f"job 'take': argument '{place}' is or has {said}, which JSON"
        ):
            await scheduler.schedule_once(take, *args, kwargs=kwargs)
    if isinstance(value, io.StringIO):
        assert value.tell() == 0  # and nothing of it was read


@through_json
async def test_what_json_has_goes_through_without_a_type_and_the_rest_by_its_type(make: Make) -> None:
    scheduler = make()
    plain = [None, True, 1, 2.5, "x", {"a": [{}]}]

    @scheduler.job()
    async def take(one, two: set[int], three: tuple[int, ...], four: dict[int, Any], five: datetime):  # type: ignore[no-untyped-def]
        assert (one, two, three, four, five) == (plain, {1}, (1, 2), {1: "a"}, datetime(2026, 1, 1))

    async with scheduler:
        given = (plain, {1}, (1, 2), {1: "a"}, datetime(2026, 1, 1))
        await (await scheduler.schedule_once(take, *given)).result()


@through_json
async def test_a_list_in_itself_is_refused_too(make: Make) -> None:
    scheduler = make()

    @scheduler.job()
    async def take(one: Any) -> None: ...

    loop: list[Any] = []
    loop.append(loop)
    async with scheduler:
        with pytest.raises(ArgumentError, match="job 'take': argument 'one'"):
            await scheduler.schedule_once(take, loop)


class Login(BaseModel):
    user: str
    password: SecretStr


async def test_a_secret_is_refused_and_not_stored_as_asterisks(virtual_clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=virtual_clock, strict=True)

    @scheduler.job()
    async def sign_in(logins: list[Login], note: str) -> None: ...

    async with scheduler:
        with pytest.raises(ArgumentError, match="job 'sign_in': argument 'logins' has a secret in it"):
            await scheduler.schedule_once(sign_in, [Login(user="ann", password=SecretStr("hunter2"))], "")
        await scheduler.schedule_once(sign_in, [], "*****")
