"""What all workers of one scheduler share: the event loop, the clock, the observers, the executors' capacity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from asyncsched._backends.base import Backend
from asyncsched._backends.clock import SystemClock
from asyncsched._backends.current import current_backend
from asyncsched._core.events import LoopStalled
from asyncsched._core.ids import RunIds
from asyncsched._core.instants import to_datetime
from asyncsched._core.trigger import TriggerCodec
from asyncsched._engine.capacity import Capacity
from asyncsched._engine.event_bus import EventBus
from asyncsched._engine.waiters import Waiters
from asyncsched._engine.watchdog import StallWatcher
from asyncsched.abc import Clock, Executor, Store


class Settings(NamedTuple):
    """What the scheduler was told at its making, as far as its workers need it.

    ``make_local_store`` makes the memory for runs that stay in this process whatever the store is.
    """

    role: str
    triggers: TriggerCodec
    make_local_store: Callable[[], Store]

    @property
    def works(self) -> bool:
        """Whether this scheduler fires schedules and executes runs."""
        return self.role in ("both", "run")


@dataclass(slots=True, eq=False)
class Environment:
    """The shared parts. ``context`` is the context of the scheduler's start, in which its tasks run."""

    settings: Settings
    clock: Clock
    backend: Backend
    bus: EventBus
    waiters: Waiters
    capacity: Capacity
    watcher: StallWatcher
    ids: RunIds = field(init=False)
    context: Context = field(init=False)

    def __post_init__(self) -> None:
        self.ids = RunIds(getattr(self.clock, "random", None))
        self.context = copy_context()


def make_environment(
    settings: Settings,
    executors: Mapping[str, Executor],
    clock: Clock | None,
    observers: Sequence[Any],
    stall_threshold: float | None,
) -> Environment:
    """Return the environment of a scheduler that starts in the running event loop.

    Args:
        settings: the scheduler's.
        executors: all executors by name.
        clock: the user's clock; ``None``: the machine's.
        observers: callables that hear events.
        stall_threshold: seconds that a job may block the loop before it is named; ``None``: it is never named.

    """
    backend = current_backend()
    # A stall is a matter of the machine's own time: virtual time stands still meanwhile.
    watched = settings.works and stall_threshold is not None and clock is None
    clock = clock or SystemClock(backend.time)
    bus = EventBus(observers, clock.monotonic)

    def stalled(job: str | None, run_id: str | None, milliseconds: float, stack: str) -> None:
        if bus.wants(LoopStalled):
            bus.emit(LoopStalled(to_datetime(clock.wall()), job, run_id, milliseconds, stack))

    watcher = StallWatcher(stall_threshold or 1, enabled=watched, on_stall=stalled)
    return Environment(settings, clock, backend, bus, Waiters(), Capacity(executors), watcher)
