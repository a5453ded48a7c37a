"""The loop: sleep until something is due, plan, claim, start.

One sleeper for the earliest due time. What was not due after all is slept for again, so an early
wake-up never runs a slot twice; no sleep is longer than 30 s, so a step of the wall clock, a
suspend or a resume is noticed within that.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from asyncsched._backends.clock import LONGEST_NAP
from asyncsched._core.errors import StoreUnavailable
from asyncsched._core.events import ClockStepped, SchedulePaused, SlotsSkipped
from asyncsched._core.instants import SECOND, Instant, Now, to_datetime
from asyncsched._core.jobs import Job, arguments_of
from asyncsched._core.records import Permit, RunRecord, ScheduleRecord, Stretch
from asyncsched._core.requests import Claim, Claimed, Fenced, Firing, Verdict
from asyncsched._core.rules.due import Slot, plan
from asyncsched._engine.clock_steps import Steps, replan
from asyncsched._engine.pipeline import Runnable

if TYPE_CHECKING:
    from asyncsched._backends.base import Backend, Sleeper
    from asyncsched._backends.clock import Timeline
    from asyncsched._core.ids import RunIds
    from asyncsched._engine.capacity import Capacity
    from asyncsched._engine.event_bus import EventBus
    from asyncsched._engine.runner import Runner
    from asyncsched._engine.timers import Timers
    from asyncsched.abc import Clock, Store

logger = logging.getLogger("asyncsched.scheduler")

APART = 10_000
"""Microseconds between two instances that want to fire the same schedules. If all of them came at the due time
itself, they would be in each other's way. Who is first differs from one due time to the next."""

_MOST_APART = 3
_MIX = 0x9E3779B97F4A7C15  # Knuth's multiplicative hashing: The Art of Computer Programming, 6.4

AT_ONCE = 64
"""How many firings and starts one turn of the loop does before others get their turn: about 1 ms."""

IN_ONE_WRITE = 256
"""The same under a durable store, where every turn is a transaction that is waited for."""


