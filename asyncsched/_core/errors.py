"""What can go wrong, in one tree.

    AsyncSchedError
    ├── ConfigurationError (ValueError)      a declaration or an option is wrong
    │   └── TriggerError                     a trigger's text or numbers are wrong: .field, .token
    ├── ArgumentError (TypeError)            the arguments do not fit the job's function
    ├── SchedulerStateError (RuntimeError)   not started yet, started twice, left in another task
    │   └── SchedulerClosed                  a call after shutdown
    ├── NotFound (LookupError)               .what and .id
    │   ├── UnknownJob
    │   ├── UnknownSchedule
    │   └── UnknownRun
    ├── ScheduleExists (ValueError)          add_schedule with an id that is taken
    ├── KeyConflict (ValueError)             schedule_once with a key held by other arguments
    ├── NotCancellable (RuntimeError)        the run has ended already, or cannot be moved
    ├── StoreError                           the store refuses
    │   ├── StoreUnavailable                 no answer in time; the write may exist
    │   └── SchemaError                      the schema is unknown, or newer
    └── RunFailed                            a run ended otherwise than by success
        ├── RunCancelled
        ├── RunTimedOut
        └── RunLost

``TryAgain``, ``Snooze`` and ``Discard`` are raised by jobs to say how a run goes on. They are no
errors, stand outside the tree, and never leave the scheduler.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from asyncsched._core.text import shorten

if TYPE_CHECKING:
    from asyncsched._core.states import Outcome


class AsyncSchedError(Exception):
    """Base of every error that asyncsched raises."""


class ConfigurationError(AsyncSchedError, ValueError):
    """A declaration or an option is wrong; the text names it and says what to do."""


class TriggerError(ConfigurationError):
    """A trigger's text or numbers are wrong.

    Attributes:
        field: the field of the expression, such as ``"day of week"``; ``""`` for the whole.
        token: the offending part, at most 40 characters.

    """

    def __init__(self, message: str, *, field: str = "", token: str = "") -> None:
        super().__init__(message)
        self.field = field
        self.token = shorten(token)


class ArgumentError(AsyncSchedError, TypeError):
    """The arguments do not fit the job's function, or cannot be stored."""


class SchedulerStateError(AsyncSchedError, RuntimeError):
    """The scheduler is not in the state that the call needs; the text says what to do."""


class SchedulerClosed(SchedulerStateError):
    """The scheduler, or the scope, has been closed."""


class NotFound(AsyncSchedError, LookupError):
    """Nothing of that id is known.

    Attributes:
        what: the kind of thing, such as ``"job"``.
        id: the id that was given.

    """

    what = "item"

    def __init__(self, id: str, hint: str = "") -> None:
        super().__init__(f"there is no {self.what} {shorten(id)!r}{hint and '; ' + hint}")
        self.id = id


class UnknownJob(NotFound):
    """No job of that name, or no job made of that function, is registered."""

    what = "job"


class UnknownSchedule(NotFound):
    """No schedule of that id is known."""

    what = "schedule"


class UnknownRun(NotFound):
    """No run of that id is known; it may have been pruned from the history."""

    what = "run"

    def __init__(
        self,
        id: str,
        hint: str = "it never existed, it has been pruned from the history, it is in another process's memory (without "
        "a store, each worker process knows its own runs only), or it belongs to an each_instance job or a scope, "
        "whose runs are known only to the handle that schedule_once returned",
    ) -> None:
        super().__init__(id, hint)


class ScheduleExists(AsyncSchedError, ValueError):
    """A schedule of that id exists; ``replace=True`` replaces it."""


class KeyConflict(AsyncSchedError, ValueError):
    """The key belongs to a live run with other arguments; ``replace=True`` moves a pending one.

    Attributes:
        run_id: the run that holds the key.

    """

    def __init__(self, message: str, run_id: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class NotCancellable(AsyncSchedError, RuntimeError):
    """The run is in a state in which it cannot be cancelled, moved or run again."""


class StoreError(AsyncSchedError):
    """The store refused a request."""


class StoreUnavailable(StoreError):
    """The store gave no answer within ``store_timeout``.

    The requested change may have been made. Repeating the call with the same ``key`` is safe.
    """


class SchemaError(StoreError):
    """The database's schema is not one that this version can use."""


class RunFailed(AsyncSchedError):
    """A run ended otherwise than by success.

    The error is the same on every instance: no exception is rebuilt from a row. In the process that
    ran the job, the original exception is the ``__cause__``.

    Attributes:
        run_id: the run.
        job: the job's name.
        outcome: how the run ended, and why.
        error_type: the exception's qualified name, or ``None`` where there was none.
        message: the exception's text.
        traceback: the formatted traceback, or ``""``.

    """

    def __init__(
        self,
        run_id: str,
        job: str,
        outcome: Outcome,
        error_type: str | None = None,
        message: str = "",
        traceback: str = "",
    ) -> None:
        detail = (
            f": {error_type}: {message}"
            if error_type
            else f" ({outcome.why})"
            if outcome.why not in ("", outcome.state)
            else ""
        )
        super().__init__(f"run {run_id} of job {job!r} {outcome.state}{detail}")
        self.run_id = run_id
        self.job = job
        self.outcome = outcome
        self.error_type = error_type
        self.message = message
        self.traceback = traceback

    def __reduce__(self) -> tuple[object, ...]:
        return (
            type(self),
            (self.run_id, self.job, self.outcome, self.error_type, self.message, self.traceback),
        )


class RunCancelled(RunFailed):
    """The run was cancelled; ``.outcome.why`` gives the reason."""


class RunTimedOut(RunFailed):
    """The run's last attempt did not end within its timeout."""


class RunLost(RunFailed):
    """The run's instance died and no attempt was left; it may have done its work."""


class TryAgain(Exception):
    """Raise inside a job: this attempt failed, begin the next after ``delay``.

    Not an error of asyncsched. It spends an attempt; with none left, the run is ``failed``.

    Args:
        delay: seconds or ``timedelta``; ``None`` means the job's own backoff, or at once. It may come from
            elsewhere, as from a server's ``Retry-After``: a text is read as seconds, a delay below zero is none,
            one beyond a year is a year, and what cannot be read is taken for ``None`` and logged.
        reason: kept with the attempt.

    """

    def __init__(self, delay: float | str | timedelta | None = None, reason: str = "") -> None:
        super().__init__(reason or "try again")
        self.delay = delay


class Snooze(Exception):
    """Raise inside a job: not now, begin again after ``delay``; no attempt is spent.

    Not an error of asyncsched, and not a failure.

    Args:
        delay: seconds or ``timedelta``, read as that of :class:`TryAgain`; what cannot be read is taken for a
            minute and logged.
        reason: kept with the run.

    """

    def __init__(self, delay: float | str | timedelta, reason: str = "") -> None:
        super().__init__(reason or "snoozed")
        self.delay = delay


class Discard(Exception):
    """Raise inside a job: end the run as ``failed`` now, with no further attempt.

    Not an error of asyncsched.

    Args:
        reason: becomes the outcome's reason.

    """

    def __init__(self, reason: str = "discarded") -> None:
        super().__init__(reason)
        self.reason = reason
