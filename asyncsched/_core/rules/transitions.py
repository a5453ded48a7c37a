"""The transitions of a run and of a schedule: one state machine for every store.

::

    pending ── begin ──▶ running ── end ──▶ succeeded · failed · timed_out · cancelled · lost
     │    ▲                 │
     │    └───── end ───────┘  (another attempt follows)
     └── drop ──▶ cancelled

A pending run may be parked (``park``), woken (``wake``), moved to another time (``move``), or given the
arguments and time of a newer run with its key (``take_over``).

Each function does a whole step on one record, and nothing else: no queue, no key, no limit. The store in
memory calls them on the records of the ledger. The SQL stores call them on the records that a transaction
has read, and write those back; the holder's copy of a run goes through the same step after the commit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncsched._core.records import AttemptRecord, rank_of
from asyncsched._core.rules.retention import ATTEMPTS_KEPT

if TYPE_CHECKING:
    from asyncsched._core.instants import Instant, Now
    from asyncsched._core.records import RunRecord, ScheduleRecord
    from asyncsched._core.requests import Firing, Verdict


_GOES_ON = ("released", "lost")
"""The ends of attempts of which the work goes on in an engine elsewhere, if the run has a reference there."""


# ── a run ────────────────────────────────────────────────────────────────────────────────────────


def begin(run: RunRecord, holder: int, now: Now) -> None:
    """Begin an attempt of a pending run."""
    wall, steady = now
    run.state = "running"
    run.holder = holder
    run.attempt += 1
    run.started_at = wall
    run.ready_at = None
    if run.rare is not None:
        run.rare.pop("waits_for", None)
        run.rare.pop("cancel_requested", None)
    if run.late is None:
        run.late = (steady if run.steady else wall) - run.due


def end(run: RunRecord, verdict: Verdict, now: Now) -> None:
    """End the attempt of a running run: the run has its outcome, or waits for its next attempt."""
    state = run.state = verdict.state
    run.why = verdict.why
    run.result = verdict.result
    if run.rare is not None or state != "succeeded":  # else no rare field has to be written
        if not verdict.began:
            _take_back_attempt(run)
        elif state != "succeeded" or run.attempts is not None:
            run.attempts = past_attempts(run, verdict, now.wall)
        rare = run.rare
        if rare is None:
            rare = run.rare = {}
        rare["error"] = verdict.error
        rare.pop("waits_for", None)
        rare.pop("cancel_requested", None)
        if state == "pending" and verdict.attempt not in _GOES_ON:
            rare.pop("reference", None)
    if state != "pending":
        run.finished_at = now.wall
        run.ready_at = None
        return
    assert verdict.ready_at is not None
    run.holder = 0
    if verdict.began and not verdict.spent:
        run.attempt -= 1
    run.ready_at = verdict.ready_at
    run.steady = True  # a delay: no step of the wall clock affects it
    run.rank = rank_of(verdict.ready_at, run.priority)


def _take_back_attempt(run: RunRecord) -> None:
    """Restore the run as it was before an attempt whose code never had its first step."""
    run.attempt -= 1
    if run.attempts:
        run.started_at = run.attempts[-1].started_at
    else:
        run.started_at = run.late = None


def drop(run: RunRecord, why: str, at: Instant) -> None:
    """Cancel a pending run."""
    run.state = "cancelled"
    run.why = why
    run.finished_at = at
    run.ready_at = None
    run.waits_for = None


def park(run: RunRecord, waits_for: str) -> None:
    """Make a pending run wait for an event without a time: a resume, the end of a run before it, a limit."""
    run.waits_for, run.ready_at = waits_for, None


def wake(run: RunRecord) -> None:
    """Make a parked run ready from the time at which it would have been ready."""
    run.waits_for, run.ready_at = None, rank_of(run.rank, -run.priority)


def move(run: RunRecord, due: Instant, steady: bool) -> None:
    """Give a pending run another due time; a run that waits for the run before it goes on waiting."""
    run.due, run.steady, run.rank = due, steady, rank_of(due, run.priority)
    if run.waits_for != "overlap":
        run.waits_for, run.ready_at = None, due


def take_over(run: RunRecord, newer: RunRecord) -> None:
    """Give a pending run that holds a key the arguments, options and time of a newer run with that key."""
    run.arguments, run.permits = newer.arguments, newer.permits
    run.priority, run.key_ttl = newer.priority, newer.key_ttl
    move(run, newer.due, newer.steady)


def pass_key(holder: RunRecord, newer: RunRecord) -> bool:
    """Pass a key on, if its holder is running and its own code adds the newer run; return whether that is so."""
    if holder.state == "running" and newer.key_from == holder.id:
        holder.key_passed = True
        return True
    return False


def keeps_key(run: RunRecord) -> bool:
    """Whether a run still has its key: while it is live, and for ``key_ttl`` after a success."""
    return (run.live or (run.state == "succeeded" and run.key_ttl > 0)) and not run.key_passed


def answers_for_key(run: RunRecord, now: Instant) -> bool:
    """Whether a run that still has its key has it at this time."""
    return run.live or (run.finished_at is not None and now < run.finished_at + run.key_ttl)


def past_attempts(run: RunRecord, verdict: Verdict, at: Instant) -> list[AttemptRecord] | None:
    """Return a run's past attempts after the end of this one; ``None`` if it is the only one, a success."""
    before = run.attempts
    if before is None and verdict.state == "succeeded":
        return None
    assert run.started_at is not None
    past = AttemptRecord(run.attempt, run.started_at, at, verdict.attempt, verdict.why, verdict.error)
    kept = [*(before or ()), past]
    if len(kept) > ATTEMPTS_KEPT:  # a run that snoozes for ever: its first and its newest attempts stay
        del kept[1]
    return kept


# ── a schedule ───────────────────────────────────────────────────────────────────────────────────


def advance(schedule: ScheduleRecord, firing: Firing) -> None:
    """Move a schedule on to the slot after a firing."""
    schedule.revision += 1
    schedule.cursor = firing.cursor
    schedule.next_slot = firing.next_slot
    schedule.next_due = firing.next_due


def goes_on(stood: ScheduleRecord | None, record: ScheduleRecord) -> bool:
    """Whether a schedule that was paused no longer is, so that its waiting runs may begin."""
    return stood is not None and stood.paused and not record.paused


def pause_after_failures(schedule: ScheduleRecord, most: int, at: Instant) -> bool:
    """Pause a schedule after ``most`` failures in a row (0: never); return whether it was paused now."""
    if not most or schedule.failures < most or schedule.paused:
        return False
    schedule.paused = True
    schedule.paused_at = at
    schedule.by = "asyncsched"
    schedule.note = f"paused after {schedule.failures} failures in a row"
    schedule.revision += 1
    return True
