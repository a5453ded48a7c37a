"""A running app's scheduler, asked and told by the JSON API of its page: the calls that commands make, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncsched._core.models import Attempt, Progress, Run, Schedule
from asyncsched._core.reports import Activity, Coming, Explanation, Instance, Skipped
from asyncsched.cli.api import Api
from asyncsched.cli.output import iso, present
from asyncsched.triggers.cron.trigger import Cron
from asyncsched.triggers.interval import Interval

JSON = dict[str, Any]

_PAGE = 1000
"""The most items of one answer."""


_SAID = ("action", "subject", "by", "note", "via", "result", "ok")


class RemoteHandle:
    """A run of the app: its id, and its state whenever it is asked for."""

    def __init__(self, remote: Remote, id: str, created: bool = True) -> None:
        self.id = id
        self.created = created
        self._remote = remote

    async def status(self) -> Run:
        """Return the run as it stands."""
        return await self._remote.run(self.id)


class Remote:
    """The calls of a scheduler that commands make, answered by the JSON API of its page.

    The author of a change is the one that the page knows the caller by, so ``by`` is not sent.
    """

    def __init__(self, api: Api) -> None:
        self.api = api

    # ── looking ──────────────────────────────────────────────────────────────────────────────

    async def schedules(self) -> list[Schedule]:
        """Return all schedules."""
        return [_schedule(one) async for one in self._all("/schedules", "schedules", {})]

    async def schedule(self, id: str) -> Schedule:
        """Return one schedule."""
        return _schedule(await self.api.get("/schedules/{id}", id))

    async def upcoming(self, schedule: Schedule, n: int) -> list[tuple[datetime, str]]:
        """Return the next due times of a schedule, with the effects of clock changes."""
        found = await self.api.get("/schedules/{id}/due", schedule.id, {"n": n})
        return [(_moment(one["at"]), one["note"]) for one in found["due"] if not one["fault"]]

    async def jobs(self) -> list[JSON]:
        """Return the jobs of the app's code."""
        found: list[JSON] = (await self.api.get("/jobs"))["jobs"]
        return found

    async def runs(
        self, *, job: str | None = None, schedule: str | None = None, state: str | Sequence[str] | None = None,
        tag: str | None = None, key: str | None = None, start: datetime | None = None, end: datetime | None = None,
        limit: int = 100, before: str | None = None,
    ) -> list[Run]:  # fmt: skip
        """Return runs, newest due first."""
        states = [state] if state is None or isinstance(state, str) else list(state)
        found: list[Run] = []
        for one in states:
            query = {
                "job": job, "schedule": schedule, "state": one, "tag": tag, "key": key, "since": start, "until": end,
                "before": before,
            }  # fmt: skip
            found += [_run(item) async for item in self._all("/runs", "runs", query, limit)]
        found.sort(key=lambda run: (run.due, run.id), reverse=True)
        return found[:limit]

    async def run(self, id: str) -> Run:
        """Return one run, with its attempts."""
        return _run(await self.api.get("/runs/{id}", id))

    async def dead_letters(
        self, *, job: str | None = None, schedule: str | None = None, since: timedelta | None = None, limit: int = 1000
    ) -> list[Run]:  # fmt: skip
        """Return the runs that failed for good, newest first."""
        query: JSON = {"job": job, "schedule": schedule}
        if since is not None:
            query["within_seconds"] = max(1, round(since.total_seconds()))
        found = await self.api.get("/failures/runs", "", {**query, "limit": min(limit, 10_000)})
        return [_run(one) for one in found["runs"]]

    async def instances(self) -> list[Instance]:
        """Return the running instances."""
        return [
            Instance(
                one["id"], one["host"], one["pid"], one["version"], one["role"], frozenset(one["jobs"]),
                _moment(one["started_at"]), _moment(one["beat_at"]),
            )
            for one in (await self.api.get("/instances"))["instances"]
        ]  # fmt: skip

    async def activity(self, *, limit: int = 100) -> list[Activity]:
        """Return the actions of people and programs, newest first."""
        return [
            Activity(one["id"], _moment(one["at"]), *(one[name] for name in _SAID))
            async for one in self._all("/activity", "activity", {}, limit)
        ]

    async def explain(self, schedule: str, at: datetime) -> Explanation:
        """Return what became of a due time."""
        found = await self.api.get("/schedules/{id}/explain", schedule, {"at": at})
        run = None if found["run"] is None else await self.run(found["run"])
        return Explanation(found["schedule"], _moment(found["at"]), found["verdict"], found["text"], run)

    async def skipped(self, schedule: str, start: datetime, end: datetime) -> list[Skipped]:
        """Return the slots of a schedule that got no run, oldest first."""
        hours = max(1, min(720, -(-round((present() - start).total_seconds()) // 3600)))
        found = (await self.api.get("/schedules/{id}/skipped", schedule, {"hours": hours}))["skipped"]
        return [
            Skipped(_moment(one["first"]), _moment(one["last"]), one["count"], one["exact"], one["reason"])
            for one in found
        ]

    async def timeline(self, start: datetime, end: datetime, *, limit: int = 10_000) -> list[Coming]:
        """Return the due times of a stretch of time."""
        hours = max(1, -(-round((end - start).total_seconds()) // 3600))
        query = {"start": start, "hours": min(hours, 8784), "limit": min(limit, 10_000)}
        found = [
            Coming(_moment(one["at"]), one["schedule"], one["job"], one["note"], one["fault"])
            for one in (await self.api.get("/timeline", "", query))["slots"]
        ]
        return [one for one in found if one.at <= end]

    async def _all(self, path: str, name: str, query: JSON, limit: int = 1_000_000) -> AsyncIterator[JSON]:
        cursor: str | None = None
        while limit > 0:
            page = await self.api.get(path, "", {**query, "limit": min(limit, _PAGE), "cursor": cursor})
            for one in page[name]:
                yield one
            limit, cursor = limit - len(page[name]), page["next_cursor"]
            if cursor is None:
                return

    # ── acting ───────────────────────────────────────────────────────────────────────────────

    async def run_now(self, id: str, *, note: str = "", by: str = "") -> RemoteHandle:
        """Run a schedule now."""
        done = await self._act("schedules", id, "run", note)
        return RemoteHandle(self, done["run_id"])

    async def schedule_once(
        self, job: str, *args: Any, kwargs: Mapping[str, Any] | None = None, delay: float | None = None,
        at: datetime | None = None, key: str | None = None,
    ) -> RemoteHandle:  # fmt: skip
        """Run a job once, with arguments."""
        told = {"delay_seconds": delay, "at": None if at is None else iso(at), "key": key}
        done = await self._act("jobs", job, "run", "", args=list(args), kwargs=dict(kwargs or {}), **told)
        return RemoteHandle(self, done["run_id"], done["created"])

    async def pause(self, id: str, note: str = "", by: str = "") -> None:
        """Pause a schedule."""
        await self._act("schedules", id, "pause", note)

    async def resume(self, id: str, *, note: str = "", by: str = "") -> None:
        """Let a schedule go on."""
        await self._act("schedules", id, "resume", note)

    async def pause_job(self, job: str, note: str = "", by: str = "") -> None:
        """Pause a job."""
        await self._act("jobs", job, "pause", note)

    async def resume_job(self, job: str, *, note: str = "", by: str = "") -> None:
        """Let a job go on."""
        await self._act("jobs", job, "resume", note)

    async def skip_next(self, id: str, *, note: str = "", by: str = "") -> datetime:
        """Skip the next due time of a schedule, and return it."""
        return _moment((await self._act("schedules", id, "skip", note))["skipped"])

    async def reschedule(self, id: str, trigger: Any, *, note: str = "", by: str = "") -> Schedule:
        """Give a schedule another trigger."""
        if isinstance(trigger, Cron):
            told: JSON = {"cron": trigger.expression, "timezone": str(trigger.timezone)}
        else:
            assert isinstance(trigger, Interval)
            told = {"every_seconds": trigger.period.total_seconds()}
        await self._act("schedules", id, "reschedule", note, **told)
        return await self.schedule(id)

    async def remove(self, id: str, *, note: str = "", by: str = "") -> None:
        """Remove a schedule."""
        await self._act("schedules", id, "remove", note)

    async def backfill(
        self, id: str, start: datetime, end: datetime, only_missed: bool = True, dry_run: bool = False, *,
        note: str = "", by: str = "",
    ) -> int:  # fmt: skip
        """Run due times of the past, and return their number."""
        done = await self._act(
            "schedules", id, "backfill", note, start=iso(start), end=iso(end), only_missed=only_missed, dry_run=dry_run
        )  # fmt: skip
        count: int = done["count"]
        return count

    async def cancel(self, run_id: str, *, note: str = "", by: str = "") -> Run:
        """Ask a run to end."""
        await self._act("runs", run_id, "cancel", note)
        return await self.run(run_id)

    async def cancel_many(
        self, *, job: str | None = None, schedule: str | None = None, tag: str | None = None, key: str | None = None,
        note: str = "", by: str = "",
    ) -> int:  # fmt: skip
        """Ask all live runs that match to end, and return their number."""
        live = await self.runs(
            job=job, schedule=schedule, tag=tag, key=key, state=("pending", "running"), limit=10_000
        )
        for run in live:
            await self._act("runs", run.id, "cancel", note)
        return len(live)

    async def requeue(
        self, run_id: str | None = None, *, job: str | None = None, schedule: str | None = None,
        since: timedelta | None = None, again: bool = False, note: str = "", by: str = "",
    ) -> list[RemoteHandle]:  # fmt: skip
        """Run failed runs again, one or all that match."""
        letters = await self.dead_letters(job=job, schedule=schedule, since=since) if run_id is None else []
        found = []
        for id in [run.id for run in letters] if run_id is None else [run_id]:
            done = await self._act("runs", id, "requeue", note, again=again)
            found.append(RemoteHandle(self, done["run_id"], done["created"]))
        return found

    async def dismiss(self, run_id: str, note: str = "", by: str = "") -> None:
        """Put a failed run aside."""
        await self._act("runs", run_id, "dismiss", note)

    async def _act(self, kind: str, id: str, action: str, note: str, **body: Any) -> JSON:
        done: JSON = await self.api.post(f"/{kind}/{{id}}/{action}", id, {"note": note, **body})
        return done


class _TriggerElsewhere:
    """A trigger of which only the words have come, and whose due times the app is asked for."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _maybe(text: str | None) -> datetime | None:
    return None if text is None else _moment(text)


def _span(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def _schedule(one: JSON) -> Schedule:
    return Schedule(
        id=one["id"], job=one["job"], trigger=_TriggerElsewhere(one["trigger"]), describe=one["describe"],
        next_due=_maybe(one["next_due"]), paused=one["paused"], note=one["note"], by=one["by"],
        declared=one["declared"], orphaned=one["orphaned"], rescheduled=one["rescheduled"], revision=one["revision"],
        args=tuple(one["args"]), kwargs=one["kwargs"], jitter=timedelta(seconds=one["jitter_seconds"] or 0),
        tags=tuple(one["tags"]), last_slot=_maybe(one["last_slot"]), failures=one["failures"],
        paused_at=_maybe(one["paused_at"]), ended=one["ended"], max_runs=one["max_runs"], runs_made=one["runs_made"],
    )  # fmt: skip


def _run(one: JSON) -> Run:
    progress = one["progress"]
    return Run(
        id=one["id"], job=one["job"], schedule=one["schedule"], origin=one["origin"], state=one["state"],
        scheduled_for=_moment(one["scheduled_for"]), due=_moment(one["due"]), ready_at=_maybe(one["ready_at"]),
        waiting_for=one["waiting_for"], started_at=_maybe(one["started_at"]), finished_at=_maybe(one["finished_at"]),
        late=_span(one["late_seconds"]), attempt=one["attempt"], max_attempts=one["max_attempts"], why=one["why"],
        error_type=one["error_type"], message=one["message"], traceback=one.get("traceback", ""),
        result=one.get("result"), args=tuple(one.get("args", ())), kwargs=one.get("kwargs", {}), key=one["key"],
        progress=None if progress is None else Progress(progress["done"], progress["total"], progress["message"]),
        attempts=tuple(
            Attempt(past["number"], _moment(past["started_at"]), _moment(past["finished_at"]), past["state"],
                    past["why"], past["error_type"], past["message"], past["traceback"])
            for past in one.get("attempts", ())
        ),
        priority=one["priority"], tags=tuple(one["tags"]), executor=one["executor"], instance=one["instance"],
        requeue_of=one["requeue_of"], requeued_as=one["requeued_as"], dismissed=one["dismissed"],
    )  # fmt: skip
