"""What became of the slots of a schedule, newest first: its runs, and the slots that got none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from asyncsched._core.models import Run
from asyncsched._core.reports import Skipped
from asyncsched.cli.options import style_of
from asyncsched.cli.output import duration, moment, plural, present
from asyncsched.cli.target import Ledger
from asyncsched.cli.views import error_of, took_of

REASONS = {
    "missed": "not met in time", "paused": "the schedule was paused", "skipped": "somebody skipped it",
    "overlap": "an earlier run was still live", "ended": "the schedule had ended by its max_runs",
}  # fmt: skip
"""Why slots got no run, in words; `explain` has the whole sentence."""

_BACK = timedelta(hours=24)


@dataclass(frozen=True)
class Step:
    """A run, or slots in a row that got none: when, how it ended, how long it took, and why."""

    at: datetime
    due: str
    state: str
    took: str
    why: str
    run: str | None = None


async def story_of(ledger: Ledger, schedule: str, runs: Sequence[Run]) -> list[Step]:
    """Return these runs of a schedule, and the slots since the oldest of them, or in the last day, that got none."""
    now = present()
    since = min([now - _BACK, *(run.due for run in runs)]) if len(runs) < 10 else min(run.due for run in runs)
    steps = [_of_run(run) for run in runs]
    steps += [
        _of_skipped(one) for one in await ledger.scheduler.skipped(schedule, since, now + timedelta(days=400))
    ]
    return sorted(steps, key=lambda step: step.at, reverse=True)


def _of_run(run: Run) -> Step:
    due = moment(run.scheduled_for, style_of().utc)
    return Step(run.scheduled_for, due, run.state, duration(took_of(run)), error_of(run), run.id)


def _of_skipped(one: Skipped) -> Step:
    why = REASONS.get(one.reason, one.reason)
    if one.count > 1:
        least = "" if one.exact else "more than "
        why = f"{least}{plural(one.count, 'slot')} since {moment(one.first, style_of().utc)}: {why}"
    return Step(one.last, moment(one.last, style_of().utc), one.reason, "–", why)
