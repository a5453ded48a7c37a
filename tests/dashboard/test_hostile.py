"""Whatever users' code returns, and whatever a caller sends: each is a clear answer, and nothing else on the page suffers."""

from __future__ import annotations

import json
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.types import Message

from asyncsched import Interval, Scheduler, current_run
from asyncsched.dashboard import Dashboard, api_router
from asyncsched.testing import VirtualClock
from tests.dashboard.conftest import WRITES, Look

pytestmark = pytest.mark.anyio

STRANGE = "\ud800 \u202egnp.exe \x07 <b>"


async def test_values_that_json_does_not_have_hide_no_run(scheduler: Scheduler, look: Look) -> None:
    @scheduler.job()
    async def odd(x: float = 1.0, **more: Any) -> Any:
        current_run().progress(1, 2, STRANGE)
        return [float("nan"), float("inf"), STRANGE, {1: object()}]

    @scheduler.job()
    async def failing() -> None:
        raise RuntimeError(STRANGE)

    async with scheduler, look(scheduler) as client:
        ids = [(await scheduler.run_job("odd", kwargs={"x": float("inf"), "y": STRANGE})).id]
        ids.append((await scheduler.run_job("failing")).id)
        await anyio.sleep(1)
        for id in ids:
            page = await client.get(f"/runs/{id}")
            assert page.status_code == 200
            assert "\u202e" not in page.text
            assert "<b>" not in page.text.replace("<b>1</b>", "")
            answer = await client.get(f"/api/v1/runs/{id}")
            assert answer.status_code == 200
            assert json.loads(answer.content, parse_constant=pytest.fail)
            stream = (await client.get(f"/api/v1/runs/{id}/events")).text
            assert "NaN" not in stream.replace('"NaN"', "")
        found = (await client.get(f"/api/v1/runs/{ids[0]}")).json()
        assert found["kwargs"]["x"] == "Infinity"
        assert found["result"][:2] == ["NaN", "Infinity"]
        for path in ("/", "/runs", "/failures", "/api/v1/runs", "/api/v1/failures", "/jobs/failing"):
            assert (await client.get(path)).status_code == 200, path


@pytest.mark.parametrize(
    ("action", "content", "status"),
    [
        ("run", b'{"kwargs": {"x": ' + b"[" * 800 + b"]" * 800 + b"}}", 400),
        ("run", b"[" * 60_000, 400),
        ("run", b'{"kwargs": {"x": NaN}}', 400),
        ("run", b'{"args": [1, 2, 3]}', 422),
        ("pause", b'{"note": "\\ud800"}', 422),
        ("pause", b'{"note": "a\\u0000b"}', 422),
        ("pause", b"\xff\xfe", 400),
        ("backfill", b'{"start": "0001-01-01T00:00:00+23:00", "end": "9999-12-31T23:59:59-23:00"}', 202),
        ("reschedule", b'{"cron": "* * * * *", "timezone": "../../etc/passwd"}', 422),
        ("reschedule", b'{"every_seconds": 1e-9}', 422),
    ],
)
async def test_a_body_that_is_a_trap_is_a_clear_answer(
    scheduler: Scheduler, look: Look, action: str, content: bytes, status: int
) -> None:
    @scheduler.interval(hours=1)
    async def job(x: int = 1) -> None: ...

    async with scheduler, look(scheduler) as client:
        answer = await client.post(f"/api/v1/schedules/job/{action}", content=content)
        assert answer.status_code == status, answer.text
        assert answer.json()["detail" if status >= 400 else "message"]


@pytest.mark.parametrize(
    "path",
    [
        "/?state=nonsense&q=%00%ff&sort=-nosuch&from=99999999", "/?from=-1", "/runs?state=nonsense", "/runs?before=zzz",
        "/failures?hours=abc&by=zzz", "/timeline?hours=99&from=1e9", "/activity?before=zz",
        "/schedules/job?at=nonsense", "/schedules/job?at=9999-12-31T23:59:59%2B00:01",
        "/api/v1/timeline?start=9999-12-31T00:00:00Z&hours=720", "/api/v1/timeline?start=0001-01-01T00:00:00Z",
    ],
)  # fmt: skip
async def test_a_filter_that_is_nonsense_shows_the_page(scheduler: Scheduler, look: Look, path: str) -> None:
    @scheduler.interval(hours=1)
    async def job() -> None: ...

    async with scheduler, look(scheduler) as client:
        answer = await client.get(path)
        assert answer.status_code == 200, answer.text


async def test_two_schedulers_in_one_app_behind_a_proxy(virtual_clock: VirtualClock) -> None:
    first, second = Scheduler(clock=virtual_clock), Scheduler(clock=virtual_clock, namespace="second")

    @first.interval(minutes=1)
    async def alpha() -> None: ...

    @second.interval(minutes=1)
    async def beta() -> None: ...

    app = FastAPI()
    app.mount("/ops/first", Dashboard(first))
    app.mount("/ops/second", Dashboard(second))
    app.include_router(api_router(first, prefix="/first"))
    app.include_router(api_router(second, prefix="/second"))
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 5000), root_path="/proxy")
    base = "http://127.0.0.1:8000/proxy"
    async with first, second, httpx.AsyncClient(transport=transport, base_url=base, headers=WRITES) as client:
        for path, mine, other in (("first", "alpha", "beta"), ("second", "beta", "alpha")):
            page = (await client.get(f"/ops/{path}/")).text
            assert f'href="/proxy/ops/{path}/schedules/{mine}"' in page
            assert other not in page
            assert 'href="/ops' not in page
            stream = (await client.get(f"/ops/{path}/events?page=/")).text
            assert f"/proxy/ops/{path}/schedules/{mine}" in stream
            answer = await client.post(f"/{path}/schedules/{mine}/pause", json={"note": "both"})
            assert answer.json() == {"message": f"{mine} is paused"}
            assert (await client.post(f"/{path}/schedules/{other}/pause", json={})).status_code == 404
        assert [one.subject for one in await first.activity()] == ["beta", "alpha"]
        assert [one.subject for one in await second.activity()] == ["alpha", "beta"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/scheduler/events", b""),
        ("POST", "/scheduler/api/v1/bulk", b'{"action": "pause", "filter": {"all": true}, "expected": 9}'),
    ],
)
async def test_a_server_that_refuses_to_send_to_a_client_that_has_gone_gets_no_error(
    scheduler: Scheduler, method: str, path: str, body: bytes
) -> None:
    # ASGI 2.4: "send" after a disconnect should raise a subclass of OSError.
    app = Starlette()
    app.mount("/scheduler", Dashboard(scheduler))
    messages = iter([{"type": "http.request", "body": body, "more_body": False}, {"type": "http.disconnect"}])
    refused = 0

    async def receive() -> Message:
        await anyio.sleep(0.5)
        return next(messages)

    async def send(message: Message) -> None:
        nonlocal refused
        if message["type"] == "http.response.body":
            refused += 1
            raise ConnectionResetError("the client has gone")

    @scheduler.job()
    async def check(number: int) -> None: ...

    async with scheduler:
        for number in range(9):
            await scheduler.add_schedule(check, Interval(hours=1), id=str(number), args=(number,))
        headers = {"host": "127.0.0.1:8000", **WRITES, "accept": "application/x-ndjson"}
        scope = {
            "type": "http", "method": method, "path": path, "query_string": b"", "root_path": "", "scheme": "http",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 5000), "server": ("127.0.0.1", 8000),
        }  # fmt: skip
        await app(scope, receive, send)
        assert refused
        assert len(await scheduler.schedules(paused=True)) == (9 if body else 0)
