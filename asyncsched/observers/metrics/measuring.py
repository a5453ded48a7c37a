"""Events become figures, for whichever sink takes them."""

from __future__ import annotations

from asyncsched._core.checks import check_choice, check_int
from asyncsched._core.events import (
    Event,
    RunFenced,
    RunFinished,
    RunStarted,
    RunWaits,
    SlotsSkipped,
    StoreFailed,
)
from asyncsched._core.instants import SECOND, Instant
from asyncsched._core.records import RunRecord

Labels = tuple[str, ...]
"""The values of the labels that every metric of a job has: the job, and the schedule where it is asked for."""

OTHER = "other"
"""The label of all that has no label set of its own, because there are too many."""


class Measuring:
    """Turns events into figures. A sink has :meth:`add`, :meth:`record` and :meth:`stamp`, and may have :meth:`begin`.

    Args:
        by: ``"job"``; or ``"schedule"`` for a label set of each schedule.
        most: the most label sets; whatever comes later is counted as ``other``.

    """

    wants: tuple[type[Event], ...] = (RunStarted, RunFinished, RunWaits, RunFenced, SlotsSkipped, StoreFailed)

    def __init__(self, by: str, most: int) -> None:
        check_choice(by, "by", ("job", "schedule"))
        self.by_schedule = by == "schedule"
        self._most = check_int(most, "most", 1, 100_000)
        self._known: dict[Labels, Labels] = {}
        self._running: dict[int, tuple[Labels, str]] = {}  # runs whose attempt has begun here

    # ── a sink has these ─────────────────────────────────────────────────────────────────────

    def begin(self, labels: Labels) -> None:
        """Make the figures of a label set known, all of them 0."""

    def add(self, name: str, labels: Labels, amount: float = 1, **more: str) -> None:
        """Add to a counter or a gauge; ``more`` are the labels beside those of the job."""
        raise NotImplementedError

    def record(self, name: str, labels: Labels, seconds: float) -> None:
        """Add a value to a histogram."""
        raise NotImplementedError

    def stamp(self, name: str, labels: Labels, at: float) -> None:
        """Set a gauge to a moment, in seconds since the epoch."""
        raise NotImplementedError

    # ── label sets ───────────────────────────────────────────────────────────────────────────

    def labels_of(self, job: str, schedule: str | None) -> Labels:
        """Return the labels of a job, or ``other`` where there are too many."""
        wanted = (job, schedule or "") if self.by_schedule else (job,)
        found = self._known.get(wanted)
        if found is None:
            found = wanted
            if len(self._known) >= self._most:
                found = (
                    (job, OTHER)
                    if self.by_schedule and (job, OTHER) in self._known
                    else (OTHER,) * len(wanted)
                )
            if found not in self._known:
                self._known[found] = found
                self.begin(found)
        return found

    # ── events ───────────────────────────────────────────────────────────────────────────────

    def hear(self, kind: type[Event], run: RunRecord, at: Instant) -> None:
        """Count an event of a run."""
        if kind is RunStarted:
            self._started(run, at)
            return
        self._left(run)
        if issubclass(kind, RunFinished):
            self._finished(run, at)
        elif kind is RunWaits and run.why == "retry":
            self.add("asyncsched_retries_total", self.labels_of(run.job, run.schedule))

    def __call__(self, event: Event) -> None:
        """Count an event that is none of a run."""
        if isinstance(event, SlotsSkipped):
            labels = self.labels_of(event.job, event.schedule)
            self.add("asyncsched_due_total", labels, event.count)
            self.add("asyncsched_missed_total", labels, event.count, reason=event.reason)
        elif isinstance(event, StoreFailed):
            self.add("asyncsched_store_errors_total", ())

    def _started(self, run: RunRecord, at: Instant) -> None:
        labels = self.labels_of(run.job, run.schedule)
        if run.late is not None and not run.attempts:  # a later attempt is as late as the first one was
            self.record("asyncsched_start_lateness_seconds", labels, max(0, run.late) / SECOND)
            if run.origin == "schedule":
                self.add("asyncsched_due_total", labels)
        self.add("asyncsched_attempts_total", labels)
        self.stamp("asyncsched_last_start_timestamp_seconds", labels, at / SECOND)
        self._running[run.id] = (labels, run.executor)
        self._count_running(labels, run.executor, 1)

    def _finished(self, run: RunRecord, at: Instant) -> None:
        labels = self.labels_of(run.job, run.schedule)
        self.add("asyncsched_runs_total", labels, outcome=run.state)
        if run.started_at is None:
            if run.origin == "schedule":  # a slot whose run was cancelled before it began
                self.add("asyncsched_due_total", labels)
            return
        took = (run.finished_at or at) - run.started_at
        self.record("asyncsched_run_duration_seconds", labels, max(0, took) / SECOND)

    def _left(self, run: RunRecord) -> None:
        """Count an attempt less, if it had begun here."""
        left = self._running.pop(run.id, None)
        if left is not None:
            self._count_running(*left, -1)

    def _count_running(self, labels: Labels, executor: str, amount: int) -> None:
        self.add("asyncsched_running", labels, amount)
        self.add("asyncsched_slots_in_use", (), amount, executor=executor)
