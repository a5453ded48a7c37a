"""Attempts end: recorded by the runs' holder, or fenced after the holder's death."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence, Set
from copy import copy
from itertools import islice
from typing import Any, NamedTuple

from asyncsched._core.instants import Instant, Now
from asyncsched._core.records import RunRecord, ScheduleRecord
from asyncsched._core.requests import Ending, Verdict
from asyncsched._core.rules.outcome import abandoned, heeding
from asyncsched._core.rules.transitions import end, keeps_key, pause_after_failures
from asyncsched._core.states import FAILURES
from asyncsched.stores.sql.operations.limiter import Limits
from asyncsched.stores.sql.rows import attempts_json, error_json, progress_json, text
from asyncsched.stores.sql.session import Session


class Recording(NamedTuple):
    """A request to end the current attempts of runs that the caller holds."""

    endings: Sequence[Ending]
    completing: Set[int] = frozenset()  # the runs whose jobs may have written their success


class Recorded(NamedTuple):
    """The answer to one ending.

    ``verdict`` differs from the ending's if the run was requested to cancel before it could wait again; ``woken``
    says that another run may begin now; ``paused`` is the schedule that failed too often.
    """

    held: bool
    verdict: Verdict
    woken: bool
    paused: ScheduleRecord | None


def record(session: Session, requests: Sequence[Recording]) -> list[list[Recorded]]:
    """End attempts, all at once if every run is still held."""
    session.hold(
        ending.run.schedule
        for request in requests
        for ending in request.endings
        if ending.run.origin == "schedule" and ending.verdict.state != "pending"
    )
    judged = [
        _with_cancel_request(session, ending, ending.run.id in completing)
        for endings, completing in requests
        for ending in endings
    ]
    if len(judged) > 1:
        session.savepoint("ended")
        if _at_once(session, judged) == len(judged):
            session.release("ended")
            held, applied = [True] * len(judged), judged
        else:
            session.go_back("ended")
            held, applied = _one_by_one(session, judged)
    else:
        held, applied = _one_by_one(session, judged)
    session.changed(one.run for one in applied)
    woken = False
    paused: dict[int, ScheduleRecord] = {}
    if applied:
        woken, paused = settle(session, [(one.run, one.verdict) for one in applied], applied[0].now.wall)
    if any(one.verdict.state == "pending" and not one.verdict.began for one in applied):
        session.announce()  # such a run was left for another instance, which need not wait for its next poll
    answers = (
        Recorded(kept, ending.verdict, woken or ending.verdict.state == "pending", paused.get(ending.run.id))
        for kept, ending in zip(held, judged, strict=True)
    )
    return [list(islice(answers, len(request.endings))) for request in requests]


def _at_once(session: Session, judged: Sequence[Ending]) -> int:
    """Write how attempts ended; return how many were still held."""
    rows: list[Any] = []
    succeeded: dict[tuple[int, int, Instant | None], dict[str, Instant]] = {}
    for run, verdict, now in judged:
        if _is_plain(run, verdict):  # nearly all: runs of one claim share every other value
            one = succeeded.setdefault((run.holder, run.attempt, run.started_at), {})
            one[session.write_id(run.id)] = now.wall
        else:
            rows.append(_row(session, run, verdict, now))
    count = session.many("record", rows)
    for (holder, attempt, began), ended in succeeded.items():
        count += session.do("succeed", holder=holder, attempt=attempt, began=began, ended=json.dumps(ended))
    return count


def _is_plain(run: RunRecord, verdict: Verdict) -> bool:
    """Whether an attempt succeeded and left nothing else to write."""
    return (
        verdict.state == "succeeded"
        and not verdict.why
        and verdict.result is None
        and (run.rare is None or (run.attempts is None and run.progress is None))
    )


def _one_by_one(session: Session, judged: Sequence[Ending]) -> tuple[list[bool], list[Ending]]:
    held, applied = [], []
    for ending in judged:
        if session.run("record", _row(session, *ending)) == 1:
            applied.append(ending)
            held.append(True)
        else:
            held.append(_was_written_before(session, ending))
    return held, applied


def _was_written_before(session: Session, ending: Ending) -> bool:
    """Whether this ending was written before, and only the answer was lost."""
    run, verdict, now = ending
    stands = session.a_run("run", id=session.write_id(run.id))
    after = copy(run)
    end(after, verdict, now)
    return (
        stands is not None
        and (stands.holder, stands.started_at, stands.state) == (run.holder, after.started_at, after.state)
        and len(stands.attempts or ()) == len(after.attempts or ())
    )


def _with_cancel_request(session: Session, ending: Ending, completing: bool) -> Ending:
    """Return the ending after the run's cancel request and its job's own transaction.

    A run that was requested to cancel does not wait again; a success that its job has written stands.
    """
    run, verdict, _ = ending
    if verdict.state != "pending" and not completing:
        return ending
    stands = session.a_run("lock_run", id=session.write_id(run.id))
    if stands is None or stands.holder != run.holder:
        return ending
    return ending._replace(verdict=heeding(verdict, stands.cancel_requested))


def _row(session: Session, run: RunRecord, verdict: Verdict, now: Now) -> Any:
    after = copy(run)
    end(after, verdict, now)
    return (
        after.state, text(after.why), error_json(after.error), after.result, attempts_json(after.attempts),
        progress_json(after.progress), after.reference, after.attempt, after.ready_at, after.rank, after.started_at, after.late,
        after.finished_at,
        keeps_key(after), session.write_id(run.id), run.holder, run.attempt, run.started_at,
    )  # fmt: skip


def settle(
    session: Session, ended: Sequence[tuple[RunRecord, Verdict]], now: Instant
) -> tuple[bool, dict[int, ScheduleRecord]]:
    """Free the places of ended attempts, and let other runs go on.

    Returns:
        Whether another run may go on, and the schedules that failed too often, by the id of their last run.

    """
    schedules: dict[str, None] = {}
    well: dict[str, None] = {}
    paused: dict[int, ScheduleRecord] = {}
    limited = [run for run, _ in ended if run.rare is not None and run.permits]
    for run, verdict in ended:
        if run.origin == "schedule" and run.schedule is not None and verdict.state != "pending":
            schedules[run.schedule] = None
            if verdict.state == "succeeded":
                well[run.schedule] = None
            elif verdict.state in FAILURES:
                _succeeded(session, well)  # the successes before this failure
                record = _count_failure(session, run, run.schedule, verdict, now)
                if record is not None:
                    paused[run.id] = record
    _succeeded(session, well)
    woken = session.many("wake_chain", [(session.namespace, id) for id in schedules])
    if limited:
        limits = Limits(session, limited, now)
        for run in limited:
            limits.give_back(run)
        woken += limits.write()[0]
    if woken:
        session.announce()
    return woken > 0, paused


def _succeeded(session: Session, schedules: dict[str, None]) -> None:
    """Reset the counts of failures in a row of some schedules."""
    if schedules:
        session.later("succeeded", [{"namespace": session.namespace, "ids": session.array(schedules)}])
        schedules.clear()


def _count_failure(
    session: Session, run: RunRecord, schedule: str, verdict: Verdict, now: Instant
) -> ScheduleRecord | None:
    """Count one more failure in a row; return the schedule if the failure pauses it."""
    session.run("failed", (session.write_id(run.id), session.namespace, schedule))
    if not verdict.pause_after:
        return None
    for record in session.schedules("schedules_by_id", ids=session.array((schedule,))):
        if pause_after_failures(record, verdict.pause_after, now):
            session.do(
                "pause_failing", id=schedule, at=record.paused_at, by=record.by, note=record.note,
                revision=record.revision, version=session.version(),
            )  # fmt: skip
            return record
    return None


class Noting(NamedTuple):
    """A request to write a held run's progress and reference."""

    run: RunRecord


