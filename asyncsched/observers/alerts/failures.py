"""Failures in a row, told to a function of the user's, and the recovery after them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import anyio.to_thread

from asyncsched._core.arguments.functions import is_coroutine_function, path_of
from asyncsched._core.events import Event, RunFinished, RunSucceeded, RunUnsuccessful
from asyncsched._core.models import Run
from asyncsched._core.states import FAILURES
from asyncsched.abc import Figures, RunQuery

REMEMBERED = 10_000
"""The most schedules and jobs that are known to fail; of more, a recovery may not be told."""

COUNTED = 1000
"""The most failures in a row that are counted."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that failed, or the success that ended a row of failures.

    Attributes:
        run: the run that failed, or the one that succeeded again.
        in_a_row: how many due times of the schedule failed one after another, this one included, as the page and
            ``Schedule.failures`` count them; runs by hand are counted apart, and so are a job's one-offs. At most
            1,000 are counted.
        since: when the first of them ended, in UTC.
        recovered: whether this is the success after them.

    """

    run: Run
    in_a_row: int
    since: datetime
    recovered: bool = False

    @property
    def job(self) -> str:
        """The job's name."""
        return self.run.job

    @property
    def schedule(self) -> str | None:
        """The schedule's id, or ``None`` for a one-off."""
        return self.run.schedule

    @property
    def text(self) -> str:
        """What happened, in a sentence: for a mail or a message."""
        name = self.job if self.schedule in (None, self.job) else f"{self.job} ({self.schedule})"
        times = "once" if self.in_a_row == 1 else f"{self.in_a_row} times in a row"
        since = "" if self.in_a_row == 1 else f", since {self.since:%Y-%m-%d %H:%M:%S} UTC"
        if self.recovered:
            return f"{name} succeeded again, after it had failed {times}{since}"
        what = f"{self.run.error_type}: {self.run.message}" if self.run.error_type else self.run.why
        return f"{name} {_VERBS[self.run.state]} {times}{since}: {what}"


_VERBS = {"failed": "failed", "timed_out": "timed out", "lost": "was lost"}

Hook = Callable[[Failure], Awaitable[Any] | Any]


class OnFailure:
    """Calls a function whenever a run fails, and when the first one succeeds again.

    The function hears of each failure that is final, after the last attempt, whichever instance had it. Of
    several instances the one that recorded the end calls it. A plain function is called in a thread.

    Args:
        hook: a function that takes a :class:`Failure`, ``async def`` or ``def``.

    """

    wants: tuple[type[Event], ...] = (RunSucceeded, RunUnsuccessful)

    def __init__(self, hook: Hook) -> None:
        self.hook = hook
        self.lost = 0
        self._async = is_coroutine_function(hook)
        self._figures: Figures | None = None
        self._failing: set[tuple[str, str | None, bool]] = set()

    def attach(self, figures: Figures) -> None:
        """Take the scheduler's figures, for the failures before this one."""
        self._figures = figures

    def accepts(self, event: Event) -> bool:
        """Return whether this is a failure, or may be the success after one."""
        if not isinstance(event, RunFinished):
            return False
        run = event.run
        if run.state in FAILURES:
            if len(self._failing) < REMEMBERED:
                self._failing.add(_key(run))  # known before the success that may follow at once
            return True
        return run.state == "succeeded" and (_key(run) in self._failing or self._known_failing(run))

    def _known_failing(self, run: Run) -> bool:
        """Whether the store had counted failures of the run's schedule when the run was claimed."""
        if run.schedule is None or run.origin != "schedule" or self._figures is None:
            return False
        record = self._figures.schedule(run.schedule)
        return record is not None and record.failures > 0

    async def __call__(self, event: Event) -> None:
        """Count the failures in a row, and call the hook."""
        assert isinstance(event, RunFinished)
        run = event.run
        recovered = run.state == "succeeded"
        row = await self._row(run)
        if recovered:
            self._failing.discard(_key(run))
            if not row:
                return
        else:
            row = [run, *row]
        failure = Failure(run, len(row), row[-1].finished_at or event.at, recovered)
        if self._async:
            await self.hook(failure)
        else:
            await anyio.to_thread.run_sync(self.hook, failure)

    async def _row(self, run: Run) -> list[Run]:
        """Return the failures in a row that ended before this run, the latest first."""
        if self._figures is None:
            return []
        query = RunQuery(
            job=run.job, schedule=run.schedule, states=(*FAILURES, "succeeded"), limit=COUNTED,
            origin="schedule" if run.origin == "schedule" else None,
        )  # fmt: skip
        ended = run.finished_at
        before = [
            one
            for one in await self._figures.runs(query)
            if _key(one) == _key(run) and one.id != run.id and _until(one, ended)
        ]
        before.sort(key=lambda one: (one.finished_at, one.id), reverse=True)
        row: list[Run] = []
        for one in before:
            if one.state == "succeeded":
                break
            row.append(one)
        counted = await self._counted(run)
        return row[: counted - (run.state in FAILURES)] if counted else row

    async def _counted(self, run: Run) -> int:
        """Return the failures in a row that the schedule counts, which begin anew at a resume; 0 if it counts none."""
        if run.origin != "schedule" or run.schedule is None or self._figures is None:
            return 0
        return max((one.failures for one in await self._figures.read_schedules((run.schedule,))), default=0)

    def __repr__(self) -> str:
        return f"<OnFailure {path_of(self.hook)}>"


def _key(run: Run) -> tuple[str, str | None, bool]:
    return run.job, run.schedule, run.origin == "schedule"


def _until(run: Run, moment: datetime | None) -> bool:
    return run.finished_at is not None and (moment is None or run.finished_at <= moment)
