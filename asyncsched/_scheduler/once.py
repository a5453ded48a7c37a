"""One-offs as values: the call, and the run that is made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncsched._core.arguments.copies import copied
from asyncsched._core.checks import check_int, check_text
from asyncsched._core.context import own_key
from asyncsched._core.errors import ArgumentError, ConfigurationError, KeyConflict
from asyncsched._core.instants import Instant, to_instant, to_micros
from asyncsched._core.mapping import run_id_text
from asyncsched._core.propagation import capture
from asyncsched._core.records import RunRecord
from asyncsched._core.text import safe_repr, shorten
from asyncsched._scheduler.options import tags_of

if TYPE_CHECKING:
    from asyncsched._core.instants import Now
    from asyncsched._core.jobs import Job


class Once(NamedTuple):
    """One item of ``schedule_many``: the arguments of ``schedule_once`` as a value."""

    func: Callable[..., Any] | str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] | None = None
    delay: float | timedelta | None = None
    at: datetime | None = None
    key: str | None = None
    key_ttl: float | timedelta = 0
    priority: int | None = None
    tags: Sequence[str] = ()

    @property
    def timeless(self) -> bool:
        """Whether the item is due at once."""
        return self.delay is None and self.at is None


def make_run(once: Once, job: Job, run_id: int, now: Now, *, as_json: bool) -> RunRecord:
    """Return a run that is to be added, with all its arguments checked.

    Args:
        once: the call.
        job: the job of the run.
        run_id: the run's id.
        now: the moment.
        as_json: whether the arguments are kept as JSON.

    Raises:
        ArgumentError: the function does not take the arguments, or an option is of no use with the others.
        ConfigurationError: a time or a number is wrong. Both errors name the job.

    """
    signature = job.signature
    _, args, kwargs, delay, at, key, key_ttl, priority, tags = once  # each is read for every run
    call = signature.bind(args, kwargs)
    permits = job.permits(call) if job.limits else ()
    if key is not None or key_ttl:
        _check_key(job, key, key_ttl)
        call = signature.canonical(call)  # so that f(1) and f(x=1) are equal
    due, steady = (now.steady, True) if delay is None and at is None else _due(job, once, now)
    run = RunRecord(  # by position: names would cost every run a tenth of this call
        run_id,
        job.name,
        due,
        steady,
        job.executor,
        job.priority if priority is None else _priority(job, priority),
        signature.encode(call) if as_json else copied(call),
        job.tags + tags_of(tags, f"job {job.name!r}") if tags else job.tags,
        job.attempts,
    )
    carried = capture(job, as_json) if job.carry else None
    if key is not None or permits or carried is not None:
        run.key, run.permits = key, permits
        if key is not None:
            run.key_from = own_key(job.name, key)
        run.key_ttl = to_micros(key_ttl, "key_ttl") if key_ttl else 0
        run.context_vars = carried
    return run


def due_time(delay: float | timedelta | None, at: datetime | None, now: Now) -> tuple[Instant, bool]:
    """Return a due time, and whether it stands on the steady timeline.

    Args:
        delay: seconds or ``timedelta`` from now.
        at: an aware datetime; past means now.
        now: the moment.

    Raises:
        ArgumentError: both were given.
        ConfigurationError: one of them is no time, or a negative delay.

    """
    if at is None:
        if delay is None:
            return now.steady, True
        micros = to_micros(delay, "delay")
        if micros < 0:
            raise ConfigurationError(f"delay must not be negative, not {delay}")
        return now.steady + micros, True
    if delay is not None:
        raise ArgumentError("give delay= or at=, not both")
    return max(to_instant(at, "at"), now.wall), False


def conflict(stands: RunRecord) -> KeyConflict:
    """Return the error for a key that belongs to a run with other arguments."""
    run_id = run_id_text(stands.id)
    return KeyConflict(
        f"job {stands.job!r}: the key {shorten(stands.key or '')!r} belongs to run "
        f"{run_id}, which is {stands.state} and has other arguments; use another key, or "
        "replace=True while it is pending",
        run_id,
    )


def put_off(run: RunRecord, micros: int) -> None:
    """Move the due time of a run that has not been added yet."""
    run.due += micros
    run.rank += micros
    run.ready_at = run.due


def _due(job: Job, once: Once, now: Now) -> tuple[Instant, bool]:
    try:
        return due_time(once.delay, once.at, now)
    except (ConfigurationError, ArgumentError) as error:
        raise type(error)(f"job {job.name!r}: {error}") from None


def _priority(job: Job, priority: int) -> int:
    return check_int(priority, f"job {job.name!r}: priority", -1000, 1000)


def _check_key(job: Job, key: object, key_ttl: Any) -> None:
    if key is None:
        raise ArgumentError(f"job {job.name!r}: key_ttl needs a key=, which is kept for so long")
    if not isinstance(key, str) or not 0 < len(key) <= 500:
        raise ArgumentError(
            f"job {job.name!r}: key must be a text of 1 to 500 characters, not {safe_repr(key)}"
        )
    check_text(key, f"job {job.name!r}: key")
    if key_ttl and to_micros(key_ttl, f"job {job.name!r}: key_ttl") < 0:
        raise ConfigurationError(f"job {job.name!r}: key_ttl must not be negative, not {key_ttl}")
