"""How requests reach a store's thread: all of one turn of the loop at once, and none of a caller who has left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from asyncsched._backends.clock import SystemClock
from asyncsched.stores.sql.thread import DatabaseThread, Request

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]  # its thread is a real one


@asynccontextmanager
async def database_thread(served: list[list[str]]) -> AsyncIterator[DatabaseThread]:
    def serve(requests: list[Request]) -> None:
        served.append([one.payload for one in requests])

    made = DatabaseThread("asyncsched-test", serve, lambda: None, 5, SystemClock())
    try:
        yield made
    finally:
        await made.close()


async def test_what_a_turn_asks_for_is_answered_in_one_go_and_the_urgent_first() -> None:
    served: list[list[str]] = []
    async with database_thread(served) as it, anyio.create_task_group() as group:
        for name in ("a", "b", "c"):
            group.start_soon(it.submit, "kind", name)
        group.start_soon(it.submit, "kind", "beat", 1, True)
    (together,) = served
    assert together[0] == "beat"
    assert sorted(together) == ["a", "b", "beat", "c"]


async def test_of_who_was_cancelled_before_nothing_is_asked() -> None:
    served: list[list[str]] = []
    async with database_thread(served) as it:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await it.submit("kind", "cancelled")
        assert scope.cancelled_caught
        await it.submit("kind", "wanted")
    assert served == [["wanted"]]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_task_cancelled_by_asyncio_itself_before_its_first_step_asks_for_nothing(
    anyio_backend: str,
) -> None:
    served: list[list[str]] = []

    async with database_thread(served) as it:

        async def ask_late() -> None:
            current = asyncio.current_task()
            assert current is not None
            current.cancel()
            await it.submit("kind", "cancelled")

        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(ask_late())
        await it.submit("kind", "wanted")
    assert served == [["wanted"]]


async def test_what_was_asked_for_before_the_end_is_answered() -> None:
    served: list[list[str]] = []
    async with database_thread(served) as it:
        it._enter(Request("kind", "last", 1, False, None))  # and no turn of the loop further
        await it.close()
    assert served == [["last"]]


async def test_whoever_was_answered_hears_so_though_it_is_closed_meanwhile() -> None:
    served: list[list[str]] = []
    heard: list[int] = []
    async with database_thread(served) as it:

        async def ask(number: int) -> None:
            await it.submit("kind", str(number))
            heard.append(number)

        async with anyio.create_task_group() as group:
            for number in range(100):
                group.start_soon(ask, number)
            while len(it._under_way) < 100:
                await anyio.lowlevel.checkpoint()
            await it.close()
    assert sorted(heard) == list(range(100))
