"""Schedules, runs and instances as what is shown of them: states, and dictionaries for JSON with stable keys."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from asyncsched._core.models import Run, Schedule
from asyncsched._core.reports import Explanation, Instance
from asyncsched.cli.output import present

if TYPE_CHECKING:
    from asyncsched._scheduler.scheduler import Scheduler
    from asyncsched.cli.remote import Remote

FAILED = ("failed", "timed_out", "lost")
ORDER = ("failing", "late", "running", "retrying", "on_time", "ended", "paused", "orphaned")
"""The states of a schedule, those first that need somebody."""

_GRACE = timedelta(seconds=10)
_RECENT = 2000
_REDACTED = re.compile(r"password|passwd|secret|token|api_?key|authorization", re.I)


@dataclass(frozen=True)
class Row:
    """One schedule with its state and its last runs, the newest first."""

    schedule: Schedule
    state: str
    last: tuple[Run, ...]
    live: tuple[Run, ...]
    why: str

    @property
    def p95(self) -> timedelta | None:
        """The duration within which 95 % of the last runs ended."""
        took = sorted(one for run in self.last if (one := took_of(run)) is not None)
        return took[max(0, -(-len(took) * 95 // 100) - 1)] if took else None


async def rows_of(scheduler: Scheduler | Remote) -> list[Row]:
    """Return the schedules of a ledger with their states, those first that need somebody."""
    now = present()
    by_schedule: dict[str, list[Run]] = {}
    for run in await scheduler.runs(limit=_RECENT):
        if run.schedule is not None:
            by_schedule.setdefault(run.schedule, []).append(run)
    rows = []
    for schedule in await scheduler.schedules():
        runs = by_schedule.get(schedule.id) or await scheduler.runs(schedule=schedule.id, limit=24)
        ended = tuple(run for run in runs if run.finished)[:24]
        live = tuple(run for run in runs if not run.finished)
        rows.append(Row(schedule, *_state(schedule, ended, live, now)))
    far = datetime.max.replace(tzinfo=UTC)
    rows.sort(key=lambda row: (ORDER.index(row.state), row.schedule.next_due or far, row.schedule.id))
    return rows


async def failed_of(scheduler: Scheduler | Remote) -> Counter[str]:
    """Return how many runs without a schedule failed for good within a day, by job: no later run makes up for them."""
    letters = await scheduler.dead_letters(since=timedelta(days=1), limit=1000)
    return Counter(run.job for run in letters if run.schedule is None and run.requeued_as is None)


def _state(
    schedule: Schedule, ended: tuple[Run, ...], live: tuple[Run, ...], now: datetime
) -> tuple[str, tuple[Run, ...], tuple[Run, ...], str]:
    why = ""
    due = schedule.next_due
    running = next((run for run in live if run.state == "running"), None)
    if schedule.paused:
        by, note = (f"by {schedule.by}" if schedule.by else ""), schedule.note
        state, why = "paused", ", ".join(part for part in (by, note) if part)
    elif schedule.failures or (ended and ended[0].state in FAILED):
        state, why = "failing", _failing(schedule, ended)
    elif schedule.orphaned:
        state, why = "orphaned", "no running instance knows its job"
    elif due is not None and now - due > _GRACE:
        state, why = "late", "it is due, and no instance has taken it"
    elif ended and ended[0].late is not None and ended[0].late > _GRACE:
        state, why = "late", f"its last run began {ended[0].late.total_seconds():.1f} s late"
    elif running is not None:
        state = "running"
    elif any(run.attempt for run in live):
        state = "retrying"
    else:
        state = "ended" if due is None else "on_time"
    return state, ended, live, why


def _failing(schedule: Schedule, ended: tuple[Run, ...]) -> str:
    times = max(schedule.failures, 1)
    error = next((run for run in ended if run.state in FAILED), None)
    text = "failed" if times == 1 else f"failed {times} times in a row"
    if error is None:
        return text
    said = f"{error.error_type}: {error.message}" if error.error_type else error.why or error.state
    return f"{text}: {' '.join(said.split())}"


def took_of(run: Run) -> timedelta | None:
    """Return how long a run took, from the beginning of its first attempt to its end."""
    if run.started_at is None or run.finished_at is None:
        return None
    return run.finished_at - run.started_at


def error_of(run: Run) -> str:
    """Return why a run has not succeeded, in one line."""
    if run.error_type:
        return " ".join(f"{run.error_type}: {run.message}".split())
    return run.waiting_for or run.why or ""


# ── for JSON ─────────────────────────────────────────────────────────────────────────────────


def schedule_json(schedule: Schedule, row: Row | None = None) -> dict[str, Any]:
    """Return a schedule as JSON shows it."""
    found: dict[str, Any] = {
        "id": schedule.id, "job": schedule.job, "trigger": repr(schedule.trigger), "describe": schedule.describe,
        "next_due": schedule.next_due, "paused": schedule.paused, "note": schedule.note, "by": schedule.by,
        "declared": schedule.declared, "orphaned": schedule.orphaned, "rescheduled": schedule.rescheduled,
        "revision": schedule.revision, "args": shown_args(schedule.args), "kwargs": shown_kwargs(schedule.kwargs),
        "jitter_seconds": schedule.jitter.total_seconds(), "tags": schedule.tags, "failures": schedule.failures,
        "max_runs": schedule.max_runs, "runs_made": schedule.runs_made, "ended": schedule.ended,
    }  # fmt: skip
    if row is not None:
        last = row.last[0] if row.last else None
        found |= {
            "state": row.state, "why": row.why, "running": sum(run.state == "running" for run in row.live),
            "last_run": None if last is None else run_json(last, brief=True),
            "p95_seconds": None if row.p95 is None else row.p95.total_seconds(),
        }  # fmt: skip
    return found


def run_json(run: Run, *, brief: bool = False) -> dict[str, Any]:
    """Return a run as JSON shows it."""
    took = took_of(run)
    found: dict[str, Any] = {
        "id": run.id, "job": run.job, "schedule": run.schedule, "origin": run.origin, "state": run.state,
        "why": run.why, "scheduled_for": run.scheduled_for, "due": run.due, "started_at": run.started_at,
        "finished_at": run.finished_at, "late_seconds": None if run.late is None else run.late.total_seconds(),
        "took_seconds": None if took is None else took.total_seconds(), "attempt": run.attempt,
        "max_attempts": run.max_attempts, "error_type": run.error_type, "message": run.message, "key": run.key,
        "tags": run.tags, "executor": run.executor, "instance": run.instance,
    }  # fmt: skip
    if brief:
        return found
    progress = run.progress
    return found | {
        "args": shown_args(run.args), "kwargs": shown_kwargs(run.kwargs), "result": result_of(run),
        "priority": run.priority, "ready_at": run.ready_at, "waiting_for": run.waiting_for,
        "traceback": run.traceback, "requeue_of": run.requeue_of, "requeued_as": run.requeued_as,
        "dismissed": run.dismissed,
        "progress": None if progress is None else {
            "done": progress.done, "total": progress.total, "message": progress.message,
        },
        "attempts": [
            {
                "number": one.number, "state": one.state, "why": one.why, "started_at": one.started_at,
                "finished_at": one.finished_at, "error_type": one.error_type, "message": one.message,
                "traceback": one.traceback,
            }
            for one in run.attempts
        ],
    }  # fmt: skip


def instance_json(instance: Instance) -> dict[str, Any]:
    """Return an instance as JSON shows it."""
    return {
        "id": instance.id, "host": instance.host, "pid": instance.pid, "version": instance.version,
        "role": instance.role, "jobs": sorted(instance.jobs), "started_at": instance.started_at,
        "beat_at": instance.beat_at,
    }  # fmt: skip


def explanation_json(found: Explanation) -> dict[str, Any]:
    """Return an explanation as JSON shows it."""
    return {
        "schedule": found.schedule, "at": found.at, "verdict": found.verdict, "text": found.text,
        "run": None if found.run is None else run_json(found.run, brief=True),
    }  # fmt: skip


def result_of(run: Run) -> Any:
    """Return a run's result, also where no code is there to decode it: then it is JSON, as the arguments are."""
    if isinstance(run.result, str) and isinstance(run.kwargs.get("json"), str) and len(run.kwargs) == 1:
        try:
            return json.loads(run.result)
        except ValueError:
            return run.result
    return run.result


def shown_args(args: Sequence[Any]) -> list[Any]:
    """Return positional arguments without what is in them by secret names."""
    return [_shown(one) for one in args]


def shown_kwargs(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return named arguments; those of secret names are hidden, also where no code is there to decode them."""
    text = kwargs.get("json") if len(kwargs) == 1 else None
    if isinstance(text, str) and text.startswith("{"):
        try:
            kwargs = {name: value for name, value in json.loads(text).items() if name != "*"}
        except ValueError:
            return {"json": "•••"}
    return {name: "•••" if _REDACTED.search(name) else _shown(value) for name, value in kwargs.items()}


def _shown(value: Any) -> Any:
    if isinstance(value, Mapping):
        return shown_kwargs({str(key): one for key, one in value.items()})
    if isinstance(value, list | tuple):
        return shown_args(value)
    return value


def counts(rows: Iterable[Row]) -> dict[str, int]:
    """Return how many schedules are in each state."""
    found: dict[str, int] = {str(state): 0 for state in ORDER}
    for row in rows:
        found[row.state] += 1
    return found
