"""The consequences of a recorded end: the place is freed, handles wake, observers hear an event, it is counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from asyncsched._core.events import RunFenced, RunSucceeded, RunUnsuccessful, RunWaits, SchedulePaused
from asyncsched._core.instants import SECOND, Now, to_datetime
from asyncsched._core.jobs import Job
from asyncsched._core.records import RunRecord
from asyncsched._core.requests import Verdict
from asyncsched._core.rules.outcome import UNFIT
from asyncsched._engine.bookkeeper import Bookkeeper

if TYPE_CHECKING:
    from asyncsched._backends.clock import Timeline
    from asyncsched._engine.agenda import Agenda
    from asyncsched._engine.environment import Environment
    from asyncsched.abc import Store

LEFT_FOR = 5 * SECOND
"""How long an instance leaves a job alone after a run of it whose arguments another instance may read."""


class Endings:
    """Frees places, wakes handles and tells observers when attempts and runs have ended.

    Args:
        store: the ledger.
        timeline: the store's time.
        environment: the scheduler's shared parts.
        agenda: follows a schedule that paused itself after failures.
        let_go: called with a job's name when a run of the job has its outcome.

    """

    def __init__(
        self,
        store: Store,
        timeline: Timeline,
        environment: Environment,
        agenda: Agenda,
        let_go: Callable[[str], None],
    ) -> None:
        self._timeline = timeline
        self._bus = environment.bus
        self._waiters = environment.waiters
        self._capacity = environment.capacity
        self._agenda = agenda
        self._let_go = let_go
        self.books = Bookkeeper(store, timeline, environment, agenda.schedules)

    def attempt_ended(self, run: RunRecord) -> None:
        """Free the place of an attempt without a record: another instance holds the run now."""
        self._capacity.give_back(run.executor)
        self._fenced(run, None)

    def recorded(self, run: RunRecord, verdict: Verdict, now: Now, job: Job, held: bool) -> None:
        """Free an attempt's place; tell handles and observers of its end if that end is in the ledger.

        Args:
            run: the run, as it stands after the attempt.
            verdict: how the attempt ended.
            now: when it ended.
            job: the run's job.
            held: whether this instance still held the run, so that the end was recorded.

        """
        self._capacity.give_back(run.executor)
        if verdict.paused is not None:
            self._agenda.follow((verdict.paused,))
            if self._bus.wants(SchedulePaused):
                at = to_datetime(self._timeline.now().wall)
                self._bus.emit(SchedulePaused(at, verdict.paused.id, verdict.paused.note, verdict.paused.by))
        if not held:
            self._waiters.drop_frames(self._waiters.error_of(run.id))
            self._fenced(run, job)
            return
        # The row decides, not the verdict: a cancel may have been requested meanwhile.
        if run.state != "pending":
            self.run_ended(run, job)
            return
        if verdict.why == UNFIT:
            self._agenda.leave(run.job, now.steady + LEFT_FOR)
        self._waiters.notify(run.id)  # a run that waits again has changed, too
        if self._bus.wants(RunWaits):
            self._bus.emit_run(RunWaits, run, job, now.wall)

    def _fenced(self, run: RunRecord, job: Job | None) -> None:
        if self._bus.wants(RunFenced):
            self._bus.emit_run(RunFenced, run, job, self._timeline.now().wall)

    def run_ended(self, run: RunRecord, job: Job | None) -> None:
        """Tell handles and observers that a run has its outcome."""
        self._let_go(run.job)
        self.books.ended(run)
        self._waiters.notify(run.id)
        if run.state == "succeeded":
            if self._bus.wants(RunSucceeded):
                self._bus.emit_run(RunSucceeded, run, job, self._timeline.now().wall)
            return
        error = self._waiters.error_of(run.id)
        if self._bus.wants(RunUnsuccessful):
            self._bus.emit_run(RunUnsuccessful, run, job, self._timeline.now().wall, error)
        self._waiters.drop_frames(error)

    def close(self) -> None:
        """Write what was counted once more, and then no more."""
        self.books.close()
