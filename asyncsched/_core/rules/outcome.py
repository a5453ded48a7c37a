"""The outcome of an attempt: the one place where values and exceptions become outcomes."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from asyncsched._core.arguments.sizes import size_beyond
from asyncsched._core.delays import INSTEAD, clamped
from asyncsched._core.errors import ArgumentError, ConfigurationError, Discard, Snooze, TryAgain
from asyncsched._core.instants import MINUTE, SECOND
from asyncsched._core.models import ErrorInfo
from asyncsched._core.records import RunRecord
from asyncsched._core.requests import Verdict
from asyncsched._core.text import safe_repr, writable

if TYPE_CHECKING:
    from types import TracebackType

    from asyncsched._core.instants import Now
    from asyncsched._core.jobs import Job

E = TypeVar("E", bound=BaseException)

logger = logging.getLogger("asyncsched.job")

RESULT_LIMIT = 64 * 1024
"""The usual limit of a result's bytes as JSON."""

NOT_KEPT = "result not kept"
"""The beginning of the reason of a success whose result is larger than the limit."""

_TEXT_LIMIT = 4096

_TRACEBACK_LIMIT = 64 * 1024

_AT_ONE_INSTANT = 100
"""The most times that a run may begin at one and the same microsecond."""

_SPINS = 50
"""After how many attempts a run that snoozes without a delay is warned of,"""

_SPINNING = MINUTE
"""if all of them began within so many microseconds."""

COMPLETED = "completed in a transaction"
"""The reason in ``cancel_requested`` of a run whose own transaction has written its success."""

UNFIT = "arguments"
"""The reason of a run whose stored arguments do not fit its job's function."""

_STOPPED = "coroutine raised StopIteration"
"""The text of Python's ``RuntimeError`` in place of a ``StopIteration``: PEP 479."""

_SUCCEEDED = Verdict("succeeded")


class NeverBegan(Exception):
    """The attempt was cancelled before its first step."""


class UnfitArguments(NeverBegan):
    """The stored arguments do not fit the job's function here; the cause says what does not fit."""


def judge(
    job: Job, run: RunRecord, cancel_requested: str | None, value: Any, error: BaseException | None, now: Now,
    limit: int | None = RESULT_LIMIT,
) -> Verdict | None:  # fmt: skip
    """Return the verdict on an attempt that returned ``value`` or raised ``error``.

    Args:
        job: the job of the run.
        run: the run of the attempt.
        cancel_requested: the reason for which the attempt was to end, or ``None`` without such a request.
        value: the value that the attempt returned.
        error: the exception that the attempt raised, or ``None``.
        now: the time of the end.
        limit: the most bytes that a result has to be kept; ``None`` for no limit.

    Returns:
        The verdict, or ``None`` where there is none to record: another instance holds the run now.

    """
    if error is None and value is None and cancel_requested is None:
        return _SUCCEEDED  # nearly every run, with no decision to make
    if cancel_requested == "fenced":
        return None
    try:
        if error is None and cancel_requested != "timeout":
            return _succeeded(job, value, isinstance(run.arguments, str), limit)
        verdict = _judged(job, run, cancel_requested, error, now)
        if verdict.state == "pending" and cancel_requested is None:
            _refuse_to_spin(run, now)
        return verdict
    except Exception as broken:
        # A user's retry rule raised, or a delay is invalid: the run fails with that exception, and
        # the exception of the attempt itself is kept as its context.
        broken.__context__ = error
        logger.exception("job %r: the verdict on its attempt could not be decided", job.name)
        return Verdict("failed", "retry", error=error_info(broken), pause_after=job.pause_after)


def _refuse_to_spin(run: RunRecord, now: Now) -> None:
    """Refuse a run that begins again and again at one instant, for which a virtual clock would wait for ever."""
    past = run.attempts
    if past is not None and len(past) >= _AT_ONE_INSTANT and past[-_AT_ONE_INSTANT].started_at == now.wall:
        raise ConfigurationError(
            f"job {run.job!r} began {_AT_ONE_INSTANT} times at the same instant, and time cannot pass before it "
            "ends; give its Snooze, TryAgain or Retry a delay"
        )