def note(session: Session, requests: Sequence[Noting]) -> list[None]:
    """Write the progress of runs, and the references of those that have one."""
    held = [(session.write_id(run.id), run.holder, run.attempt, run.started_at) for (run,) in requests]
    progress = [progress_json(run.progress) for (run,) in requests]
    session.many("note", [(value, *run) for value, run in zip(progress, held, strict=True)])
    references = [run.reference for (run,) in requests]
    session.many(
        "refer", [(value, *run) for value, run in zip(references, held, strict=True) if value is not None]
    )
    session.changed(run for (run,) in requests)
    return [None] * len(requests)


# ── runs of a dead or unknowing holder ───────────────────────────────────────────────────────────


def fence(session: Session, runs: Sequence[RunRecord], why: str, now: Now, spent: bool) -> Counter[str]:
    """Take runs from a holder that is dead or never heard of them: pending if they may begin again, else ``lost``.

    Args:
        why: the reason, kept with the run.
        now: the present.
        spent: whether the attempt counts; if it does not, the run may begin again in any case.

    Returns:
        How many runs were taken, by their new state, and how many were left as they are, as ``locked``.

    """
    counts: Counter[str] = Counter()
    if session.leaves_out:
        free = _without_locked(session, runs)
        counts["locked"] = len(runs) - len(free)
        runs = free
    session.hold(run.schedule for run in runs if run.origin == "schedule")
    ended = []
    for run in runs:
        verdict = abandoned(run, why, now, spent)
        if session.run("record", _row(session, run, verdict, now)):
            if verdict.state == "pending":
                session.do("fence", id=session.write_id(run.id))
            ended.append((run, verdict))
    settle(session, ended, now.wall)
    session.changed(run for run, _ in ended)
    if ended:
        session.announce()
    counts.update(verdict.state for _, verdict in ended)
    return +counts


def _without_locked(session: Session, runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the runs that can be written: neither they nor their schedules are locked by another transaction."""
    schedules = session.locked("schedules", {run.schedule for run in runs if run.origin == "schedule"})
    free = [run for run in runs if run.origin != "schedule" or run.schedule not in schedules]
    locked = session.locked("runs", [run.id for run in free])
    return [run for run in free if run.id not in locked]
