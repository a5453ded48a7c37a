"""The record of what people did: every operation on schedules and runs leaves one, with its author and its result."""

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
from asyncsched._core.reporting import ActivityRecord
from asyncsched._core.text import describe_error, shorten, writable
from asyncsched._scheduler.face import Face
from asyncsched._scheduler.handle import RunHandle

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Face)

logger = logging.getLogger("asyncsched.activity")

_VIA: ContextVar[str] = ContextVar("asyncsched_via", default="code")
_INSIDE: ContextVar[bool] = ContextVar("asyncsched_inside", default=False)

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


def audited(
    action: str, subject: str | Callable[[dict[str, Any]], str] = "id"
) -> Callable[[Callable[Concatenate[F, P], Awaitable[T]]], Callable[Concatenate[F, P], Awaitable[T]]]:
    """Return a decorator by which an operation leaves a record: who, what, the note, and the result or the error.

    An operation that another one is made of leaves none of its own.

    Args:
        action: the word for the operation.
        subject: the name of the argument that is its subject, or a function of all arguments.

    """

    def decorate(
        operation: Callable[Concatenate[F, P], Awaitable[T]],
    ) -> Callable[Concatenate[F, P], Awaitable[T]]:
        signature = inspect.signature(operation)

        @wraps(operation)
        async def recorded(self: F, /, *args: P.args, **kwargs: P.kwargs) -> T:
            if _INSIDE.get():
                return await operation(self, *args, **kwargs)
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            given = bound.arguments
            note, by = given.get("note") or "", given.get("by") or ""
            check_text(note, "note")
            check_text(by, "by")
            what = _subject(given[subject]) if isinstance(subject, str) else subject(given)
            token = _INSIDE.set(True)
            try:
                result = await operation(self, *args, **kwargs)
            except AsyncSchedError as error:
                await _keep(self, (action, what, by, note), describe_error(error), True)
                raise
            finally:
                _INSIDE.reset(token)
            await _keep(self, (action, what, by, note), _result(result), False)
            return result

        return recorded

    return decorate


def filter_of(given: dict[str, Any]) -> str:
    """Return the subject of an operation on many: the run's id, or the filter in words."""
    if given.get("run_id"):
        return str(given["run_id"])
    names = ("job", "schedule", "tag", "state", "since")
    return ", ".join(f"{name}={given[name]}" for name in names if given.get(name) is not None) or "nothing"


async def _keep(face: Face, said: tuple[str, str, str, str], result: str, failed: bool) -> None:
    """Keep a record; an operation that was done stays done if its record cannot be written."""
    action, subject, by, note = said
    subject, result = writable(subject), writable(result)  # a call may be refused for what stands in them
    log = logger.warning if failed else logger.info
    log(
        "%s %s%s%s: %s", action, subject, f" by {by}" if by else "", f" ({note})" if note else "", result or "done",
        extra={"action": action, "subject": subject, "by": by, "note": note, "via": _VIA.get()},
    )  # fmt: skip
    try:
        worker = face._here().main
        now = worker.timeline.now().wall
        await worker.endings.books.note(ActivityRecord(
            worker.ids.next(now), now, action, shorten(subject, _TEXT), by, shorten(note, _TEXT), _VIA.get(),
            shorten(result, _TEXT), failed,
        ))  # fmt: skip
    except AsyncSchedError as error:
        logger.error("%s of %s is done, and its record could not be kept: %s", action, subject, error)


def _subject(value: object) -> str:
    return name_of(value) if callable(value) else str(value)


def _result(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int):
        return f"{value} runs"
    if isinstance(value, list):
        return f"{len(value)} runs"
    return f"run {value.id}" if isinstance(value, RunHandle) else ""