def _judged(
    job: Job, run: RunRecord, cancel_requested: str | None, error: BaseException | None, now: Now
) -> Verdict:
    if cancel_requested == "timeout":
        late = TimeoutError(
            f"the attempt did not end within its timeout of {(job.timeout or 0) / SECOND:g} s"
        )
        late.__cause__ = error if isinstance(error, Exception) else None
        return _failed(job, run, late, now, "timed_out")
    assert error is not None
    if cancel_requested is not None:
        return _cancelled(job, run, cancel_requested, error, now)
    if isinstance(error, UnfitArguments):
        return _unfit(job, error, now)
    return _raised(job, run, leaf(error), now)


def _succeeded(job: Job, value: Any, as_json: bool, limit: int | None) -> Verdict:
    """Return a success with its result, or without one that is larger than the limit: the work is done."""
    size = 0
    if not as_json or value is None:
        if limit is not None and value is not None and type(value) not in (bool, int, float):
            size = size_beyond(value, limit)
        result = value
    else:
        try:
            result = job.signature.encode_result(value)
        except ArgumentError as refused:
            return Verdict("failed", "result", error=error_info(refused), pause_after=job.pause_after)
        if limit is not None and 4 * len(result) > limit:  # a character has at most four bytes
            size = len(result.encode())
    if limit is None or size <= limit:
        return Verdict("succeeded", result=result)
    logger.warning(
        "job %r: its result is larger than the limit of %d bytes, and was not kept with the run; store it elsewhere "
        "and return its address, or raise result_limit", job.name, limit,
        extra={"job": job.name},
    )  # fmt: skip
    return Verdict("succeeded", f"{NOT_KEPT}: larger than {limit} bytes")


def _cancelled(job: Job, run: RunRecord, why: str, error: BaseException, now: Now) -> Verdict:
    begins_again = job.retry is not None or isinstance(error, NeverBegan) or run.reference is not None
    if why == "shutdown" and begins_again:
        verdict = Verdict("pending", why, ready_at=now.steady, spent=False, attempt="released")
    else:
        cleanup_failed = isinstance(error, Exception) and not isinstance(error, NeverBegan)
        verdict = Verdict("cancelled", why, error=error_info(error) if cleanup_failed else None)
    verdict.began = not isinstance(error, NeverBegan)
    return verdict


def _unfit(job: Job, error: UnfitArguments, now: Now) -> Verdict:
    """Leave a run to an instance whose function differs, if one lives; else end it, as no attempt would help."""
    if job.signature.differs_elsewhere:
        verdict = Verdict("pending", UNFIT, ready_at=now.steady, spent=False, attempt="released")
    else:
        info = error_info(error.__cause__ or error)
        verdict = Verdict("failed", UNFIT, error=info, pause_after=job.pause_after)
    verdict.began = False
    return verdict


def _raised(job: Job, run: RunRecord, error: BaseException, now: Now) -> Verdict:
    parts = list(leaves(error))
    if discards := _all(parts, Discard):
        return Verdict("failed", _reason(discards[0]), error=error_info(error), pause_after=job.pause_after)
    if snoozes := _all(parts, Snooze):
        delay = max(_delay(job, one, INSTEAD) for one in snoozes)
        _warn_of_spinning(run, delay, now)
        return Verdict("pending", "snooze", ready_at=now.steady + delay, spent=False, attempt="snoozed")
    for one in parts:
        if isinstance(one, TryAgain) and one.delay is not None:
            _delay(job, one, 0)
    return _failed(job, run, error, now, "failed")


def _all(errors: list[BaseException], kind: type[E]) -> list[E]:
    """Return the exceptions if each is of one kind, else none: a group is what all its leaves are."""
    found = [error for error in errors if isinstance(error, kind)]
    return found if len(found) == len(errors) else []


def _delay(job: Job, error: Snooze | TryAgain, instead: int) -> int:
    delay = clamped(error.delay)
    if delay is None:
        logger.warning(
            "job %r: the delay of its %s is %s, which is no number of seconds; %s", job.name, type(error).__name__,
            safe_repr(error.delay), "it is taken for a minute" if instead else "the job's own backoff is taken",
            extra={"job": job.name},
        )  # fmt: skip
    return instead if delay is None else delay


def _warn_of_spinning(run: RunRecord, delay: int, now: Now) -> None:
    """Warn once of a run that snoozes again and again without a pause, and keeps the machine busy with that."""
    past = run.attempts
    if delay == 0 and past is not None and len(past) == _SPINS and now.wall - past[0].started_at < _SPINNING:
        logger.warning(
            "run %032x of job %r has begun %d times in %.1f s, because its Snooze has no delay; give it one",
            run.id, run.job, _SPINS, (now.wall - past[0].started_at) / SECOND,
            extra={"run_id": f"{run.id:032x}", "job": run.job},
        )  # fmt: skip


