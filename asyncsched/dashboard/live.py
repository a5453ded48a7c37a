"""Live pages: server-sent events with the changed fragments only, made once for all who look at the same page.

A :class:`View` is one page as one kind of caller sees it. It is drawn at most once a second, and only while somebody
looks; each fragment keeps the number of the drawing in which it changed last. A client names the last drawing that it
has, and gets what changed since, so nothing is queued for a slow one.

A stream must never hold up the server: it ends when the server goes down (uvicorn and hypercorn can be asked, and the
stream does so a few times a second), when the scheduler was closed, when the client is gone, and in any case after
25 s, below Kubernetes' grace of 30 s, whether the client reads it or not. The browser comes back by itself.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import anyio
from starlette.types import Message, Receive, Scope, Send

from asyncsched._core.errors import AsyncSchedError, NotFound
from asyncsched._engine.server import current_server
from asyncsched.dashboard.jsons import dumps
from asyncsched.dashboard.packing import Packed
from asyncsched.dashboard.problems import Problem
from asyncsched.dashboard.site import Page

LONGEST = 25.0
"""Seconds after which a stream ends by itself."""

LINGERS = 2.0
"""Seconds more after which a stream is cut off whose client does not take what was sent."""

EVERY = 1.0
"""Seconds between two looks at a page."""

LOOKS = 4
"""How often a stream asks between two steps whether the server goes down."""

STREAMS = 500
"""The most streams that are open at once."""

VIEWS = 200
"""The most views that are kept."""

_TICKING = re.compile(r">[^<]*</time>")
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


@dataclass(slots=True)
class _Fragment:
    html: str
    settled: str  # without the times that tick in the browser by themselves
    number: int


@dataclass(slots=True)
class View:
    """One page as one kind of caller sees it, with the number of the drawing in which each fragment changed."""

    draw: Callable[[], Awaitable[Page]]
    token: str = field(default_factory=lambda: secrets.token_hex(4))
    number: int = 0
    page: Page | None = None
    drawn_at: float = float("-inf")
    used_at: float = 0.0
    fragments: dict[str, _Fragment] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    order_number: int = 0
    lock: anyio.Lock = field(default_factory=anyio.Lock)

    async def look(self) -> Page:
        """Return the page, drawn again if that was a second ago."""
        async with self.lock:
            self.used_at = anyio.current_time()
            if self.page is None or self.used_at - self.drawn_at >= EVERY * 0.9:
                self._take(await self.draw())
                self.drawn_at = anyio.current_time()
            assert self.page is not None
            return self.page

    def _take(self, page: Page) -> None:
        self.number += 1
        present: dict[str, _Fragment] = {}
        for id, html in {**page.fragments, **page.rows}.items():
            text = str(html)
            settled = text
            if page.rows and id not in page.rows and page.rows_of in text:
                settled = self._without_rows(text, page)
            settled = _TICKING.sub("></time>", settled)
            before = self.fragments.get(id)
            number = before.number if before is not None and before.settled == settled else self.number
            present[id] = _Fragment(text, settled, number)
        order = [id.removeprefix("j-") for id in page.rows]
        if order != self.order:
            self.order, self.order_number = order, self.number
        self.fragments = present
        page.version = f"{self.token}-{self.number}"
        self.page = page

    @staticmethod
    def _without_rows(text: str, page: Page) -> str:
        for html in page.rows.values():
            text = text.replace(str(html), "", 1)
        return text

    def changes(self, since: str) -> dict[str, object] | None:
        """Return what changed since a drawing, as the browser's script takes it; ``None`` if nothing did."""
        token, _, number = since.partition("-")
        last = int(number) if token == self.token and number.isdecimal() else 0
        assert self.page is not None
        html = {id: one.html for id, one in self.fragments.items() if one.number > last}
        if self.page.rows and self.page.rows_of:
            for id in list(html):
                if id not in self.page.rows and f'id="{self.page.rows_of}"' in html[id]:
                    for row in self.page.rows:  # the rows come with it
                        html.pop(row, None)
        order = {self.page.rows_of: self.order} if self.order_number > last and self.page.rows_of else {}
        if not html and not order:
            return None
        return {
            "title": self.page.title,
            "html": html,
            "order": order,
            "now": round(self.page.at.timestamp() * 1000),
        }


