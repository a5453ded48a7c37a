"""What is accepted comes back equal and of the same type, or it is refused: over the types that pydantic knows."""

from __future__ import annotations

import logging
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ByteSize, SecretStr
from typing_extensions import TypedDict

from asyncsched import ArgumentError, ConfigurationError, Scheduler
from asyncsched._core.arguments.jsonable import is_untyped
from asyncsched._core.arguments.signature import Signature
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.testing import VirtualClock
from tests.each_store import POSTGRES, SQLITE, sqlite_file

PARIS = ZoneInfo("Europe/Paris")


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Colour(StrEnum):
    RED = "red"


class Plain(Enum):
    ONE = 1
    TWO = "two"


class Right(Flag):
    READ = 1
    WRITE = 2


class Task(BaseModel):
    id: int


class HarborTask(Task):
    berth: str = "a"


class Opened(BaseModel):
    id: int


class Box(BaseModel):
    content: Any


class Event(BaseModel):
    model_config = {"frozen": True}

    at: datetime


@dataclass
class Spot:
    x: float


@dataclass
class NamedSpot(Spot):
    name: str = ""


@dataclass
class Holder:
    content: Any


class Shape(TypedDict):
    content: Any


class Pair(NamedTuple):
    at: datetime
    count: int


ANY = [
    datetime(2026, 1, 1),
    date(2026, 1, 1),
    (1, 2),
    {1},
    b"x",
    Decimal(1),
    UUID(int=1),
    Level.LOW,
    Colour.RED,
    Spot(1),
    {1: "a"},
]
"""Values that JSON has no type for: behind ``Any`` each would come back as another one."""

CASES: list[tuple[Any, Any]] = [
    (Task, HarborTask(id=1)), (list[Task], [HarborTask(id=1)]), (dict[str, Task], {"a": HarborTask(id=1)}),
    (Task | None, HarborTask(id=1)), (Spot, NamedSpot(1)), (tuple[Spot, ...], (NamedSpot(1),)), (Box, Box(content=Task(id=1))),
    (Task | Opened, Opened(id=1)), (bytes | str, "abc"), (str | bytes, b"abc"), (tuple | list, (1,)), (list | tuple, (1,)),
    (Path | str, "a"), (str | Path, Path("a")), (Level | int, Level.LOW), (Level | int, 1), (int | Level, Level.HIGH),
    (UUID | str, str(UUID(int=1))), (date | datetime, datetime(2026, 1, 1)), (datetime | date, date(2026, 1, 1)),
    (Decimal | float, 1.5), (float | Decimal, Decimal("1.5")), (timedelta | int, 5), (Colour | str, "red"),
    (list[int] | list[str], ["1"]), (set[int] | list[int], [1]), (Spot | Task, Task(id=1)), (IPv4Address | str, "1.2.3.4"),
    *((kind, wrap(value)) for value in ANY for kind, wrap in (
        (Box, lambda value: Box(content=value)), (Holder, lambda value: Holder(value)), (Shape, lambda value: {"content": value}),
        (Mapping[str, Any], lambda value: {"a": value}), (tuple, lambda value: (value,)), (list[Any], lambda value: [value]),
        (tuple[Any, ...], lambda value: (value,)), (Sequence[Any], lambda value: [value]),
    )),
    (set, {(1, 2)}), (set, {1, "a", None}),
    (dict[tuple[int, int], str], {(1, 2): "a"}), (dict[int | str, str], {1: "a", "1": "b"}), (dict[int, str], {1: "a"}),
    (dict[float, int], {1.5: 1}), (dict[date, int], {date(2026, 1, 1): 1}), (dict[Level, int], {Level.LOW: 1}),
    (dict[bool, int], {True: 1}), (dict[datetime, int], {datetime(2026, 1, 1, tzinfo=PARIS): 1}),
    (dict[str | None, int], {None: 1}), (dict[UUID, int], {UUID(int=1): 1}), (dict[Any, int], {(1, 2): 1}),
    (datetime, datetime(2026, 1, 1, tzinfo=PARIS)), (datetime, datetime(2026, 1, 1, tzinfo=UTC)),
    (datetime, datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=PARIS)), (datetime, datetime(2026, 3, 29, 2, 30, tzinfo=PARIS)),
    (datetime, datetime(1900, 1, 1, tzinfo=PARIS)), (datetime, datetime(2026, 1, 1, tzinfo=timezone(timedelta(seconds=3601)))),
    (Event, Event(at=datetime(2026, 1, 1, tzinfo=PARIS))), (Pair, Pair(datetime(2026, 1, 1, tzinfo=PARIS), 1)),
    (tuple[datetime, int], (datetime(2026, 1, 1, tzinfo=PARIS), 1)), (list[Event], [Event(at=datetime(2026, 1, 1, tzinfo=PARIS))]),
    (dict[str, list[datetime]], {"a": [datetime(2026, 1, 1, tzinfo=PARIS)]}), (set[datetime], {datetime(2026, 1, 1, tzinfo=PARIS)}),
    (deque[datetime], deque([datetime(2026, 1, 1, tzinfo=PARIS)])),
    (time, time(1, tzinfo=PARIS)), (time, time(1, tzinfo=UTC)), (time, time(1, 2, 3, 4)),
    (timedelta, timedelta(days=-1, microseconds=1)), (Right, Right.READ | Right.WRITE), (Plain, Plain.TWO),
    (Literal[Level.LOW, "x"], Level.LOW), (Literal[1, "1"], "1"), (Literal[b"x"], b"x"), (Literal[True, 2], True),
    (Literal["a", "b"] | int, 1),
    (defaultdict[str, list[int]], defaultdict(list, a=[1])), (defaultdict[str, list[int]], defaultdict(lambda: [0], a=[1])),
    (deque[int], deque([1], maxlen=3)), (deque[int], deque([1])), (OrderedDict[str, int], OrderedDict(a=1)),
    (Counter[str], Counter("aab")), (re.Pattern[str], re.compile("a", re.IGNORECASE)), (re.Pattern[str], re.compile("a")),
    (complex, 1 + 2j), (Fraction, Fraction(1, 3)), (Decimal, Decimal("1.10")), (Sequence[int], (1, 2)), (ByteSize, ByteSize(5)),
    (IPv4Address | IPv6Address, IPv6Address("::1")), (bytes, b"\xff"), (bytes, b"abc"), (frozenset[UUID], frozenset({UUID(int=1)})),
    (Path, Path("a")), (int | float, 5.0), (float | int, 5), (bool | int, 1), (float | None, None), (SecretStr, SecretStr("x")),
]  # fmt: skip


