"""The mapping from the store's records to the frozen values that users see."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from asyncsched._core.arguments.copies import copied
from asyncsched._core.events import SlotsSkipped
from asyncsched._core.instants import Instant, Now, to_datetime
from asyncsched._core.jobs import Job, arguments_of
from asyncsched._core.models import Attempt, ErrorInfo, Run, Schedule
from asyncsched._core.records import InstanceRecord, RunRecord, ScheduleRecord, Stretch
from asyncsched._core.reports import Instance
from asyncsched._core.states import FINAL_STATES
from asyncsched._core.text import describe_error
from asyncsched._core.trigger import InstantTrigger


def run_id_text(run_id: int) -> str:
    """Return the run's id as users see it: 32 hexadecimal digits, in order of time."""
    return f"{run_id:032x}"


def instance_text(incarnation: int) -> str:
    """Return an instance's id as users see it."""
    return f"{incarnation:08x}"


def instance_view(record: InstanceRecord) -> Instance:
    """Return the instance as of its last heartbeat."""
    return Instance(
        instance_text(record.incarnation), record.host, record.pid, record.version, record.role, record.jobs,
        to_datetime(record.started_at), to_datetime(record.beat_at), timedelta(microseconds=record.lag),
    )  # fmt: skip


def _at(instant: Instant | None) -> Any:
    return None if instant is None else to_datetime(instant)


def unknown_job(job: str) -> str:
    """Return why work of a job waits that is in the code of no living instance."""
    return f"no living instance knows job {job!r}"


def run_view(record: RunRecord, job: Job | None, known: bool = True) -> Run:
    """Return the run as it stands.

    Args:
        record: the run's row.
        job: reads its arguments and result back from JSON; ``None`` where this code has no job of that name.
        known: whether a living instance has one.

    """
    args, kwargs = _arguments(record, job)
    error = record.error or ErrorInfo("", "", "")
    due, started, finished = to_datetime(record.due), _at(record.started_at), _at(record.finished_at)
    return Run(
        id=run_id_text(record.id),
        job=record.job,
        schedule=record.schedule,
        origin=record.origin,  # type: ignore[arg-type]  # rows hold the words as text
        state=record.state,  # type: ignore[arg-type]
        scheduled_for=due if record.slot is None else to_datetime(record.slot),
        due=due,
        ready_at=_at(record.ready_at) if record.state == "pending" else None,
        waiting_for=record.waits_for if known or record.state != "pending" else unknown_job(record.job),
        started_at=started,
        finished_at=finished,
        late=None if record.late is None else timedelta(microseconds=max(0, record.late)),
        attempt=record.attempt,
        max_attempts=record.max_attempts,
        why=record.why,
        error_type=error.type or None,
        message=error.message,
        traceback=error.traceback,
        result=_result(record, job),
        progress=record.progress,
        attempts=_attempts(record, started, finished),
        args=args,
        kwargs=kwargs,
        key=record.key,
        priority=record.priority,
        tags=record.tags,
        executor=record.executor,
        instance=instance_text(record.holder) if record.holder and record.state != "pending" else None,
        requeue_of=None if record.requeue_of is None else run_id_text(record.requeue_of),
        requeued_as=None if record.requeued_as is None else run_id_text(record.requeued_as),
        dismissed=record.dismissed,
        reference=record.reference,
    )


def result_of(record: RunRecord, job: Job | None) -> Any:
    """Return the result, as the type its function declares where it was kept as JSON; in memory a copy of it."""
    if isinstance(record.arguments, str):
        if isinstance(record.result, str) and job is not None:
            return job.signature.decode_result(record.result)
        return record.result
    ((result,), _) = copied(((record.result,), {}))
    return result


def _result(record: RunRecord, job: Job | None) -> Any:
    try:
        return result_of(record, job)
    except TypeError:  # written by an older version of the function: shown as it was written
        return record.result


def _arguments(record: RunRecord | ScheduleRecord, job: Job | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(record.arguments, str):
        if job is None:
            return (), {"json": record.arguments}
        try:
            return arguments_of(record, job)
        except TypeError:  # written by an older version of the function: shown as it was written
            return (), {"json": record.arguments}
    return copied(record.arguments)  # a caller may change what it is shown


def _attempts(record: RunRecord, started: datetime | None, finished: datetime | None) -> tuple[Attempt, ...]:
    if record.attempts is None:
        if started is None or record.state not in FINAL_STATES:
            return ()
        ended = finished or started  # a row that was edited by hand may have no end
        return (Attempt(record.attempt, started, ended, record.state, record.why),)
    return tuple(
        Attempt(
            number=past.number,
            started_at=to_datetime(past.started_at),
            finished_at=to_datetime(past.finished_at),
            state=past.state,
            why=past.why,
            error_type=past.error.type if past.error else None,
            message=past.error.message if past.error else "",
            traceback=past.error.traceback if past.error else "",
        )
        for past in record.attempts
    )


def schedule_view(record: ScheduleRecord, job: Job | None, known: bool = True) -> Schedule:
    """Return the schedule as it stands; ``job`` and ``known`` are as for :func:`run_view`."""
    args, kwargs = _arguments(record, job)
    orphaned = record.orphaned or not known
    return Schedule(
        id=record.id,
        job=record.job,
        trigger=record.trigger.original,
        describe=_description(record.trigger),
        next_due=None if record.paused or orphaned else _at(record.next_due),
        paused=record.paused,
        note=record.note,
        by=record.by,
        declared=record.declared,
        orphaned=orphaned,
        rescheduled=record.rescheduled,
        revision=record.edition,
        args=args,
        kwargs=kwargs,
        jitter=timedelta(microseconds=record.jitter),
        tags=schedule_tags(record, job),
        last_slot=_at(record.cursor) if record.revision > 1 else None,
        failures=record.failures,
        paused_at=_at(record.paused_at) if record.paused else None,
        ended=record.ended,
        max_runs=record.max_runs,
        runs_made=record.runs_made,
    )


def schedule_tags(record: ScheduleRecord, job: Job | None) -> tuple[str, ...]:
    """Return the tags of a schedule, which its runs have, too: those of its job and its own."""
    return record.tags if job is None else job.tags + record.tags


def _description(trigger: InstantTrigger) -> str:
    try:
        return trigger.describe()
    except Exception as error:  # a user's faulty trigger must not hide the other schedules
        return f"{type(trigger.original).__name__} whose description failed: {describe_error(error)}"


def skipped_event(stretch: Stretch, now: Now, job: str) -> SlotsSkipped:
    """Return the event that tells observers of slots without a run of a job's schedule."""
    return SlotsSkipped(
        to_datetime(now.wall),
        stretch.schedule,
        to_datetime(stretch.first),
        to_datetime(stretch.last),
        stretch.count,
        stretch.exact,
        stretch.reason,
        job,
    )
