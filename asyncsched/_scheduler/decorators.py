"""The decorators ``interval``, ``cron`` and ``job``, by which the code declares its jobs and schedules."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, tzinfo
from functools import partial
from typing import Any, Never, TypeVar, Unpack

from asyncsched._core.errors import ConfigurationError, SchedulerStateError
from asyncsched._core.text import safe_repr, shorten
from asyncsched._core.trigger import Trigger
from asyncsched._scheduler.face import Face
from asyncsched._scheduler.habits import OPTIONS, SYNONYMS
from asyncsched._scheduler.options import JobOptions
from asyncsched.triggers import Cron, Interval
from asyncsched.triggers.cron.hints import expects_expression

F = TypeVar("F", bound=Callable[..., Any])


class Declarations(Face):
    """The part of a scheduler that is used while modules are imported, before it is started."""

    def interval(
        self,
        *unnamed: Never,
        weeks: float = 0,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        start: datetime | None = None,
        end: datetime | None = None,
        immediate: bool = False,
        jitter: float | timedelta | None = None,
        max_runs: int | None = None,
        id: str | None = None,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[JobOptions],
    ) -> Callable[[F], F]:
        """Run the function once in every period, on a grid that never drifts.

        The grid is anchor + k x period. The anchor is ``start`` (itself due), or the moment the
        schedule was first known, which ``immediate=True`` makes due as well.

        Args:
            weeks, days, hours, minutes, seconds: they add up to the period; 1 ms to 100 years.
            start, end: aware datetimes; nothing is due before or after.
            jitter: seconds or ``timedelta`` by which a due time is moved at most; the same for a
                slot on every instance, and never past the next slot.
            max_runs: the schedule ends after so many runs of its own slots, over all instances and restarts.
            id: the schedule's id; the job's name by default.
            args, kwargs: the arguments of the function.
            **options: see :meth:`job`.

        Returns:
            A decorator that returns the function untouched.

        Raises:
            ConfigurationError: an argument is wrong; the text names it.

        Example:
            >>> @scheduler.interval(seconds=30)
            ... async def refresh_rates() -> None: ...

        """
        _check_call(self.interval, "seconds=30", unnamed, options)
        trigger = Interval(
            weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds,
            start=start, end=end, immediate=immediate,
        )  # fmt: skip
        return self._decorator(trigger, id, args, kwargs, jitter, max_runs, options)

    @partial(expects_expression, name="@scheduler.cron")
    def cron(
        self,
        expression: str,
        *unnamed: Never,
        timezone: str | tzinfo | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        jitter: float | timedelta | None = None,
        max_runs: int | None = None,
        id: str | None = None,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[JobOptions],
    ) -> Callable[[F], F]:
        """Run the function when the wall clock of a zone matches a cron expression.

        Args:
            expression: five fields, six with seconds first, or ``@daily`` and the like; crontab(5)
                with Debian's rule for clock changes: a daily job is neither lost nor doubled.
            timezone: an IANA name, ``ZoneInfo`` or fixed offset; the scheduler's zone by default.
            start, end: aware datetimes; nothing is due before or after.
            jitter, max_runs, id, args, kwargs, **options: as for :meth:`interval`.

        Returns:
            A decorator that returns the function untouched.

        Raises:
            ConfigurationError: an argument is wrong; a ``TriggerError`` names field and token.

        Example:
            >>> @scheduler.cron("0 7 * * mon-fri", timezone="Europe/Paris", timeout=300)
            ... async def send_digest() -> int: ...

        """
        wrong = unnamed if isinstance(expression, str) else (expression,)
        _check_call(self.cron, '"0 7 * * *", timezone=…', wrong, options)
        zone = self._timezone if timezone is None else timezone
        trigger = Cron(expression, timezone=zone, start=start, end=end)
        return self._decorator(trigger, id, args, kwargs, jitter, max_runs, options)

    def job(
        self,
        trigger: Trigger | None = None,
        *unnamed: Never,
        jitter: float | timedelta | None = None,
        max_runs: int | None = None,
        id: str | None = None,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[JobOptions],
    ) -> Callable[[F], F]:
        """Declare a job, with any trigger or with none: then for ``schedule_once`` and ``add_schedule``.

        Args:
            trigger: an ``Interval``, ``Cron``, ``At``, ``AnyOf``, or any object with ``next(after)``.
            jitter, max_runs, id, args, kwargs: as for :meth:`interval`.
            **options:
                name: the job's name; the function's ``__name__`` by default.
                aliases: its former names: their schedules and waiting runs become the job's at the next start.
                executor: ``"loop"`` (coroutines), ``"thread"`` (plain functions), ``"process"``, or
                a name of ``Scheduler(executors=…)``; by the kind of function by default.
                timeout: seconds or ``timedelta`` for each attempt.
                retry: a ``Retry``; without it there is one attempt.
                overlap: the rule for a slot that comes while an earlier run of the schedule is live.
                misfire: a ``Misfire``, the rule for slots that were not met in time.
                max_running: a number or ``Limit``: the most runs at once.
                rate_limit: ``"10/s"`` or a ``RateLimit``: the most runs that begin in a given time.
                priority: from -1000 to 1000; one point is worth a minute of waiting.
                tags: texts to find runs by.
                policies: objects with ``wrap(call)``; the first is the outermost.
                pause_after: failures in a row after which the schedule pauses itself.
                each_instance: every instance runs the job for itself, with its runs in memory.
                carry: context variables that travel from ``schedule_once`` into the run, and on into a process
                if they stand at the top level of a module.

        Returns:
            A decorator that returns the function untouched.

        Raises:
            ConfigurationError: an option is wrong or contradicts another one.

        """
        bare = callable(trigger) and not isinstance(trigger, Trigger)
        _check_call(self.job, "", (trigger,) if bare else unnamed, options)
        return self._decorator(trigger, id, args, kwargs, jitter, max_runs, options)

    def _decorator(
        self, trigger: Any, id: str | None, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None,
        jitter: Any, max_runs: int | None, options: JobOptions,
    ) -> Callable[[F], F]:  # fmt: skip
        def declare(func: F) -> F:
            if self._open:
                raise SchedulerStateError(
                    "jobs are declared before the scheduler is started; "
                    "for a running one there is add_schedule()"
                )
            job = self._registry.declare_job(func, options)
            if trigger is not None:
                self._registry.declare_schedule(job, trigger, id, args, kwargs, jitter, max_runs)
            elif id is not None or args or kwargs or jitter is not None or max_runs is not None:
                raise ConfigurationError(
                    f"job {job.name!r}: id, args, kwargs, jitter and max_runs belong to a trigger"
                )
            return func

        return declare


def _check_call(
    decorator: Callable[..., Any], example: str, wrong: tuple[object, ...], options: Mapping[str, object]
) -> None:
    """Refuse wrong arguments of a decorator: the bare function, positional arguments, and unknown names."""
    name = f"@scheduler.{decorator.__name__}"
    if wrong:
        if callable(wrong[0]):
            raise ConfigurationError(f"write {name}({example}) with its parentheses")
        raise ConfigurationError(f"write {name}({example}), not {safe_repr(wrong[0])}")
    if options.keys() <= JobOptions.__annotations__.keys():
        return
    known = sorted({*(inspect.unwrap(decorator).__kwdefaults__ or ()), *JobOptions.__annotations__})
    for option in options:
        if option not in known:
            from difflib import get_close_matches  # imported for this hint only

            meant = SYNONYMS.get(option, option)
            near = [meant] if meant in known else get_close_matches(option, known, 1)
            hint = f"did you mean {near[0]}=?" if near else f"it has {', '.join(known)}"
            if meant not in known:
                hint = OPTIONS.get(meant, hint)
            raise ConfigurationError(f"{name} has no argument {shorten(option)!r}; {hint}")