def exactly(one: Any, other: Any) -> bool:
    """Return whether two values are equal and of the same types in depth; a fixed offset is its seconds."""
    if type(one) is not type(other):
        return False
    if isinstance(one, BaseModel):
        return exactly(one.__dict__, other.__dict__)
    if isinstance(one, Spot | Holder):
        return exactly(vars(one), vars(other))
    if isinstance(one, dict):
        return exactly(list(one.items()), list(other.items()))
    if isinstance(one, list | tuple | deque):
        return len(one) == len(other) and all(map(exactly, one, other))
    if isinstance(one, set | frozenset):
        return exactly(sorted(one, key=repr), sorted(other, key=repr))
    if isinstance(one, datetime):
        zones = [getattr(moment.tzinfo, "key", moment.utcoffset()) for moment in (one, other)]
        return one.replace(tzinfo=None) == other.replace(tzinfo=None) and zones[0] == zones[1]
    if isinstance(one, time):
        return (
            one == other and one.utcoffset() == other.utcoffset() and (not one.tzinfo) == (not other.tzinfo)
        )
    return bool(one == other) or (one != one and other != other)


def of(kind: Any) -> Signature:
    def take(value: Any) -> Any: ...

    take.__annotations__ = {"value": kind, "return": kind}
    return Signature(take, "take")


def there_and_back(kind: Any, value: Any) -> tuple[bool, bool]:
    """Return whether an argument and a result were taken; each that was has come back as it was."""
    job, taken = of(kind), []
    job.prepare()
    for write, read in (
        (lambda: job.encode(((value,), {})), lambda text: job.decode(text)[0][0]),
        (lambda: job.encode_result(value), job.decode_result),
    ):
        try:
            text = write()
            if read == job.decode_result and is_untyped(kind):
                taken.append(True)  # no type was promised: a line in the log tells of it
                continue
        except ArgumentError:
            taken.append(False)
            continue
        assert exactly(read(text), value), f"{kind}: {value!r} came back as {read(text)!r} of {text}"
        taken.append(True)
    return taken[0], taken[1]


