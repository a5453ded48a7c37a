"""The log lines for people: failures, waits, skipped slots and pauses."""

from __future__ import annotations

import logging
import warnings
from collections.abc import MutableMapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from asyncsched._core.context import current_run
from asyncsched._core.errors import SchedulerStateError
from asyncsched._core.events import (
    Event,
    RunStarted,
    RunSucceeded,
    RunUnsuccessful,
    RunWaits,
    SchedulePaused,
    SchedulerStarted,
    SchedulerStopped,
    SlotsSkipped,
)
from asyncsched._core.models import Run
from asyncsched._core.propagation import structlog_context as structlog_context
from asyncsched._core.rules.outcome import own_frames

job_logger = logging.getLogger("asyncsched.job")
logger = logging.getLogger("asyncsched.scheduler")

_LOGGERS = ("asyncsched.job", "asyncsched.scheduler", "asyncsched.store")


def _fields(run: Run) -> dict[str, Any]:
    found = {"run_id": run.id, "job": run.job, "schedule": run.schedule, "attempt": run.attempt}
    if run.finished:
        found |= {"outcome": run.state, "why": run.why, "error_type": run.error_type}
    return found


def run_fields() -> dict[str, Any]:
    """Return the ``run_id``, ``job`` and ``attempt`` of the run that the caller runs in; nothing outside a job."""
    try:
        run = current_run()
    except SchedulerStateError:
        return {}
    return {"run_id": run.id, "job": run.job, "attempt": run.attempt}


