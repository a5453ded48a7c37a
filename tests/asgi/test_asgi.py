"""A scheduler in FastAPI and Starlette apps, on both backends; real servers are in ``tests/servers``.

Real time, because Starlette's test client runs the app in a thread with a loop of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import anyio
import httpx
import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from asyncsched import ConfigurationError, Scheduler, SchedulerStateError
from asyncsched.asgi import CurrentScheduler, StartedScheduler, current_scheduler, get_scheduler
from tests.waiting import PATIENCE

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.blocking_ok,  # the test client blocks while it waits for the app's thread
]

Client = Callable[[Any], TestClient]


@pytest.fixture(params=["asyncio", "trio"])
def client(request: pytest.FixtureRequest) -> Client:
    backend: Literal["asyncio", "trio"] = request.param
    return lambda app: TestClient(app, backend=backend)


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler(shutdown_timeout=0.1)


async def double(number: int) -> int:
    return number * 2


async def namespace(scheduler: CurrentScheduler) -> str:
    return scheduler.namespace


# ── FastAPI ──────────────────────────────────────────────────────────────────────────────────


def test_a_fastapi_handler_gets_the_scheduler_as_a_dependency(client: Client, scheduler: Scheduler) -> None:
    app = FastAPI(lifespan=scheduler.lifespan)

    @app.post("/double/{number}")
    async def post(number: int, scheduler: CurrentScheduler) -> int:
        return await (await scheduler.schedule_once(double, number)).result(timeout=PATIENCE)

    with client(app) as http:
        assert http.post("/double/21").json() == 42


def test_a_sync_fastapi_handler_schedules_from_its_thread(client: Client, scheduler: Scheduler) -> None:
    app = FastAPI(lifespan=scheduler.lifespan)

    @app.post("/double/{number}")
    def post(number: int, scheduler: CurrentScheduler) -> str:
        return scheduler.schedule_once_sync(double, number).id

    @app.get("/{run}")
    async def get(run: str, scheduler: CurrentScheduler) -> int:
        return await scheduler.handle(run).result(timeout=PATIENCE)

    with client(app) as http:
        run = http.post("/double/21").json()
        assert http.get(f"/{run}").json() == 42


def test_a_fastapi_websocket_gets_it_too(client: Client, scheduler: Scheduler) -> None:
    app = FastAPI(lifespan=scheduler.lifespan)

    @app.websocket("/ws")
    async def talk(websocket: WebSocket, scheduler: CurrentScheduler) -> None:
        await websocket.accept()
        handle = await scheduler.schedule_once(double, await websocket.receive_json())
        await websocket.send_json(await handle.result(timeout=PATIENCE))
        await websocket.close()

    with client(app) as http, http.websocket_connect("/ws") as websocket:
        websocket.send_json(4)
        assert websocket.receive_json() == 8


def test_a_dependency_of_ones_own_may_depend_on_it(client: Client, scheduler: Scheduler) -> None:
    app = FastAPI(lifespan=scheduler.lifespan)

    @app.get("/")
    async def get(name: Annotated[str, Depends(namespace)]) -> str:
        return name

    with client(app) as http:
        assert http.get("/").json() == "default"


def test_the_dependency_adds_nothing_to_the_documented_parameters(scheduler: Scheduler) -> None:
    app = FastAPI(lifespan=scheduler.lifespan)

    @app.get("/")
    async def get(scheduler: CurrentScheduler) -> None: ...

    assert "parameters" not in app.openapi()["paths"]["/"]["get"]


def test_two_schedulers_in_one_app_are_told_apart_by_namespace(client: Client) -> None:
    mail, web = Scheduler(namespace="mail"), Scheduler(namespace="web")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with mail.lifespan(app) as first, web.lifespan(app) as second:
            yield {**first, **second}

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def get(
        mails: Annotated[Scheduler, current_scheduler("mail")],
        webs: Annotated[Scheduler, current_scheduler("web")],
        last: CurrentScheduler,
    ) -> list[bool]:
        answers = [
            await (await one.schedule_once(double, 1)).result(timeout=PATIENCE) for one in (mails, webs)
        ]
        return [mails is mail, webs is web, last is web, answers == [2, 2]]

    with client(app) as http:
        assert http.get("/").json() == [True] * 4


def test_routers_lifespans_are_joined_by_fastapi(client: Client, scheduler: Scheduler) -> None:
    outer = FastAPI(lifespan=scheduler.lifespan)
    inner = FastAPI()

    @inner.get("/")
    async def get(scheduler: CurrentScheduler) -> int:
        return await (await scheduler.schedule_once(double, 2)).result(timeout=PATIENCE)

    outer.mount("/inner", inner)
    with client(outer) as http:
        assert http.get("/inner/").json() == 4


# ── Starlette ────────────────────────────────────────────────────────────────────────────────


async def index(request: Request) -> JSONResponse:
    scheduler: Scheduler = request.state.scheduler
    assert scheduler is get_scheduler(request)
    return JSONResponse(await (await scheduler.schedule_once(double, 5)).result(timeout=PATIENCE))


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    handle = await websocket.state.scheduler.schedule_once(double, 6)
    await websocket.send_json(await handle.result(timeout=PATIENCE))
    await websocket.close()


def test_a_starlette_handler_finds_it_in_the_requests_state(client: Client, scheduler: Scheduler) -> None:
    app = Starlette(routes=[Route("/", index), WebSocketRoute("/ws", echo)], lifespan=scheduler.lifespan)
    with client(app) as http:
        assert http.get("/").json() == 10
        with http.websocket_connect("/ws") as websocket:
            assert websocket.receive_json() == 12


def test_a_mounted_app_finds_it_too(client: Client, scheduler: Scheduler) -> None:
    inner = Starlette(routes=[Route("/", index)])
    app = Starlette(routes=[Mount("/inner", inner)], lifespan=scheduler.lifespan)
    with client(app) as http:
        assert http.get("/inner/").json() == 10


def test_a_lifespan_of_ones_own_passes_its_state_on(client: Client, scheduler: Scheduler) -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with scheduler.lifespan(app) as state:
            yield {**state, "mine": 1}

    async def both(request: Request) -> JSONResponse:
        return JSONResponse([request.state.mine, request.state.scheduler is scheduler])

    with client(Starlette(routes=[Route("/", both)], lifespan=lifespan)) as http:
        assert http.get("/").json() == [1, True]


class Pure:
    """A middleware of the plain kind, that hands on a scope of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope}, receive, send)