@pytest.mark.parametrize(("kind", "value"), CASES, ids=map(str, range(len(CASES))))
def test_a_value_comes_back_as_it_was_or_is_refused(kind: Any, value: Any) -> None:
    there_and_back(kind, value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Task, Task(id=1)),
        (Task | Opened, Task(id=1)),
        (bytes | str, b"abc"),
        (tuple | list, [1]),
        (Level | int, 1),
        (Box, Box(content=[1, {"a": None}])),
        (tuple, (1, "a")),
        (dict[int, str], {1: "a"}),
        (dict[date, int], {date(2026, 1, 1): 1}),
        (datetime, datetime(2026, 1, 1, tzinfo=PARIS)),
        (Event, Event(at=datetime(2026, 1, 1, tzinfo=PARIS))),
        (Pair, Pair(datetime(2026, 1, 1, tzinfo=PARIS), 1)),
        (Right, Right.READ | Right.WRITE),
        (Literal[Level.LOW, "x"], Level.LOW),
        (deque[int], deque([1])),
        (Decimal, Decimal("1.10")),
    ],
    ids=str,
)
def test_what_json_can_carry_is_taken(kind: Any, value: Any) -> None:
    assert there_and_back(kind, value) == (True, True)


def test_a_value_of_a_subclass_of_a_plain_type_arrives_as_the_declared_type() -> None:
    class Sloppy(BaseModel):
        total: Decimal = 0  # type: ignore[assignment]
        name: str = Colour.RED

    class OwnTime(datetime):
        pass

    for kind, value in (
        (str, Colour.RED), (int, Level.LOW), (dict[str, int], defaultdict(int, a=1)), (float, 5), (Sloppy, Sloppy()),
        (datetime, OwnTime(2026, 1, 1)),
    ):  # fmt: skip
        job = of(kind)
        assert job.decode(job.encode(((value,), {})))[0][0] == value


# ── any type of any other ────────────────────────────────────────────────────────────────────────

zones = st.sampled_from([None, UTC, PARIS, ZoneInfo("America/New_York"), timezone(timedelta(minutes=90))])
moments = st.builds(
    lambda moment, zone: moment.replace(tzinfo=zone),
    st.datetimes(datetime(1890, 1, 1), datetime(2100, 1, 1)), zones,
)  # fmt: skip

LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()), (str, st.text(max_size=5)), (float, st.floats()), (bool, st.booleans()), (type(None), st.none()),
    (bytes, st.binary(max_size=4)), (datetime, moments), (date, st.dates()), (time, st.times()), (timedelta, st.timedeltas()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)), (UUID, st.uuids()), (Path, st.just(Path("a/b"))),
    (Level, st.sampled_from(Level)), (Colour, st.sampled_from(Colour)), (Plain, st.sampled_from(Plain)),
    (Right, st.sampled_from([Right.READ, Right.READ | Right.WRITE])), (Literal["1", "a"], st.sampled_from(["1", "a"])),
    (Task, st.builds(Task, id=st.integers()) | st.builds(HarborTask, id=st.integers())),
    (Opened, st.builds(Opened, id=st.integers())), (Spot, st.builds(Spot, st.floats()) | st.builds(NamedSpot, st.floats())),
    (Any, st.none() | st.integers() | st.text(max_size=3) | moments | st.tuples(st.integers())),
    (Pair, st.builds(Pair, moments, st.integers())), (IPv4Address, st.ip_addresses(v=4)), (Fraction, st.fractions()),
]  # fmt: skip

Typed = tuple[Any, st.SearchStrategy[Any]]


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _unions(one: Typed, other: Typed) -> Typed:
    return one[0] | other[0] if one[0] is not Any and other[0] is not Any else Any, one[1] | other[1]


