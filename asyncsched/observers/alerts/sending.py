"""Check-ins by HTTP: sent one after another, tried again, and given up before anything waits for them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import anyio

from asyncsched._core.events import Event, RunFinished, RunStarted
from asyncsched._core.extras import needed
from asyncsched._core.models import Run
from asyncsched._core.states import FAILURES
from asyncsched.abc import Figures
from asyncsched.observers.alerts.pace import Pace

logger = logging.getLogger("asyncsched.observer")

TRIES = 3
PAUSES = (1.0, 4.0)
"""Seconds between the tries."""
TIMEOUT = 5.0
"""Seconds that a service has for its answer."""
LONGEST_BODY = 10_000
"""Characters of an error that are sent."""


class CheckIns:
    """The base of the observers that tell a service when runs begin and end.

    No job waits for the service. Up to 1,000 events wait in a queue; ``lost`` counts those that found it full,
    and ``refused`` the check-ins that the service did not take.

    Args:
        what: the service's name, for the log.
        client: makes the ``httpx.AsyncClient`` of each check-in, for a proxy or certificates of one's own.

    """

    wants: tuple[type[Event], ...] = (RunStarted, RunFinished)

    def __init__(self, what: str, client: Callable[[], Any] | None) -> None:
        self._httpx = needed("httpx", "httpx", "alerts", what)
        self._what = what
        self._client = client or self._make_client()
        self._figures: list[Figures] = []
        self._paces: dict[str, Pace] = {}
        self._down = False
        self.lost = 0
        self.refused = 0

    def _make_client(self) -> Callable[[], Any]:
        verify = self._httpx.create_ssl_context()  # reads certificates, so once, and not in the event loop
        return lambda: self._httpx.AsyncClient(timeout=TIMEOUT, verify=verify)

    # ── a service has these ──────────────────────────────────────────────────────────────────

    def check_of(self, run: Run) -> str | None:
        """Return the check that a run belongs to, or ``None`` if it is not told."""
        raise NotImplementedError

    def begin(self, check: str, run: Run) -> Any:
        """Return the request that tells of a beginning, or ``None``."""
        raise NotImplementedError

    def end(self, check: str, run: Run) -> Any:
        """Return the request that tells of an end, or ``None``."""
        raise NotImplementedError

    # ── the observer ─────────────────────────────────────────────────────────────────────────

    def attach(self, figures: Figures) -> None:
        """Take the figures of a scheduler, which know its triggers."""
        self._figures = [one for one in self._figures if not one.closed] + [figures]

    def accepts(self, event: Event) -> bool:
        """Return whether the service is to hear of this event."""
        if not isinstance(event, (RunStarted, RunFinished)):
            return False
        run = event.run
        check = self.check_of(run)
        if check is None:
            return False
        pace = self._paces.setdefault(check, Pace())
        if isinstance(event, RunStarted):
            return not run.attempts and pace.begins(run.id, event.at)
        if run.state == "cancelled":
            return pace.ends(run.id, event.at, True) if run.started_at is not None else False
        return pace.ends(run.id, event.at, run.state not in FAILURES)

    async def __call__(self, event: Event) -> None:
        """Send the check-in of one event."""
        assert isinstance(event, (RunStarted, RunFinished))
        check = self.check_of(event.run)
        if check is None:
            return
        request = (self.begin if isinstance(event, RunStarted) else self.end)(check, event.run)
        if request is not None:
            await self._send(check, request)

    # ── sending ──────────────────────────────────────────────────────────────────────────────

    async def _send(self, check: str, request: Any) -> None:
        """Send a request until the service takes it, or refuses it, or is given up."""
        reason = ""
        for pause in (*PAUSES[: TRIES - 1], None):
            reason, final = await self._try(request)
            if not reason:
                if self._down:
                    logger.warning("%s answers again", self._what)
                self._down = False
                return
            if final or pause is None:
                break
            await anyio.sleep(pause)
        self.refused += 1
        if not self._down:  # one line for an outage, however many check-ins it takes
            logger.warning(
                "%s did not take the check-in of %s: %s; no job waits for it", self._what, check, reason
            )
        self._down = True

    async def _try(self, request: Any) -> tuple[str, bool]:
        """Return why the service did not take a request, ``""`` if it did, and whether another try is of no use."""
        try:
            with anyio.fail_after(2 * TIMEOUT):  # a service that sends a byte now and then is slow as well
                async with self._client() as client:
                    answer = await client.send(request)
        except TimeoutError:
            return f"no answer within {2 * TIMEOUT:g} s", False
        except self._httpx.HTTPError as error:
            return f"{type(error).__name__}: {error}", False
        if answer.is_success:
            return "", True
        busy = answer.status_code in (408, 429) or answer.status_code >= 500
        return f"{answer.status_code} {answer.reason_phrase}", not busy

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"
