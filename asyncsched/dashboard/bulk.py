"""Operations on many: those that somebody chose, or all that match a filter, with the number that was shown.

If more than a tenth more match by now than the person saw, nothing is done: the answer is 409 with the new number.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from asyncsched._core.errors import AsyncSchedError
from asyncsched._core.instants import to_instant
from asyncsched.dashboard.actions import Action, Asked, Done
from asyncsched.dashboard.bodies import BulkBody, Filter, Note
from asyncsched.dashboard.pages.overview import matching
from asyncsched.dashboard.problems import Problem
from asyncsched.dashboard.words import plural

CAP = 1000
"""The most objects of one operation."""

Step = Callable[[str], Awaitable[object]]


async def _bulk(asked: Asked) -> Done:
    body: BulkBody = asked.body
    runs = body.action in ("requeue", "dismiss")
    ids = await (_letters(asked, body.filter) if runs else _schedules(asked, body.filter))
    if len(ids) > body.expected * 1.1 and len(ids) > body.expected:
        raise Problem(
            409, "More than you saw", f"{len(ids)} match now, and {body.expected} were shown; look again",
            matching=len(ids), expected=body.expected,
        )  # fmt: skip
    if len(ids) > CAP:
        raise Problem(422, "Too many", f"{len(ids)} match; one operation takes at most {CAP}")
    return await _each(ids, _step(asked), "run" if runs else "schedule", body.action)


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


async def _each(ids: list[str], step: Step, noun: str, action: str) -> Done:
    """Do a step for each, and go on after a refusal: the answer names the first ones that were refused."""
    refused: list[dict[str, str]] = []
    for id in ids:
        try:
            await step(id)
        except AsyncSchedError as error:
            refused.append({"id": id, "detail": str(error)[:300]})
    done = len(ids) - len(refused)
    message = f"{action.capitalize()}: {plural(done, noun)}" + (
        f", {len(refused)} refused" if refused else ""
    )
    return {"message": message, "done": done, "refused": refused[:20]}


async def _schedules(asked: Asked, wanted: Filter) -> list[str]:
    if wanted.ids is not None:
        return wanted.ids
    if not (wanted.state or wanted.q):
        raise Problem(422, "Wrong body", "give ids, state or q; without one it would be all")
    return [row.id for row in matching(await asked.site.watch.snapshot(), wanted.state, wanted.q)]


async def _letters(asked: Asked, wanted: Filter) -> list[str]:
    if wanted.ids is not None:
        return wanted.ids
    if not (wanted.job or wanted.schedule or wanted.error_type):
        raise Problem(422, "Wrong body", "give ids, job, schedule or error_type; without one it would be all")
    since = None
    if wanted.since is not None:
        now = (await asked.site.watch.snapshot()).at
        since = timedelta(microseconds=max(1, to_instant(now) - to_instant(wanted.since, "since")))
    found = await asked.site.scheduler.dead_letters(
        job=wanted.job or None, schedule=wanted.schedule or None, since=since, limit=CAP + 1
    )
    return [run.id for run in found if not wanted.error_type or run.error_type == wanted.error_type]


async def _everything(asked: Asked) -> Done:
    """Pause all schedules that are not paused, or resume all that are."""
    if asked.subject not in ("pause", "resume"):
        raise Problem(404, "Not found", f"there is no operation {asked.subject[:50]!r} on everything")
    pause = asked.subject == "pause"
    scheduler = asked.site.scheduler
    ids = [one.id for one in await scheduler.schedules(paused=not pause)]
    if pause:
        return await _each(ids, lambda one: scheduler.pause(one, **asked.said), "schedule", "pause")
    for job in await scheduler.paused_jobs():
        await scheduler.resume_job(job, **asked.said)
    ids = [one.id for one in await scheduler.schedules(paused=True)]
    return await _each(ids, lambda one: scheduler.resume(one, **asked.said), "schedule", "resume")


BULK = Action("operate", BulkBody, _bulk, "Do something with many schedules or failed runs")
EVERYTHING = Action("admin", Note, _everything, "Pause or resume all schedules")
