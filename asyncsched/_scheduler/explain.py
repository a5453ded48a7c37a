"""The explanation of a due time: how it ended, and why it got no run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING

from asyncsched._core.instants import SECOND, Instant, to_datetime
from asyncsched._core.jobs import Job
from asyncsched._core.mapping import run_id_text, run_view, unknown_job
from asyncsched._core.models import Run
from asyncsched._core.records import RunRecord, ScheduleRecord, Stretch
from asyncsched._core.reports import Explanation
from asyncsched._core.requests import RunQuery
from asyncsched._core.rules.ending import why_ended
from asyncsched._core.trigger import asking
from asyncsched._scheduler.control import view_here
from asyncsched._scheduler.lookup import run_of_slot

if TYPE_CHECKING:
    from asyncsched._engine.worker import Worker
    from asyncsched.abc import Store

_REASONS = {
    "missed": "it was not met in time (the scheduler was down, blocked or too late), and the misfire "
    "rule did not run it",
    "paused": "the schedule was paused",
    "skipped": "somebody skipped it",
    "overlap": "an earlier run of the schedule was still live",
    "ended": "the schedule had ended by its max_runs, before it was given more",
}


async def slot_meant(store: Store, record: ScheduleRecord, at: Instant) -> Instant:
    """Return the slot that a moment stands for: itself, or the one within its second, where its fraction was left out.

    Moments are shown in whole seconds, and the slots of an interval have fractions.
    """
    if at % SECOND or _is_slot(record, at) or await run_of_slot(store, record.id, at) is not None:
        return at
    following = _next(record, at)
    if following is not None and following < at + SECOND:
        return following
    query = RunQuery(schedule=record.id, origin="schedule", start=at, end=at + SECOND - 1, limit=1)
    return next((run.slot for run in await store.runs(query) if run.slot is not None), at)


async def explain_slot(worker: Worker, record: ScheduleRecord, job: Job | None, at: Instant) -> Explanation:
    """Return what became of a due time of a schedule.

    Args:
        worker: of the schedule's store.
        record: the schedule.
        job: its job, where this code has it.
        at: the due time.

    """
    store, known, now = worker.store, worker.knows(record.job), worker.timeline.now()
    run = await run_of_slot(store, record.id, at)
    if run is not None:
        return _ran(record, at, view_here(run, job, worker), run)
    here = now.steady if record.steady else now.wall
    if at > here:
        for stretch in await store.stretches(record.id, at, at):  # a slot to come was skipped
            if stretch.reason == "skipped":
                return _lost(record, at, stretch)
        return _ahead(record, at, _orphaned(record, known))
    return await _with_backfill(store, job, at, await _without_a_run(store, record, at, known))


async def _without_a_run(store: Store, record: ScheduleRecord, at: Instant, known: bool) -> Explanation:
    """Explain a due time that has come, and of which the schedule made no run that is still in the history."""
    for stretch in await store.stretches(record.id, at, at):
        # Of the slots of an earlier trigger in a stretch, only the first and the last are still known as slots.
        if _is_slot(record, at) or (at < record.edition_since and at in (stretch.first, stretch.last)):
            return _lost(record, at, stretch)
    if record.used_up and at > record.cursor and _is_slot(record, at):
        return _after_end(record, at)
    if at < (since := _first_known(record)):
        first = _next(record, since - 1) if record.edition == 1 else None
        after = "" if first is None else f"; its first slot is {_told(record, first)}"
        return _said(record, at, "before_first", f"the schedule was not known yet{after}")
    if not _is_slot(record, at):
        return _no_slot(record, at)
    if record.next_slot is not None and record.next_slot <= at:
        return _owed(record, at, _orphaned(record, known))
    if at < record.edition_since:
        text = f"not a slot of revision {record.edition}: the schedule had another trigger then"
        return _said(record, at, "not_a_slot", text)
    return _said(record, at, "pruned", "its record has been pruned from the history")


async def _with_backfill(store: Store, job: Job | None, at: Instant, said: Explanation) -> Explanation:
    """Return an explanation of a slot without a run of its own, with the run by which it was backfilled, if one was."""
    query = RunQuery(schedule=said.schedule, slot=at, origin="backfill", limit=1)
    for run in await store.runs(query):
        state = f"{run.state} ({run.why})" if run.why else run.state
        text = f"{said.text}; it was backfilled: run {run_id_text(run.id)} is {state}"
        return replace(said, text=text, run=run_view(run, job))
    return said


def _is_slot(record: ScheduleRecord, at: Instant) -> bool:
    return _next(record, at - 1) == at


def _next(record: ScheduleRecord, after: Instant) -> Instant | None:
    with asking(record.id):
        return record.trigger.next_instant(after)


def _first_known(record: ScheduleRecord) -> Instant:
    """Return when the schedule was first known, on its timeline while it has its first trigger."""
    return record.anchor if record.edition == 1 else record.created_at


def _ahead(record: ScheduleRecord, at: Instant, orphaned: str) -> Explanation:
    if not _is_slot(record, at):
        return _no_slot(record, at)
    if record.used_up:
        return _after_end(record, at)
    but = _pause(record) if record.paused else orphaned
    return _said(record, at, "future", "it lies ahead" + (f"; {but}" if but else ""))


def _after_end(record: ScheduleRecord, at: Instant) -> Explanation:
    return _said(record, at, "ended", f"it gets no run: the schedule has ended, because {why_ended(record)}")


def _owed(record: ScheduleRecord, at: Instant, orphaned: str) -> Explanation:
    """Explain a slot that has come, and that the engine has not decided about."""
    if record.paused:
        return _said(record, at, "paused", f"it got no run: {_pause(record)}")
    if orphaned:
        return _said(record, at, "orphaned", f"it got no run: {orphaned}")
    if record.next_due is not None and record.next_slot == at and record.next_due > at:
        due = to_datetime(record.next_due).isoformat(" ")
        return _said(record, at, "pending", f"its jitter makes it due at {due}")
    return _said(record, at, "pending", "it is due and about to be run")


def _pause(record: ScheduleRecord) -> str:
    note = f" ({record.note})" if record.note else ""
    by = f" by {record.by}" if record.by else ""
    return f"the schedule is paused{by}{note}"


def _orphaned(record: ScheduleRecord, known: bool) -> str:
    """Return why no living instance fires a schedule, or ``""``."""
    if not known:
        return unknown_job(record.job)
    return "no living instance declares the schedule any more" if record.orphaned else ""


def _ran(record: ScheduleRecord, at: Instant, view: Run, run: RunRecord) -> Explanation:
    if run.state == "pending":
        why = f"it waits for {view.waiting_for}" if view.waiting_for else "it is pending"
        if view.waiting_for == unknown_job(run.job):
            why = unknown_job(run.job)
        return _said(record, at, "pending", why, view)
    if run.state == "running":
        return _said(record, at, "ran", "it is running", view)
    why = f" ({run.why})" if run.why else ""
    if run.started_at is None:
        verdict = run.why if run.why in ("rate_limited", "over_limit") else "cancelled"
        return _said(record, at, verdict, f"it was {run.state} before it began{why}", view)
    if run.state == "lost":
        why += (
            "; its work may have been done, in part or whole, and retry=Retry(...) has such a run begun again"
        )
    late = f", {max(0, run.late) / SECOND:.3f} s after its due time" if run.late is not None else ""
    return _said(record, at, "ran", f"it ran{late} and {run.state}{why}", view)


def _lost(record: ScheduleRecord, at: Instant, stretch: Stretch) -> Explanation:
    reason = _REASONS.get(stretch.reason, stretch.reason)
    several = ""
    if stretch.count > 1:
        least = "" if stretch.exact else "more than "
        several = (
            f"; one of {least}{stretch.count} slots from {to_datetime(stretch.first).isoformat(' ')} "
            f"to {to_datetime(stretch.last).isoformat(' ')}"
        )
    return _said(record, at, stretch.reason, f"it got no run: {reason}{several}")


def _no_slot(record: ScheduleRecord, at: Instant) -> Explanation:
    following = _next(record, at)
    with asking(record.id):
        before = record.trigger.previous_instant(at)
    beside = [f"the one before it is {_told(record, before)}"] if before is not None else []
    if following is not None:
        beside.append(f"the next one after it is {_told(record, following)}")
        if record.used_up and following > record.cursor:
            beside[-1] += f", which gets no run: the schedule has ended, because {why_ended(record)}"
    of = ""
    if at < record.edition_since:
        of = f" of revision {record.edition}, which is of {_told(record, record.edition_since)}"
    text = "; ".join([f"not a slot{of}", *beside])
    return _said(record, at, "not_a_slot", f"{text}; {_pause(record)}" if record.paused else text)


def _told(record: ScheduleRecord, at: Instant) -> str:
    """Return a moment in the trigger's time zone, which is the one its expression is written in."""
    zone = next(iter(record.trigger.zones()), None)
    return to_datetime(at).astimezone(zone or UTC).isoformat(" ")


def _said(
    record: ScheduleRecord, at: Instant, verdict: str, text: str, run: Run | None = None
) -> Explanation:
    return Explanation(record.id, to_datetime(at), verdict, text, run)
