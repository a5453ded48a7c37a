"""The conversion between the ledger's records and rows.

Rows are plain tuples, and records are made by ``__new__`` and assignments, for speed: one is made for every run.
A list or an object inside a row is JSON text.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from asyncsched._core.checks import can_be_kept
from asyncsched._core.errors import ArgumentError
from asyncsched._core.models import ErrorInfo, Progress
from asyncsched._core.records import AttemptRecord, Permit, RunRecord, ScheduleRecord, Stretch
from asyncsched._core.text import describe_error, safe_repr

if TYPE_CHECKING:
    from asyncsched._core.reporting import ActivityRecord
    from asyncsched.abc import ReadTrigger

V = TypeVar("V")

logger = logging.getLogger("asyncsched.store")

_RUN = (
    "id", "job", "due", "executor", "schedule", "origin", "slot", "ready_at", '"rank"', "priority", "waits_for",
    "arguments", '"key"', "key_ttl", "tags", "permits", "max_attempts", "state", "attempt",
    "holder", "cancel_requested", "started_at", "finished_at", "late", "why", "error", "result",
    "progress", "attempts", "context_vars", "reference", "requeue_of", "requeued_as", "dismissed",
)  # fmt: skip
_SCHEDULE = (
    "id", "job", "spec", "anchor", "cursor", "next_slot", "next_due", "arguments", "jitter", "tags",
    "fingerprint", "declared", "declared_by", "orphaned", "rescheduled", "paused", "paused_at", "note",
    '"by"', "revision", "edition", "edition_since", "failures", "created_at", "max_runs", "runs_made",
)  # fmt: skip
RUN_COLUMNS = ", ".join(f"r.{name}" for name in _RUN)
SCHEDULE_COLUMNS = ", ".join(f"s.{name}" for name in _SCHEDULE)
RUN_WIDTH = len(_RUN)

_NO_TAGS: tuple[str, ...] = ()
_dumps = json.JSONEncoder(separators=(",", ":"), default=str).encode
_loads = json.loads


def text(value: str) -> str:
    """Return a text that a database can store: no lone surrogates, no zero characters."""
    return value if can_be_kept(value) else value.encode("utf-8", "replace").decode().replace("\0", "�")


def activity_row(namespace: str, one: ActivityRecord) -> tuple[Any, ...]:
    """Return the row of ``add_activity``."""
    return (namespace, f"{one.id:032x}", one.at, *map(text, one[2:-1]), int(one.failed))


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────


def new_run(
    namespace: str, run: RunRecord, run_id: Callable[[int], Any], waits_for: str | None = None
) -> Any:
    """Return the row of ``insert_run``.

    Raises:
        ArgumentError: the run's arguments are not JSON.

    """
    arguments = run.arguments
    if not isinstance(arguments, str):
        raise ArgumentError(f"job {run.job!r}: its arguments were not written as JSON")
    # Read one by one, the rare fields of a run that has none take longer than all other fields together.
    key, key_ttl, permits, context_vars = (
        (None, 0, (), None) if run.rare is None else (run.key, run.key_ttl, run.permits, run.context_vars)
    )
    return (
        namespace, run_id(run.id), run.job, run.due, run.executor, run.schedule, run.origin, run.slot,
        None if waits_for else run.due, run.rank, run.priority, waits_for,
        arguments, key, key, key_ttl, _dumps(run.tags) if run.tags else None,
        _dumps(permits) if permits else None, run.max_attempts, _dumps(context_vars) if context_vars else None,
    )  # fmt: skip


def read_run(row: Sequence[Any], run_id: Callable[[Any], int]) -> RunRecord:
    """Return the run of a row.

    Raises:
        ValueError: the row makes no sense; it was edited by hand.

    """
    run = RunRecord.__new__(RunRecord)
    (
        id, run.job, run.due, run.executor, run.schedule, run.origin, run.slot, run.ready_at, run.rank,
        run.priority, waits_for, run.arguments, key, key_ttl, tags, permits,
        run.max_attempts, run.state, run.attempt, run.holder, cancel_requested, run.started_at,
        run.finished_at, run.late, run.why, error, run.result, progress, attempts, context_vars, reference,
        requeue_of, requeued_as, dismissed,
    ) = row[:RUN_WIDTH]  # fmt: skip
    run.id = run_id(id)
    run.steady = False
    run.queue, run.place, run.rare = None, 0, None
    run.tags = _from_json("tags", tags, tuple) if tags else _NO_TAGS
    if key or key_ttl or permits or context_vars:
        run.key, run.key_ttl = key, key_ttl
        run.permits = _from_json("permits", permits, _permits) if permits else ()
        run.context_vars = _from_json("context_vars", context_vars, dict) if context_vars else None
    if waits_for or cancel_requested or reference:
        run.waits_for, run.cancel_requested, run.reference = waits_for, cancel_requested, reference
    if error or progress or attempts:
        run.error = _from_json("error", error, _error) if error else None
        run.progress = _from_json("progress", progress, _progress) if progress else None
        run.attempts = _from_json("attempts", attempts, _attempts) if attempts else None
    if requeue_of or requeued_as or dismissed is not None:
        run.requeue_of = run_id(requeue_of) if requeue_of else None
        run.requeued_as = run_id(requeued_as) if requeued_as else None
        run.dismissed = dismissed
    return run


def _from_json(column: str, text: str, read: Callable[[Any], V]) -> V:
    """Return the value of a column's JSON; the database has checked the column's type."""
    try:
        return read(_loads(text))
    except Exception as error:
        raise ValueError(f"its {column} is {safe_repr(text)}: {describe_error(error)}") from error


def _permits(listed: Any) -> tuple[Permit, ...]:
    return tuple(Permit(*one) for one in listed)


def _error(parts: Any) -> ErrorInfo:
    return ErrorInfo(*parts)


def _progress(parts: Any) -> Progress:
    return Progress(*parts)


def _attempts(listed: Any) -> list[AttemptRecord]:
    return [_attempt(one) for one in listed]


def _attempt(one: Sequence[Any]) -> AttemptRecord:
    number, started, finished, state, why, error = one
    return AttemptRecord(number, started, finished, state, why, ErrorInfo(*error) if error else None)


def error_json(error: ErrorInfo | None) -> str | None:
    """Return an error as JSON."""
    return None if error is None else _dumps((error.type, error.message, error.traceback))


def progress_json(progress: Progress | None) -> str | None:
    """Return a progress as JSON."""
    return None if progress is None else _dumps((progress.done, progress.total, progress.message))


def attempts_json(attempts: Iterable[AttemptRecord] | None) -> str | None:
    """Return past attempts as JSON."""
    if not attempts:
        return None
    return _dumps([
        (*past[:5], None if past.error is None else (past.error.type, past.error.message, past.error.traceback))
        for past in attempts
    ])  # fmt: skip


# ── schedules ────────────────────────────────────────────────────────────────────────────────────


def schedule_row(record: ScheduleRecord, revision: int) -> tuple[Any, ...]:
    """Return the first parameters of ``insert_schedule`` and ``update_schedule``: all but the version and the key."""
    return (
        record.job, record.spec, record.anchor, record.cursor, record.next_slot, record.next_due,
        record.arguments, record.jitter, _dumps(record.tags) if record.tags else None, record.fingerprint,
        int(record.declared), record.declared_by, int(record.orphaned), int(record.rescheduled),
        int(record.paused), record.paused_at, text(record.note), text(record.by), revision,
        record.edition, record.edition_since, record.failures, record.created_at, record.max_runs, record.runs_made,
    )  # fmt: skip


def read_schedule(row: Sequence[Any], triggers: ReadTrigger) -> ScheduleRecord:
    """Return the schedule of a row.

    Raises:
        ValueError: the row makes no sense; it was edited by hand.

    """
    (
        id, job, spec, anchor, cursor, next_slot, next_due, arguments, jitter, tags, fingerprint, declared,
        declared_by, orphaned, rescheduled, paused, paused_at, note, by, revision, edition, edition_since,
        failures, created_at, max_runs, runs_made,
    ) = row  # fmt: skip
    if (next_slot is None) is not (next_due is None):
        raise ValueError("next_slot and next_due do not belong together")
    if jitter < 0:
        raise ValueError(f"its jitter is {jitter}")
    try:
        trigger = triggers(id, spec, anchor)
    except Exception as error:
        raise ValueError(f"its spec is {safe_repr(spec)}: {describe_error(error)}") from error
    return ScheduleRecord(
        id, job, trigger, anchor, cursor, next_slot, next_due, False, arguments, jitter,
        _from_json("tags", tags, tuple) if tags else _NO_TAGS, spec, fingerprint, bool(declared), declared_by,
        bool(orphaned), bool(rescheduled), bool(paused), paused_at, note, by, revision, edition,
        edition_since, failures, created_at, max_runs, runs_made,
    )  # fmt: skip


def read_stretch(row: Sequence[Any]) -> Stretch:
    """Return the stretch of a row."""
    schedule, first, last, count, reason, exact = row
    return Stretch(schedule, first, last, count, reason, bool(exact))


class Quarantine:
    """Leaves out rows that make no sense, and names each in the log once."""

    def __init__(self) -> None:
        self._named: set[tuple[str, Any]] = set()

    def readable(
        self, what: str, rows: Iterable[Sequence[Any]], read: Callable[[Sequence[Any]], Any]
    ) -> list[Any]:
        """Return the records of the rows that can be read."""
        found = []
        for row in rows:
            try:
                found.append(read(row))
            except Exception as error:
                self.name(what, row[0], error)
        return found

    def name(self, what: str, id: Any, error: Exception) -> None:
        """Name a row that cannot be read in the log."""
        if (what, id) not in self._named:
            if len(self._named) > 10_000:
                self._named.clear()
            self._named.add((what, id))
            logger.error(
                "%s %s is left out, because its row cannot be read: %s; correct or delete it", what, id, error
            )


def as_dict(record: RunRecord, **more: Any) -> Mapping[str, Any]:
    """Return the parameters of ``replace_run`` for a run."""
    return {
        "due": record.due,
        "ready_at": record.ready_at,
        "rank": record.rank,
        "waits_for": record.waits_for,
        "arguments": record.arguments,
        "permits": _dumps(record.permits) if record.permits else None,
        "priority": record.priority,
        "key_ttl": record.key_ttl,
        **more,
    }
