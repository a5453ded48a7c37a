"""A schedule's entry in the ledger in memory: its row, its runs of origin ``schedule``, its stretches."""

from __future__ import annotations

from collections.abc import Collection

from asyncsched._core.instants import Instant
from asyncsched._core.records import RunRecord, ScheduleRecord, Stretch
from asyncsched._core.rules.ending import count_run
from asyncsched._core.rules.lost import lengthened
from asyncsched._core.rules.retention import STRETCHES_KEPT
from asyncsched._core.rules.transitions import pause_after_failures
from asyncsched._core.states import FAILURES, FINAL_STATES


class ScheduleEntry:
    """One schedule. The entry outlives the row while runs of it are left."""

    __slots__ = ("live", "others", "record", "slots", "stretches")

    def __init__(self) -> None:
        self.record: ScheduleRecord | None = None
        self.live: dict[int, RunRecord] = {}  # runs of origin "schedule" without an outcome
        self.slots: dict[Instant, RunRecord] = {}  # runs of origin "schedule", by their slot
        self.others: dict[int, RunRecord] = {}  # runs of another origin, such as "backfill"
        self.stretches: list[Stretch] | tuple[()] = ()  # an empty list would be one more object to collect

    @property
    def blank(self) -> bool:
        """Whether the entry is empty, so that it can be dropped."""
        return self.record is None and not self.live and not self.slots and not self.others

    def runs(
        self, origin: str | None, slot: Instant | None, states: Collection[str] | None
    ) -> Collection[RunRecord]:
        """Return the runs of the schedule, as few as an origin, a slot and the states allow without a scan."""
        if origin == "schedule" and slot is not None:
            run = self.slots.get(slot)
            return () if run is None else (run,)
        live = states is not None and not FINAL_STATES.intersection(states)
        own = self.live if live else self.slots
        if origin == "schedule":
            return own.values()
        if origin is not None or not own:
            return self.others.values()
        return [*own.values(), *self.others.values()] if self.others else own.values()

    def add(self, run: RunRecord) -> None:
        """Add a run of the schedule, of any origin."""
        if run.origin == "schedule" and run.slot is not None:
            self.live[run.id] = self.slots[run.slot] = run
        else:
            self.others[run.id] = run

    def fire(self, run: RunRecord) -> None:
        """Add a run that a slot has become, and count it."""
        assert run.slot is not None
        self.live[run.id] = self.slots[run.slot] = run
        if self.record is not None:
            count_run(self.record, run)

    def forget(self, run: RunRecord) -> None:
        """Drop a run that has been pruned."""
        self.others.pop(run.id, None)
        if run.slot is not None and self.slots.get(run.slot) is run:
            del self.slots[run.slot]

    # ── the order of its runs ────────────────────────────────────────────────────────────────

    @property
    def waiting(self) -> int:
        """The number of its runs that wait for another run of the schedule."""
        return sum(run.waits_for == "overlap" for run in self.live.values())

    def next_to_go(self) -> RunRecord | None:
        """Return the first run that waits for another of the schedule, if no earlier run is live.

        Later runs do not count: under ``allow``, later slots begin while a catch-up's runs still wait
        for one another, and must not hold those up.
        """
        waiting = [run for run in self.live.values() if run.waits_for == "overlap"]
        if not waiting:
            return None
        following = min(waiting, key=_due_order)
        if all(
            run.waits_for == "overlap" or _due_order(run) > _due_order(following)
            for run in self.live.values()
        ):
            return following
        return None

    def count(self, run: RunRecord, most: int, now: Instant) -> ScheduleRecord | None:
        """Count failures in a row; return the schedule if it is paused because they reached ``most``."""
        record = self.record
        if record is None:
            return None
        if run.state == "succeeded":
            record.failures = 0
        elif run.state in FAILURES:
            record.failures += 1
            if pause_after_failures(record, most, now):
                return record
        return None

    # ── slots without a run ──────────────────────────────────────────────────────────────────

    def skip(self, stretch: Stretch, before: Instant | None = None) -> Stretch:
        """Record a stretch; it lengthens the newest if that has the same reason and ends at ``before``."""
        kept = self.stretches or []
        written = lengthened(kept[-1] if kept else None, stretch, before)
        if written is stretch:
            kept.append(stretch)
            self.stretches = kept
            if len(kept) > STRETCHES_KEPT:
                del kept[: STRETCHES_KEPT // 10]
        else:
            kept[-1] = written
        return stretch


def _due_order(run: RunRecord) -> tuple[Instant, int]:
    return run.due, run.id
