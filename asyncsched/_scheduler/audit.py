"""The record of what people did: every operation on schedules and runs leaves one, with its author and its result.

It is written in the transaction of the change itself, so neither is ever without the other. An operation of several
writes is "begun" from the first of them on, and has its result once the last is done.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from asyncsched._core.arguments.functions import name_of
from asyncsched._core.checks import check_text
from asyncsched._core.errors import AsyncSchedError
from asyncsched._core.reporting import BEGUN, ActivityRecord, Entry
from asyncsched._core.text import describe_error, shorten, writable
from asyncsched._engine.worker import Worker
from asyncsched._scheduler.face import Face
from asyncsched._scheduler.handle import RunHandle

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Face)

logger = logging.getLogger("asyncsched.activity")

_VIA: ContextVar[str] = ContextVar("asyncsched_via", default="code")
_ENTRY: ContextVar[Entry | None] = ContextVar("asyncsched_operation", default=None)

_TEXT = 500
"""The most characters of a subject, a note or a result that are kept."""


@contextmanager
def via(way: str) -> Iterator[None]:
    """Say for the operations inside the block which way they came: ``page``, ``api`` or ``cli``."""
    token = _VIA.set(way)
    try:
        yield
    finally:
        _VIA.reset(token)


def told(result: str) -> None:
    """Say before its write what the operation under way will have done; without this, its answer says it afterwards."""
    if (entry := _ENTRY.get()) is not None:
        entry.record = entry.record._replace(result=shorten(result, _TEXT))


def audited(
    action: str, subject: str | Callable[[dict[str, Any]], str] = "id", *, several: bool = False
) -> Callable[[Callable[Concatenate[F, P], Awaitable[T]]], Callable[Concatenate[F, P], Awaitable[T]]]:
    """Return a decorator by which an operation leaves a record: who, what, the note, and the result or the error.

    An operation that another one is made of leaves none of its own.

    Args:
        action: the word for the operation.
        subject: the name of the argument that is its subject, or a function of all arguments.
        several: whether it is made of several writes.

    """

    def decorate(
        operation: Callable[Concatenate[F, P], Awaitable[T]],
    ) -> Callable[Concatenate[F, P], Awaitable[T]]:
        signature = inspect.signature(operation)

        @wraps(operation)
        async def recorded(self: F, /, *args: P.args, **kwargs: P.kwargs) -> T:
            if _ENTRY.get() is not None:
                return await operation(self, *args, **kwargs)
            try:
                bound = signature.bind(self, *args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{operation.__name__}() {error}") from None
            bound.apply_defaults()
            given = bound.arguments
            note, by = given.get("note") or "", given.get("by") or ""
            check_text(note, "note")
            check_text(by, "by")
            what = _subject(given[subject]) if isinstance(subject, str) else subject(given)
            worker = self._here().main
            now = worker.timeline.now().wall
            entry = Entry(ActivityRecord(
                worker.ids.next(now), now, action, shorten(writable(what), _TEXT), by, shorten(note, _TEXT), _VIA.get(),
                BEGUN if several else "",
            ))  # fmt: skip
            token = _ENTRY.set(entry)
            try:
                with worker.endings.books.along(entry):
                    result = await operation(self, *args, **kwargs)
            except AsyncSchedError as error:
                refusal = shorten(writable(describe_error(error)), _TEXT)
                await _keep(worker, entry.record._replace(result=refusal, failed=True))
                raise
            finally:
                _ENTRY.reset(token)
            await _end(worker, entry, result)
            return result

        return recorded

    return decorate


def filter_of(given: dict[str, Any]) -> str:
    """Return the subject of an operation on many: the run's id, or the filter in words."""
    if given.get("run_id"):
        return str(given["run_id"])
    names = ("job", "schedule", "tag", "key", "state", "since")
    return ", ".join(f"{name}={given[name]}" for name in names if given.get(name) is not None) or "nothing"


async def _end(worker: Worker, entry: Entry, result: object) -> None:
    """Complete the record of an operation that is done, where its writes have not kept it as it is."""
    if entry.record.result in ("", BEGUN):
        entry.record = entry.record._replace(result=_result(result))
    await _keep(worker, entry.record, entry.record == entry.kept)


async def _keep(worker: Worker, one: ActivityRecord, kept: bool = False) -> None:
    """Log what was done, and keep its record; an operation that was done stays done if that is impossible."""
    log = logger.warning if one.failed else logger.info
    log(
        "%s %s%s%s: %s", one.action, one.subject, f" by {one.by}" if one.by else "", f" ({one.note})" if one.note else "",
        one.result or "done",
        extra={"action": one.action, "subject": one.subject, "by": one.by, "note": one.note, "via": one.via},
    )  # fmt: skip
    if kept:
        return
    try:
        await worker.endings.books.note(one)
    except AsyncSchedError as error:
        said = "was refused" if one.failed else "is done"
        logger.error(
            "%s of %s %s, and its record could not be kept: %s", one.action, one.subject, said, error
        )


def count_of_runs(count: int) -> str:
    """Return a number of runs in words."""
    return f"{count} run{'' if count == 1 else 's'}"


def _subject(value: object) -> str:
    return name_of(value) if callable(value) else str(value)


def _result(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int):
        return count_of_runs(value)
    if isinstance(value, list):
        return count_of_runs(len(value))
    return f"run {value.id}" if isinstance(value, RunHandle) else ""
