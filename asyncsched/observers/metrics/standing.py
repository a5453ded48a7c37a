"""How schedules stand, as gauges by job: paused, failing, and due next."""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

from asyncsched._core.arguments.functions import path_of
from asyncsched._core.book import subject_of
from asyncsched._core.instants import SECOND
from asyncsched._core.jobs import Job
from asyncsched._core.tallies import Tally
from asyncsched._core.version import VERSION
from asyncsched.abc import Figures, ScheduleRecord
from asyncsched.observers.metrics.measuring import Labels

Rows = dict[str, dict[tuple[str, ...], float]]
"""The values of each metric, by their labels."""


class Standing(NamedTuple):
    """The schedules of one scheduler, the names of its paused jobs, and the counters by their subject."""

    schedules: Collection[ScheduleRecord]
    paused_jobs: Collection[str]
    tallies: Mapping[str, Tally]


def rows_of(found: Mapping[Figures, Standing], labels_of: Callable[[str, str | None], Labels]) -> Rows:
    """Return the gauges of all jobs and schedules of some schedulers."""
    failing: dict[tuple[str, ...], float] = {}
    succeeded: dict[tuple[str, ...], float] = {}
    going: dict[Labels, bool] = {}
    due: dict[tuple[str, ...], float] = {}
    info: dict[tuple[str, ...], float] = {}
    for figures, standing in found.items():
        for job in list(figures.jobs):
            failing.setdefault(labels_of(job, None), 0)
            going.setdefault(labels_of(job, None), False)
            _count(standing.tallies.get(subject_of(None, job)), labels_of(job, None), failing, succeeded)
        with_schedule = set()
        for record in standing.schedules:
            labels = labels_of(record.job, record.id)
            with_schedule.add(labels)
            failing[labels] = max(failing.get(labels, 0), record.failures)
            _count(standing.tallies.get(subject_of(record.id, "")), labels, None, succeeded)
            paused = record.paused or record.job in standing.paused_jobs
            going[labels] = going.get(labels, False) or not paused
            if record.next_due is not None and not paused and not record.dormant:
                at = record.next_due / SECOND
                due[labels] = min(due.get(labels, at), at)
        for job in list(figures.jobs):
            labels = labels_of(job, None)
            if labels not in with_schedule:
                going[labels] = going[labels] or job not in standing.paused_jobs
        info.update((labels_of(job.name, None)[:1] + rest, 1.0) for job, rest in _infos(figures))
    return {
        "asyncsched_consecutive_failures": failing,
        "asyncsched_last_success_timestamp_seconds": succeeded,
        "asyncsched_paused": {labels: float(not goes) for labels, goes in going.items()},
        "asyncsched_next_due_timestamp_seconds": due,
        "asyncsched_job_info": info,
        "asyncsched_build_info": {(VERSION, platform.python_version()): 1.0},
    }


def _count(
    tally: Tally | None,
    labels: tuple[str, ...],
    failing: dict[tuple[str, ...], float] | None,
    succeeded: dict[tuple[str, ...], float],
) -> None:
    """Add a tally to the gauges of its labels; the failures in a row of a schedule stand on the schedule itself."""
    if tally is None:
        return
    if failing is not None:
        failing[labels] = max(failing.get(labels, 0), tally.failed)
    if tally.succeeded_at is not None:
        succeeded[labels] = max(succeeded.get(labels, 0), tally.succeeded_at / SECOND)


def _infos(figures: Figures) -> Iterator[tuple[Job, tuple[str, str, str]]]:
    """Yield the schedule in words, the zone and the callable, for each declared schedule and each job without one."""
    left = dict(figures.jobs)
    for record in figures.declared:
        job = figures.jobs.get(record.job)
        if job is not None:
            left.pop(job.name, None)
            zone = ", ".join(sorted({str(zone) for zone in record.trigger.zones()}))
            yield job, (_describe(record), zone, path_of(job.func))
    for job in left.values():
        yield job, ("", "", path_of(job.func))


def _describe(record: ScheduleRecord) -> str:
    try:
        return record.trigger.describe()
    except Exception:  # a user's faulty trigger must not hide the other metrics
        return type(record.trigger.original).__name__
