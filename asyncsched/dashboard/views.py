"""What the JSON API answers: the values of the scheduler as plain JSON, times as RFC 3339, durations in seconds."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from asyncsched._core.models import Run
from asyncsched._core.reports import (
    Activity,
    Coming,
    Explanation,
    Instance,
    JobInfo,
    RunStatistics,
    Skipped,
    Spread,
)
from asyncsched.dashboard.pages.failures import Group
from asyncsched.dashboard.site import Site
from asyncsched.dashboard.snapshot import Row, Snapshot, name_of
from asyncsched.dashboard.verdict import needs_of, verdict_of
from asyncsched.dashboard.words import iso

JSON = dict[str, Any]


def at(value: datetime | None) -> str | None:
    """Return a moment as RFC 3339 in UTC with milliseconds."""
    return None if value is None else iso(value)


def seconds(value: timedelta | None) -> float | None:
    """Return a duration in seconds."""
    return None if value is None else value.total_seconds()


def status(s: Snapshot) -> JSON:
    """Return how it stands: the verdict, the counts, and what needs somebody."""
    verdict = verdict_of(s)
    needs, more = needs_of(s)
    day = s.statistics.total(24)
    next_due = min((row.schedule.next_due for row in s.rows if row.schedule.next_due), default=None)
    return {
        "at": at(s.at), "state": verdict.state, "text": verdict.text, "schedules": len(s.rows),
        "counts": dict(s.counts), "running": sum(run.state == "running" for run in s.live),
        "next_due": at(next_due), "instances": len(s.instances), "trouble": s.trouble or s.health.trouble,
        "needs": [
            {"state": one.state, "name": one.name, "text": one.text.striptags(), "detail": one.detail, "schedule": one.schedule or None,
             "run": one.run or None}
            for one in needs
        ],
        "more_needs": more, "statistics": {"day": statistics(day), "hour": statistics(s.statistics.total(1))},
    }  # fmt: skip


def statistics(of: RunStatistics) -> JSON:
    """Return figures of runs."""
    return {
        "runs": of.runs, "states": dict(of.states), "skipped": dict(of.skipped),
        "late_seconds": _spread(of.late), "took_seconds": _spread(of.took),
    }  # fmt: skip


def _spread(spread: Spread) -> JSON:
    return {
        "count": spread.count,
        **{f"p{share}": seconds(spread.percentile(share / 100)) for share in (50, 95, 99)},
    }


def schedule(site: Site, row: Row) -> JSON:
    """Return a schedule with its state and the short of its figures."""
    one = row.schedule
    last = row.tally.recent[-1] if row.tally.recent else None
    return {
        "id": one.id, "job": one.job, "state": row.state, "trigger": repr(one.trigger), "describe": one.describe,
        "next_due": at(one.next_due), "last_slot": at(one.last_slot), "paused_at": at(one.paused_at), "ended": one.ended,
        "paused": one.paused, "note": one.note, "by": one.by, "declared": one.declared, "orphaned": one.orphaned,
        "rescheduled": one.rescheduled, "revision": one.revision, "args": plain(site, list(one.args)),
        "kwargs": plain(site, dict(one.kwargs)), "jitter_seconds": seconds(one.jitter), "tags": list(one.tags),
        "max_runs": one.max_runs, "runs_made": one.runs_made,
        "failures": one.failures, "late_seconds": seconds(row.late), "p95_seconds": seconds(row.p95),
        "running": [run.id for run in row.live if run.state == "running"],
        "last": None if last is None else {"run": last.id, "state": last.state, "took_seconds": None if last.took is None else last.took / 1e6},
        "error": None if row.tally.error is None or not one.failures else {"run": row.tally.error.run, "type": row.tally.error.type, "message": row.tally.error.message},
    }  # fmt: skip


def plain(site: Site, value: Any) -> Any:
    """Return a value of a user's as JSON can hold it, secrets left out."""
    return json.loads(json.dumps(site.hidden(value), default=_text))


def _text(value: object) -> str:
    try:
        return str(value)[:2000]
    except Exception as error:
        return f"<{type(value).__name__}: {type(error).__name__}>"


