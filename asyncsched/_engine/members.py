"""The living instances, as every asker is told of them: those of the cluster, or the one that has its store in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from asyncsched._core.instants import SECOND
from asyncsched._core.mapping import instance_view
from asyncsched._core.reports import Instance

if TYPE_CHECKING:
    from asyncsched._engine.environment import Environment
    from asyncsched._engine.worker import Worker
    from asyncsched.abc import ClusterStore


async def living_instances(worker: Worker, environment: Environment) -> list[Instance]:
    """Return the living instances, oldest first; a store in memory has one, unless it starts nothing."""
    if worker.store.durable:
        return [instance_view(one) for one in await cast("ClusterStore", worker.store).instances()]
    if environment.settings.role == "off":
        return []
    record = worker.reconciler.describe(environment.ids.instance, environment.settings.role)
    now, lag = worker.timeline.now().wall, round(worker.pulse.lag * SECOND)
    return [instance_view(record._replace(started_at=environment.started_at, beat_at=now, lag=lag))]
