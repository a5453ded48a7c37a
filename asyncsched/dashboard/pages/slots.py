"""The line of time of one schedule: each slot, past and to come, with what became of it and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import quote

from markupsafe import Markup

from asyncsched._core.models import Run
from asyncsched._core.reports import Coming, Skipped
from asyncsched.dashboard.charts import line, text
from asyncsched.dashboard.words import cut, date_and_time, duration, plural, short_moment, tone, word

PAST = 40
"""The past slots that the line shows."""

REASONS = 8
"""The rows that tell what became of slots that did not simply run."""

_WIDEST = 28
"""The marks of a full line: those of a schedule with fewer slots are as wide."""

_REASONS = {
    "missed": "not met in time: the scheduler was down, blocked or too busy",
    "paused": "the schedule was paused",
    "overlap": "an earlier run was still going on",
    "skipped": "somebody skipped it",
    "ended": "the schedule had ended by its max_runs",
}


_ROOM = 78
"""The per cent of the line that past slots take where none is to come: beside them stands why."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot, or several in a row without a run: its state and the reason in a sentence."""

    at: datetime
    state: str
    reason: str
    error: str = ""
    last: datetime | None = None
    count: int = 1
    run: str = ""
    note: str = ""


def slots_of(
    runs: Sequence[Run], skipped: Sequence[Skipped], coming: Sequence[Coming], now: datetime, grace: float
) -> list[Slot]:
    """Return the slots in order of time: those of runs, those without, and those to come."""
    own = [run for run in runs if run.origin == "schedule"]
    past = [_of_run(run, grace) for run in own]
    oldest = min((slot.at for slot in past), default=None)
    for one in skipped:
        if oldest is None or one.last >= oldest or len(past) < PAST:
            least = "" if one.exact else "more than "
            reason = _REASONS.get(one.reason, one.reason)
            if one.count > 1:
                reason = f"{least}{plural(one.count, 'slot')}: {reason}"
            past.append(Slot(one.first, one.reason, reason, last=one.last, count=one.count))
    past.sort(key=lambda slot: slot.at)
    known = {slot.at for slot in past}
    ahead = [
        Slot(one.at, "due", one.fault or one.note or "due", note=one.note or one.fault)
        for one in coming
        if one.at not in known
    ]
    return sorted(past[-PAST:] + ahead, key=lambda slot: slot.at)


def reasons_of(slots: Sequence[Slot], now: datetime) -> list[Slot]:
    """Return the slots that did not simply run, newest first; those alike and next to one another are one row."""
    rows: list[Slot] = []
    for slot in slots:
        before = rows[-1] if rows else None
        if before is not None and before.error and (before.state, before.error) == (slot.state, slot.error):
            count = before.count + slot.count
            rows[-1] = replace(
                before,
                last=slot.last or slot.at,
                count=count,
                reason=f"{plural(count, 'slot')}: {slot.error}",
            )
        else:
            rows.append(slot)
    told = [slot for slot in reversed(rows) if slot.reason and slot.state not in ("succeeded", "due")]
    return told[:REASONS]


def _of_run(run: Run, grace: float) -> Slot:
    state, parts = run.state, []
    if run.late is not None and run.late.total_seconds() > grace:
        parts.append(f"started {duration(run.late)} late")
    if run.state == "pending":
        parts.append(f"waits for {run.waiting_for}" if run.waiting_for else "about to begin")
        state_word = "retrying" if run.attempt else "pending"
        return Slot(run.scheduled_for, state_word, ", ".join(parts), run=run.id)
    if run.attempt > 1:
        parts.append(f"attempt {run.attempt} of {run.max_attempts}")
    if run.why:
        parts.append(run.why.replace("_", " "))
    error = f"{run.error_type}: {cut(run.message, 120)}" if run.error_type else ""
    if error:
        parts.append(error)
    if run.started_at and run.finished_at:
        parts.append(f"took {duration(run.finished_at - run.started_at)}")
    late = state == "succeeded" and run.late is not None and run.late.total_seconds() > grace
    return Slot(run.scheduled_for, "late" if late else state, ", ".join(parts), error, run=run.id)


def strip_of(slots: Sequence[Slot], now: datetime, root: str, id: str, quiet: str = "") -> Markup:
    """Return the line: one mark a slot in order, each with its reason at a touch; a click explains it.

    Args:
        slots: in order of time.
        now: the moment of the line.
        root: the page's root.
        id: the schedule.
        quiet: why no slot is to come, for a schedule that has none.

    """
    if not slots:
        return Markup('<p class="none">No slot yet, and none to come: {}.</p>').format(quiet or "ended")
    edge = sum(slot.at <= now for slot in slots)
    width = (100 if edge < len(slots) else _ROOM) / max(len(slots), _WIDEST)
    parts = []
    for place, slot in enumerate(slots):
        x, name = place * width, tone(slot.state)
        title = f"{date_and_time(slot.at)}: {word(slot.state).lower()} – {slot.reason}"
        top, high = (30, 14) if slot.state == "due" else (18, 38) if name in ("failed", "late") else (24, 26)
        extra = " hatch" if slot.state in ("paused", "overlap", "skipped") else ""
        mark = Markup('<rect x="{:.3f}%" y="{}" width="{:.3f}%" height="{}" rx="1.5" class="{}"/>').format(
            x + width * 0.12, top, width * 0.76, high, name + extra
        )
        if slot.count > 1:
            mark += text(x + width / 2, 12, f"×{slot.count}", "strong")
        elif slot.note:
            mark += text(x + width / 2, 12, "◆", "now")
        link = (
            f"{root}/runs/{slot.run}"
            if slot.run
            else f"{root}/schedules/{quote(id, safe='')}?at={quote(slot.at.isoformat())}"
        )
        parts.append(
            Markup('<a href="{}" aria-label="{}"><title>{}</title>{}</a>').format(link, title, title, mark)
        )
    parts.append(line(edge * width, 6, 66, "now"))
    parts.append(text(edge * width, 84, "now", "now", "start" if edge < 3 else "middle"))
    if edge == len(slots):
        parts.append(text(edge * width + 1, 41, quiet, "strong", "start"))
    if edge > 8:
        parts.append(text(0, 84, short_moment(slots[0].at, now), "", "start"))
    if len(slots) - edge > 8:
        parts.append(text(min(100, len(slots) * width), 84, short_moment(slots[-1].at, now), "", "end"))
    bad = sum(tone(slot.state) in ("failed", "late") for slot in slots)
    said = f"The last {plural(edge, 'slot')} and the next {len(slots) - edge}: {bad} failed, late or missed"
    return Markup(
        '<svg class="chart slots" width="100%" height="92" role="group" aria-label="{}">{}</svg>'
    ).format(said, Markup("").join(parts))