def add_run(logger: Any, method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the fields of the run that a line is logged in: a processor of structlog.

    It works in coroutines and threads, and in a process that has structlog configured by an ``initializer``.

    Example:
        >>> structlog.configure(processors=[add_run, structlog.processors.JSONRenderer()])

    """
    for name, value in run_fields().items():
        event_dict.setdefault(name, value)
    return event_dict


class RunIdFilter(logging.Filter):
    """Gives every log record the ``run_id``, ``job`` and ``attempt`` of the run it was written in.

    Put it on a handler; outside a job, all three are ``"-"``. It works for all code that a job calls,
    in coroutines and threads; the records of a job in a process arrive with its run's id as well.

    Example:
        >>> handler = logging.StreamHandler()
        >>> handler.addFilter(RunIdFilter())
        >>> handler.setFormatter(logging.Formatter("%(levelname)s %(job)s %(run_id)s %(message)s"))

    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields that are not there yet; every record passes."""
        found = run_fields() or {"run_id": "-", "job": "-", "attempt": "-"}
        for name, value in found.items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


_QUIET = timedelta(minutes=1)
"""After a line about skipped slots, further ones of the schedule are only counted for so long."""


class LogObserver:
    """Logs everything but successes, with run id and job as fields.

    The first skipped slots of a schedule are logged at once, those that follow at most once a minute.
    """

    wants = (SchedulerStarted, RunUnsuccessful, RunWaits, SlotsSkipped, SchedulePaused, SchedulerStopped)

    def __init__(self) -> None:
        self._warned = False
        # By schedule and reason: the time of the last line, and the slots that were counted since.
        self._written: dict[tuple[str, str], datetime] = {}
        self._held_back: dict[tuple[str, str], SlotsSkipped] = {}
        self._swept: datetime | None = None

    def __call__(self, event: Event) -> None:
        """Write one line, and the job's own traceback under a failure."""
        self._check_loggers()
        if isinstance(event, RunUnsuccessful):
            self._unsuccessful(event.run, event.exception)
        elif isinstance(event, RunWaits):
            self._waits(event.run)
        elif isinstance(event, SlotsSkipped):
            self._hear(event)
        elif isinstance(event, SchedulePaused):
            # A pause by the scheduler is an alarm; a pause by a person is intended.
            level = logging.ERROR if event.by == "asyncsched" else logging.INFO
            author = event.by or "an unnamed caller"
            logger.log(
                level, "schedule %r was paused by %s: %s", event.schedule, author, event.note or "no note was given",
                extra={"schedule": event.schedule},
            )  # fmt: skip
        if self._written:
            self._catch_up(event)
        if isinstance(event, SchedulerStopped):
            logger.info("the scheduler has stopped", extra={"unfinished": event.unfinished})

    def _check_loggers(self) -> None:
        """Warn once if a configuration of logging has disabled the loggers, so that nothing is ever told."""
        disabled = [name for name in _LOGGERS if logging.getLogger(name).disabled]
        if disabled and not self._warned:
            self._warned = True
            warnings.warn(
                f"logging.config disabled the loggers {', '.join(disabled)}: no failure will be told. Give dictConfig "
                '"disable_existing_loggers": False, or name "asyncsched" among its loggers',
                RuntimeWarning,
                stacklevel=2,
            )

    def _hear(self, event: SlotsSkipped) -> None:
        """Log skipped slots, or count them where a line was written less than a minute ago."""
        which = (event.schedule, event.reason)
        written, held_back = self._written.get(which), self._held_back.get(which)
        if held_back is not None:
            count, exact = held_back.count + event.count, held_back.exact and event.exact
            event = replace(event, first=held_back.first, count=count, exact=exact)
        if written is not None and _recent(written, event.at):
            self._held_back[which] = event
            return
        self._held_back.pop(which, None)
        self._written[which] = event.at
        self._skipped(event)

    def _catch_up(self, event: Event) -> None:
        """Log the slots that were only counted, once a minute and at the end, if no more have followed."""
        over = isinstance(event, SchedulerStopped)
        if not over and self._swept is not None and _recent(self._swept, event.at):
            return
        self._swept = event.at
        for which in [
            which for which, written in self._written.items() if over or not _recent(written, event.at)
        ]:
            del self._written[which]
            if (held_back := self._held_back.pop(which, None)) is not None:
                self._skipped(held_back)

    def _skipped(self, event: SlotsSkipped) -> None:
        first, last = event.first.isoformat(" "), event.last.isoformat(" ")
        if event.count == 1 and event.exact:
            text = f"its slot of {first} got no run"
        else:
            text = (
                f"{'' if event.exact else 'more than '}{event.count} slots from {first} to {last} got no run"
            )
        # What a person paused is meant to be skipped, and so is what came after the end; any other slot is missed.
        level = logging.INFO if event.reason in ("paused", "ended") else logging.WARNING
        logger.log(
            level, "schedule %r: %s: %s", event.schedule, text, event.reason,
            extra={"schedule": event.schedule, "job": event.job},
        )  # fmt: skip

    def _unsuccessful(self, run: Run, exception: BaseException | None) -> None:
        if run.state == "cancelled":
            # A cancellation by shutdown leaves work undone; any other was requested.
            level = logging.WARNING if run.why == "shutdown" else logging.INFO
            why = run.why or "cancelled"
            job_logger.log(
                level, "run %s of job %r was cancelled: %s", run.id, run.job, why, extra=_fields(run)
            )
            return
        attempts = f" after {run.attempt} attempts" if run.attempt > 1 else ""
        state = run.state.replace("_", " ")
        what = f"{run.error_type}: {run.message}" if run.error_type else run.why
        traceback = run.traceback.rstrip()
        below = f"\n{traceback}" if "\n" in traceback else ""  # a single line only repeats the message
        exc_info = None
        # The run's own text has lone surrogates escaped, which no file of a log takes; the exception has them still.
        escaped = "\\ud" in traceback
        if run.state == "failed" and exception is not None and exception.__traceback__ and not escaped:
            # With the exception itself, formatters for JSON and for trackers of errors read its frames.
            exc_info, below = (type(exception), exception, own_frames(exception)), ""
        job_logger.error(
            "run %s of job %r %s%s: %s%s", run.id, run.job, state, attempts, what, below,
            exc_info=exc_info, extra=_fields(run),
        )  # fmt: skip

    def _waits(self, run: Run) -> None:
        when = run.ready_at.isoformat(" ", "seconds") if run.ready_at else "?"
        if run.why == "retry":
            job_logger.warning(
                "run %s of job %r failed in attempt %d of %d, again at %s: %s: %s",
                run.id, run.job, run.attempt, run.max_attempts, when, run.error_type, run.message,
                extra=_fields(run),
            )  # fmt: skip
        else:
            job_logger.info(
                "run %s of job %r waits until %s: %s", run.id, run.job, when, run.why, extra=_fields(run)
            )


class RunLog:
    """Logs the beginning of every attempt and every success, with their figures as fields.

    It is an observer, for those who want a line for each: ``Scheduler(observers=[RunLog()])``. Failures,
    retries and skipped slots are logged in any case.

    Args:
        level: the level of its lines.

    """

    wants = (RunStarted, RunSucceeded)

    def __init__(self, level: int = logging.INFO) -> None:
        self._level = level

    def __call__(self, event: Event) -> None:
        """Write one line."""
        if not job_logger.isEnabledFor(self._level):
            return
        if isinstance(event, RunStarted):
            self._begins(event.run)
        elif isinstance(event, RunSucceeded):
            self._succeeded(event.run)

    def _begins(self, run: Run) -> None:
        late = 0.0 if run.late is None else run.late.total_seconds()
        attempt = f" in attempt {run.attempt}" if run.attempt > 1 else ""
        job_logger.log(
            self._level, "run %s of job %r begins%s, %.3f s late", run.id, run.job, attempt, late,
            extra={**_fields(run), "origin": run.origin, "due": run.scheduled_for.isoformat(), "late": late},
        )  # fmt: skip

    def _succeeded(self, run: Run) -> None:
        assert run.started_at is not None and run.finished_at is not None
        took = max(0.0, (run.finished_at - run.started_at).total_seconds())
        job_logger.log(
            self._level, "run %s of job %r succeeded in %.3f s", run.id, run.job, took,
            extra={**_fields(run), "took": took},
        )  # fmt: skip


def _recent(then: datetime, now: datetime) -> bool:
    """Return whether ``then`` is less than a minute ago; after a step of the clock it is not."""
    return abs(now - then) < _QUIET
