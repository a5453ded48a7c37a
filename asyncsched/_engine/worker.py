"""A worker: one store, and the parts that fire its schedules and execute its runs.

The worker calls the engine for a turn, hands the claimed runs to the runner, and sleeps until the next due
time of the agenda. Its parts are made in order, and none of them refers to the worker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextvars import Context
from typing import TYPE_CHECKING, cast

import anyio

from asyncsched._backends.clock import ClusterTimeline, Timeline
from asyncsched._core.jobs import Declared, JobRegistry
from asyncsched._core.requests import Claimed
from asyncsched._engine.agenda import Agenda
from asyncsched._engine.backlog import Backlog
from asyncsched._engine.endings import Endings
from asyncsched._engine.engine import Engine
from asyncsched._engine.maintenance import Maintenance
from asyncsched._engine.membership import Membership
from asyncsched._engine.orphans import Orphans
from asyncsched._engine.progress import ProgressBoard
from asyncsched._engine.pulse import Pulse
from asyncsched._engine.reconcile import Reconciler
from asyncsched._engine.recorder import Recorder
from asyncsched._engine.runner import Runner
from asyncsched._engine.setbacks import Setbacks
from asyncsched._engine.timers import Timers
from asyncsched.abc import ClusterStore, Store

if TYPE_CHECKING:
    from asyncsched._engine.environment import Environment
    from asyncsched._engine.pipeline import Runnables

logger = logging.getLogger("asyncsched.scheduler")


class Worker:
    """Fires the schedules of one store and executes its runs.

    Args:
        store: the ledger.
        environment: the scheduler's shared parts.
        registry: the declarations of the code.
        jobs: the jobs that can be run here.
        draining: tells whether no more runs are to be begun.
        strict: whether memory sends arguments and results through JSON, as a durable store would.

    """

    def __init__(
        self,
        store: Store,
        environment: Environment,
        registry: JobRegistry,
        jobs: Runnables,
        draining: Callable[[], bool],
        strict: bool = False,
    ) -> None:
        self.store = store
        self.as_json = store.durable or strict
        self.ids = environment.ids
        self.capacity = environment.capacity
        self._environment = environment
        self._backend = environment.backend
        self._clock = environment.clock
        self._jobs = jobs
        self._registry = registry
        self._working = False
        self._closing = False
        self._sleeper = environment.backend.sleeper()
        self.pulse = Pulse(environment.clock)
        timeline = ClusterTimeline(environment.clock) if store.durable else Timeline(environment.clock)
        self.timeline: Timeline = timeline
        self._setbacks = Setbacks(timeline, environment.bus)
        self.agenda = Agenda(self._sleeper.wake)
        self.timers = Timers(environment.clock, environment.backend.sleeper())
        self._backlog = Backlog(self.agenda)
        self.engine = Engine(store, timeline, environment, self.agenda, jobs, draining)
        self.endings = Endings(store, timeline, environment, self.agenda, registry.let_go)
        self.recorder = Recorder(store, environment, self.endings.recorded)
        board = ProgressBoard(store, timeline, environment)
        self.runner = Runner(store, timeline, environment, self.timers, self.recorder, self.endings, board)
        self.orphans: Orphans | None = None
        if isinstance(timeline, ClusterTimeline):
            self.orphans = Orphans(cast("ClusterStore", store), timeline, environment, self.agenda, registry)
        triggers = environment.settings.triggers
        self.reconciler = Reconciler(store, timeline, registry, triggers, self.agenda, self.orphans, strict)
        self.membership: Membership | None = None
        self._maintenance: Maintenance | None = None
        if isinstance(timeline, ClusterTimeline) and environment.settings.role != "off":
            shared = cast("ClusterStore", store)
            self.membership = Membership(
                shared, environment, timeline, self.agenda, self.engine, self.runner, self.reconciler
            )
            if environment.settings.works:
                self._maintenance = Maintenance(shared, environment, timeline, self.membership)

    # ── a life ───────────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        """Open the store; join the other instances if the store is shared."""
        if isinstance(self.timeline, ClusterTimeline):
            await self._open_shared(cast("ClusterStore", self.store), self.timeline)
        else:
            await self.store.open(self.agenda.notify)

    async def _open_shared(self, store: ClusterStore, timeline: ClusterTimeline) -> None:
        store.prepare(self._clock, self.reconciler.read_trigger)
        await store.open(self.agenda.notify)
        try:
            timeline.refresh(await store.time(), self._clock.monotonic(), self._clock.monotonic())
            if self.membership is not None:
                await self.membership.join()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await store.close()
            raise

    async def declare(self, declared: Iterable[Declared]) -> None:
        """Write the code's schedules into the store."""
        me = 0 if self.membership is None else self.membership.me.incarnation
        if me:
            await self.reconciler.declare(me)
        if not self.store.durable:
            now = self.timeline.now()
            for one in declared:
                await self.store.put_schedule(self.reconciler.new_schedule(one, now), 0, now)
        if self.membership is not None:
            await self.membership.catch_up()
        else:
            self.agenda.follow(await self.store.schedules())
        if self.store.durable:
            await self.reconciler.members_changed(me, await cast("ClusterStore", self.store).instances())
        self.agenda.notify()  # the worker may be asleep already: an eager task begins before this

    def begin(self) -> None:
        """Begin heartbeats, if the store is shared, and begin to fire and run, if that is the role."""
        if self.membership is not None:
            self.membership.begin(self.pulse)
        if self._environment.settings.works:
            self._working = True
            self._environment.capacity.subscribe(self.agenda.notify)
            self._backend.spawn(self.timers.serve(), Context())
            self._backend.spawn(self._serve(), self._environment.context.copy())
        if self._maintenance is not None:
            self._maintenance.begin()

    def stop(self) -> None:
        """Begin no more runs, those of a claim under way included. Idempotent."""
        if self._working:
            self._working = False
            self._environment.capacity.unsubscribe(self.agenda.notify)
        self._closing = True
        self.engine.close()
        self._sleeper.wake()

    def close(self) -> None:
        """Stop all parts; outcomes that the store has not accepted are sent once more."""
        self.stop()
        self.recorder.last_call()
        for part in (self.timers, self.endings, self.membership, self._maintenance):
            if part is not None:
                part.close()

    async def leave(self) -> None:
        """Leave the other instances, if the store is shared."""
        if self.membership is not None:
            await self.membership.leave()

    def knows(self, job: str) -> bool:
        """Whether a living instance knows a job, so that its work can be done."""
        return job in self._registry.jobs if self.orphans is None else self.orphans.knows(job)

    # ── the loop ─────────────────────────────────────────────────────────────────────────────

    async def _serve(self) -> None:
        """Take turns until :meth:`stop`. A failure of one turn is logged, and the next turn comes."""
        while not self._closing:
            self.pulse.tick()
            try:
                claimed = await self.engine.turn()
                # Runs that were claimed too late are left to the other instances.
                if claimed is not None and not self._closing:
                    self._take(claimed)
            except Exception as error:
                await self._back_off(error)
                continue
            self._setbacks.over()
            if self.engine.busy:
                await self._backend.pause()
            elif not self._closing:
                await self._sleeper.until(self.pulse.promise(self.engine.wake_at()))

    def _take(self, claimed: Claimed) -> None:
        """Start the claimed runs, and pass on the cancels and the ends that the claim brought."""
        holder, jobs = self.engine.holder, self._jobs
        # None is still held, if this instance was declared dead meanwhile.
        held = [run for run in claimed.runs if run.holder == holder]
        self._environment.capacity.take_for(held)
        self.runner.start(held, jobs)
        self._backlog.look(held)
        for run_id, why in claimed.cancel_requests:
            self.runner.cancel(run_id, why)
        for run in claimed.dropped:
            self.endings.run_ended(run, jobs[run.job].job if run.job in jobs else None)

    async def _back_off(self, error: Exception) -> None:
        """Pause after a turn that failed."""
        self.agenda.notified = True
        until = self._clock.monotonic() + self._setbacks.pause_after(error)
        while not self._closing and self._clock.monotonic() < until:
            await self._sleeper.until(until)