class Views:
    """The views that somebody has looked at lately."""

    def __init__(self) -> None:
        self._views: dict[tuple[object, ...], View] = {}

    def view(self, key: tuple[object, ...], draw: Callable[[], Awaitable[Page]]) -> View:
        """Return the view of a page for a kind of caller; ``draw`` draws the page."""
        found = self._views.get(key)
        if found is None:
            while len(self._views) >= VIEWS:
                del self._views[min(self._views, key=lambda one: self._views[one].used_at)]
            found = self._views[key] = View(draw)
        return found

    def forget(self) -> None:
        """Draw every view anew at the next look: something was done."""
        for view in self._views.values():
            view.drawn_at = float("-inf")


class Streams:
    """The streams that are open, of which there is a largest number: each costs a connection and a task."""

    def __init__(self) -> None:
        self._open = 0

    def check(self) -> None:
        """Refuse a further stream while there are too many.

        Raises:
            Problem: 503; the browser comes back by itself.

        """
        if self._open >= STREAMS:
            raise Problem(503, "Too many streams", f"{STREAMS} pages are open; this one is not live for now")

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one stream inside the block."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


class EventStream:
    """The ASGI app that serves one stream.

    Args:
        view: what is watched.
        since: the last drawing that the client has.
        streams: those that are open.

    """

    def __init__(self, view: View, since: str, streams: Streams) -> None:
        self._view = view
        self._since = since
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream until one of its ends."""
        with self._streams.one():
            await serve_events(scope, receive, send, self._serve)

    async def _serve(self, write: Callable[[bytes], Awaitable[None]]) -> bool:
        try:
            await self._view.look()
        except NotFound:  # removed meanwhile: the page is loaded again, and says so
            await write(event({}, name="gone"))
            return False
        except AsyncSchedError:  # the scheduler was closed, or the store is away: the browser comes back
            return False
        changed = self._view.changes(self._since)
        if changed is not None:
            self._since = f"{self._view.token}-{self._view.number}"
            await write(event(changed, self._since))
        return True


def ignoring_disconnects(send: Send) -> Send:
    """Return a ``send`` that is silent where the client has gone: the ASGI specification lets servers raise OSError then."""

    async def quiet(message: Message) -> None:
        with suppress(OSError):
            await send(message)

    return quiet


def event(data: object, id: str = "", name: str = "") -> bytes:
    """Return one event as bytes."""
    head = (f"id: {id}\n" if id else "") + (f"event: {name}\n" if name else "")
    return f"{head}data: {dumps(data)}\n\n".encode()


async def serve_events(
    scope: Scope,
    receive: Receive,
    send: Send,
    step: Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[bool]],
    every: float = EVERY,
) -> None:
    """Send a stream of events: call ``step`` again and again, until it returns False or the stream has to end.

    Args:
        scope, receive, send: of the request.
        step: writes what there is to be written.
        every: seconds between two steps.

    """
    packed, send = Packed(scope), ignoring_disconnects(send)
    await send({"type": "http.response.start", "status": 200, "headers": [*_HEADERS, *packed.headers]})
    if scope["method"] == "HEAD":
        await send({"type": "http.response.body", "body": b""})
        return
    server, end, goes_on = current_server(), anyio.current_time() + LONGEST, True

    async def write(data: bytes) -> None:
        await send({"type": "http.response.body", "body": packed.pack(data), "more_body": True})

    async with anyio.create_task_group() as group:

        async def until_gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        group.cancel_scope.deadline = end + LINGERS
        group.start_soon(until_gone)
        try:
            await write(b"retry: 1500\n\n")
            while not server.leaving() and anyio.current_time() < end and (goes_on := await step(write)):
                for _ in range(LOOKS):  # the server's flag can only be polled
                    if not server.leaving():
                        await anyio.sleep(every / LOOKS)
            if goes_on:
                await write(event({}, name="bye"))
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                await send({"type": "http.response.body", "body": packed.end(), "more_body": False})
            group.cancel_scope.cancel()
