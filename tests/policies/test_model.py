"""A model of what must hold whatever is done: random programs in virtual time, checked by the ledger.

A run ends in exactly one state; limits are never exceeded at any instant of the ledger; no slot is
without a record, and none has two; cancelling anywhere leaks nothing and loses nothing.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncsched import (
    Discard,
    Interval,
    KeyConflict,
    Limit,
    NotCancellable,
    RateLimit,
    Retry,
    Run,
    RunHandle,
    Scheduler,
    SchedulerStateError,
    Snooze,
    TryAgain,
    current_run,
)
from asyncsched.events import Event, RunFinished, RunStarted
from asyncsched.stores.memory import MemoryStore
from asyncsched.stores.sqlite import SqliteStore
from asyncsched.testing import VirtualClock
from tests.policies.conftest import ALONE

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
PERIOD = 7
LASTS = 140  # seconds of slots; then the world comes to rest

KINDS = (
    "works",
    "fails",
    "fails once",
    "snoozes",
    "tries again",
    "discards",
    "hangs",
    "cleans up",
    "swallows",
)


@dataclass(frozen=True)
class Options:
    """What the jobs of one world are declared with."""

    overlap: str
    attempts: int
    delay: int
    timeout: float | None
    most: int | None
    by: str | None
    rate: str | None
    drop: bool
    pause_after: int
    slot_kinds: tuple[str, ...]

    def declared(self) -> dict[str, Any]:
        options: dict[str, Any] = {"overlap": self.overlap, "pause_after": self.pause_after}
        if self.attempts > 1:
            options["retry"] = Retry(self.attempts, delay=self.delay)
        if self.timeout is not None:
            options["timeout"] = self.timeout
        if self.most is not None:
            options["max_running"] = Limit(self.most, by=self.by)
        if self.rate is not None:
            options["rate_limit"] = RateLimit(self.rate, by=self.by, drop=self.drop)
        return options


OPTIONS = st.builds(
    Options,
    overlap=st.sampled_from(["skip", "queue_one", "queue_all", "replace", "allow"]),
    attempts=st.integers(1, 3),
    delay=st.integers(0, 20),
    timeout=st.sampled_from([None, 1, 5]),
    most=st.sampled_from([None, 1, 2]),
    by=st.sampled_from([None, "who"]),
    rate=st.sampled_from([None, "1/5s", "3/20s"]),
    drop=st.booleans(),
    pause_after=st.sampled_from([0, 0, 2]),
    slot_kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=4).map(tuple),
)

NUMBERS = st.integers(0, 30)
STEP = st.one_of(
    st.tuples(st.just("advance"), st.sampled_from([0, 0.5, 1, 3, 7, 10, 26])),
    st.tuples(
        st.just("once"), st.sampled_from(KINDS), st.sampled_from("ab"), st.sampled_from([None, 0, 4, 15]),
        st.sampled_from([None, None, "k", "l"]), st.booleans(),
    ),
    st.tuples(st.just("cancel"), NUMBERS),
    st.tuples(st.just("move"), NUMBERS, st.sampled_from([0, 2, 30])),
    st.tuples(st.just("pause"), st.sampled_from(["job", "ticks"])),
    st.tuples(st.just("resume"), st.sampled_from(["job", "ticks"])),
    st.tuples(st.just("run_now"), st.booleans()),
    st.tuples(st.just("backfill")),
    st.tuples(st.just("cancel_many"), st.sampled_from(["pending", "running"])),
    st.tuples(st.just("requeue")),
    st.tuples(st.just("suspend"), st.sampled_from([1, 40])),
)  # fmt: skip


@dataclass
class World:
    """One scheduler, and what was done to it."""

    options: Options
    store: Any
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(start=BEGAN, patience=5))
    handles: list[RunHandle[Any]] = field(default_factory=list)
    heard: list[Event] = field(default_factory=list)
    bodies: Counter[str] = field(default_factory=Counter)
    at_cancel: dict[str, int] = field(default_factory=dict)
    slots: int = 0

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(
            self.store, clock=self.clock, observers=[self.heard.append], shutdown_timeout=0
        )
        self.scheduler.job(name="job", **self.options.declared())(self.body)

    async def body(self, kind: str = "", who: str = "a") -> str:
        run = current_run()
        self.bodies[run.id] += 1
        if not kind:  # a slot's: one kind after the other
            kind = self.options.slot_kinds[int(run.scheduled_for.timestamp()) % len(self.options.slot_kinds)]
        if kind == "swallows":
            with anyio.CancelScope(shield=True):
                try:
                    await anyio.sleep(4)
                except BaseException:
                    await anyio.sleep(9)
            return kind
        await anyio.sleep(1.5)
        if kind == "fails" or (kind == "fails once" and run.attempt == 1):
            raise ValueError(kind)
        if kind == "snoozes" and self.bodies[run.id] < 3:
            raise Snooze(3)
        if kind == "tries again":
            raise TryAgain(delay=2)
        if kind == "discards":
            raise Discard("no use")
        if kind == "hangs":
            await anyio.sleep(20)
        if kind == "cleans up":
            try:
                await anyio.sleep(5)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(1)
        return kind

    # ── steps ────────────────────────────────────────────────────────────────────────────────

    async def do(self, step: tuple[Any, ...]) -> None:
        name, *rest = step
        try:
            await getattr(self, name)(*rest)
        except (KeyConflict, NotCancellable, SchedulerStateError):
            pass  # refused in words, which other tests read

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    async def once(self, kind: str, who: str, delay: float | None, key: str | None, replace: bool) -> None:
        self.handles.append(
            await self.scheduler.schedule_once(
                self.body, kind, who, delay=delay, key=key, replace=replace and key is not None
            )
        )

    async def cancel(self, number: int) -> None:
        if self.handles:
            handle = self.handles[number % len(self.handles)]
            ended_well = (await handle.status()).finished
            begun = self.bodies[handle.id]
            cancelled = await handle.cancel()
            if isinstance(self.store, MemoryStore):
                assert self.bodies[handle.id] == begun, "an attempt began after a cancel"
            # A database has a thread of its own: a run may begin between the count and the cancel.
            self.at_cancel[handle.id] = self.bodies[handle.id]
            run = await handle.status()
            assert run.finished and cancelled == (run.state == "cancelled")
            assert cancelled or ended_well or run.state in ("succeeded", "failed", "timed_out")

    async def move(self, number: int, delay: float) -> None:
        if self.handles:
            await self.handles[number % len(self.handles)].reschedule(delay=delay)

    async def pause(self, what: str) -> None:
        await (self.scheduler.pause_job if what == "job" else self.scheduler.pause)(what)

    async def resume(self, what: str) -> None:
        await (self.scheduler.resume_job if what == "job" else self.scheduler.resume)(what)

    async def run_now(self, respect: bool) -> None:
        self.handles.append(await self.scheduler.run_now("ticks", respect_overlap=respect))

    async def backfill(self) -> None:
        await self.scheduler.backfill("ticks", BEGAN, self.clock.now())

    async def cancel_many(self, state: str) -> None:
        await self.scheduler.cancel_many(job="job", state=state)

    async def requeue(self) -> None:
        letters = await self.scheduler.dead_letters(limit=1)
        if letters:
            self.handles += await self.scheduler.requeue(letters[0].id)

    async def suspend(self, seconds: float) -> None:
        if self.options.most is None and self.options.rate is None:
            # The ledger's instants are the wall's: only there where no limit is read from them.
            self.clock.suspend(seconds)

    # ── the run of it ────────────────────────────────────────────────────────────────────────

    async def live(self, steps: list[tuple[Any, ...]]) -> None:
        async with self.scheduler:
            end = BEGAN + timedelta(seconds=LASTS)
            await self.scheduler.add_schedule("job", Interval(seconds=PERIOD, end=end), id="ticks")
            for step in steps:
                await self.do(step)
            await self.rest()
            await self.check()
        self.check_nothing_is_left()

    async def rest(self) -> None:
        """Let everything come to its end; a job may pause its schedule once more meanwhile."""
        for _ in range(80):
            for what in ("job", "ticks"):
                await self.do(("resume", what))
            await self.clock.advance(60)
            if not await self.scheduler.runs(state=("pending", "running")) and self.clock.monotonic() > LASTS:
                return
        raise AssertionError(f"still live: {await self.scheduler.runs(state=('pending', 'running'))}")

    async def check(self) -> None:
        runs = await self.scheduler.runs(limit=100_000)
        self.check_ends(runs)
        await self.check_slots(runs)
        if self.options.most is not None:
            for value in self.values(runs):
                assert at_once(value) <= self.options.most
        if self.options.rate is not None:
            for value in self.values(runs):
                self.check_rate(value)
        known = {run.id for run in runs}
        assert all(handle.id in known for handle in self.handles), "a run that was accepted is lost"

    def values(self, runs: list[Run]) -> list[list[Run]]:
        """Return the runs that share a limit."""
        if self.options.by is None:
            return [runs]
        by: dict[str, list[Run]] = {}
        for run in runs:
            who = run.kwargs.get("who") or (run.args[1] if len(run.args) > 1 else "a")
            by.setdefault(who, []).append(run)
        return list(by.values())

    def check_ends(self, runs: list[Run]) -> None:
        ends = Counter(event.run.id for event in self.heard if isinstance(event, RunFinished))
        assert all(run.finished for run in runs)
        assert ends == Counter(run.id for run in runs), "a run did not end, or ended twice"
        told = {event.run.id: event.run.state for event in self.heard if isinstance(event, RunFinished)}
        assert told == {run.id: run.state for run in runs}
        for id, count in self.at_cancel.items():
            assert self.bodies[id] == count, "an attempt began after a cancel"
        begun = Counter(event.run.id for event in self.heard if isinstance(event, RunStarted))
        for run in runs:
            assert len(run.attempts) == begun[run.id] == self.bodies[run.id], run
            assert run.attempt <= run.max_attempts
            assert all(
                one.finished_at <= two.started_at
                for one, two in zip(run.attempts, run.attempts[1:], strict=False)
            )

    async def check_slots(self, runs: list[Run]) -> None:
        own = Counter(run.scheduled_for for run in runs if run.origin == "schedule")
        assert not own or max(own.values()) == 1, "a slot has two runs of its own"
        slots = [BEGAN + timedelta(seconds=s) for s in range(PERIOD, LASTS + 1, PERIOD)]
        assert set(own) <= set(slots)
        for slot in slots:
            explained = await self.scheduler.explain("ticks", slot)
            has_run = slot in own
            lost = explained.verdict in ("overlap", "paused", "missed")
            began = explained.verdict in ("ran", "cancelled", "rate_limited")
            assert (has_run and began) or (not has_run and lost), explained

    def check_rate(self, runs: list[Run]) -> None:
        """Run the generic cell rate algorithm over the ledger's own instants."""
        count, _, time = (self.options.rate or "").partition("/")
        interval = -(-int(time.rstrip("s")) * 1_000_000 // int(count))
        arrival = 0
        for moment in sorted(attempt.started_at for run in runs for attempt in run.attempts):
            at = (moment - BEGAN) // timedelta(microseconds=1)
            assert at >= arrival - (int(count) - 1) * interval, "a rate was exceeded"
            arrival = max(arrival, at) + interval

    def check_nothing_is_left(self) -> None:
        assert self.scheduler._runtime is None
        if isinstance(self.store, MemoryStore):
            assert residue(self.store) == {}


def at_once(runs: list[Run]) -> int:
    steps = [(a.started_at, 1) for run in runs for a in run.attempts]
    steps += [(a.finished_at, -1) for run in runs for a in run.attempts]
    running = most = 0
    for _, step in sorted(steps):  # at one instant, ends come before beginnings
        running += step
        most = max(most, running)
    return most


def residue(store: MemoryStore) -> dict[str, Any]:
    """Return what a memory store still holds of runs that have ended, by the place that holds it."""
    limiter = store._waiting.limiter
    places = {
        key: (place.used, len(place.waiting), place.trying)
        for key, place in limiter._places.items()
        if place.used or place.waiting.peek() is not None or place.trying is not None
    }
    found = {
        "live": {id: entry.live for id, entry in store._entries.items() if entry.live},
        "ready": [queue.peek() for queue in store._waiting._ready.values() if queue.peek() is not None],
        "later": [queue.peek() for queue in store._waiting._later.values() if queue.peek() is not None],
        "keys": {key: run for key, run in store._keys._holders.items() if not run.key_ttl},
        "parked": {key: parked for key, parked in store._waiting._parked.items() if parked},
        "cancel_requests": store._cancel_requests,
        "places": places,
    }
    return {place: what for place, what in found.items() if what}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)  # thousands of failures that are meant
    yield
    logging.disable(logging.NOTSET)


