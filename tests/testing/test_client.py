"""Plain tests of an app with Starlette's client, in virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

import anyio
import pytest
from fastapi import FastAPI, WebSocket

from asyncsched import Scheduler, SchedulerStateError
from asyncsched.testing import VirtualClock
from asyncsched.testing.client import VirtualClient

Backend = Literal["asyncio", "trio"]

pytestmark = pytest.mark.blocking_ok  # a plain test blocks while the app's loop runs in another thread

scheduler = Scheduler("sqlite:////nowhere/at/all.db")
ran: list[datetime] = []
clock: VirtualClock


@scheduler.interval(hours=1)
async def tick() -> None:
    ran.append(clock.now())


@scheduler.job()
async def tock() -> None:
    ran.append(clock.now())


app = FastAPI(lifespan=scheduler.lifespan)


@app.post("/start")
async def start() -> dict[str, str]:
    return {"id": (await scheduler.schedule_once(tock, delay=60)).id}


@app.get("/slow")
async def slow() -> str:
    await anyio.sleep(7200)
    return clock.now().isoformat()


@app.get("/sync")
def sync() -> str:
    return scheduler.schedule_once_sync(tock).id


@app.websocket("/feed")
async def feed(websocket: WebSocket) -> None:
    await websocket.accept()
    await anyio.sleep(60)
    await websocket.send_text(clock.now().isoformat())
    await websocket.close()


@pytest.fixture(params=["asyncio", "trio"])
def client(request: pytest.FixtureRequest) -> Iterator[VirtualClient]:
    global clock
    clock = VirtualClock(patience=10)
    ran.clear()
    with scheduler.override(store=None, clock=clock), VirtualClient(app, clock, request.param) as client:
        yield client


START = datetime(2026, 1, 1, tzinfo=UTC)


def test_time_stands_still_until_the_test_lets_it_pass(client: VirtualClient) -> None:
    assert client.post("/start").status_code == 200
    assert client.post("/start").status_code == 200
    assert (clock.now(), ran) == (START, [])
    client.advance(61)
    assert ran == [START + timedelta(minutes=1)] * 2
    client.advance(timedelta(hours=3))
    assert ran[2:] == [START + timedelta(hours=hour) for hour in (1, 2, 3)]


def test_a_handler_may_sleep_or_be_plain(client: VirtualClient) -> None:
    assert client.get("/slow").json() == (START + timedelta(hours=2)).isoformat()
    assert len(ran) == 2
    assert client.get("/sync").status_code == 200
    client.advance(1)
    assert len(ran) == 3


def test_on_a_websocket_time_passes_when_the_test_says_so(client: VirtualClient) -> None:
    with client.websocket_connect("/feed") as websocket:
        assert clock.now() == START
        client.advance(90)
        assert websocket.receive_text() == (START + timedelta(seconds=60)).isoformat()


def test_outside_its_block_no_time_can_pass() -> None:
    with pytest.raises(SchedulerStateError, match="outside the client's block"):
        VirtualClient(app, VirtualClock()).advance(1)