class Engine:
    """Keeps the schedules of one store on time."""

    def __init__(
        self,
        store: Store,
        timeline: Timeline,
        clock: Clock,
        bus: EventBus,
        backend: Backend,
        sleeper: Sleeper,
        timers: Timers,
        capacity: Capacity,
        ids: RunIds,
        jobs: Mapping[str, Runnable],
        holder: int,
        stopping: Callable[[], bool],
    ) -> None:
        self._store = store
        self._timeline = timeline
        self._clock = clock
        self._bus = bus
        self._backend = backend
        self._sleeper = sleeper
        self._timers = timers
        self._capacity = capacity
        self._ids = ids
        self._jobs = jobs
        self._at_once = IN_ONE_WRITE if store.durable else AT_ONCE
        self.holder = holder
        self._stopping = stopping
        self.runner: Runner
        self.put_back: Callable[[ScheduleRecord, int], Awaitable[ScheduleRecord | None]] | None = None
        """Puts back the row of a schedule that the code declares; for a store that others can write to."""
        self.schedules: dict[str, ScheduleRecord] = {}
        # Due time, a number so that comparing two ends there, and whose entry of which revision it is.
        self._heaps: dict[bool, list[tuple[Instant, int, str, int]]] = {False: [], True: []}
        self._entries = count()
        self._steps = Steps(clock, timeline, sleeper.wake, seen=not store.durable)
        self._notified = True
        self._closing = False
        self._failures = 0
        self.works = False
        self.place: tuple[int, int] = (0, 1)
        """Which of how many instances that fire schedules this is."""
        self._wall: Instant | None = None  # when the store's earliest pending run is ready,
        self._steady: Instant | None = None  # on each timeline
        capacity.on_free(self.notify)

    # ── what others tell it ──────────────────────────────────────────────────────────────────

    def notify(self) -> None:
        """Something may be due earlier than was known. From the loop's thread."""
        self._notified = True
        self._sleeper.wake()

    def added(self, run: RunRecord) -> None:
        """Hear of a run; wake only if it is pending, and earlier than what is slept for."""
        if run.ready_at is None or run.state != "pending":
            return
        known = self._steady if run.steady else self._wall
        if known is None or run.ready_at < known:
            if run.steady:
                self._steady = run.ready_at
            else:
                self._wall = run.ready_at
            self._sleeper.wake()

    def expect(self, earliest: Instant | None) -> None:
        """Hear when the store's first pending run is ready; claim if that is sooner than was known."""
        known = [at for at in (self._wall, self._steady) if at is not None]  # a cluster has one timeline
        if earliest is not None and (not known or earliest < min(known)):
            self.notify()

    def follow(self, records: Iterable[ScheduleRecord]) -> None:
        """Take these schedules as they stand now."""
        for record in records:
            self.schedules[record.id] = record
            if record.next_due is not None and not record.dormant:
                self._fire_at(record, record.next_due)

    def _fire_at(self, record: ScheduleRecord, at: Instant) -> None:
        at += self._after_others(at)
        heappush(self._heaps[record.steady], (at, next(self._entries), record.id, record.revision))

    def _after_others(self, due: Instant) -> int:
        """Return how many microseconds those are given who come before us at a due time."""
        place, instances = self.place
        if instances == 1:
            return 0
        return APART * min((place + (due * _MIX >> 40)) % instances, _MOST_APART)

    def forget(self, id: str) -> None:
        """Fire this schedule no more."""
        self.schedules.pop(id, None)

    def close(self) -> None:
        """Begin nothing more."""
        self._closing = True
        self._steps.close()
        self._sleeper.wake()

    # ── the loop ─────────────────────────────────────────────────────────────────────────────

    async def serve(self) -> None:
        """Run until :meth:`close`. A failure of one turn is logged, and the next turn comes."""
        while not self._closing:
            try:
                busy = await self._turn()
            except Exception as error:
                await self._back_off(error)
                continue
            self._failures = 0
            if busy:
                await self._backend.pause()
            elif not self._closing:
                await self._sleeper.until(self._wake_at(self._timeline.now()))

    async def _back_off(self, error: Exception) -> None:
        """After a turn that failed: go on a little later, and later still while the store is away."""
        away = isinstance(error, (StoreUnavailable, Fenced))
        if not away:
            logger.error("a turn of the scheduler failed; it goes on in a second", exc_info=error)
        elif not self._failures:
            logger.warning("nothing is begun while the store does not take it: %s", error)
        pause = min(0.1 * 2**self._failures, 2.0) if away else 1.0
        self._failures = min(self._failures + 1, 10)
        self._notified = True
        until = self._clock.monotonic() + pause
        while not self._closing and self._clock.monotonic() < until:
            await self._sleeper.until(until)

    async def _turn(self) -> bool:
        """Do what is due now. Returns whether more is due already."""
        self._timers.run_due(self._clock.monotonic())
        now = self._timeline.now()
        await self._notice_step(now)
        if self._stopping():
            return False
        firings = self._firings(now)
        if not (firings or self._notified or _due(self._wall, now.wall) or _due(self._steady, now.steady)):
            return False
        self._notified = False
        self._wall = self._steady = None  # not known on the way: what is heard of then is claimed after it
        claim = Claim(self.holder, firings, self._capacity.free, self._at_once, self._jobs)
        try:
            claimed = await self._store.claim(claim, now)
        except BaseException:
            # As far as we know they were not moved on, so they are due still.
            self.follow(self.schedules[firing.schedule] for firing in firings)
            raise
        if self._closing:
            return False  # the answer came too late: what it brings is begun by somebody else
        self._take(claimed)
        if len(claimed.schedules) < len(firings) and self.put_back is not None:
            stand = {record.id for record in claimed.schedules}
            await self._put_back([firing.schedule for firing in firings if firing.schedule not in stand])
        if claimed.more:
            self._notified = True  # what is left is ready: no due time will say so again
        later = _due(claimed.next_wall, now.wall) or _due(claimed.next_steady, now.steady)
        return claimed.more or later or len(firings) >= self._at_once

    def _take(self, claimed: Claimed) -> None:
        """Start what was won, and know what comes next."""
        self._wall, self._steady = claimed.next_wall, claimed.next_steady
        self.follow(claimed.schedules)
        ours = [run for run in claimed.runs if run.holder == self.holder]  # none if we are dead by now
        for run in ours:
            self._capacity.take(run.executor)
        self.runner.start((run, self._jobs[run.job]) for run in ours)
        for run_id, why in claimed.cancel_requests:
            self.runner.cancel(run_id, why)
        for run in claimed.dropped:
            self.runner.ended(run, self._jobs[run.job].job if run.job in self._jobs else None)
        if claimed.skipped and self._bus.wants(SlotsSkipped):
            for stretch in claimed.skipped:
                self._bus.emit(_skipped(stretch, self._timeline.now()))

    async def _put_back(self, ids: Iterable[str]) -> None:
        """See to schedules that were due, and whose rows are gone or cannot be read."""
        assert self.put_back is not None
        gone = [self.schedules[id] for id in ids if id in self.schedules]
        self.follow(gone)  # due again, should the store not answer now
        for record in gone:
            stands = await self.put_back(record, self.holder)
            if stands is None:
                self.forget(record.id)
            else:
                self.follow((stands,))

    def done(self, run: RunRecord, verdict: Verdict | None) -> None:
        """Hear that an attempt has ended: its seat is free, and its schedule may have been paused."""
        self._capacity.give_back(run.executor)
        record = None if verdict is None else verdict.paused
        if record is not None:
            self.follow((record,))
            if self._bus.wants(SchedulePaused):
                at = to_datetime(self._timeline.now().wall)
                self._bus.emit(SchedulePaused(at, record.id, record.note, record.by))

    # ── what is due ──────────────────────────────────────────────────────────────────────────

    def _firings(self, now: Now) -> list[Firing]:
        firings: list[Firing] = []
        for steady, at in ((False, now.wall), (True, now.steady)):
            heap = self._heaps[steady]
            while heap and heap[0][0] <= at and len(firings) < self._at_once:
                _, _, id, revision = heappop(heap)
                record = self.schedules.get(id)
                if record is None or record.revision != revision:
                    continue  # it has changed since; its new entry is in the heap
                runnable = self._jobs.get(record.job)
                if runnable is not None and (firing := self._fire(record, runnable, at, now)):
                    firings.append(firing)
        return firings

    def _fire(self, record: ScheduleRecord, runnable: Runnable, at: Instant, now: Now) -> Firing | None:
        job = runnable.job
        try:
            planned = plan(record, job.misfire, at)
            arguments = arguments_of(record, job) if job.limits else None
            permits = job.permits(arguments) if arguments is not None else ()
        except Exception:
            # A user's trigger that raises must stop nobody else's. It is tried again at the next nap.
            logger.exception("schedule %r: its trigger failed; it is asked again in 30 s", record.id)
            self._fire_at(record, at + round(LONGEST_NAP * SECOND))
            return None
        slots, lost, cursor, upcoming = planned
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
            executor=job.executor,
            schedule=record.id,
            origin="schedule",
            slot=slot[0],
            steady=record.steady,
            priority=job.priority,
            arguments=record.arguments,
            tags=job.tags + record.tags if record.tags else job.tags,
            max_attempts=job.attempts,
        )
        if permits:
            run.permits = permits
        return run

    # ── when to wake ─────────────────────────────────────────────────────────────────────────

    def _wake_at(self, now: Now) -> float:
        """Return the loop's time at which to look again."""
        naps = [self._steps.nap]
        if self._notified and not self._stopping():
            return 0.0
        if not self._stopping():
            for steady, at, pending in ((False, now.wall, self._wall), (True, now.steady, self._steady)):
                heap = self._heaps[steady]
                if heap:
                    naps.append((heap[0][0] - at) / SECOND)
                if pending is not None and pending > at:
                    naps.append((pending - at) / SECOND)
        monotonic = self._clock.monotonic()
        # Due times are whole microseconds, and so is the wake: a float's last bit would make it late.
        deadline = round(monotonic + max(0.0, min(naps)), 6)
        timer = self._timers.peek()
        return deadline if timer is None else min(deadline, timer)

    async def _notice_step(self, now: Now) -> None:
        """Plan the schedules of the wall clock again when it was moved, and once at the start."""
        step = self._steps.check(now)
        if step is None:
            return
        names = await replan(list(self.schedules.values()), self._store, step, now, self.follow)
        heap = self._heaps[False]
        if len(heap) > 2 * len(self.schedules) + 64:
            heap[:] = [entry for entry in heap if self._current(entry)]
            heapify(heap)
        self._steps.met(step)
        if step.first:
            return  # what the store's clock says was not known before
        log = logger.warning if names else logger.info
        log(
            "the wall clock was moved by %+.3f s; %d schedules were planned again",
            step.by / SECOND,
            len(names),
        )
        if self._bus.wants(ClockStepped):
            self._bus.emit(ClockStepped(to_datetime(now.wall), timedelta(microseconds=step.by), names))

    def _current(self, entry: tuple[Instant, int, str, int]) -> bool:
        record = self.schedules.get(entry[2])
        return record is not None and record.revision == entry[3]


def _due(at: Instant | None, now: Instant) -> bool:
    return at is not None and at <= now


def _skipped(stretch: Stretch, now: Now) -> SlotsSkipped:
    return SlotsSkipped(
        to_datetime(now.wall),
        stretch.schedule,
        to_datetime(stretch.first),
        to_datetime(stretch.last),
        stretch.count,
        stretch.exact,
        stretch.reason,
    )
