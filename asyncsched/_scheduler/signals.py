"""Signals: the observers of a scheduler, the hook for failures, and the answers to probes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from asyncsched._core.errors import ConfigurationError, SchedulerStateError
from asyncsched._core.reports import Probe
from asyncsched._core.text import safe_repr
from asyncsched._engine.probes import live, ready
from asyncsched._engine.runtime import Runtime
from asyncsched.abc import Carried, CarryingObserver

if TYPE_CHECKING:
    from asyncsched.observers.alerts.failures import Hook

H = TypeVar("H", bound="Hook")


class Signals:
    """The part of a scheduler that tells the world how it is."""

    _observers: tuple[Any, ...]
    _runtime: Runtime | None
    _ever: bool

    def on_failure(self, hook: H) -> H:
        """Call a function whenever a run has failed for good, and when the first one succeeds again.

        A decorator, before the start. The function takes a :class:`~asyncsched.observers.alerts.Failure`: the run,
        the number of failures in a row, and since when. A plain function is called in a thread. It delays no run.

        Raises:
            SchedulerStateError: the scheduler is running.

        Example:
            >>> @scheduler.on_failure
            ... async def tell(failure: Failure) -> None:
            ...     await chat.send(failure.text)

        """
        if self._runtime is not None:
            raise SchedulerStateError(
                "on_failure() was called while the scheduler runs; call it before the start"
            )
        from asyncsched.observers.alerts.failures import OnFailure  # with the services for check-ins

        self._observers = (*self._observers, OnFailure(hook))
        return hook

    def live(self) -> Probe:
        """Return whether the scheduler's loop ticks: the answer to a liveness probe, never red for a job or a store.

        It passes before the start and after the end, when there is no loop that could have stopped.
        """
        return Probe() if self._runtime is None else live(self._runtime)

    def ready(self) -> Probe:
        """Return whether the scheduler can claim and run: the answer to a readiness probe, never red for a job.

        It passes if the scheduler has started and is not draining, if its store takes its heartbeats, and if an
        executor has room. The call does not query the store, so it answers at once, in an outage too.

        Example:
            >>> scheduler.ready().reasons
            ('draining',)

        """
        if self._runtime is None:
            reason = "closed" if self._ever else "not started"
            return Probe((reason,), (f"the scheduler is {reason}",))
        return ready(self._runtime)


def checked_observers(observers: object) -> tuple[Any, ...]:
    """Return the observers if they are callables."""
    if isinstance(observers, str) or not isinstance(observers, Iterable):
        raise ConfigurationError(f"observers must be a list of callables, not {safe_repr(observers)}")
    listed = tuple(observers)
    for observer in listed:
        if not callable(observer):
            raise ConfigurationError(
                f"observers must be callables that take an event, not {safe_repr(observer)}"
            )
    return listed


def carried_by(observers: Iterable[Any]) -> dict[str, Carried]:
    """Return what the observers have travel with every run, by name."""
    carrying = [observer for observer in observers if isinstance(observer, CarryingObserver)]
    return {carried.name: carried for observer in carrying for carried in observer.carries}
