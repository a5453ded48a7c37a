"""The names, kinds and labels of all metrics, and the bounds of the histograms."""

from __future__ import annotations

from typing import NamedTuple

OUTCOMES = ("succeeded", "failed", "timed_out", "cancelled", "lost")
REASONS = ("missed", "overlap", "paused")
"""The reasons for slots without a run that every job has from the start; others join when they occur."""

DURATIONS = (0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)
LATENESSES = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300)


class Family(NamedTuple):
    """One metric.

    Attributes:
        kind: ``counter``, ``histogram`` or ``gauge``.
        help: the text for the scraper.
        labels: the labels beside ``job``.
        values: the values of the label that every job has from the start.
        buckets: the bounds of a histogram.
        merge: how the gauges of several processes become one, in the words of ``prometheus_client``.
        of_job: whether it has the label ``job``; otherwise it is one of the whole process.

    """

    kind: str
    help: str
    labels: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    merge: str = ""
    of_job: bool = True


FAMILIES = {
    "asyncsched_start_lateness_seconds": Family(
        "histogram", "Time from the due time of a run to the beginning of its first attempt.", buckets=LATENESSES
    ),
    "asyncsched_run_duration_seconds": Family(
        "histogram", "Time from the beginning of a run's last attempt to its end.", buckets=DURATIONS
    ),
    "asyncsched_runs_total": Family("counter", "Runs that ended, by outcome.", ("outcome",), OUTCOMES),
    "asyncsched_attempts_total": Family("counter", "Attempts that began."),
    "asyncsched_retries_total": Family("counter", "Failed attempts after which the run waits for another."),
    "asyncsched_due_total": Family("counter", "Slots that came due, with or without a run."),
    "asyncsched_missed_total": Family("counter", "Slots that got no run, by reason.", ("reason",), REASONS),
    "asyncsched_running": Family("gauge", "Attempts that run now.", merge="livesum"),
    "asyncsched_last_start_timestamp_seconds": Family(
        "gauge", "When the newest attempt began.", merge="max"
    ),
    "asyncsched_slots": Family(
        "gauge", "Attempts that may run at once, by executor.", ("executor",), merge="livesum", of_job=False
    ),
    "asyncsched_slots_in_use": Family(
        "gauge", "Attempts that run now, by executor.", ("executor",), merge="livesum", of_job=False
    ),
    "asyncsched_loop_lag_seconds": Family(
        "gauge", "Time by which the event loop woke the scheduler too late, the most of the last half minute.",
        merge="livemax", of_job=False,
    ),
    "asyncsched_tick_timestamp_seconds": Family(
        "gauge", "When the scheduler last took a turn; it does so every 30 s at least.",
        merge="livemin", of_job=False,
    ),
    "asyncsched_store_errors_total": Family(
        "counter", "Claims, heartbeats and polls that the store did not accept.", of_job=False
    ),
}  # fmt: skip
"""The metrics that each process counts for itself."""

COLLECTED = {
    "asyncsched_last_success_timestamp_seconds": Family("gauge", "When the newest success ended."),
    "asyncsched_consecutive_failures": Family(
        "gauge", "Failures in a row: the most that a schedule of the job has, or its one-offs."
    ),
    "asyncsched_paused": Family("gauge", "1 if the job, or each of its schedules, is paused."),
    "asyncsched_next_due_timestamp_seconds": Family("gauge", "The next due time of the job's schedules."),
    "asyncsched_job_info": Family(
        "gauge", "1 for each declared schedule, and for a job without one.", ("schedule", "timezone", "callable")
    ),
    "asyncsched_build_info": Family("gauge", "1; the version of asyncsched.", ("version", "python"), of_job=False),
}  # fmt: skip
"""The metrics that are read from the store at each scrape, and so are alike in all processes."""
