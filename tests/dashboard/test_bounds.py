"""The page never hangs and never holds up its server: slow stores, slow clients and too many pages have bounds."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import anyio
import pytest

from asyncsched import Interval, Scheduler
from asyncsched._core.records import ScheduleRecord
from asyncsched.dashboard import Dashboard, live
from asyncsched.stores.memory import MemoryStore
from asyncsched.testing import VirtualClock
from tests.dashboard.conftest import Look

pytestmark = pytest.mark.anyio


class Slow(MemoryStore):
    """A store that answers after so many seconds."""

    seconds = 0.0

    async def schedules(self, ids: Collection[str] | None = None) -> list[ScheduleRecord]:
        if self.seconds and ids is None:
            await anyio.sleep(self.seconds)
        return await super().schedules(ids)


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def made(slow: Slow, virtual_clock: VirtualClock) -> Scheduler:
    scheduler = Scheduler(slow, clock=virtual_clock)

    @scheduler.interval(minutes=7)
    async def job() -> None: ...

    return scheduler


async def test_a_store_that_answers_slowly_is_told_of_and_the_last_state_shown(
    made: Scheduler, slow: Slow, look: Look
) -> None:
    async with made, look(made) as client:
        assert "The schedule is on time" in (await client.get("/")).text
        await anyio.sleep(10)
        slow.seconds, began = 600, anyio.current_time()
        page = (await client.get("/")).text
        assert anyio.current_time() - began < 5
        assert (
            "Store unreachable – shown is the state of 00:00:00 UTC: the store has not answered within 3 s"
            in page
        )
        slow.seconds = 0
        await anyio.sleep(2)
        assert "The schedule is on time" in (await client.get("/")).text


async def test_those_who_ask_at_the_same_time_do_not_wait_one_after_the_other(
    made: Scheduler, slow: Slow, look: Look
) -> None:
    slow.seconds = 600
    async with made, look(made) as client:
        began, statuses = anyio.current_time(), []

        async def ask(path: str) -> None:
            statuses.append((await client.get(path)).status_code)

        async with anyio.create_task_group() as group:
            for path in ("/", "/", "/runs", "/api/v1/status", "/api/v1/schedules", "/?q=x"):
                group.start_soon(ask, path)
        assert statuses == [503] * 6
        assert anyio.current_time() - began < 12
        slow.seconds = 0
        await anyio.sleep(2)
        assert (await client.get("/")).status_code == 200


def _events(made: Scheduler, address: str = "/") -> tuple[Dashboard, dict[str, Any]]:
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "path": "/events", "root_path": "", "raw_path": b"/events",
        "query_string": f"page={address}".encode(), "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80), "scheme": "http",
    }  # fmt: skip
    return Dashboard(made), scope


async def never() -> Any:
    await anyio.sleep_forever()


async def test_a_stream_whose_client_takes_nothing_ends_all_the_same(made: Scheduler) -> None:
    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and message.get("body"):
            await anyio.sleep_forever()

    async with made:
        dashboard, scope = _events(made)
        began = anyio.current_time()
        await dashboard(scope, never, send)
        assert anyio.current_time() - began < live.LONGEST + live.LINGERS + 2


async def test_a_stream_ends_by_itself_and_says_so(made: Scheduler) -> None:
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    async with made:
        dashboard, scope = _events(made)
        began = anyio.current_time()
        await dashboard(scope, never, send)
        assert live.LONGEST <= anyio.current_time() - began < live.LONGEST + 2
        assert b"event: bye" in b"".join(sent)


async def test_the_page_of_what_was_removed_is_told_that_it_is_gone(made: Scheduler) -> None:
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    async with made:
        await made.add_schedule("job", Interval(hours=1), id="added")
        dashboard, scope = _events(made, "/schedules/added")
        async with anyio.create_task_group() as group:
            group.start_soon(dashboard, scope, never, send)
            await anyio.sleep(2)
            assert b"added" in b"".join(sent)
            await made.remove("added")
        assert b"event: gone" in b"".join(sent)
        assert b"event: bye" not in b"".join(sent)


async def test_there_is_a_largest_number_of_streams(
    made: Scheduler, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "STREAMS", 2)
    async with made, look(made) as client:
        run = await made.run_job("job")
        statuses: list[int] = []

        async def ask(path: str) -> None:
            statuses.append((await client.get(path)).status_code)

        async with anyio.create_task_group() as group:
            for path in (
                "/events?page=/",
                "/events?page=/runs",
                "/events?page=/failures",
                f"/api/v1/runs/{run.id}/events",
            ):
                group.start_soon(ask, path)
                await anyio.sleep(0.1)
        assert sorted(statuses) == [200, 200, 503, 503]
        assert (await client.get(f"/api/v1/runs/{run.id}/events")).status_code == 200
