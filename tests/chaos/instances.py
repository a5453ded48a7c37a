"""Several instances in one thread: the real keeper over the real transactions, with faults at each step.

Nothing here waits: a store's call is done at once in its own transaction on one SQLite connection, so
that the keeper's coroutines run by being sent ``None``, in whatever order the test wants. Each
instance has a monotonic clock of its own.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from asyncsched._backends.clock import SystemClock
from asyncsched._core.errors import StoreUnavailable
from asyncsched._core.instants import SECOND, Instant, Now
from asyncsched._core.records import InstanceRecord, Permit, RunRecord, ScheduleRecord
from asyncsched._core.requests import Claim, Ending, Fenced, Firing, Verdict, Watch
from asyncsched._engine.maintenance import Maintenance
from asyncsched._engine.membership import Membership
from asyncsched._engine.worker import Worker
from asyncsched.stores.sql.operations import instances as members
from asyncsched.stores.sql.operations import schedules
from asyncsched.stores.sql.operations.adding import Adding, add
from asyncsched.stores.sql.operations.claiming import Claiming, claim
from asyncsched.stores.sql.operations.recording import Recording, record
from asyncsched.stores.sql.rows import Quarantine
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.triggers.codec import trigger_from_json, trigger_to_json
from asyncsched.triggers.interval import Interval

PERIOD = 3 * SECOND
LIMIT = Permit("k", 2)
EPOCH = 1_700_000_000 * SECOND


class Ledger:
    """The one database, and the store's time."""

    def __init__(self, folder: Path) -> None:
        self.at: Instant = EPOCH
        self.up = True
        self.numbers = 0
        self.instances: dict[int, Instance] = {}
        self.wrong: list[str] = []
        triggers: Any = lambda id, spec, anchor: trigger_from_json(json.loads(spec)).anchored(anchor)  # noqa: E731
        store = SqliteStore(folder / "l.db")
        store.prepare(SystemClock(time.monotonic), triggers)
        self.session = store._make_session(Quarantine(), True)
        store._prepare(self.session)
        self.session.execute("PRAGMA synchronous = OFF")  # nobody pulls the plug here
        trigger = Interval(seconds=PERIOD // SECOND)
        first = EPOCH + PERIOD
        row = ScheduleRecord(
            "s", "job", trigger.anchored(EPOCH), EPOCH, EPOCH - 1, first, first, arguments="{}",
            spec=json.dumps(trigger_to_json(trigger)),
        )  # fmt: skip
        self.do(schedules.put_schedule, schedules.Putting(row, 0))

    @property
    def now(self) -> Now:
        return Now(self.at, self.at)

    def do(self, operation: Callable[..., Any], *args: Any) -> Any:
        """Do something in a transaction of its own."""
        self.session.start()
        try:
            answer = operation(self.session, *args)
        except BaseException:
            self.session.rollback()
            raise
        self.session.commit()
        return answer

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.session.execute(sql).fetchall()
        return found

    def next_id(self) -> int:
        self.numbers += 1
        return (self.at // 1000 << 80) | self.numbers

    def buried(self, incarnation: int) -> None:
        """Hear that an instance was declared dead: nobody may have heard of it for a lease, by its own fault.

        Its last beat may have been due when it went away, and its next may be due when it is back.
        """
        dead = self.instances[incarnation // 1000]
        least = dead.lease - dead.beat_every - dead.poll_every
        if dead.awake and self.at - dead.back_at > SECOND:
            self.wrong.append(f"instance {dead.number} lives and was declared dead")
        if not dead.awake and dead.silent() < least:
            self.wrong.append(f"instance {dead.number} was declared dead after {dead.silent()} s")

    def close(self) -> None:
        """Close all that was begun, also if something of it fails at that."""
        with ExitStack() as stack:
            stack.callback(self.session.close)
            for instance in self.instances.values():
                for task, _ in instance.tasks:
                    stack.callback(task.close)


class Sleeper:
    """A sleep that ends when its time is looked at and has come."""

    def __init__(self) -> None:
        self.deadline = 0.0

    async def until(self, deadline: float) -> None:
        self.deadline = deadline
        await _Suspended()

    def wake(self) -> None:
        self.deadline = 0.0


class _Suspended:
    def __await__(self) -> Any:
        yield self


class Instance:
    """One instance: its keeper, what it executes, and its way to the store."""

    lease, beat_every, poll_every, timeout = 15.0, 5.0, 1.0, 5.0
    trouble = ""

    def __init__(self, ledger: Ledger, number: int, offset: float) -> None:
        self.ledger = ledger
        ledger.instances[number] = self
        self.number = number
        self.offset = offset
        self.cut_since: Instant | None = None  # since when it is frozen, cut off, or has crashed
        self.back_at: Instant = 0
        self.unheard_since: Instant | None = None  # since when, of one that is back and has not beaten yet
        self.crashed = False
        self.lose = ""  # the kind of the call whose answer will be lost
        self.delayed: Any = None  # the answer to a claim that is on its way
        self.over: list[tuple[RunRecord, Verdict]] = []
        self.lost_answers = self._confirmed = 0
        self.notified: Any = None
        self.incarnations = 0
        self._sleepers: list[Sleeper] = []
        self._current = 0
        self.next_call = ""  # what it is about to ask of the store
        self.tasks: list[tuple[Coroutine[Any, Any, None], Sleeper]] = []
        self.runner: Any = SimpleNamespace(
            endings=None, running={}, unrecorded={}, cancel_all=self._cancel_all,
            known=lambda: self.runner.running.keys() | self.runner.unrecorded.keys(),
            start=lambda runs, jobs: self.runner.running.update({run.id: run for run in runs}),
        )  # fmt: skip
        self.agenda: Any = SimpleNamespace(
            share=(0, 1),
            schedules={},
            follow=self._follow,
            expect=lambda earliest: None,
            forget=lambda id: None,
            notify=lambda: None,
        )
        self.engine: Any = SimpleNamespace(holder=0)
        here: Any = self
        self.environment: Any = SimpleNamespace(
            clock=here, backend=here, capacity=SimpleNamespace(take_for=lambda runs: None),
            waiters=SimpleNamespace(waited_for=frozenset(), notify=lambda id: None),
            ids=SimpleNamespace(instance=self._incarnation(), incarnation=self._incarnation),
            settings=SimpleNamespace(role="both"), bus=SimpleNamespace(wants=lambda kind: False),
        )  # fmt: skip
        self.membership = Membership(
            here, self.environment, here, self.agenda, self.engine, self.runner, here
        )
        self.maintenance = Maintenance(here, self.environment, here, self.membership)
        finish(self.membership.join())
        pulse: Any = SimpleNamespace(lag=0.0, woken=lambda promised: None)
        self.membership.begin(pulse)
        self.maintenance.begin()

    def _incarnation(self) -> int:
        self.incarnations += 1
        return self.number * 1000 + self.incarnations

    def _follow(self, records: Any) -> None:
        for one in records:
            self.agenda.schedules[one.id] = one

    def _cancel_all(self, why: str) -> None:
        assert why == "fenced"
        self.runner.running.clear()

    # ── what its reconciler does ─────────────────────────────────────────────────────────────

    def describe(self, incarnation: int, role: str) -> InstanceRecord:
        return InstanceRecord(incarnation, "host", self.number, "1", role, frozenset({"job"}), frozenset())

    async def members_changed(self, me: int, members: object) -> None:
        pass

    async def look_for_orphans(self, changed: bool) -> bool:
        return False

    # ── the clock, the timeline and the backend that the keeper is given ─────────────────────

    def monotonic(self) -> float:
        return (self.ledger.at - EPOCH) / SECOND + self.offset

    def hold(self) -> AbstractContextManager[None]:
        return nullcontext()

    def now(self) -> Now:
        return self.ledger.now

    def refresh(self, store_time: Instant, sent: float, received: float) -> None:
        pass

    def sleeper(self) -> Sleeper:
        self._sleepers.append(Sleeper())
        return self._sleepers[-1]

    def spawn(self, task: Coroutine[Any, Any, None], context: object) -> None:
        self.tasks.append((task, self._sleepers[len(self.tasks)]))

    @property
    def awake(self) -> bool:
        return self.cut_since is None

    def due(self) -> list[int]:
        """Return which of its tasks have slept enough; who is away has none."""
        if not self.awake:
            return []
        return [
            index for index, (_, sleeper) in enumerate(self.tasks) if sleeper.deadline <= self.monotonic()
        ]

    def step(self, index: int, in_order: bool = True) -> None:
        """Let one of its tasks go on until it waits again, for the store or for its time."""
        self._current = index
        if in_order:
            self.receive()  # the answer to an earlier claim
        self.tasks[index][0].send(None)

    # ── the store, as the keeper sees it ─────────────────────────────────────────────────────

    def ask(self, kind: str, operation: Callable[..., Any], *args: Any) -> Any:
        """Have something done, or not, and hear of it, or not."""
        if not self.awake or not self.ledger.up:
            raise StoreUnavailable("it cannot be reached")
        answer = self.ledger.do(operation, *args)
        if kind in ("beat", "join"):
            self.unheard_since = None
        if self.lose == kind:
            self.lose = ""
            self.lost_answers += kind != "poll"
            raise StoreUnavailable("no answer")
        return answer

    async def call(self, kind: str, operation: Callable[..., Any], *args: Any) -> Any:
        """Do the same for the keeper: before it is done, all others may take steps, and we may freeze."""
        self._sleepers[self._current].deadline = 0.0
        self.next_call = kind
        await _Suspended()
        self.next_call = ""
        return self.ask(kind, operation, *args)

    async def time(self) -> Instant:
        return self.ledger.at

    async def join(self, instance: InstanceRecord, now: Now) -> Any:
        return await self.call("join", members.join, members.Joining(instance, now))

    async def beat(self, incarnation: int, now: Now, lag: int = 0) -> Any:
        return await self.call("beat", members.beat, members.Beating(incarnation, now))

    async def poll(self, watch: Watch) -> Any:
        return await self.call("poll", members.poll, watch)

    async def declare_dead(self, incarnation: int, beat: int, now: Now) -> Any:
        fenced = await self.call(
            "declare_dead", members.declare_dead, members.DeclaringDead(incarnation, beat, now)
        )
        if fenced is not None:
            self.ledger.buried(incarnation)
        return fenced

    async def held(self, incarnation: int) -> Any:
        return await self.call(
            "held", lambda one: {run.id: run.started_at for run in one.runs("held", holder=incarnation)}
        )

    async def let_go(self, incarnation: int, held: Mapping[int, Instant] | None, now: Now) -> Any:
        return await self.call("let_go", members.release_held, members.Releasing(incarnation, held, now))

    async def sweep(self, now: Now) -> Any:
        return await self.call("sweep", members.sweep, now)

    async def prune(self, now: Now, schedule: str | None = None) -> int:
        return 0

    async def instances(self) -> Any:
        return await self.call("instances", members.instances)

    @property
    def unconfirmed(self) -> bool:
        return self.lost_answers > self._confirmed

    def confirm(self, lost_answers: int) -> None:
        self._confirmed = lost_answers

    # ── what its engine and its runner do ────────────────────────────────────────────────────

    def claim(self, delayed: bool) -> None:
        """Fire the schedule as it is known here, and take what is ready."""
        if self.delayed is not None:
            return
        firings = [_firing(self.ledger, one) for one in self.agenda.schedules.values()]
        due = [one for one in firings if one.cursor <= self.ledger.at]
        wanted = Claim(self.engine.holder, due, {"loop": 3}, jobs=("job",))
        try:
            self.delayed = self.ask("claim", claim, Claiming(wanted, self.ledger.now))
        except (StoreUnavailable, Fenced):
            return
        if not delayed:
            self.receive()

    def receive(self) -> None:
        """Take the answer to a claim, if it has come, as the engine does."""
        claimed, self.delayed = self.delayed, None
        if claimed is not None:
            self.agenda.follow(claimed.schedules)
            worker: Any = SimpleNamespace(
                engine=self.engine, runner=self.runner, _jobs={"job": None}, _environment=self.environment,
                _backlog=SimpleNamespace(look=lambda held: None),
            )  # fmt: skip
            Worker._take(worker, claimed)

    def finish(self, which: int, verdict: str) -> None:
        """End an attempt that is executed here."""
        if not self.runner.running:
            return
        run = self.runner.running.pop(sorted(self.runner.running)[which % len(self.runner.running)])
        again = verdict == "snooze" or (verdict == "retry" and run.attempt < run.max_attempts)
        self.over.append(
            (
                run,
                Verdict(
                    "pending", verdict, ready_at=self.ledger.at, spent=verdict == "retry", attempt=verdict
                )
                if again
                else Verdict("succeeded"),
            )
        )
        self._remember()

    def record(self, which: int) -> None:
        """Record one of those that have ended; without an answer, it will be repeated."""
        if not self.over:
            return
        ended = self.over[which % len(self.over)]
        try:
            self.ask("record", record, [Recording([Ending(*ended, self.ledger.now)])])
        except StoreUnavailable:
            return
        self.over.remove(ended)
        self._remember()

    def add(self) -> None:
        """Add a one-off that a limit holds back."""
        run = RunRecord(
            self.ledger.next_id(), "job", self.ledger.at, arguments="{}", permits=(LIMIT,), max_attempts=2
        )
        try:
            self.ask("add", add, [Adding([run], self.ledger.now, False)])
        except StoreUnavailable:
            pass

    def _remember(self) -> None:
        self.runner.unrecorded = {run.id: run for run, _ in self.over}

    # ── its fate ─────────────────────────────────────────────────────────────────────────────

    def leave_us(self, crash: bool) -> None:
        """Be frozen or cut off from now on, or crash."""
        if self.awake:  # back for a moment, and not heard of, is not back
            self.cut_since = self.ledger.at if self.unheard_since is None else self.unheard_since
        if crash:
            self.crashed = True
            self.runner.running, self.over, self.delayed = {}, [], None

    def come_back(self) -> None:
        if not self.awake and not self.crashed:
            self.unheard_since = self.cut_since
            self.cut_since, self.back_at = None, self.ledger.at

    def silent(self) -> float:
        """Return for how many seconds nobody can have heard of it, or just could again."""
        if self.awake:
            return 0.0
        assert self.cut_since is not None
        return (self.ledger.at - self.cut_since) / SECOND


async def _members_changed(me: int, living: object) -> None:
    pass


def _firing(ledger: Ledger, one: ScheduleRecord) -> Firing:
    """Return the firing of the next slot, as whoever knows this row would make it."""
    assert one.next_slot is not None
    run = RunRecord(
        ledger.next_id(), "job", one.next_slot, schedule=one.id, origin="schedule", slot=one.next_slot,
        arguments="{}", max_attempts=2, permits=(LIMIT,),
    )  # fmt: skip
    after = one.next_slot + PERIOD
    return Firing(one.id, one.revision, [run], None, one.next_slot, after, after, "allow", False)


def finish(task: Coroutine[Any, Any, Any]) -> Any:
    """Run something to its end."""
    while True:
        try:
            task.send(None)
        except StopIteration as done:
            return done.value


def pass_time(instances: list[Instance], seconds: float, dice: random.Random) -> None:
    """Let time pass, and every task that is due take its steps, in any order."""
    ledger = instances[0].ledger
    end = ledger.at + round(seconds * SECOND)
    while True:
        while due := [(one, index) for one in instances for index in one.due()]:
            one, index = dice.choice(due)
            one.step(index)
        if ledger.at >= end:
            return
        ledger.at = min(end, ledger.at + SECOND // 4)
