"""Admission: the runs that may begin now, by the overlap rule of their schedule, by limits and by rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncsched._core.instants import Instant
from asyncsched._core.states import QUEUE_ALL_LIMIT

if TYPE_CHECKING:
    from asyncsched._core.records import Permit


def gcra(theoretical: Instant, permit: Permit, now: Instant) -> tuple[Instant, Instant]:
    """Return the time at which a run may begin under a rate, and the theoretical arrival time to keep.

    The generic cell rate algorithm in its virtual scheduling form (ITU-T I.371): one timestamp per
    key, exact, O(1).
    """
    theoretical = max(theoretical, now)
    begin = max(now, theoretical - (permit.most - 1) * permit.interval)
    return begin, theoretical + permit.interval


def admit(overlap: str, live: int, waiting: int, chained: bool) -> str:
    """Return the decision on a new slot's run: ``run``, ``wait``, ``replace`` or ``skip``.

    Args:
        overlap: the job's rule.
        live: the number of live runs of the schedule, of origin ``schedule``.
        waiting: the number of live runs that have not begun and wait for another run of the schedule.
        chained: whether the run belongs to a catch-up, whose runs begin one after the other.

    """
    if not live:
        return "run"
    if chained:
        return "wait"
    if overlap == "allow":
        return "run"
    if overlap == "queue_one":
        return "skip" if waiting else "wait"
    if overlap == "queue_all":
        return "skip" if waiting >= QUEUE_ALL_LIMIT else "wait"
    if overlap == "replace":
        return "replace"
    return "skip"
