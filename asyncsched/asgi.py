"""The way from a request or a websocket to the scheduler of its app.

With FastAPI::

    @app.post("/signup")
    async def signup(user: User, scheduler: CurrentScheduler) -> None: ...

With Starlette, ``request.state.scheduler`` or ``get_scheduler(request)``.

The answers to an orchestrator's probes are ready routes: ``Starlette(routes=probe_routes(scheduler))``, or
``app.router.routes.extend(probe_routes(scheduler))`` with FastAPI.

:class:`StartedScheduler` is a middleware for an app that may be mounted in another, where a server does not run
its lifespan: at the first request the log says that the scheduler is not running.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Annotated, Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from asyncsched._core.errors import SchedulerStateError
from asyncsched._core.reports import Probe
from asyncsched._scheduler.scheduler import Scheduler

if TYPE_CHECKING:
    CurrentScheduler = Annotated[Scheduler, ...]
    """The running scheduler, as a FastAPI dependency on any request or websocket."""


logger = logging.getLogger("asyncsched.scheduler")


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
    if path := _mounted_at(scope):
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


def _mounted_at(scope: Scope) -> str:
    """Return the path at which the app of a request is mounted in another, or ``""``."""
    path: str = scope.get("root_path", "")
    return path.removeprefix(scope.get("app_root_path", path))


class StartedScheduler:
    """A middleware that writes one ERROR line at the first request of an app whose scheduler was not started.

    A server runs the lifespan of the outermost app alone. The schedules of a scheduler in the lifespan of a mounted
    app would otherwise not be due without a word, if no request uses that scheduler. The request goes on.

    Args:
        app: the app, which Starlette and FastAPI give.
        scheduler: the scheduler that the app's lifespan starts.

    Example:
        >>> api = FastAPI(lifespan=scheduler.lifespan)
        >>> api.add_middleware(StartedScheduler, scheduler=scheduler)

    """

    def __init__(self, app: ASGIApp, scheduler: Scheduler) -> None:
        self._app = app
        self._scheduler = scheduler
        self._told = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look at a request or a websocket, and hand it on."""
        if (
            not self._told
            and scope["type"] != "lifespan"
            and "not started" in self._scheduler.ready().reasons
        ):
            self._told = True
            path = _mounted_at(scope)
            logger.error(
                "a request came to %s, and its scheduler (namespace %r) has not been started: none of its schedules is "
                "fired. A server runs the lifespan of the outermost app alone: put lifespan=scheduler.lifespan there",
                f"the app that is mounted at {path!r}" if path else "an app", self._scheduler.namespace,
            )  # fmt: skip
        await self._app(scope, receive, send)


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
