"""The parts that all workers of one scheduler share: the event loop, the clock, the observers, the capacity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from asyncsched._backends.base import Backend
from asyncsched._core.ids import RunIds
from asyncsched._core.instants import Instant
from asyncsched._core.trigger import TriggerCodec
from asyncsched._engine.capacity import Capacity
from asyncsched._engine.event_bus import EventBus
from asyncsched._engine.waiters import Waiters
from asyncsched._engine.watchdog import StallWatcher
from asyncsched.abc import Clock, DrivenClock, Store


class Settings(NamedTuple):
    """The arguments of the scheduler that its workers need.

    ``make_local_store`` makes the store in memory for the runs that stay in this process, whatever the store is;
    ``overrides`` has factories that are called in place of others for provided parameters; ``result_limit`` is the
    most bytes that a result has to be kept.
    """

    role: str
    triggers: TriggerCodec
    make_local_store: Callable[[], Store]
    overrides: Mapping[Any, Callable[..., Any]]
    result_limit: int | None

    @property
    def works(self) -> bool:
        """Whether this scheduler fires schedules and executes runs."""
        return self.role in ("both", "run")


class Loop(Protocol):
    """A parallel loop under way."""

    def stop(self, why: BaseException | None = None) -> None:
        """Cancel its calls; ``why`` is what its consumer is told."""
        ...


@dataclass(slots=True, eq=False)
class Environment:
    """The shared parts. ``context`` is the context of the scheduler's start; its tasks run in copies of it.

    ``loops`` are the parallel loops under way.
    """

    settings: Settings
    clock: Clock
    backend: Backend
    bus: EventBus
    waiters: Waiters
    capacity: Capacity
    watcher: StallWatcher
    ids: RunIds = field(init=False)
    context: Context = field(init=False)
    loops: set[Loop] = field(default_factory=set)
    started_at: Instant = 0

    def __post_init__(self) -> None:
        self.ids = RunIds(self.clock.random if isinstance(self.clock, DrivenClock) else None)
        self.context = copy_context()