def _failed(job: Job, run: RunRecord, error: BaseException, now: Now, state: str) -> Verdict:
    info = error_info(error)
    if job.retry is not None and run.attempt < job.attempts:
        began = run.attempts[0].started_at if run.attempts else run.started_at
        delay = job.retry.delay_for(run.id, run.attempt, error, now.wall - (began or now.wall))
        if delay is not None:
            return Verdict("pending", "retry", error=info, ready_at=now.steady + delay, attempt=state)
    return Verdict(state, error=info, pause_after=job.pause_after)


def heeding(verdict: Verdict, cancel_requested: str | None) -> Verdict:
    """Return the verdict that holds where a cancel was requested while the attempt ended by itself.

    A run that is to be cancelled never begins again; and a success that a run's own transaction has
    written holds.
    """
    if cancel_requested is None:
        return verdict
    if cancel_requested == COMPLETED:
        return Verdict(
            "succeeded", verdict.why if verdict.state == "succeeded" else "", result=verdict.result
        )
    if verdict.state != "pending":
        return verdict
    cancelled = Verdict("cancelled", cancel_requested, error=verdict.error, attempt=verdict.attempt)
    cancelled.began = verdict.began
    return cancelled


def abandoned(run: RunRecord, why: str, now: Now, spent: bool) -> Verdict:
    """Return the verdict on the attempt of a run whose holder is gone.

    Args:
        run: the run as it is stored.
        why: the reason, which is kept with the run.
        now: the current time.
        spent: whether the attempt counts; if it does not, the run may begin again in any case.

    """
    if run.cancel_requested == COMPLETED:
        return Verdict("succeeded")
    if run.cancel_requested is not None:
        return Verdict("cancelled", run.cancel_requested, attempt="lost")
    if run.reference is not None:  # its work goes on in an engine elsewhere
        return Verdict("pending", why, ready_at=now.wall, spent=False, attempt="lost")
    if not spent or run.attempt < run.max_attempts:
        return Verdict("pending", why, ready_at=now.wall, spent=spent, attempt="lost")
    return Verdict("lost", why)


def leaf(error: BaseException) -> BaseException:
    """Return the exception that a job raised, out of what others have wrapped around it.

    A task group in a job makes a group of one of the exception of its task, and Python makes a ``RuntimeError``
    of a ``StopIteration`` that leaves a coroutine.
    """
    while True:
        if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        elif error.args == (_STOPPED,) and isinstance(error.__cause__, StopIteration):
            error = error.__cause__
        else:
            return error


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions in a group and in the groups in it; an exception that is no group yields itself."""
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from leaves(part)
    else:
        yield error


def let_go_of_locals(error: BaseException) -> None:
    """Clear the locals in the frames of a handled exception: a connection left open there keeps its locks.

    Python clears them when the exception itself is freed; the exception of an attempt is kept until its
    outcome is written, and that very write may wait for such a lock.
    """
    todo: list[BaseException | None] = [error]
    seen = set()
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        traceback.clear_frames(one.__traceback__)
        todo += (one.__cause__, one.__context__)
        if isinstance(one, BaseExceptionGroup):
            todo += one.exceptions


def own_frames(error: BaseException) -> TracebackType | None:
    """Return an exception's traceback, beginning in the job's own code."""
    frames = error.__traceback__
    package = sys.modules["asyncsched"].__path__[0]
    while frames is not None and frames.tb_next and frames.tb_frame.f_code.co_filename.startswith(package):
        frames = frames.tb_next
    return frames


def error_info(error: BaseException) -> ErrorInfo:
    """Return an exception as text, its traceback beginning in the job's own code."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        text = "".join(traceback.format_exception(kind, error, own_frames(error)))
        message = str(error)
    except Exception as broken:  # the exception's text cannot be made
        text = message = f"<{name} whose text raised {type(broken).__name__}>"
    return ErrorInfo(name, writable(message[:_TEXT_LIMIT]), writable(text[-_TRACEBACK_LIMIT:]))


def _reason(error: Discard) -> str:
    """Return the reason of a ``Discard`` as text, whatever its type."""
    given: object = error.reason
    return writable(given[:_TEXT_LIMIT] if isinstance(given, str) else safe_repr(given))
