"""The fixture of the conformance cases: an open store, and short calls on it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import count
from types import TracebackType
from typing import Any

from asyncsched._core.instants import SECOND, Instant, Now
from asyncsched._core.records import InstanceRecord, RunRecord, ScheduleRecord, Stretch
from asyncsched._core.requests import Claim, Claimed, Ending, Firing, Verdict
from asyncsched._core.trigger import InstantTrigger
from asyncsched._scheduler.lookup import run_of_id
from asyncsched.abc import Clock
from asyncsched.triggers import Interval
from asyncsched.triggers.codec import trigger_from_json, trigger_to_json

Case = Callable[["Stage"], Awaitable[None]]


def _read_trigger(id: str, spec: str | None, anchor: Instant) -> InstantTrigger:
    assert spec is not None
    return trigger_from_json(json.loads(spec)).anchored(anchor)


class Stage:
    """An open store, with short calls on it.

    Args:
        make_store: makes a store that is not open; called again for a second instance.
        clock: the cluster's clock.

    """

    def __init__(self, make_store: Callable[[], Any], clock: Clock) -> None:
        self._make_store = make_store
        self._clock = clock
        self._stack = AsyncExitStack()
        self._ids = count(1)
        self.store: Any
        self.at = clock.wall()
        self.notifications = 0

    async def __aenter__(self) -> Stage:
        self.store = await self.another()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def another(self) -> Any:
        """Open the store once more, as another process would."""
        store = self._make_store()
        if store.durable:
            store.prepare(self._clock, _read_trigger)
        await store.open(self._notify)
        self._stack.push_async_callback(store.close)
        if store.durable:
            await self.join(store, 1)
        return store

    def _notify(self) -> None:
        self.notifications += 1

    @property
    def now(self) -> Now:
        """The current time, on both timelines."""
        return Now(self.at, self.at)

    def wait(self, micros: int) -> None:
        """Let so many microseconds pass."""
        self.at += micros

    async def join(self, store: Any, incarnation: int) -> None:
        """Add a living instance."""
        jobs = frozenset({"job", "other"})
        await store.join(InstanceRecord(incarnation, "host", 1, "1", "both", jobs, frozenset()), self.now)

    def run(self, job: str = "job", delay: int = 0, **more: Any) -> RunRecord:
        """Return a new run, to be added."""
        more.setdefault("arguments", '{"x":1}')
        number = (self.at // 1000 << 80) | next(self._ids)
        return RunRecord(number, job, self.at + delay, **more)

    async def add(self, *runs: RunRecord, replace: bool = False) -> list[Any]:
        """Put runs into the ledger."""
        added: list[Any] = await self.store.add(runs, self.now, replace)
        return added

    async def claim(self, *firings: Firing, free: int = 10, holder: int = 1, **more: Any) -> Claimed:
        """Claim runs for an instance."""
        store = more.pop("store", self.store)
        claim = Claim(holder, list(firings), {"loop": free}, jobs=more.pop("jobs", ("job", "other")), **more)
        claimed: Claimed = await store.claim(claim, self.now)
        return claimed

    async def end(self, run: RunRecord, state: str = "succeeded", **more: Any) -> bool:
        """Record the end of an attempt."""
        return await self.record(run, Verdict(state, **more))

    async def record(self, run: RunRecord, verdict: Verdict) -> bool:
        """Record a verdict."""
        held: bool
        (held,) = await self.store.record([Ending(run, verdict, self.now)])
        return held

    async def schedule(self, id: str = "s", seconds: int = 60, **more: Any) -> ScheduleRecord:
        """Put a schedule into the ledger whose first slot is one period from now."""
        trigger = Interval(seconds=seconds)
        first = self.at + seconds * SECOND
        record = ScheduleRecord(
            id, "job", trigger.anchored(self.at), self.at, self.at - 1, first, first, arguments="{}",
            spec=json.dumps(trigger_to_json(trigger)), created_at=self.at, **more,
        )  # fmt: skip
        await self.store.put_schedule(record, 0, self.now)
        return await self.reread(id)

    async def reread(self, id: str = "s") -> ScheduleRecord:
        """Return the stored schedule."""
        found: list[ScheduleRecord] = await self.store.schedules((id,))
        return replace(found[0])  # in memory the answer is the store's row itself

    def fire(
        self, record: ScheduleRecord, *, slots: int = 1, overlap: str = "skip", lost: Stretch | None = None, **more: Any
    ) -> Firing:  # fmt: skip
        """Return the firing of a schedule's next slots."""
        assert record.next_slot is not None
        step = record.trigger.next_instant(record.next_slot) or 0
        step -= record.next_slot
        due = [record.next_slot + number * step for number in range(slots)]
        runs = [
            self.run(arguments="{}", schedule=record.id, origin="schedule", slot=slot, **more) for slot in due
        ]
        for run, slot in zip(runs, due, strict=True):
            run.due = run.ready_at = run.rank = slot
        upcoming = due[-1] + step
        return Firing(record.id, record.revision, runs, lost, due[-1], upcoming, upcoming, overlap, slots > 1)

    async def fire_next(self, id: str = "s", **more: Any) -> Claimed:
        """Wait for a schedule's next slot, and claim it."""
        record = await self.reread(id)
        assert record.next_slot is not None
        self.at = max(self.at, record.next_slot)
        return await self.claim(self.fire(record, **more))

    async def state(self, run: RunRecord) -> str:
        """Return a run's state."""
        found = await run_of_id(self.store, run.id)
        return "gone" if found is None else str(found.state)

    async def kept(self, run_id: int) -> Any:
        """Return the stored run."""
        found = await run_of_id(self.store, run_id)
        assert found is not None
        return found

    async def claim_all(self) -> list[RunRecord]:
        """Claim until no run is ready, and return the runs that were begun."""
        runs: list[RunRecord] = []
        for _ in range(20):
            claimed = await self.claim()
            runs += claimed.runs
            if not claimed.more:
                break
        return runs
