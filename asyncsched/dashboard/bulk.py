"""Operations on many: those that somebody chose, or all that match a filter, with the number that was shown.

If more than a tenth more match by now than the person saw, nothing is done: the answer is 409 with the new number.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import anyio
from starlette.types import Receive, Scope, Send

from asyncsched._core.errors import AsyncSchedError
from asyncsched._core.instants import to_instant
from asyncsched._engine.server import current_server
from asyncsched._scheduler.audit import via
from asyncsched.dashboard.actions import Action, Asked, Done
from asyncsched.dashboard.bodies import (
    BULK_LIMIT,
    BulkBody,
    LetterBulk,
    LetterFilter,
    Note,
    ScheduleBulk,
    ScheduleFilter,
)
from asyncsched.dashboard.choosing import matching
from asyncsched.dashboard.jsons import dumps
from asyncsched.dashboard.live import ignoring_disconnects
from asyncsched.dashboard.pages.failures import error_of, place_of
from asyncsched.dashboard.problems import Problem
from asyncsched.dashboard.words import plural

CAP = 1000
"""The most objects of one operation."""

LETTERS = 10_000
"""The newest failed runs among which an operation looks for those that match."""

TOLD_EVERY = 0.2
"""Seconds between two lines of progress."""

_SNAPSHOTS_AGE = timedelta(minutes=10)
"""More than a snapshot is behind the present, by which the scheduler counts back: the moment itself is compared then."""

Step = Callable[[str], Awaitable[object]]
Tell = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Batch:
    """One operation on many: the ids, what is done with each, and the words for it."""

    ids: list[str]
    step: Step
    noun: str
    action: str

    async def run(self, tell: Tell | None = None) -> Done:
        """Do the step for each, and go on after a refusal: the answer names the first ones that were refused.

        Args:
            tell: called now and then with how many are done, of how many.

        """
        refused: list[dict[str, str]] = []
        server, told, count = current_server(), anyio.current_time(), 0
        for id in self.ids:
            if server.leaving():
                break
            try:
                await self.step(id)
            except AsyncSchedError as error:
                refused.append({"id": id, "detail": str(error)[:300]})
            count += 1
            if tell is not None and anyio.current_time() - told >= TOLD_EVERY:
                told = anyio.current_time()
                await tell({"done": count, "of": len(self.ids)})
        message = f"{self.action.capitalize()}: {plural(count - len(refused), self.noun)}"
        message += f", {len(refused)} refused" if refused else ""
        message += ", and the server goes down before the others" if count < len(self.ids) else ""
        return {
            "message": message,
            "done": count - len(refused),
            "of": len(self.ids),
            "refused": refused[:20],
        }


class BatchStream:
    """The ASGI app that does a batch and answers in lines of JSON: how far it is, and last the result.

    It goes on when the client has gone: what was asked for is done.

    Args:
        batch: what is to be done.
        way: the way by which it came, for the records of it.
        ended: called at the end.

    """

    def __init__(self, batch: Batch, way: str, ended: Callable[[], None]) -> None:
        self._batch, self._way, self._ended = batch, way, ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the answer."""
        send = ignoring_disconnects(send)
        headers = [(b"content-type", b"application/x-ndjson"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

        async def tell(line: dict[str, Any]) -> None:
            content = dumps(line).encode() + b"\n"
            await send({"type": "http.response.body", "body": content, "more_body": True})

        try:
            with via(self._way):
                await tell({"done": 0, "of": len(self._batch.ids)})
                await tell(await self._batch.run(tell))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._ended()


async def batch_of(asked: Asked) -> Batch:
    """Return what a request is for, as it matches now.

    Raises:
        Problem: 409 if more than a tenth more match than the person saw, or too many.

    """
    body: ScheduleBulk | LetterBulk = asked.body
    runs = isinstance(body, LetterBulk)
    ids = await (
        _letters(asked, body.filter) if isinstance(body, LetterBulk) else _schedules(asked, body.filter)
    )
    if len(ids) > body.expected * 1.1:
        raise Problem(
            409, "More than you saw", f"{len(ids)} match now, and {body.expected} were shown; look again",
            matching=len(ids), expected=body.expected,
        )  # fmt: skip
    if len(ids) > CAP:
        raise Problem(409, "Too many", f"{len(ids)} match; one operation takes at most {CAP}")
    return Batch(ids, _step(asked), "run" if runs else "schedule", body.action)


async def _bulk(asked: Asked) -> Done:
    return await (await batch_of(asked)).run()


def _step(asked: Asked) -> Step:
    scheduler, said, action = asked.site.scheduler, asked.said, asked.body.action
    steps: dict[str, Step] = {
        "run": lambda one: scheduler.run_now(one, note=said["note"], by=said["by"]),
        "pause": lambda one: scheduler.pause(one, **said),
        "resume": lambda one: scheduler.resume(one, **said),
        "requeue": lambda one: scheduler.requeue(one, note=said["note"], by=said["by"]),
        "dismiss": lambda one: scheduler.dismiss(one, **said),
    }
    return steps[action]


async def _schedules(asked: Asked, wanted: ScheduleFilter) -> list[str]:
    if wanted.ids is not None:
        return wanted.ids
    if not (wanted.state.strip() or wanted.q.strip() or wanted.all):
        raise Problem(422, "Wrong body", "give ids, state or q; for all schedules, give all=true")
    return [row.id for row in matching(await asked.site.watch.snapshot(), wanted.state, wanted.q)]


async def _letters(asked: Asked, wanted: LetterFilter) -> list[str]:
    if wanted.ids is not None:
        return wanted.ids
    texts = (wanted.job, wanted.schedule, wanted.error_type)
    if not (any(text.strip() for text in texts) or wanted.since or wanted.all):
        raise Problem(
            422, "Wrong body", "give ids, job, schedule, error_type or since; for all failures, give all=true"
        )
    first, span = None, None
    if wanted.since is not None:
        first = to_instant(wanted.since, "since")
        age = max(0, to_instant((await asked.site.watch.snapshot()).at) - first)
        span = timedelta(microseconds=age) + _SNAPSHOTS_AGE
    found = await asked.site.scheduler.dead_letters(
        job=wanted.job or None, schedule=wanted.schedule or None, since=span, limit=LETTERS
    )
    return [
        run.id for run in found
        if (first is None or to_instant(run.finished_at or run.due) >= first)
        and (not wanted.error_type or error_of(run) == wanted.error_type)
        and (wanted.place is None or place_of(run.traceback)[0] == wanted.place)
    ]  # fmt: skip


async def _everything(asked: Asked) -> Done:
    """Pause all schedules that are not paused, or resume all that are."""
    if asked.subject not in ("pause", "resume"):
        raise Problem(404, "Not found", f"there is no operation {asked.subject[:50]!r} on everything")
    pause = asked.subject == "pause"
    scheduler = asked.site.scheduler
    ids = [one.id for one in await scheduler.schedules(paused=not pause)]
    if pause:
        return await Batch(ids, lambda one: scheduler.pause(one, **asked.said), "schedule", "pause").run()
    for job in await scheduler.paused_jobs():
        await scheduler.resume_job(job, **asked.said)
    ids = [one.id for one in await scheduler.schedules(paused=True)]
    return await Batch(ids, lambda one: scheduler.resume(one, **asked.said), "schedule", "resume").run()


BULK = Action("operate", BulkBody, _bulk, "Do something with many schedules or failed runs", limit=BULK_LIMIT)
EVERYTHING = Action("admin", Note, _everything, "Pause or resume all schedules")