TIMES = int(os.environ.get("ASYNCSCHED_MODEL_TIMES", "1"))
"""How often as many random programs as in the suite are tried; see ``.ci/run``."""

EXAMPLES = {"memory": 60, "sqlite": 8, "postgres": 8}


@pytest.fixture(params=EXAMPLES)
def store(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def new_store(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Any]:
    """Return what makes an empty store at each call."""
    if store == "memory":
        return MemoryStore
    if store == "sqlite":
        numbers = itertools.count()
        return lambda: SqliteStore(tmp_path / f"{next(numbers)}.db", **ALONE)
    server = request.getfixturevalue("pg_server")
    database = request.getfixturevalue("pg_database")
    from asyncsched.stores.postgres import PostgresStore

    def fresh() -> Any:
        server.run("drop schema public cascade", "create schema public", database=database)
        return PostgresStore(server.dsn(database), **ALONE)

    return fresh


@pytest.mark.timeout(240 * TIMES)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_promises_hold_whatever_is_done(backend: str, store: str, new_store: Callable[[], Any]) -> None:
    @settings(max_examples=EXAMPLES[store] * TIMES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(options=OPTIONS, steps=st.lists(STEP, max_size=40))
    def run(options: Options, steps: list[tuple[Any, ...]]) -> None:
        world = World(options, new_store())
        world.clock.run(world.live, steps, backend=backend)

    run()
