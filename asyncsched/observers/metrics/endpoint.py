"""The ASGI app that answers a scraper."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from typing import Protocol

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from asyncsched._core.errors import AsyncSchedError
from asyncsched.abc import Figures
from asyncsched.observers.metrics.standing import Standing

logger = logging.getLogger("asyncsched.observer")

STORE_TIME = 2.0
"""Seconds that a scrape waits for the store; after that it tells what this process knows."""


class Source(Protocol):
    """The metrics that the endpoint tells."""

    @property
    def attached(self) -> list[Figures]:
        """The schedulers that run."""
        ...

    @property
    def directory(self) -> str | None:
        """The directory by which several processes share their metrics."""
        ...

    def exposition(self, accept: str, found: Mapping[Figures, Standing]) -> tuple[bytes, str]:
        """Return the text of a scrape and its content type."""
        ...


class MetricsEndpoint:
    """An ASGI app: ``app.add_route("/metrics", metrics.endpoint)`` or ``app.mount(...)``."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        if request.method not in ("GET", "HEAD"):
            answer = PlainTextResponse("only GET is answered here\n", 405, {"Allow": "GET, HEAD"})
            await answer(scope, receive, send)
            return
        found = await self._read()
        accept = request.headers.get("accept", "")
        text, content_type = await anyio.to_thread.run_sync(self._source.exposition, accept, found)
        await Response(text, headers={"Content-Type": content_type})(scope, receive, send)

    async def _read(self) -> dict[Figures, Standing]:
        """Return how the schedules stand in the stores, as far as those answer in time."""
        found: dict[Figures, Standing] = {}
        for figures in self._source.attached:
            try:
                with anyio.move_on_after(STORE_TIME):
                    schedules = await figures.read_schedules()
                    paused, tallies = await figures.paused_jobs(), await figures.tallies()
                    found[figures] = Standing(schedules, paused, tallies)
                    await self._warn_of_workers(figures)
            except AsyncSchedError as error:
                logger.debug("a scrape was answered without the store: %s", error)
        return found

    async def _warn_of_workers(self, figures: Figures) -> None:
        """Warn once if other processes of this host count for themselves alone, so that each scrape tells another part."""
        if self._warned or self._source.directory is not None:
            return
        here = [one for one in await figures.instances() if one.host == socket.gethostname()]
        if len(here) > 1:
            self._warned = True
            logger.warning(
                "%d processes of this host share a store, and each tells only its own metrics; if they share a "
                "port, set PROMETHEUS_MULTIPROC_DIR to an empty directory before the server starts", len(here),
            )  # fmt: skip
