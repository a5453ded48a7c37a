"""The engine of a worker: it plans the schedules that are due, and claims the runs that are ready.

:meth:`Engine.turn` is one step of it. :mod:`asyncsched._core.rules.due` decides which slots run, which are lost
and which slot comes next; the store's claim writes the decision, in one transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from asyncsched._backends.clock import LONGEST_NAP
from asyncsched._core.events import SlotsSkipped
from asyncsched._core.instants import SECOND, Now
from asyncsched._core.jobs import Job, permits_of
from asyncsched._core.mapping import skipped_event
from asyncsched._core.records import Permit, RunRecord, ScheduleRecord, Stretch
from asyncsched._core.requests import Claim, Claimed, Firing
from asyncsched._core.rules.due import Slot, plan
from asyncsched._engine.clock_steps import Steps, plan_again
from asyncsched._engine.ended import forget_missing, tell_ended

if TYPE_CHECKING:
    from asyncsched._backends.clock import Timeline
    from asyncsched._engine.agenda import Agenda
    from asyncsched._engine.environment import Environment
    from asyncsched._engine.pipeline import Runnable
    from asyncsched.abc import Store

logger = logging.getLogger("asyncsched.scheduler")

AT_ONCE = 64
"""The most firings and starts of one turn, after which other tasks get their turn: about 1 ms."""

IN_ONE_WRITE = 256
"""The same under a durable store, where every turn waits for a transaction."""


class Engine:
    """Fires the schedules of one store, and claims its runs.

    Args:
        store: the ledger.
        timeline: its time.
        environment: the scheduler's shared parts.
        agenda: the due times.
        jobs: the jobs that this scheduler can run, by name.
        draining: tells whether no more runs are to be begun.

    """

    def __init__(
        self,
        store: Store,
        timeline: Timeline,
        environment: Environment,
        agenda: Agenda,
        jobs: Mapping[str, Runnable],
        draining: Callable[[], bool],
    ) -> None:
        self._store = store
        self._timeline = timeline
        self._clock = environment.clock
        self._bus = environment.bus
        self._ids = environment.ids
        self._free = environment.capacity.free
        self._held = environment.capacity.held
        self._agenda = agenda
        self._jobs = jobs
        self._draining = draining
        self._at_once = IN_ONE_WRITE if store.durable else AT_ONCE
        self._steps = Steps(environment.clock, timeline, agenda.notify, seen=not store.durable)
        self.holder = environment.ids.instance
        """The incarnation that claims the runs."""
        self.busy = False
        """Whether more schedules or runs are due already, so that the next turn comes without a sleep."""

    async def turn(self) -> Claimed | None:
        """Fire the schedules that are due and claim the runs that are ready; ``None`` if there were none."""
        self.busy = False
        now = self._timeline.now()
        if (step := self._steps.check(now)) is not None:
            await plan_again(step, self._steps, self._agenda, self._store, self._bus, now)
        if self._draining():
            return None
        firings = self._firings(now)
        if not (firings or self._agenda.has_ready_runs(now)):
            return None
        self._agenda.claim_begins()
        jobs = self._agenda.claimable(self._jobs, self._held(), now)
        try:
            claimed = await self._store.claim(
                Claim(self.holder, firings, self._free, self._at_once, jobs), now
            )
        except BaseException:
            self._agenda.claim_failed()
            # The schedules are due still: as far as is known, they were not moved on.
            self._agenda.follow(self._agenda.schedules[firing.schedule] for firing in firings)
            raise
        self._agenda.claim_answered(claimed, now)
        self._agenda.follow(claimed.schedules)
        if len(claimed.schedules) < len(firings):
            forget_missing(firings, claimed, self._agenda)
        if claimed.ended:
            tell_ended(claimed.ended, self._bus, now)
        if claimed.skipped and self._bus.wants(SlotsSkipped):
            for stretch in claimed.skipped:
                self._bus.emit(skipped_event(stretch, now, self._agenda.schedules[stretch.schedule].job))
        if claimed.more:
            self._agenda.notified = True  # the runs that are left are ready: no due time announces them again
        self.busy = claimed.more or len(firings) >= self._at_once or self._agenda.has_ready_runs(now)
        return claimed

    def wake_at(self) -> float:
        """Return the loop's time at which the next turn is due."""
        seconds = self._steps.nap
        if not self._draining():
            seconds = min(seconds, self._agenda.wait(self._timeline.now()))
        # Due times are whole microseconds, and so is the wake: a float's last bit would make it late.
        return round(self._clock.monotonic() + seconds, 6)

    def close(self) -> None:
        """Unsubscribe from a clock that announces its steps."""
        self._steps.close()

    # ── firings ──────────────────────────────────────────────────────────────────────────────

    def _firings(self, now: Now) -> list[Firing]:
        firings: list[Firing] = []
        for record in self._agenda.take_due(now, self._at_once):
            runnable = self._jobs.get(record.job)
            if runnable is not None and (firing := self._fire(record, runnable.job, now)) is not None:
                firings.append(firing)
        return firings

    def _fire(self, record: ScheduleRecord, job: Job, now: Now) -> Firing | None:
        at = now[record.steady]
        try:
            slots, lost, cursor, upcoming = plan(record, job.misfire, at)
            permits = permits_of(record, job)
        except Exception:
            # A user's trigger that raises must stop no other schedule.
            logger.exception("schedule %r: its trigger failed; it is called again in 30 s", record.id)
            self._agenda.put(record, at + round(LONGEST_NAP * SECOND))
            return None
        runs = [self._run(record, job, slot, permits, now) for slot in slots]
        stretch = None if lost is None else Stretch(record.id, *lost[:3], "missed", lost.exact)
        slot, due = upcoming or (None, None)
        return Firing(
            record.id, record.revision, runs, stretch, cursor, slot, due, job.overlap, len(runs) > 1
        )

    def _run(
        self, record: ScheduleRecord, job: Job, slot: Slot, permits: tuple[Permit, ...], now: Now
    ) -> RunRecord:
        run = RunRecord(
            self._ids.next(now.wall),
            job.name,
            slot[1],
            record.steady,
            job.executor,
            job.priority,
            record.arguments,
            job.tags + record.tags if record.tags else job.tags,
            job.attempts,
            record.id,
            "schedule",
            slot[0],
        )
        if permits:
            run.permits = permits
        return run
