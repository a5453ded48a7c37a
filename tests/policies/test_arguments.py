"""A run gets the arguments of its call, whatever its caller, an earlier attempt or an earlier run did with them."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel, PrivateAttr
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from asyncsched import Interval, Retry, Scheduler, current_run
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio

Make = Callable[..., Scheduler]


@dataclass
class Basket:
    items: list[str]
    owner: str = "ada"


class Order(BaseModel):
    items: list[str]


async def test_a_retry_gets_the_arguments_of_the_call_and_not_what_an_attempt_left_of_them(
    scheduler: Scheduler,
) -> None:
    @scheduler.job(retry=Retry(attempts=3, delay=0))
    async def send(texts: list[str], basket: Basket, order: Order, counts: dict[str, list[int]]) -> list[Any]:
        seen = [list(texts), list(basket.items), list(order.items), counts["ada"].copy()]
        texts.pop(), basket.items.pop(), order.items.pop(), counts["ada"].pop()
        if current_run().attempt < 3:
            raise OSError("the line is down")
        return seen

    given = ["a", "b", "c"]
    async with scheduler:
        run = await scheduler.schedule_once(
            send, given, Basket(given), Order(items=given), {"ada": [1, 2, 3]}, key="k"
        )
        assert await run.result() == [["a", "b", "c"]] * 3 + [[1, 2, 3]]
    assert given == ["a", "b", "c"]


async def test_a_caller_that_empties_its_list_empties_no_run(scheduler: Scheduler) -> None:
    @scheduler.job()
    async def send(*texts: list[str], more: dict[str, list[str]]) -> list[Any]:
        return [list(texts), more]

    async with scheduler:
        batch, more = ["a"], {"b": ["c"]}
        run = await scheduler.schedule_once(send, batch, batch, kwargs={"more": more}, delay=5)
        batch.clear(), more["b"].clear()
        assert await run.result() == [[["a"], ["a"]], {"b": ["c"]}]


async def test_a_schedule_does_not_see_its_own_changes(
    scheduler: Scheduler, virtual_clock: VirtualClock
) -> None:
    seen: list[dict[str, int]] = []

    @scheduler.interval(seconds=60, args=({"runs": 0},))
    async def count(state: dict[str, int]) -> None:
        state["runs"] += 1
        seen.append(dict(state))

    @scheduler.job()
    async def added(state: dict[str, int]) -> None:
        state["runs"] += 10
        seen.append(dict(state))

    async with scheduler:
        state = {"runs": 0}
        await scheduler.add_schedule(added, Interval(seconds=60), args=(state,))
        state["runs"] = 99
        await virtual_clock.advance(150)
        assert await (await scheduler.run_now("count")).result() is None
    assert sorted(one["runs"] for one in seen) == [1, 1, 1, 10, 10]


# ── in memory: what is copied, and what stays the same object ────────────────────────────────────


@dataclass(eq=False)
class Socket:
    sent: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Deep:
    inner: Basket
    pair: tuple[list[int], int] = ([1], 2)


class Point(NamedTuple):
    tags: set[str]


class Account(BaseModel, frozen=True, extra="allow"):
    baskets: dict[str, Basket]
    _seen: list[int] = PrivateAttr(default_factory=lambda: [1])


class Own(dict[str, int]):
    pass


class Stubborn(Basket):
    def __copy__(self) -> Stubborn:
        raise TypeError("there is only one")


class Plain:
    pass


class Base(MappedAsDataclass, DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)


def account() -> Account:
    return Account(baskets={"ada": Basket(["a"])}, more=["b"])  # type: ignore[call-arg]


COPIED: list[tuple[Any, Callable[[Any], Any]]] = [
    (["a"], lambda one: one),
    ([["a"]], lambda one: one[0]),
    ({"a": ["b"]}, lambda one: one["a"]),
    (defaultdict(list, a=["b"]), lambda one: one["a"]),
    (defaultdict(list), lambda one: one["new"]),
    (OrderedDict(a=["b"]), lambda one: one["a"]),
    (deque([["a"]], maxlen=3), lambda one: one[0]),
    ((1, ["a"]), lambda one: one[1]),
    (Basket(["a"]), lambda one: one.items),
    (Deep(Basket(["a"])), lambda one: one.inner.items),
    (Deep(Basket(["a"])), lambda one: one.pair[0]),
    (account(), lambda one: one.baskets["ada"].items),
    (account(), lambda one: one.more),
    (account(), lambda one: one._seen),
]


@pytest.mark.parametrize("make_store", ["memory"], indirect=True)
@pytest.mark.parametrize("value, part", COPIED, ids=lambda one: type(one).__name__)
async def test_plain_containers_are_copied_all_the_way_down(
    scheduler: Scheduler, value: Any, part: Callable[[Any], Any]
) -> None:
    def check(one: Any) -> Any:
        assert one is not value
        assert one == value
        assert type(one) is type(value)
        part(one).append("z")
        return one

    async with scheduler:
        first = await (await scheduler.schedule_once(check, value)).result()
        second = await (await scheduler.schedule_once(check, kwargs={"one": value})).result()
    assert first == second != value or isinstance(value, Account)
    assert "z" not in part(value)


@pytest.mark.parametrize("make_store", ["memory"], indirect=True)
@pytest.mark.parametrize("value", [{"a"}, bytearray(b"a"), Counter("a"), Point({"a"})], ids=str)
async def test_sets_and_the_like_are_copied_too(scheduler: Scheduler, value: Any) -> None:
    async def check(one: Any) -> bool:
        return one is not value and one == value and type(one) is type(value)

    async with scheduler:
        assert await (await scheduler.schedule_once(check, value)).result()


@pytest.mark.parametrize("make_store", ["memory"], indirect=True)
@pytest.mark.parametrize(
    "value",
    [Socket(), Plain(), Own(a=1), Stubborn(["a"]), (1, "a"), iter([]), Plain],
    ids=lambda one: type(one).__name__,
)
async def test_what_has_an_identity_or_cannot_be_copied_stays_the_same_object(
    scheduler: Scheduler, value: Any
) -> None:
    async def check(one: Any, box: list[Any]) -> bool:
        return one is value and box[0] is value

    async with scheduler:
        assert await (await scheduler.schedule_once(check, value, [value])).result()


@pytest.mark.parametrize("make_store", ["memory"], indirect=True)
async def test_an_object_given_twice_stays_one_object_and_a_circle_a_circle(scheduler: Scheduler) -> None:
    circle: dict[str, Any] = {"items": ["a"]}
    circle["self"] = circle

    async def check(one: dict[str, Any], two: list[str]) -> bool:
        return one["self"] is one is not circle and one["items"] is two is not circle["items"]

    async with scheduler:
        assert await (await scheduler.schedule_once(check, circle, circle["items"])).result()


@pytest.mark.parametrize("make_store", ["memory"], indirect=True)
async def test_a_row_of_a_database_session_stays_what_it_is(scheduler: Scheduler) -> None:
    user = User(id=7)

    async def check(one: User) -> bool:
        return one is user

    async with scheduler:
        assert await (await scheduler.schedule_once(check, user)).result()


@pytest.mark.parametrize("make_store", ["memory"], indirect=True)
async def test_a_repeated_call_with_equal_arguments_finds_the_run_of_its_key(scheduler: Scheduler) -> None:
    async def send(socket: Socket, basket: Basket) -> None: ...

    socket = Socket()
    async with scheduler:
        first = await scheduler.schedule_once(send, socket, Basket(["a"]), key="k", delay=5)
        again = await scheduler.schedule_once(send, socket, Basket(["a"]), key="k", delay=5)
    assert (again.created, again.id) == (False, first.id)


async def test_who_changes_what_a_run_shows_changes_no_run(scheduler: Scheduler) -> None:
    @scheduler.job()
    async def collect(texts: list[str]) -> dict[str, list[str]]:
        return {"all": texts}

    async with scheduler:
        handle = await scheduler.schedule_once(collect, ["a"])
        (await handle.result())["all"].append("b")
        run = await scheduler.run(handle.id)
        run.args[0].append("c")
        run.result["all"].append("d")
        again = await scheduler.run(handle.id)
        assert (again.args, again.result) == ((["a"],), {"all": ["a"]})
        assert await handle.result() == {"all": ["a"]}
        added = await scheduler.add_schedule(collect, Interval(hours=1), args=(["a"],))
        added.args[0].clear()
        assert (await scheduler.schedule("collect")).args == (["a"],)
