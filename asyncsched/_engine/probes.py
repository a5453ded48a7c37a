"""The probes of a running scheduler: does its loop tick, and can it claim and run?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncsched._core.reports import Probe
from asyncsched._engine.pulse import OVERDUE

if TYPE_CHECKING:
    from asyncsched._engine.runtime import Runtime


def live(runtime: Runtime) -> Probe:
    """Return whether each worker took its turn when it had promised to, half a minute later at most."""
    if not runtime.works:
        return Probe()
    late = max(worker.pulse.overdue for worker in runtime.own_workers)
    if late <= OVERDUE:
        return Probe()
    return Probe(("no tick",), (f"the scheduler's loop has not ticked for {late:.0f} s",))


def ready(runtime: Runtime) -> Probe:
    """Return whether the scheduler can claim and run: all reasons against it, in words."""
    reasons: list[str] = []
    details: list[str] = []
    if runtime.shutdown.draining():
        reasons.append("draining")
        details.append("the scheduler is draining: it begins no more runs")
    membership = runtime.main.membership
    if membership is not None:
        trouble = membership.health().trouble
        if trouble:
            reasons.append("store away")
            details.append(f"the store cannot be used: {trouble}")
        elif membership.silent:
            reasons.append("no heartbeat")
            details.append("the store has accepted no heartbeat of this instance for longer than its lease")
    full = _full(runtime) if runtime.works else []
    if full and len(full) == len(runtime.executors):
        reasons.append("executors full")
        details.append("no executor has room: " + ", ".join(full))
    return Probe(tuple(reasons), tuple(details))


def _full(runtime: Runtime) -> list[str]:
    free = runtime.environment.capacity.free
    return [
        f"{name} runs {executor.capacity} of {executor.capacity}"
        for name, executor in runtime.executors.items()
        if free[name] <= 0
    ]
