"""The settings of a scheduler: their checks, their values from the environment, and others in their place for tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta, tzinfo
from types import EllipsisType
from typing import Any, Literal, NamedTuple, Self, TypedDict, get_args

from asyncsched._core.checks import check_choice
from asyncsched._core.errors import ConfigurationError, SchedulerStateError
from asyncsched._core.instants import SECOND, to_micros
from asyncsched._core.rules.retention import Bounds, Retention
from asyncsched._core.text import safe_repr
from asyncsched._scheduler.face import Face
from asyncsched._scheduler.options import JobDefaults, check_name
from asyncsched.abc import Clock, Executor, Store
from asyncsched.stores.factory import open_store

Role = Literal["both", "submit", "run", "off"]

StoreChoice = str | Store | None
Providers = Mapping[Callable[..., Any], Callable[..., Any]]


class SchedulerOptions(TypedDict, total=False):
    """The arguments of ``Scheduler`` that ``Scheduler.from_env`` takes as well."""

    store: StoreChoice | Callable[[], StoreChoice]
    namespace: str
    timezone: str | tzinfo
    executors: Mapping[str, Executor] | None
    role: Role | None
    shutdown_timeout: float | timedelta
    strict: bool
    observers: Sequence[Callable[..., Any]]
    clock: Clock | None
    stall_threshold: float | None
    store_timeout: float | timedelta
    result_limit: int | None
    defaults: JobDefaults | None
    retention: Retention | None


class Opener(NamedTuple):
    """Makes of a choice of a store the function that makes the store at each start."""

    namespace: str
    answer: float
    bounds: Bounds | None
    strict: bool

    def __call__(self, store: StoreChoice | Callable[[], StoreChoice]) -> Callable[[], Store]:
        if self.strict or store is not None:
            import asyncsched._core.arguments.codec  # noqa: F401 - here, because pydantic reads files at its first model
        return open_store(store, self.namespace, self.answer, self.bounds)


class Choices:
    """The settings that another value can take the place of until the next start.

    Args:
        open: makes of a choice of a store the function that makes the store.
        store, clock, role: as for ``Scheduler``.

    Attributes:
        overrides: functions in place of those of ``Provide``.

    """

    def __init__(
        self,
        open: Opener,
        store: StoreChoice | Callable[[], StoreChoice],
        clock: Clock | None,
        role: Role | None,
    ) -> None:
        self._open = open
        self.overrides: dict[Callable[..., Any], Callable[..., Any]] = {}
        self.make_store = open(store)
        self.clock: Clock | None = _clock(clock)
        self.role: Role | None = None if role is None else checked_role(role)

    @contextmanager
    def replaced(self, store: Any, clock: Any, role: Any, providers: Providers | None) -> Iterator[None]:
        """Replace what is given, and not an ellipsis, inside the block."""
        before = self.make_store, self.clock, self.role, {**self.overrides}
        try:
            self.make_store = self.make_store if store is ... else self._open(store)
            self.clock = self.clock if clock is ... else _clock(clock)
            self.role = self.role if role is ... else None if role is None else checked_role(role)
            self.overrides.update(providers or {})
            yield
        finally:
            self.make_store, self.clock, self.role, overrides = before
            self.overrides.clear()
            self.overrides.update(overrides)


class Overridable(Face):
    """The part of a scheduler that a test uses before the start."""

    _choices: Choices

    @contextmanager
    def override(
        self,
        *,
        store: StoreChoice | Callable[[], StoreChoice] | EllipsisType = ...,
        clock: Clock | EllipsisType | None = ...,
        role: Role | EllipsisType | None = ...,
        providers: Providers | None = None,
    ) -> Iterator[Self]:
        """Replace settings for the starts inside the block: for tests of an app whose scheduler is in a module.

        Args:
            store, clock, role: as for ``Scheduler``; what is left out stays.
            providers: functions in place of those of ``Provide``, beside :attr:`overrides`.

        Raises:
            SchedulerStateError: the scheduler is running.

        Example:
            >>> with scheduler.override(store=None, clock=virtual_clock, providers={get_pool: get_fake}):
            ...     async with scheduler: ...

        """
        if self._open:
            raise SchedulerStateError(
                "override() was called while the scheduler runs; call it before the start"
            )
        with self._choices.replaced(store, clock, role, providers):
            yield self


def from_environment(environ: Mapping[str, str]) -> SchedulerOptions:
    """Return the arguments of a scheduler that the environment has.

    Raises:
        ConfigurationError: a number of seconds is none.

    """
    found: SchedulerOptions = {"store": lambda: os.environ.get("ASYNCSCHED_STORE") or None}
    if environ is not os.environ:
        found["store"] = lambda: environ.get("ASYNCSCHED_STORE") or None
    if namespace := environ.get("ASYNCSCHED_NAMESPACE"):
        found["namespace"] = namespace
    if zone := environ.get("ASYNCSCHED_TIMEZONE"):
        found["timezone"] = zone
    if seconds := environ.get("ASYNCSCHED_SHUTDOWN_TIMEOUT"):
        found["shutdown_timeout"] = _seconds("ASYNCSCHED_SHUTDOWN_TIMEOUT", seconds)
    if seconds := environ.get("ASYNCSCHED_STORE_TIMEOUT"):
        found["store_timeout"] = _seconds("ASYNCSCHED_STORE_TIMEOUT", seconds)
    return found


def _seconds(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"{name} must be a number of seconds, not {safe_repr(text)}") from None


def seconds_of(value: float | timedelta, name: str, *, zero: bool = False) -> float:
    """Return a stretch of time in seconds; refuse one that is negative, or zero unless that is allowed."""
    seconds = to_micros(value, name) / SECOND
    if seconds < 0 and zero:
        raise ConfigurationError(f"{name} must not be negative, not {value}")
    if seconds <= 0 and not zero:
        raise ConfigurationError(f"{name} must be more than 0 s, not {value}")
    return seconds


def checked_role(role: Any, what: str = "role") -> Any:
    """Return the role if it is one."""
    check_choice(role, what, get_args(Role))
    return role


def _clock(clock: Any) -> Any:
    """Return the clock if it is one, or ``None``."""
    if clock is not None and (isinstance(clock, type) or not isinstance(clock, Clock)):
        raise ConfigurationError(f"clock must be a Clock, such as VirtualClock(), not {safe_repr(clock)}")
    return clock


def checked_kind(value: Any, kind: type, name: str) -> Any:
    """Return the value if it is ``None`` or of the kind."""
    if value is not None and not isinstance(value, kind):
        raise ConfigurationError(f"{name} must be a {kind.__name__}(…), not {safe_repr(value)}")
    return value


def checked_executors(executors: object) -> Mapping[str, Executor]:
    """Return the executors by name if each is one."""
    given = {} if executors is None else executors
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"executors must be a dict such as {{'thread': ThreadExecutor(8)}}, not {safe_repr(executors)}"
        )
    for name, executor in given.items():
        check_name(name, "executors: a name")
        if isinstance(executor, type) or not isinstance(executor, Executor):
            raise ConfigurationError(
                f"executors: {name!r} must be an executor such as ThreadExecutor(8), or of a class of your own that "
                f"inherits from asyncsched.abc.Executor, not {safe_repr(executor)}"
            )
    return given
