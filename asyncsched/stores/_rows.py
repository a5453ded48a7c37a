"""From the ledger's objects to rows, and back.

Plain tuples on the way in, ``__new__`` and assignments on the way out: they are made for every run.
What is a list or an object inside a row is JSON text.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from asyncsched._errors import ArgumentError
from asyncsched._instants import MINUTE
from asyncsched._ledger import PastAttempt, Permit, RunRecord, ScheduleRecord, Stretch
from asyncsched._models import ErrorInfo, Progress

if TYPE_CHECKING:
    from asyncsched.abc import ReadTrigger

logger = logging.getLogger("asyncsched.store")

_RUN = (
    "id", "job", "due", "executor", "schedule", "origin", "slot", "ready_at", '"rank"', "priority", "waits_for",
    "arguments", '"key"', "key_ttl", "tags", "permits", "max_attempts", "state", "attempt",
    "holder", "asked", "created_at", "started_at", "finished_at", "late", "why", "error", "result",
    "progress", "attempts", "carried", "reference",
)  # fmt: skip
_SCHEDULE = (
    "id", "job", "spec", "anchor", "cursor", "next_slot", "next_due", "arguments", "jitter", "tags",
    "fingerprint", "declared", "declared_by", "orphaned", "rescheduled", "paused", "paused_at", "note",
    '"by"', "revision", "edition", "edition_since", "failures", "created_at",
)  # fmt: skip
RUN_COLUMNS = ", ".join(f"r.{name}" for name in _RUN)
SCHEDULE_COLUMNS = ", ".join(f"s.{name}" for name in _SCHEDULE)
RUN_WIDTH = len(_RUN)

_NO_TAGS: tuple[str, ...] = ()
_dumps = json.JSONEncoder(separators=(",", ":"), default=str).encode
_loads = json.loads


def text(value: str) -> str:
    """Return a text that a database can hold: no lone surrogates, no zero characters."""
    if value.isascii() and "\0" not in value:
        return value
    return value.encode("utf-8", "replace").decode().replace("\0", "�")


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────


def new_run(
    namespace: str, run: RunRecord, run_id: Callable[[int], Any], waits_for: str | None = None
) -> Any:
    """Return the row of ``insert_run``.

    Raises:
        ArgumentError: its arguments are no JSON.

    """
    arguments = run.arguments
    if not isinstance(arguments, str):
        raise ArgumentError(f"job {run.job!r}: its arguments were not written as JSON")
    return (
        namespace, run_id(run.id), run.job, run.due, run.executor, run.schedule, run.origin, run.slot,
        None if waits_for else run.due, run.due - run.priority * MINUTE, run.priority, waits_for,
        arguments, run.key, run.key, run.key_ttl, _dumps(run.tags) if run.tags else None,
        _dumps(run.permits) if run.permits else None, run.max_attempts, run.created_at,
        _dumps(run.carried) if run.carried else None,
    )  # fmt: skip


def read_run(row: Sequence[Any], run_id: Callable[[Any], int]) -> RunRecord:
    """Return the run of a row.

    Raises:
        ValueError, TypeError, LookupError: somebody edited it into nonsense.

    """
    run = RunRecord.__new__(RunRecord)
    (
        id, run.job, run.due, run.executor, run.schedule, run.origin, run.slot, run.ready_at, run.rank,
        run.priority, waits_for, run.arguments, key, key_ttl, tags, permits,
        run.max_attempts, run.state, run.attempt, run.holder, asked, _, run.started_at,
        run.finished_at, run.late, run.why, error, run.result, progress, attempts, carried, reference,
    ) = row[:RUN_WIDTH]  # fmt: skip
    run.id = run_id(id)
    run.steady = False
    run.queue, run.place, run.rare = None, 0, None
    run.tags = tuple(_loads(tags)) if tags else _NO_TAGS
    if key or key_ttl or permits or carried:
        run.key, run.key_ttl = key, key_ttl
        run.permits = tuple(Permit(*permit) for permit in _loads(permits)) if permits else ()
        run.carried = _loads(carried) if carried else None
    if waits_for or asked or reference:
        run.waits_for, run.asked, run.reference = waits_for, asked, reference
    if error or progress or attempts:
        run.error = ErrorInfo(*_loads(error)) if error else None
        run.progress = Progress(*_loads(progress)) if progress else None
        run.attempts = [_past(one) for one in _loads(attempts)] if attempts else None
    if not (type(run.due) is type(run.priority) is type(run.attempt) is type(run.max_attempts) is int):
        raise ValueError("a time or a number is none")
    return run


def _past(one: Sequence[Any]) -> PastAttempt:
    number, started, finished, state, why, error = one
    return PastAttempt(number, started, finished, state, why, ErrorInfo(*error) if error else None)


def error_json(error: ErrorInfo | None) -> str | None:
    """Return an error as JSON."""
    return None if error is None else _dumps((error.type, error.message, error.traceback))


def progress_json(progress: Progress | None) -> str | None:
    """Return a progress as JSON."""
    return None if progress is None else _dumps((progress.done, progress.total, progress.message))


def attempts_json(attempts: Iterable[PastAttempt] | None) -> str | None:
    """Return past attempts as JSON."""
    if not attempts:
        return None
    return _dumps([
        (*past[:5], None if past.error is None else (past.error.type, past.error.message, past.error.traceback))
        for past in attempts
    ])  # fmt: skip


# ── schedules ────────────────────────────────────────────────────────────────────────────────────


def schedule_row(record: ScheduleRecord, version: int) -> tuple[Any, ...]:
    """Return what ``insert_schedule`` and ``update_schedule`` write, without the key."""
    return (
        record.job, record.spec, record.anchor, record.cursor, record.next_slot, record.next_due,
        record.arguments, record.jitter, _dumps(record.tags) if record.tags else None, record.fingerprint,
        int(record.declared), record.declared_by, int(record.orphaned), int(record.rescheduled),
        int(record.paused), record.paused_at, text(record.note), text(record.by), record.revision,
        record.edition, record.edition_since, record.failures, record.created_at, version,
    )  # fmt: skip


def read_schedule(row: Sequence[Any], triggers: ReadTrigger) -> ScheduleRecord:
    """Return the schedule of a row.

    Raises:
        ValueError, TypeError, LookupError: somebody edited it into nonsense.

    """
    (
        id, job, spec, anchor, cursor, next_slot, next_due, arguments, jitter, tags, fingerprint, declared,
        declared_by, orphaned, rescheduled, paused, paused_at, note, by, revision, edition, edition_since,
        failures, created_at,
    ) = row  # fmt: skip
    if not (type(anchor) is type(cursor) is type(jitter) is type(revision) is int):
        raise ValueError("a time or a number is none")
    if (next_slot is None) is not (next_due is None):
        raise ValueError("next_slot and next_due do not belong together")
    return ScheduleRecord(
        id, job, triggers(id, spec, anchor), anchor, cursor, next_slot, next_due, False, arguments, jitter,
        tuple(_loads(tags)) if tags else _NO_TAGS, spec, fingerprint, bool(declared), declared_by,
        bool(orphaned), bool(rescheduled), bool(paused), paused_at, note, by, revision, edition,
        edition_since, failures, created_at,
    )  # fmt: skip


def read_stretch(row: Sequence[Any]) -> Stretch:
    """Return the stretch of a row."""
    schedule, first, last, count, reason, exact = row
    return Stretch(schedule, first, last, count, reason, bool(exact))


class Quarantine:
    """Rows that make no sense: left out, and named in the log once each."""

    def __init__(self) -> None:
        self._named: set[tuple[str, Any]] = set()

    def readable(
        self, what: str, rows: Iterable[Sequence[Any]], read: Callable[[Sequence[Any]], Any]
    ) -> list[Any]:
        """Return what can be read of some rows."""
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
                "%s %s is left out: its row cannot be read (%s: %s); correct or delete it", what, id,
                type(error).__name__, error,
            )  # fmt: skip


def as_dict(record: RunRecord, **more: Any) -> Mapping[str, Any]:
    """Return what ``replace_run`` needs of a run."""
    return {
        "due": record.due,
        "rank": record.due - record.priority * MINUTE,
        "arguments": record.arguments,
        "permits": _dumps(record.permits) if record.permits else None,
        "priority": record.priority,
        "key_ttl": record.key_ttl,
        **more,
    }
