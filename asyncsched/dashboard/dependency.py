"""The sign-in of a FastAPI app as the ``auth`` of the page: a dependency, with all that it depends on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from asyncsched._core.errors import ConfigurationError
from asyncsched.dashboard.access import Access, Auth

_USER = "asyncsched.user"


def dependency(call: Callable[..., Any], access: Callable[[Any], Access]) -> Auth:
    """Return an ``auth`` that asks a dependency of FastAPI's, such as the one that gives your routes their user.

    What the dependency depends on is asked, too: headers, cookies, security schemes, other dependencies. An
    ``HTTPException`` of it refuses the caller, with its detail and its ``WWW-Authenticate`` header.

    Args:
        call: the dependency, as in ``Depends(call)``; it may not read the body.
        access: a plain function from what the dependency returns to the right.

    Raises:
        ConfigurationError: FastAPI is not installed.

    Example:
        >>> auth = dependency(current_user, lambda user: Access("admin" if user.staff else "read", user.email))

    """
    try:
        from fastapi import Depends
        from fastapi.exceptions import RequestValidationError
        from fastapi.routing import APIRoute
    except ImportError:
        raise ConfigurationError("dependency needs FastAPI: pip install fastapi") from None

    async def keep(request: Request, user: Any = Depends(call)) -> None:  # noqa: B008
        request.scope[_USER] = user

    route = APIRoute("/", keep, methods=["GET"], response_model=None)

    async def auth(request: Request) -> Access:
        async with AsyncExitStack() as stack:
            # The dependency sees the request, and its errors come here instead of to the app's own handlers.
            scope = {
                **request.scope, "method": "GET", "fastapi_middleware_astack": stack, "starlette.exception_handlers": ({}, {}),
            }  # fmt: skip
            try:
                await route.handle(scope, _empty, _nowhere)
            except HTTPException as refused:
                challenge = (refused.headers or {}).get("WWW-Authenticate", "")
                return Access("none", challenge=challenge, reason=str(refused.detail))
            except RequestValidationError as wrong:
                missing = ", ".join(str(error["loc"][-1]) for error in wrong.errors())
                return Access("none", reason=f"Sign in first: {missing} is missing or wrong.")
            return access(scope[_USER])

    return auth


async def _empty() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _nowhere(message: Message) -> None:
    pass
