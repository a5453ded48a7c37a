"""The stream of one run's progress, for the user's own front end: its state and progress as they change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import Receive, Scope, Send

from asyncsched._core.errors import AsyncSchedError
from asyncsched.dashboard import views
from asyncsched.dashboard.live import Streams, event, serve_events
from asyncsched.dashboard.site import Site

EVERY = 0.5
"""Seconds between two looks at the run: as often as its progress is written."""


class RunStream:
    """The ASGI app that serves one run's events: one at once, one for each change, and the last when it has ended.

    Args:
        site: the dashboard's shared parts.
        run_id: the run's id.
        streams: those that are open.

    """

    def __init__(self, site: Site, run_id: str, streams: Streams) -> None:
        self._site = site
        self._run_id = run_id
        self._streams = streams
        self._last: dict[str, Any] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream until the run has ended, or one of the ends of ``serve_events`` comes."""
        with self._streams.one():
            await serve_events(scope, receive, send, self._step, EVERY)

    async def _step(self, write: Callable[[bytes], Awaitable[None]]) -> bool:
        try:
            run = await self._site.scheduler.run(self._run_id)
        except AsyncSchedError:  # pruned, or the scheduler was closed
            return False
        found = views.run(self._site, run)
        if found != self._last:
            self._last = found
            await write(event(found, name="ended" if run.finished else ""))
        return not run.finished
