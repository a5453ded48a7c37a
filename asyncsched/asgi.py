"""The way from a request or a websocket to the scheduler of its app.

With FastAPI::

    @app.post("/signup")
    async def signup(user: User, scheduler: CurrentScheduler) -> None: ...

With Starlette, ``request.state.scheduler`` or ``get_scheduler(request)``.

The answers to an orchestrator's probes are ready routes: ``Starlette(routes=probe_routes(scheduler))``, or
``app.router.routes.extend(probe_routes(scheduler))`` with FastAPI.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Annotated, Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from asyncsched._core.errors import SchedulerStateError
from asyncsched._core.reports import Probe
from asyncsched._scheduler.scheduler import Scheduler

if TYPE_CHECKING:
    CurrentScheduler = Annotated[Scheduler, ...]
    """The running scheduler, as a FastAPI dependency on any request or websocket."""


def get_scheduler(connection: HTTPConnection, namespace: str | None = None) -> Scheduler:
    """Return the scheduler of the app that serves this request or websocket.

    Args:
        connection: a ``Request`` or ``WebSocket``.
        namespace: the scheduler's namespace, where the app has several; by default the one entered last.

    Raises:
        SchedulerStateError: the app's lifespan has started no such scheduler.

    """
    state: dict[str, Any] = connection.scope.get("state") or {}
    found = state.get("scheduler" if namespace is None else f"scheduler:{namespace}")
    if not isinstance(found, Scheduler):
        raise SchedulerStateError(_not_found(connection.scope, namespace))
    return found


def _not_found(scope: Scope, namespace: str | None) -> str:
    """Return why a request finds no scheduler, and what to do."""
    which = "" if namespace is None else f" of namespace {namespace!r}"
    if "state" not in scope:  # a server that runs lifespans passes their state on, even if it is empty
        return (
            f"there is no scheduler{which}, because this request came to an app whose lifespan was not run: "
            "httpx.ASGITransport runs none. In a test, use `with TestClient(app) as client:`, or give the transport the "
            "app of `async with LifespanManager(app) as manager:` (package asgi-lifespan)"
        )
    path = scope.get("root_path", "").removeprefix(scope.get("app_root_path", scope.get("root_path", "")))
    if path:
        return (
            f"there is no scheduler{which}: this app is mounted at {path!r}, and a server runs the lifespan of the "
            "outer app alone. Put lifespan=scheduler.lifespan into the outer app, or yield the state of "
            "`async with scheduler.lifespan(app) as state` from its lifespan"
        )
    return (
        f"this app's lifespan has started no scheduler{which}; put lifespan=scheduler.lifespan into the "
        "app, or yield the state of `async with scheduler.lifespan(app) as state` from the app's lifespan; a TestClient "
        "runs it inside `with` only"
    )


def current_scheduler(namespace: str) -> Any:
    """Return a FastAPI dependency on the scheduler of a namespace, where an app has several.

    Example:
        >>> Mailer = Annotated[Scheduler, current_scheduler("mail")]

    """
    from fastapi import Depends

    async def scheduler(connection: HTTPConnection) -> Scheduler:
        return get_scheduler(connection, namespace)

    return Depends(scheduler)


def probe_routes(
    scheduler: Scheduler, *, details: Callable[[Request], bool | Awaitable[bool]] | None = None
) -> list[BaseRoute]:
    """Return the routes ``/livez``, ``/readyz`` and ``/startupz``: 200 if the probe passes, else 503.

    The answer is plain text for anybody: ``ok``, or the reasons in a few words. ``?verbose`` adds whole
    sentences, with the errors of the store.

    Args:
        scheduler: the scheduler.
        details: says of a request with ``?verbose`` whether it may see them; by default none may.

    """

    def route(path: str, probe: Callable[[], Probe]) -> Route:
        async def answer(request: Request) -> PlainTextResponse:
            found = probe()
            lines = list(found.reasons) or ["ok"]
            if "verbose" in request.query_params and details is not None:
                allowed = details(request)
                if (await allowed) if isawaitable(allowed) else allowed:
                    lines += found.details
            headers = {"Cache-Control": "no-store"}
            return PlainTextResponse("\n".join(lines) + "\n", 200 if found else 503, headers)

        return Route(path, answer, name=f"asyncsched-{path[1:]}", include_in_schema=False)

    def started() -> Probe:
        found = scheduler.ready()
        return found if "not started" in found.reasons else Probe()

    return [route("/livez", scheduler.live), route("/readyz", scheduler.ready), route("/startupz", started)]


async def _scheduler(connection: HTTPConnection) -> Scheduler:
    return get_scheduler(connection)


def __getattr__(name: str) -> Any:
    # asyncsched does not require FastAPI, so it is imported only where this dependency is used.
    if name != "CurrentScheduler":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fastapi import Depends

    return Annotated[Scheduler, Depends(_scheduler)]
