"""The JSON API as a FastAPI router, for those who want it in their app's own paths and documentation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from asyncsched._core.errors import ConfigurationError
from asyncsched._scheduler.scheduler import Scheduler
from asyncsched.dashboard.access import Auth
from asyncsched.dashboard.app import Dashboard
from asyncsched.dashboard.openapi import document

if TYPE_CHECKING:
    from fastapi import APIRouter


def api_router(scheduler: Scheduler, *, auth: Auth | None = None, prefix: str = "/scheduler") -> APIRouter:
    """Return the JSON API as a router: ``app.include_router(api_router(scheduler, auth=…))``.

    Args:
        scheduler: the scheduler.
        auth: as for :class:`Dashboard`.
        prefix: before all paths.

    Raises:
        ConfigurationError: FastAPI is not installed.

    """
    try:
        from fastapi import APIRouter
    except ImportError:
        raise ConfigurationError("api_router needs FastAPI: pip install fastapi") from None
    dashboard = Dashboard(scheduler, auth=auth)
    router = APIRouter(prefix=prefix, tags=["scheduler"])
    reads, acts = dashboard.endpoints()
    described = document(dashboard.site.title)["paths"]
    for path, endpoint in {**reads, **acts}.items():
        method = "GET" if path in reads else "POST"
        operation: dict[str, Any] = described[path][method.lower()]
        router.add_api_route(
            path.replace("{id}", "{id:path}"), _called(endpoint), methods=[method], summary=operation["summary"],
            response_class=Response, openapi_extra={name: operation[name] for name in ("parameters", "requestBody") if name in operation},
        )  # fmt: skip
    return router


def _called(endpoint: partial[Any]) -> Any:
    """Return an endpoint whose only parameter FastAPI knows: the request."""

    async def call(request: Request) -> Response:
        answer: Response = await endpoint(request)
        return answer

    return call
