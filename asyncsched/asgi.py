"""The way from a request or a websocket to the scheduler of its app.

With FastAPI::

    @app.post("/signup")
    async def signup(user: User, scheduler: CurrentScheduler) -> None: ...

With Starlette, ``request.state.scheduler`` or ``get_scheduler(request)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from starlette.requests import HTTPConnection

from asyncsched._core.errors import SchedulerStateError
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
        which = "" if namespace is None else f" of namespace {namespace!r}"
        raise SchedulerStateError(
            f"this app's lifespan has started no scheduler{which}; put lifespan=scheduler.lifespan into the "
            "app, or yield the state of `async with scheduler.lifespan(app) as state` from the app's lifespan"
        )
    return found


def current_scheduler(namespace: str) -> Any:
    """Return a FastAPI dependency on the scheduler of a namespace, where an app has several.

    Example:
        >>> Mailer = Annotated[Scheduler, current_scheduler("mail")]

    """
    from fastapi import Depends

    async def scheduler(connection: HTTPConnection) -> Scheduler:
        return get_scheduler(connection, namespace)

    return Depends(scheduler)


async def _scheduler(connection: HTTPConnection) -> Scheduler:
    return get_scheduler(connection)


def __getattr__(name: str) -> Any:
    # asyncsched does not require FastAPI, so it is imported only where this dependency is used.
    if name != "CurrentScheduler":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fastapi import Depends

    return Annotated[Scheduler, Depends(_scheduler)]
