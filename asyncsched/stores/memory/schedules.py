"""What the ledger in memory knows of one schedule: its row, its own runs, and its stretches."""

from __future__ import annotations

from asyncsched._core.instants import Instant
from asyncsched._core.records import RunRecord, ScheduleRecord, Stretch
from asyncsched._core.requests import Verdict

STRETCHES_KEPT = 1000
_FAILURES = frozenset({"failed", "timed_out", "lost"})


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

    def count(self, run: RunRecord, verdict: Verdict, now: Instant) -> None:
        """Count failures in a row, and pause the schedule when they are as many as the job allows."""
        record = self.record
        if record is None:
            return
        if run.state == "succeeded":
            record.failures = 0
        elif run.state in _FAILURES:
            record.failures += 1
            if verdict.pause_after and record.failures >= verdict.pause_after and not record.paused:
                record.paused = True
                record.paused_at = now
                record.by = "asyncsched"
                record.note = f"paused after {record.failures} failures in a row"
                record.revision += 1
                verdict.paused = record

    # ── slots without a run ──────────────────────────────────────────────────────────────────

    def skip(self, stretch: Stretch, before: Instant | None = None) -> Stretch:
        """Write down a stretch; it is one with the newest if that has the same reason and ends at ``before``."""
        kept = self.stretches
        if before is not None and kept and kept[-1].last == before and kept[-1].reason == stretch.reason:
            newest = kept[-1]
            newest.last = stretch.last
            newest.count += stretch.count
            newest.exact = newest.exact and stretch.exact
        else:
            kept.append(Stretch(
                stretch.schedule, stretch.first, stretch.last, stretch.count, stretch.reason, stretch.exact
            ))  # fmt: skip
            if len(kept) > STRETCHES_KEPT:
                del kept[: STRETCHES_KEPT // 10]
        return stretch


def _by_due(run: RunRecord) -> tuple[Instant, int]:
    return run.due, run.id
