"""What a person or a program can do from the page and the API: each is one operation of the scheduler.

The operations leave their own records of who did what; this module only says which right each needs, reads the
body, and tells in a sentence what was done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel

from asyncsched._core.errors import UnknownSchedule
from asyncsched.dashboard.access import Access
from asyncsched.dashboard.bodies import (
    BODY_LIMIT,
    BackfillBody,
    Note,
    RequeueBody,
    RescheduleBody,
    RunBody,
    RunJobBody,
)
from asyncsched.dashboard.problems import Problem
from asyncsched.dashboard.site import Site
from asyncsched.dashboard.words import date_and_time, plural
from asyncsched.triggers.cron.trigger import Cron
from asyncsched.triggers.interval import Interval


class Asked(NamedTuple):
    """One request to act: the subject, the body, and who asks."""

    site: Site
    subject: str
    body: Any
    access: Access

    @property
    def said(self) -> dict[str, str]:
        """The author and the note, for the record."""
        return {"by": self.access.user, "note": self.body.note}


Done = dict[str, Any]
"""The answer: a sentence as ``message``, and what a program needs."""


@dataclass(frozen=True, slots=True)
class Action:
    """An action: the right that it needs, its body, the operation, the status of the answer, and the most bytes of a body."""

    role: str
    body: type[BaseModel]
    do: Callable[[Asked], Awaitable[Done]]
    summary: str
    status: int = 200
    limit: int = BODY_LIMIT

    async def perform(self, asked: Asked) -> Done:
        """Do it; say of a schedule that was removed meanwhile who did that, and when.

        Raises:
            Problem: 409, the schedule was removed.

        """
        try:
            return await self.do(asked)
        except UnknownSchedule:
            for one in await asked.site.scheduler.activity(subject=asked.subject, action="remove", limit=1):
                if one.ok:
                    by = f" by {one.by}" if one.by else ""
                    text = f"{asked.subject} was removed at {date_and_time(one.at)}{by}"
                    raise Problem(409, "Gone meanwhile", text) from None
            raise


# ── schedules ────────────────────────────────────────────────────────────────────────────────────


async def _run(asked: Asked) -> Done:
    args = None if asked.body.args is None else tuple(asked.body.args)
    handle = await asked.site.scheduler.run_now(
        asked.subject, args=args, kwargs=asked.body.kwargs, note=asked.body.note, by=asked.access.user
    )
    return {"message": f"{asked.subject} will run now", "run_id": handle.id}


async def _pause(asked: Asked) -> Done:
    await asked.site.scheduler.pause(asked.subject, **asked.said)
    return {"message": f"{asked.subject} is paused"}


async def _resume(asked: Asked) -> Done:
    await asked.site.scheduler.resume(asked.subject, **asked.said)
    return {"message": f"{asked.subject} goes on"}


async def _skip(asked: Asked) -> Done:
    at = await asked.site.scheduler.skip_next(asked.subject, **asked.said)
    return {"message": f"{asked.subject} skips {at:%Y-%m-%d %H:%M:%S} UTC", "skipped": at}


async def _backfill(asked: Asked) -> Done:
    body: BackfillBody = asked.body
    count = await asked.site.scheduler.backfill(
        asked.subject,
        body.start,
        body.end,
        body.only_missed,
        body.dry_run,
        note=body.note,
        by=asked.access.user,
    )
    verb = "would be made" if body.dry_run else "were made"
    return {
        "message": f"{plural(count, 'run')} of {asked.subject} {verb}",
        "count": count,
        "dry_run": body.dry_run,
    }


async def _reschedule(asked: Asked) -> Done:
    body: RescheduleBody = asked.body
    await asked.site.scheduler.schedule(asked.subject)
    if (body.cron is None) == (body.every_seconds is None):
        raise Problem(422, "Wrong body", "give cron, or every_seconds")
    trigger = (
        Cron(body.cron, timezone=body.timezone)
        if body.cron is not None
        else Interval(seconds=body.every_seconds or 1)
    )
    schedule = await asked.site.scheduler.reschedule(asked.subject, trigger, **asked.said)
    return {"message": f"{asked.subject} is now due {schedule.describe}"}


async def _forget(asked: Asked) -> Done:
    count = await asked.site.scheduler.forget_history(asked.subject, **asked.said)
    return {
        "message": f"{plural(count, 'run')} of {asked.subject} {'is' if count == 1 else 'are'} forgotten",
        "count": count,
    }


async def _remove(asked: Asked) -> Done:
    await asked.site.scheduler.remove(asked.subject, **asked.said)
    return {"message": f"{asked.subject} is removed", "location": "/"}


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────


async def _run_job(asked: Asked) -> Done:
    args = tuple(asked.body.args or ())
    body = asked.body
    handle = await asked.site.scheduler.run_job(
        asked.subject,
        args=args,
        kwargs=body.kwargs,
        delay=body.delay_seconds,
        at=body.at,
        key=body.key,
        **asked.said,
    )
    message = f"{asked.subject} will run" + (
        " now" if body.delay_seconds is None and body.at is None else " then"
    )
    if not handle.created:
        message = f"{asked.subject} has a run with this key already"
    return {"message": message, "run_id": handle.id, "created": handle.created}


async def _pause_job(asked: Asked) -> Done:
    await asked.site.scheduler.pause_job(asked.subject, **asked.said)
    return {"message": f"Job {asked.subject} is paused"}


async def _resume_job(asked: Asked) -> Done:
    await asked.site.scheduler.resume_job(asked.subject, **asked.said)
    return {"message": f"Job {asked.subject} goes on"}


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────


async def _cancel(asked: Asked) -> Done:
    run = await asked.site.scheduler.cancel(asked.subject, **asked.said)
    word = "gets its cancellation at its next await" if run.state == "running" else f"is {run.state}"
    return {"message": f"The run of {run.job} {word}", "state": run.state}


async def _requeue(asked: Asked) -> Done:
    (handle,) = await asked.site.scheduler.requeue(
        asked.subject, again=asked.body.again, note=asked.body.note, by=asked.access.user
    )
    word = "begins again" if handle.created else "was run again before"
    return {"message": f"The run {word}", "run_id": handle.id, "created": handle.created}


async def _dismiss(asked: Asked) -> Done:
    await asked.site.scheduler.dismiss(asked.subject, **asked.said)
    return {"message": "The run is dismissed"}


SCHEDULE_ACTIONS = {
    "run": Action("operate", RunBody, _run, "Run the schedule's job now", 202),
    "pause": Action("operate", Note, _pause, "Pause the schedule"),
    "resume": Action("operate", Note, _resume, "Resume the schedule"),
    "skip": Action("operate", Note, _skip, "Skip the next slot"),
    "backfill": Action("operate", BackfillBody, _backfill, "Run past slots", 202),
    "reschedule": Action("admin", RescheduleBody, _reschedule, "Give the schedule another trigger"),
    "forget": Action("admin", Note, _forget, "Forget the schedule's history"),
    "remove": Action("admin", Note, _remove, "Remove the schedule"),
}
RUN_ACTIONS = {
    "cancel": Action("operate", Note, _cancel, "Cancel the run", 202),
    "requeue": Action("operate", RequeueBody, _requeue, "Run a failed run again, as a new one", 202),
    "dismiss": Action("operate", Note, _dismiss, "Put a failed run aside"),
}
JOB_ACTIONS = {
    "run": Action("operate", RunJobBody, _run_job, "Run the job once, now or later", 202),
    "pause": Action("operate", Note, _pause_job, "Pause the job, its schedules and its one-offs"),
    "resume": Action("operate", Note, _resume_job, "Let the job go on"),
}