async def around(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


@pytest.mark.parametrize(
    "middleware",
    [[Middleware(Pure)], [Middleware(BaseHTTPMiddleware, dispatch=around)]],
    ids=["pure", "base"],
)
def test_a_one_off_outlives_its_request_under_any_middleware(
    client: Client, scheduler: Scheduler, middleware: list[Middleware]
) -> None:
    async def later(number: int) -> int:
        await anyio.sleep(0.1)
        return number

    async def begin(request: Request) -> JSONResponse:
        return JSONResponse((await request.state.scheduler.schedule_once(later, 7)).id)

    async def end(request: Request) -> JSONResponse:
        handle = request.state.scheduler.handle(request.path_params["run"])
        return JSONResponse(await handle.result(timeout=PATIENCE))

    routes = [Route("/", begin), Route("/{run}", end)]
    app = Starlette(routes=routes, middleware=middleware, lifespan=scheduler.lifespan)
    with client(app) as http:
        run = http.get("/").json()
        assert http.get(f"/{run}").json() == 7


def test_a_cancelled_request_leaves_its_one_off_alone(client: Client, scheduler: Scheduler) -> None:
    async def work() -> str:
        await anyio.sleep(0.1)
        return "work"

    async def impatient(request: Request) -> JSONResponse:
        handle = await request.state.scheduler.schedule_once(work)
        with anyio.move_on_after(0.01):
            await handle.result()
        return JSONResponse([await handle.result(PATIENCE)])

    with client(Starlette(routes=[Route("/", impatient)], lifespan=scheduler.lifespan)) as http:
        assert http.get("/").json() == ["work"]


# ── what goes wrong is said in words ─────────────────────────────────────────────────────────


def test_an_app_that_started_none_says_what_to_put_where(client: Client) -> None:
    app = FastAPI()

    @app.get("/")
    async def get(scheduler: CurrentScheduler) -> None: ...

    with client(app) as http, pytest.raises(SchedulerStateError, match="put lifespan="):
        http.get("/")


def test_a_lifespan_that_forgets_the_state_is_told_to_yield_it(client: Client, scheduler: Scheduler) -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with scheduler.lifespan(app):
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def get(scheduler: CurrentScheduler) -> None: ...

    with client(app) as http, pytest.raises(SchedulerStateError, match="yield the state of"):
        http.get("/")


def test_a_mounted_app_is_told_that_its_lifespan_is_not_run(client: Client, scheduler: Scheduler) -> None:
    inner = FastAPI(lifespan=scheduler.lifespan)

    @inner.get("/dependency")
    async def dependency(scheduler: CurrentScheduler) -> None: ...

    @inner.get("/direct")
    async def direct() -> None:
        await scheduler.schedule_once(double, 1)

    @inner.get("/health")
    async def health() -> str:
        return scheduler.health().trouble

    outer = FastAPI()
    outer.mount("/api", inner)
    with client(outer) as http:
        with pytest.raises(SchedulerStateError, match=r"mounted at '/api'.*into the outer app"):
            http.get("/api/dependency")
        with pytest.raises(SchedulerStateError, match="for a mounted app it belongs there"):
            http.get("/api/direct")
        assert "has not been started" in http.get("/api/health").text
    outer = FastAPI(lifespan=scheduler.lifespan)  # as the error says
    outer.mount("/api", inner)
    with client(outer) as http:
        assert http.get("/api/dependency").status_code == 200
        assert http.get("/api/direct").status_code == 200
        assert http.get("/api/health").json() == ""


def test_a_mounted_app_that_never_uses_its_scheduler_says_that_it_is_not_running(
    client: Client, scheduler: Scheduler, caplog: pytest.LogCaptureFixture
) -> None:
    inner = FastAPI(lifespan=scheduler.lifespan)
    inner.add_middleware(StartedScheduler, scheduler=scheduler)

    @inner.get("/")
    async def get() -> str:
        return "unaware"

    outer = FastAPI()
    outer.mount("/api", inner)
    with client(outer) as http:
        for _ in range(2):
            assert http.get("/api/").json() == "unaware"
    assert caplog.messages == [
        "a request came to the app that is mounted at '/api', and its scheduler (namespace 'default') has not been "
        "started: none of its schedules is fired. A server runs the lifespan of the outermost app alone: put "
        "lifespan=scheduler.lifespan there"
    ]
    caplog.clear()
    with client(inner) as http:  # its own lifespan is run
        assert http.get("/").json() == "unaware"
    assert caplog.messages == []


@pytest.mark.anyio
async def test_a_request_without_a_lifespan_is_told_of_it(scheduler: Scheduler) -> None:
    app = FastAPI(lifespan=scheduler.lifespan)

    @app.get("/")
    async def get(scheduler: CurrentScheduler) -> None: ...

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as http:
        with pytest.raises(
            SchedulerStateError, match=r"httpx\.ASGITransport runs none.*with TestClient\(app\)"
        ):
            await http.get("/")


def test_a_closed_scheduler_is_not_well(client: Client, scheduler: Scheduler) -> None:
    with client(FastAPI(lifespan=scheduler.lifespan)):
        assert scheduler.health().ok
    assert "has been closed" in scheduler.health().trouble


def test_an_unknown_namespace_is_named(client: Client, scheduler: Scheduler) -> None:
    app = FastAPI(lifespan=scheduler.lifespan)

    @app.get("/")
    async def get(scheduler: Annotated[Scheduler, current_scheduler("mail")]) -> None: ...

    with client(app) as http, pytest.raises(SchedulerStateError, match="no scheduler of namespace 'mail'"):
        http.get("/")


def test_one_scheduler_in_two_apps_at_once_is_refused(client: Client, scheduler: Scheduler) -> None:
    app = Starlette(routes=[Route("/", index)], lifespan=scheduler.lifespan)
    with client(app) as http:
        with pytest.raises(SchedulerStateError, match="enter it in one lifespan only"):
            with client(Starlette(lifespan=scheduler.lifespan)):
                pass
        assert http.get("/").json() == 10


def test_bad_configuration_fails_the_start_with_one_error(
    client: Client, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCSCHED_ROLE", "boss")
    with pytest.raises(ConfigurationError, match="ASYNCSCHED_ROLE"):
        with client(FastAPI(lifespan=scheduler.lifespan)):
            pass


def test_the_role_off_serves_the_hosts_own_tests(
    client: Client, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCSCHED_ROLE", "off")
    app = FastAPI(lifespan=scheduler.lifespan)

    @app.post("/")
    async def post(scheduler: CurrentScheduler) -> str:
        return (await (await scheduler.schedule_once(double, 1)).status()).state

    with client(app) as http:
        assert http.post("/").json() == "pending"


def test_an_app_starts_and_stops_again_and_again(client: Client, scheduler: Scheduler) -> None:
    app = Starlette(routes=[Route("/", index)], lifespan=scheduler.lifespan)
    for _ in range(3):
        with client(app) as http:
            assert http.get("/").json() == 10
