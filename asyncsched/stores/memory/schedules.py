"""What the ledger in memory knows of one schedule: its row, its own runs, and its stretches."""

from __future__ import annotations

from asyncsched._core.instants import Instant
from asyncsched._core.records import RunRecord, ScheduleRecord, Stretch
from asyncsched._core.rules.retention import STRETCHES_KEPT
from asyncsched._core.rules.transitions import lengthened, pause_after_failures
from asyncsched._core.states import FAILURES


class ScheduleEntry:
    """One schedule. It outlives its row for as long as there are runs of its own."""

    __slots__ = ("live", "record", "slots", "stretches")

    def __init__(self) -> None:
        self.record: ScheduleRecord | None = None
        self.live: dict[int, RunRecord] = {}  # those of its own that have no outcome
        self.slots: dict[Instant, RunRecord] = {}  # its own runs, by their slot
        self.stretches: list[Stretch] = []

    @property
    def blank(self) -> bool:
        """Whether nobody needs it any more."""
        return self.record is None and not self.live and not self.slots

    # ── what runs behind what ────────────────────────────────────────────────────────────────

    @property
    def waiting(self) -> int:
        """How many of its runs wait for another of them."""
        return sum(run.waits_for == "overlap" for run in self.live.values())

    def next_to_go(self) -> RunRecord | None:
        """Return the first of those that wait for others, if none of those before it is left.

        Only those before it: under ``allow``, later slots begin while a catch-up's runs still wait
        for one another, and must not hold them up.
        """
        waiting = [run for run in self.live.values() if run.waits_for == "overlap"]
        if not waiting:
            return None
        following = min(waiting, key=_by_due)
        if all(run.waits_for == "overlap" or _by_due(run) > _by_due(following) for run in self.live.values()):
            return following
        return None

    def count(self, run: RunRecord, most: int, now: Instant) -> ScheduleRecord | None:
        """Count failures in a row; return the schedule if they are ``most``, for which it is paused."""
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
        """Write down a stretch; it is one with the newest if that has the same reason and ends at ``before``."""
        kept = self.stretches
        written = lengthened(kept[-1] if kept else None, stretch, before)
        if written is stretch:
            kept.append(stretch)
            if len(kept) > STRETCHES_KEPT:
                del kept[: STRETCHES_KEPT // 10]
        else:
            kept[-1] = written
        return stretch


def _by_due(run: RunRecord) -> tuple[Instant, int]:
    return run.due, run.id