def _containers(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    def of_one(typed: Typed) -> st.SearchStrategy[Typed]:
        kind, values = typed
        keys = values.filter(_hashable)
        return st.sampled_from(
            [
                (list[kind], st.lists(values, max_size=3)),
                (tuple[kind, ...], st.lists(values, max_size=3).map(tuple)),
                (dict[str, kind], st.dictionaries(st.text(max_size=3), values, max_size=3)),
                (dict[kind, int], st.dictionaries(keys, st.integers(), max_size=3)),
                (set[kind], st.sets(keys, max_size=3)),
                (Mapping[str, kind], st.dictionaries(st.text(max_size=3), values, max_size=3)),
            ]
        )

    return inner.flatmap(of_one) | st.builds(_unions, inner, inner)


typed = st.recursive(st.sampled_from(LEAVES), _containers, max_leaves=4)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_value_of_any_type_comes_back_as_it_was_or_is_refused(data: st.DataObject) -> None:
    kind, values = data.draw(typed)
    try:
        of(kind).prepare()
    except ConfigurationError:  # such a type is refused at declaration
        return
    there_and_back(kind, data.draw(values))


# ── as a user sees it, on each store ─────────────────────────────────────────────────────────────


@pytest.fixture(params=["strict", SQLITE, POSTGRES])
def scheduler(request: pytest.FixtureRequest, tmp_path: Any, virtual_clock: VirtualClock) -> Scheduler:
    if request.param == "strict":
        return Scheduler(clock=virtual_clock, strict=True)
    if request.param == "sqlite":
        return Scheduler(
            SqliteStore(sqlite_file(tmp_path), poll=600, beat=600, lease=1800, timeout=20),
            clock=virtual_clock,
        )
    from asyncsched.stores.postgres import PostgresStore

    dsn = request.getfixturevalue("shared_dsn")
    return Scheduler(PostgresStore(dsn, poll=600, beat=30, lease=90, timeout=20), clock=virtual_clock)


@pytest.mark.anyio
async def test_a_call_of_a_subclass_is_refused_at_the_call_and_the_path_is_named(
    scheduler: Scheduler,
) -> None:
    arrived: list[Any] = []

    @scheduler.job()
    async def tug(tasks: list[Task]) -> None:
        arrived.extend(tasks)

    async with scheduler:
        with pytest.raises(
            ArgumentError,
            match=r"job 'tug': argument 'tasks\.0': HarborTask\(.*\) of type HarborTask would come back from JSON "
            r"as Task\(id=1\) of type Task; annotate it with the one type",
        ):
            await scheduler.schedule_once(tug, [HarborTask(id=1)])
        await (await scheduler.schedule_once(tug, [Task(id=2)])).result()
    assert arrived == [Task(id=2)]


@pytest.mark.anyio
async def test_a_time_arrives_in_its_zone_and_returns_in_it(scheduler: Scheduler) -> None:
    @scheduler.job()
    async def later(event: Event) -> datetime:
        assert event.at.tzinfo == PARIS
        return event.at + timedelta(days=90)  # in summer, at the same hour

    async with scheduler:
        handle = await scheduler.schedule_once(later, Event(at=datetime(2026, 1, 31, 8, tzinfo=PARIS)))
        assert exactly(await handle.result(), datetime(2026, 5, 1, 8, tzinfo=PARIS))


@pytest.mark.anyio
async def test_a_result_that_would_come_back_as_another_fails_where_a_type_was_promised(
    scheduler: Scheduler, caplog: pytest.LogCaptureFixture
) -> None:
    @scheduler.job()
    async def promised() -> Opened | Task:
        return Task(id=1)

    @scheduler.job()
    async def unpromised():  # type: ignore[no-untyped-def]
        return (1, Task(id=1))

    async with scheduler:
        run = await (await scheduler.schedule_once(promised)).wait()
        assert (run.state, run.why) == ("failed", "result")
        assert "Task(id=1) of type Task would come back from JSON as Opened(id=1)" in run.message
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                assert await (await scheduler.schedule_once(unpromised)).result() == [1, {"id": 1}]
    told = [line for line in caplog.messages if "job 'unpromised': its result is or has" in line]
    assert len(told) == 1


@pytest.mark.anyio
async def test_a_plain_call_is_never_compared(scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read back for the comparison would be the cost of it; a plain call has none."""
    from asyncsched._core.arguments import codec, results

    def compare(*_: object) -> Callable[..., Any]:
        raise AssertionError("a plain call was compared")

    monkeypatch.setattr(codec, "Comparison", compare)
    monkeypatch.setattr(results, "Comparison", compare)

    @scheduler.job()
    async def plain(to: str, numbers: list[int], by: dict[str, float | None], when: date) -> dict[str, int]:
        return {to: sum(numbers)}

    async with scheduler:
        handle = await scheduler.schedule_once(plain, "ada", [1, 2], {"x": None}, date(2026, 1, 1))
        assert await handle.result() == {"ada": 3}