def run(site: Site, one: Run, full: bool = False) -> JSON:
    """Return a run; ``full`` with its arguments, attempts and traceback."""
    took = None if one.started_at is None or one.finished_at is None else one.finished_at - one.started_at
    found: JSON = {
        "id": one.id, "job": one.job, "schedule": one.schedule, "origin": one.origin, "state": one.state,
        "why": one.why, "scheduled_for": at(one.scheduled_for), "due": at(one.due), "ready_at": at(one.ready_at),
        "waiting_for": one.waiting_for, "started_at": at(one.started_at), "finished_at": at(one.finished_at),
        "late_seconds": seconds(one.late), "took_seconds": seconds(took), "attempt": one.attempt,
        "max_attempts": one.max_attempts, "error_type": one.error_type, "message": one.message[:2000],
        "key": one.key, "priority": one.priority, "tags": list(one.tags), "executor": one.executor,
        "instance": one.instance, "requeue_of": one.requeue_of, "requeued_as": one.requeued_as,
        "dismissed": one.dismissed,
        "progress": None if one.progress is None else {"done": one.progress.done, "total": one.progress.total, "message": one.progress.message},
    }  # fmt: skip
    if full:
        found |= {
            "args": plain(site, list(one.args)), "kwargs": plain(site, dict(one.kwargs)),
            "result": plain(site, one.result), "traceback": one.traceback[:100_000],
            "attempts": [
                {"number": past.number, "started_at": at(past.started_at), "finished_at": at(past.finished_at),
                 "state": past.state, "why": past.why, "error_type": past.error_type, "message": past.message[:2000],
                 "traceback": past.traceback[:20_000]}
                for past in one.attempts
            ],
        }  # fmt: skip
    return found


def job(info: JobInfo, parameters: dict[str, str], schedules: list[str], paused: bool) -> JSON:
    """Return a job with its options."""
    return {
        "name": info.name, "callable": info.callable, "doc": info.doc, "executor": info.executor,
        "timeout_seconds": info.timeout, "attempts": info.attempts, "overlap": info.overlap, "catch_up": info.catch_up,
        "grace_seconds": info.grace, "limits": list(info.limits), "priority": info.priority, "tags": list(info.tags),
        "each_instance": info.each_instance, "parameters": parameters, "schedules": schedules, "paused": paused,
    }  # fmt: skip


def coming(one: Coming) -> JSON:
    """Return a slot to come."""
    return {"at": at(one.at), "schedule": one.schedule, "job": one.job, "note": one.note, "fault": one.fault}


def skipped(one: Skipped) -> JSON:
    """Return slots without a run."""
    return {
        "first": at(one.first),
        "last": at(one.last),
        "count": one.count,
        "exact": one.exact,
        "reason": one.reason,
    }


def explanation(one: Explanation) -> JSON:
    """Return what became of a slot."""
    return {
        "schedule": one.schedule, "at": at(one.at), "verdict": one.verdict, "text": one.text,
        "run": one.run.id if one.run else None,
    }  # fmt: skip


def group(one: Group) -> JSON:
    """Return a group of failures."""
    return {
        "job": one.job, "error_type": one.error, "place": one.frame, "message": one.message[:2000],
        "count": len(one.runs), "first": at(one.first), "last": at(one.last), "runs": [run.id for run in one.runs[:100]],
    }  # fmt: skip


def instance(one: Instance, among: list[Instance]) -> JSON:
    """Return an instance."""
    return {
        "id": one.id, "name": name_of(one, among), "host": one.host, "pid": one.pid, "version": one.version,
        "role": one.role, "jobs": sorted(one.jobs), "started_at": at(one.started_at), "beat_at": at(one.beat_at),
        "loop_lag_seconds": seconds(one.loop_lag),
    }  # fmt: skip


def activity(one: Activity) -> JSON:
    """Return a record of what somebody did."""
    return {
        "id": one.id, "at": at(one.at), "action": one.action, "subject": one.subject, "by": one.by,
        "note": one.note, "via": one.via, "result": one.result, "ok": one.ok,
    }  # fmt: skip
