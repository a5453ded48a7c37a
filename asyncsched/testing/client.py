"""Starlette's ``TestClient`` in virtual time: for plain tests of an app whose lifespan starts a scheduler."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, cast

from starlette.testclient import TestClient

from asyncsched._core.errors import SchedulerStateError
from asyncsched.testing.virtual.clock import virtual

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from asyncsched.testing.virtual.clock import VirtualClock
    from asyncsched.testing.virtual.flow import Hold


class VirtualClient(TestClient):
    """A ``TestClient`` whose app runs in the time of a ``VirtualClock``.

    Time stands still while the test itself runs. It passes while a request is served, so that a handler may
    sleep, while the app shuts down, and by :meth:`advance`. On websockets it passes by :meth:`advance` only.

    Args:
        app: the ASGI app.
        clock: the clock that the app's scheduler has as well.
        backend: ``asyncio`` or ``trio``.
        **options: as for ``TestClient``.

    Example:
        >>> with scheduler.override(store=None, clock=virtual_clock), VirtualClient(app, virtual_clock) as client:
        ...     client.post("/signup", json={"email": "ada@example.org"})
        ...     client.advance(timedelta(days=1))

    """

    __test__ = False

    def __init__(
        self, app: ASGIApp, clock: VirtualClock, backend: Literal["asyncio", "trio"] = "asyncio", **options: Any
    ) -> None:  # fmt: skip
        self._clock = clock
        self._stopping = _Stopping(app, cast("Hold", clock.hold()))
        super().__init__(self._stopping, backend=backend, backend_options=virtual(backend, clock), **options)

    def advance(self, seconds: float | timedelta) -> None:
        """Let so much virtual time pass in the app.

        Raises:
            SchedulerStateError: the client is not entered, so no app runs.

        """
        if self.portal is None:
            raise SchedulerStateError("advance() was called outside the client's block; write `with client:`")
        self.portal.call(self._advance, seconds)

    async def _advance(self, seconds: float | timedelta) -> None:
        with self._stopping.passing():
            await self._clock.advance(seconds)


class _Passing:
    """A block in which time passes; the hold is on whenever no such block is entered. In the event loop only."""

    def __init__(self, hold: Hold) -> None:
        self._hold = hold
        self._blocks = 0

    def __enter__(self) -> None:
        self._blocks += 1
        self._hold.end()

    def __exit__(self, *exc: object) -> None:
        self._blocks -= 1
        if not self._blocks:
            self._hold.begin()


class _Stopping:
    """An ASGI app around another: time stands still from the end of the start-up to the beginning of the shutdown."""

    def __init__(self, app: ASGIApp, hold: Hold) -> None:
        self._app = app
        self._hold = hold
        self._passing = _Passing(hold)

    def passing(self) -> _Passing:
        """Return a block in which time passes."""
        return self._passing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] == "http":
            with self._passing:
                await self._app(scope, receive, self._held(send))
        else:
            await self._app(scope, receive, send)

    def _held(self, send: Send) -> Send:
        """Return ``send`` for which time stands still: it waits for the test, which reads the response."""

        async def held(message: Message) -> None:
            self._passing.__exit__()
            try:
                await send(message)
            finally:
                self._passing.__enter__()

        return held

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_hold(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._hold.begin()
            await send(message)

        async def receive_and_release() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self._hold.end()
            return message

        try:
            await self._app(scope, receive_and_release, send_and_hold)
        finally:
            self._hold.end()
