"""The figures of a running scheduler, as an observer with ``attach`` reads them for metrics and alerts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from asyncsched._core.execution import Observer
from asyncsched._core.jobs import Job
from asyncsched._core.models import Run
from asyncsched._core.records import ScheduleRecord
from asyncsched._core.reports import Instance
from asyncsched._core.requests import RunQuery
from asyncsched._core.tallies import Tally


class Slots(NamedTuple):
    """The places of an executor: how many attempts may run at once, and how many do."""

    capacity: int
    in_use: int


class Figures(Protocol):
    """What one scheduler knows of itself and of its store. The plain calls answer at once, in an outage too."""

    @property
    def jobs(self) -> Mapping[str, Job]:
        """The jobs of the code by name, functions that were adopted in memory included."""
        ...

    @property
    def declared(self) -> Collection[ScheduleRecord]:
        """The schedules that the code declares, as this instance knows them."""
        ...

    def trigger_data(self, schedule: str) -> Mapping[str, Any]:
        """Return the trigger of a schedule as a store keeps it: empty for one that only code can make."""
        ...

    @property
    def closed(self) -> bool:
        """Whether the scheduler has been closed."""
        ...

    @property
    def works(self) -> bool:
        """Whether the scheduler fires schedules and executes runs."""
        ...

    def schedules(self) -> Collection[ScheduleRecord]:
        """Return all schedules as this instance last heard of them."""
        ...

    def schedule(self, id: str) -> ScheduleRecord | None:
        """Return one schedule as this instance last heard of it."""
        ...

    def running(self) -> Counter[str]:
        """Return how many attempts of each job run in this process."""
        ...

    def slots(self) -> dict[str, Slots]:
        """Return the places of each executor of this process."""
        ...

    def on_tick(self, call: Callable[[float, float], None]) -> None:
        """Call ``call`` at most once a second with the time of the last tick and the loop's lag, in seconds."""
        ...

    async def read_schedules(self, ids: Collection[str] | None = None) -> Collection[ScheduleRecord]:
        """Return all schedules, or those of the given ids, as they stand in the store."""
        ...

    async def tallies(self) -> Mapping[str, Tally]:
        """Return the counters that are kept as runs end, by their subject (:func:`subject_of`); do not change them."""
        ...

    async def paused_jobs(self) -> Collection[str]:
        """Return the names of the paused jobs."""
        ...

    async def runs(self, query: RunQuery) -> list[Run]:
        """Return the runs that match, newest due first."""
        ...

    async def instances(self) -> list[Instance]:
        """Return the living instances of the cluster; in memory there is this one."""
        ...


@runtime_checkable
class AttachedObserver(Observer, Protocol):
    """An observer that is given the figures of each scheduler that it observes, when that has started."""

    def attach(self, figures: Figures, /) -> None:
        """Take the figures of a scheduler, before any of its events."""
        ...
