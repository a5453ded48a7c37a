"""One store with its engine and its runner, and the desk that the handles of its runs turn to."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast

import anyio

from asyncsched._backends.clock import ClusterTimeline, Timeline
from asyncsched._core.errors import ArgumentError, ConfigurationError, SchedulerClosed, StoreUnavailable
from asyncsched._core.instants import Instant, Now, to_instant, to_micros
from asyncsched._core.jobs import Job
from asyncsched._core.records import InstanceRecord, RunRecord
from asyncsched._core.version import VERSION
from asyncsched._engine.engine import Engine
from asyncsched._engine.lookup import run_of_id
from asyncsched._engine.membership import Membership
from asyncsched._engine.progress import ProgressBoard
from asyncsched._engine.reconcile import Reconciler, new_schedule
from asyncsched._engine.runner import Runner
from asyncsched._engine.timers import Timers
from asyncsched.abc import ClusterStore, Store

if TYPE_CHECKING:
    from asyncsched._core.jobs import Declared
    from asyncsched._engine.runtime import Runtime


class Worker:
    """One store with its engine and its runner. A scheduler has one, and a second for local work."""

    def __init__(self, runtime: Runtime, store: Store) -> None:
        self.store = store
        self.runtime = runtime
        clock, backend = runtime.clock, runtime.backend
        self.timeline = (ClusterTimeline if store.durable else Timeline)(clock)
        sleeper = backend.sleeper()
        self.timers = timers = Timers(sleeper.wake)
        self.engine = Engine(
            store, self.timeline, clock, runtime.bus, backend, sleeper, timers, runtime.capacity, runtime.ids,
            runtime.runnables, runtime.ids.instance, runtime.is_draining,
        )  # fmt: skip
        self.runner = Runner(
            store, self.timeline, clock, runtime.bus, backend, timers, runtime.context, self.engine.done,
            runtime.watcher,
        )  # fmt: skip
        self.engine.runner = self.runner
        self.board = ProgressBoard(store, self.timeline, clock, runtime.bus, backend)
        self.runner.progressed = self.board.changed
        self.runner.let_go = runtime.registry.let_go
        self.control = WorkerRunControl(runtime, self)
        self.membership: Membership | None = None
        self._reconciler = Reconciler(store, self.timeline, runtime.registry)
        if store.durable:
            self.engine.put_back = self._reconciler.put_back

    async def open(self) -> None:
        """Open the store; one that is shared, as one instance among others."""
        if not self.store.durable:
            await self.store.open(self.engine.notify)
            return
        store = cast("ClusterStore", self.store)
        store.prepare(self.runtime.clock, self._reconciler.read_trigger)
        await store.open(self.engine.notify)
        try:
            await self._join(store)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await store.close()
            raise

    async def _join(self, store: ClusterStore) -> None:
        runtime, timeline = self.runtime, cast("ClusterTimeline", self.timeline)
        timeline.refresh(await store.time(), runtime.clock.monotonic(), runtime.clock.monotonic())
        if runtime.role == "off":
            return
        jobs = {name for name, job in runtime.registry.jobs.items() if not job.each_instance}
        me = InstanceRecord(
            runtime.ids.instance, socket.gethostname(), os.getpid(), VERSION, runtime.role,
            frozenset(jobs), frozenset(one.id for one in self._reconciler.declared()),
        )  # fmt: skip
        self.membership = Membership(
            store, timeline, runtime.clock, runtime.bus, runtime.backend, self.engine, self.runner, me,
            runtime.ids.incarnation, self._reconciler.members_changed,
        )  # fmt: skip
        await self.membership.join()

    def begin(self) -> None:
        """Begin to fire and to run."""
        self.engine.works = True
        self.runtime.backend.spawn(self.engine.serve(), self.runtime.context.copy())

    async def leave(self) -> None:
        """Let the other instances go on without this one."""
        if self.membership is not None:
            await self.membership.leave()

    async def declare(self, declared: Iterable[Declared]) -> None:
        """Bring the code's schedules into the store."""
        if self.membership is not None:
            me = self.membership.me.incarnation
            await self._reconciler.declare(me)
            await self._reconciler.members_changed(me, await self.membership.members())
        if not self.store.durable:
            now = self.timeline.now()
            for one in declared:
                await self.store.put_schedule(
                    new_schedule(one, self.store, now, strict=self.runtime.strict), 0, now
                )
        self.engine.follow(await self.store.schedules())
        self.engine.notify()  # it may be asleep already: where tasks begin at once, it was before us


class WorkerRunControl:
    """Looks after single runs of one line."""

    __slots__ = ("_runtime", "_worker")

    def __init__(self, runtime: Runtime, worker: Worker) -> None:
        self._runtime = runtime
        self._worker = worker

    async def query(self, run_id: int) -> RunRecord | None:
        return await self._answer(run_of_id(self._worker.store, run_id))

    def job_of(self, name: str) -> Job | None:
        return self._runtime.registry.jobs.get(name)

    def watch(self, run_id: int) -> tuple[anyio.Event, Callable[[], None]]:
        return self._runtime.bus.wait_for(run_id)

    async def cancel(self, run_id: int, why: str) -> RunRecord | None:
        before = await self.query(run_id)
        if before is None:
            return None  # nor would a write find it, which may have to wait for somebody's transaction
        lived, now, runner = before.live, self._worker.timeline.now(), self._worker.runner
        record = await self._answer(self._worker.store.cancel(run_id, why, now))
        if record is not None and record.state == "running":
            runner.cancel(run_id, why)
        elif record is not None and lived and record.finished_at == now.wall and run_id not in runner.known():
            runner.ended(record, self.job_of(record.job))  # by us: else whoever executed it tells
        return record

    async def move(self, run_id: int, when: tuple[Instant, bool]) -> RunRecord | None:
        if self.closed():
            raise _gone(self._worker.store)
        record = await self._answer(self._worker.store.move(run_id, *when, self._worker.timeline.now()))
        if record is not None and record.state == "pending":
            self._worker.engine.added(record)
        return record

    def when(
        self, delay: float | timedelta | None, at: datetime | None, now: Now | None = None
    ) -> tuple[Instant, bool]:
        """Return a due time, and whether it stands on the steady timeline."""
        now = now or self._worker.timeline.now()
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

    async def _answer(self, asked: Awaitable[RunRecord | None]) -> RunRecord | None:
        """Return the store's answer, or say that it was closed with the scheduler."""
        try:
            return await asked
        except StoreUnavailable:
            if self.closed():
                raise _gone(self._worker.store) from None
            raise

    def error_of(self, run_id: int) -> BaseException | None:
        return self._runtime.bus.error_of(run_id)

    def closed(self) -> bool:
        return self._runtime.bus.closed


def _gone(store: Store) -> SchedulerClosed:
    if not store.durable:
        return SchedulerClosed("the scheduler has been closed, and its runs ended with it")
    return SchedulerClosed(
        "the scheduler has been closed, and its store with it; the run is kept there: when a scheduler runs "
        "again, ask by its handle(run_id)"
    )
