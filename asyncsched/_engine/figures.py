"""The figures of a running scheduler, collected from its workers and its store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from asyncsched._core.errors import TriggerError
from asyncsched._core.figures import Slots
from asyncsched._core.jobs import Job, JobRegistry
from asyncsched._core.mapping import run_view
from asyncsched._core.models import Run
from asyncsched._core.records import ScheduleRecord
from asyncsched._core.reports import Instance
from asyncsched._core.requests import RunQuery
from asyncsched._core.tallies import Tally
from asyncsched._engine.members import living_instances

if TYPE_CHECKING:
    from asyncsched._engine.environment import Environment
    from asyncsched._engine.worker import Worker
    from asyncsched.abc import Executor


class Parts(Protocol):
    """The parts of a running scheduler that have figures."""

    environment: Environment
    registry: JobRegistry
    executors: Mapping[str, Executor]
    main: Worker

    @property
    def own_workers(self) -> Sequence[Worker]:
        """The workers of the scheduler itself."""
        ...

    @property
    def workers(self) -> Sequence[Worker]:
        """All workers, those of scopes included."""
        ...


class RuntimeFigures:
    """Reads the figures of one runtime. :class:`asyncsched.abc.Figures` says what each call returns."""

    def __init__(self, runtime: Parts) -> None:
        self._runtime = runtime

    @property
    def jobs(self) -> Mapping[str, Job]:
        return self._runtime.registry.jobs

    @property
    def declared(self) -> Collection[ScheduleRecord]:
        declared = self._runtime.registry.schedules
        return [record for record in self.schedules() if record.id in declared]

    def trigger_data(self, schedule: str) -> Mapping[str, Any]:
        record = self.schedule(schedule)
        if record is None:
            return {}
        try:
            return self._runtime.environment.settings.triggers.to_json(record.trigger.original)
        except TriggerError:  # only code can make it
            return {}

    @property
    def closed(self) -> bool:
        return self._runtime.environment.waiters.closed

    @property
    def works(self) -> bool:
        return self._runtime.environment.settings.works

    def schedules(self) -> Collection[ScheduleRecord]:
        return [
            record
            for worker in self._runtime.own_workers
            for record in list(worker.agenda.schedules.values())
        ]

    def schedule(self, id: str) -> ScheduleRecord | None:
        for worker in self._runtime.own_workers:
            if (found := worker.agenda.schedules.get(id)) is not None:
                return found
        return None

    def running(self) -> Counter[str]:
        return Counter(
            attempt.run.job
            for worker in self._runtime.workers
            for attempt in list(worker.runner.running.values())
        )

    def slots(self) -> dict[str, Slots]:
        executors, free = self._runtime.executors, self._runtime.environment.capacity.free
        return {name: Slots(one.capacity, one.capacity - free[name]) for name, one in executors.items()}

    def on_tick(self, call: Callable[[float, float], None]) -> None:
        self._runtime.main.pulse.listen(call)

    async def read_schedules(self, ids: Collection[str] | None = None) -> Collection[ScheduleRecord]:
        found: list[ScheduleRecord] = []
        for worker in self._runtime.own_workers:
            found += await worker.store.schedules(ids)
        return found

    async def tallies(self) -> Mapping[str, Tally]:
        found: dict[str, Tally] = {}
        for worker in self._runtime.own_workers:
            found |= (await worker.endings.books.tallies()).tallies
        return found

    async def paused_jobs(self) -> Collection[str]:
        return (await self._runtime.main.store.paused_jobs()).keys()

    async def runs(self, query: RunQuery) -> list[Run]:
        found: list[Run] = []
        for worker in self._runtime.own_workers:
            found += [run_view(run, self.jobs.get(run.job)) for run in await worker.store.runs(query)]
        return found

    async def instances(self) -> list[Instance]:
        return await living_instances(self._runtime.main, self._runtime.environment)
