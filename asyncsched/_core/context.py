"""``current_run()``: a job's code learns about its run, and reports progress."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from contextvars import ContextVar
from datetime import datetime, timedelta
from math import isfinite
from typing import Any, Protocol, TypeVar, overload

from asyncsched._core.errors import ArgumentError, ConfigurationError, SchedulerStateError
from asyncsched._core.instants import Instant, to_datetime, to_micros
from asyncsched._core.text import safe_repr

T = TypeVar("T")


class Link(Protocol):
    """The way from a run's code to its scheduler, out of the thread or process that the code runs in."""

    def began(self) -> None:
        """Hear that the function itself begins now: see :func:`tell_began`."""
        ...

    def progress(self, done: float, total: float | None, message: str) -> None:
        """Keep the given values as the run's latest progress."""
        ...

    def extend(self, micros: int) -> None:
        """Move the running attempt's deadline by so many microseconds."""
        ...

    def cancelled(self) -> bool:
        """Return whether the run's cancellation was requested."""
        ...

    def complete_in(self, connection: Any) -> Any:
        """Write the run's success through the user's own database connection."""
        ...


class AttemptLink(Link, Protocol):
    """The same way in the scheduler's own process, for executors that hand the work to an engine elsewhere."""

    def reference(self) -> str | None:
        """Return the run's reference, which an earlier instance may have kept."""
        ...

    async def refer(self, reference: str) -> None:
        """Keep the reference with the run in the store."""
        ...

    def task_id(self) -> str:
        """Return the id that the attempt's task is to have in an engine."""
        ...

    def goes_on(self) -> bool:
        """Return whether another instance takes the attempt up where this one lets go of it."""
        ...


class CurrentRun:
    """The run that the calling code belongs to. Plain calls, from coroutines, threads and processes.

    Attributes:
        job: the job's name.
        attempt: which attempt this is, from 1.
        key: the key given to ``schedule_once``, or ``None``.

    """

    __slots__ = ("_due", "_id", "_link", "attempt", "job", "key")

    def __init__(self, id: int, job: str, due: Instant, attempt: int, key: str | None, link: Link) -> None:
        self._id = id
        self._due = due
        self._link = link
        self.job = job
        self.attempt = attempt
        self.key = key

    @property
    def id(self) -> str:
        """The run's id, as ``RunHandle.id`` and the history have it."""
        return f"{self._id:032x}"

    @property
    def scheduled_for(self) -> datetime:
        """The due time that this run is for, before jitter, in UTC."""
        return to_datetime(self._due)

    @property
    def cancelled(self) -> bool:
        """Whether the run's cancellation was requested. A sync job reads this now and then, and returns."""
        return self._link.cancelled()

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Report how far the run is. The latest report is kept, and written at most every 0.5 s.

        Args:
            done: how much of the work is done.
            total: how much it is in all, if that is known.
            message: a few words.

        Raises:
            ArgumentError: ``done`` or ``total`` is no finite number, or ``message`` no text.

        """
        fit = _is_finite(done) and (total is None or _is_finite(total))
        if not fit or not isinstance(message, str):
            raise ArgumentError(
                f"job {self.job!r}: progress(done, total=None, message='') takes finite numbers and a text, "
                f"not {safe_repr((done, total, message))}"
            )
        self._link.progress(done, total, message)

    def track(self, iterable: Iterable[T], total: int | None = None) -> Iterator[T]:
        """Yield from ``iterable`` and report the progress after each item."""
        if total is None and isinstance(iterable, Sized):
            total = len(iterable)
        for done, item in enumerate(iterable, 1):
            yield item
            self._link.progress(done, total, "")

    def extend_timeout(self, seconds: float | timedelta) -> None:
        """Give the running attempt ``seconds`` more; nothing happens if the job has no timeout.

        Raises:
            ConfigurationError: not a number of seconds, or a negative one.

        """
        micros = to_micros(seconds, f"job {self.job!r}: extend_timeout")
        if micros < 0:
            raise ConfigurationError(f"job {self.job!r}: extend_timeout must not be negative, not {seconds}")
        self._link.extend(micros)

    def complete_in(self, connection: Any) -> Any:
        """Write the run's success in the transaction that ``connection`` is in.

        It commits only if this instance still holds the run. Await the result if the connection is async.
        """
        return self._link.complete_in(connection)

    def __repr__(self) -> str:
        return f"<CurrentRun {self.job} {self.id} attempt {self.attempt}>"


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, (int, float)) and isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


_current: ContextVar[CurrentRun] = ContextVar("asyncsched_current_run")


@overload
def current_run() -> CurrentRun: ...


@overload
def current_run(default: T, /) -> CurrentRun | T: ...


def current_run(*default: Any) -> Any:
    """Return the run that the calling code belongs to.

    Args:
        *default: returned outside a job: ``current_run(None)`` for code that is called from jobs and from elsewhere.

    Raises:
        SchedulerStateError: called outside a job, without a default.

    """
    run = _current.get(*default[:1] or (None,))
    if run is None and not default:
        raise SchedulerStateError(
            "current_run() was called outside a job; call it in the job's function "
            "or in what that function calls, or write current_run(None)"
        )
    return run


def own_key(job: str, key: str) -> int | None:
    """Return the run whose code is calling, if it is a run of this job with this key: it may pass the key on."""
    run = _current.get(None)
    return run._id if run is not None and run.job == job and run.key == key else None


def reference_of(run: CurrentRun) -> str | None:
    """Return what :func:`keep_reference` kept with the run, by this instance or by an earlier one.

    A run that was handed to an engine elsewhere is found there by it. ``None``: the attempt begins anew.
    """
    return _attempt(run).reference()


def task_id_of(run: CurrentRun) -> str:
    """Return the id for the task of an attempt in an engine: the run's, with the number of a later attempt."""
    return _attempt(run).task_id()


async def keep_reference(run: CurrentRun, reference: str) -> None:
    """Keep in the store by what id the run is found in an engine elsewhere, before its end is waited for.

    If this instance dies or shuts down, the run is pending again with its reference, and no attempt is spent:
    the next instance goes on waiting. The reference is cleared before the next attempt. A second word after
    a space is the address of a page about the run in that engine.

    Raises:
        StoreUnavailable: the store has not kept it.

    """
    await _attempt(run).refer(reference)


def goes_on_elsewhere(run: CurrentRun) -> bool:
    """Return whether the work of a cancelled attempt is to go on in the engine elsewhere.

    That is so if the scheduler shuts down or another instance holds the run, and the store keeps the reference.
    """
    return _attempt(run).goes_on()


def _attempt(run: CurrentRun) -> AttemptLink:
    return run._link  # type: ignore[return-value]  # in the scheduler's process it is always a running attempt


def tell_began(run: CurrentRun) -> None:
    """Tell the scheduler that the function of ``run`` begins only now, so that its timeout counts from here.

    For executors that say so in their traits (``announces``), and from the event loop.
    """
    run._link.began()
