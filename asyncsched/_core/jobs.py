"""A job: its function, its options, and the encoding of its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from asyncsched._core.arguments.copies import copied
from asyncsched._core.arguments.signature import Signature
from asyncsched._core.errors import ArgumentError
from asyncsched._core.misfire import Misfire
from asyncsched._core.records import Arguments, Given, Permit, RunRecord, ScheduleRecord
from asyncsched._core.trigger import InstantTrigger


@runtime_checkable
class RetryRule(Protocol):
    """Decides whether another attempt begins, and after which delay."""

    @property
    def attempts(self) -> int:
        """The most attempts that a run has."""
        ...

    def delay_for(self, run_id: int, attempt: int, error: BaseException, elapsed: int, /) -> int | None:
        """Return the delay of the next attempt in microseconds, or ``None`` for no other attempt.

        ``attempt`` has failed with ``error``; ``elapsed`` are microseconds since the first one began.
        """
        ...


class PermitRule(Protocol):
    """Names the permit that a run needs before it may begin."""

    @property
    def by(self) -> str | None:
        """The argument each value of which has a separate limit, or ``None``."""
        ...

    def permit(self, job: str, arguments: Mapping[str, Any], /) -> Permit:
        """Return the permit that a run with these arguments needs."""
        ...


_USUAL = Misfire()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """A function and its options; only the code has it, never the store."""

    name: str
    func: Callable[..., Any]
    executor: str
    aliases: tuple[str, ...] = ()  # its former names
    timeout: int | None = None  # microseconds, per attempt
    retry: RetryRule | None = None
    overlap: str = "skip"
    misfire: Misfire = _USUAL
    limits: tuple[PermitRule, ...] = ()
    priority: int = 0
    tags: tuple[str, ...] = ()
    policies: tuple[Any, ...] = ()
    pause_after: int = 0
    each_instance: bool = False
    carry: Mapping[str, Any] = field(default_factory=dict)
    signature: Signature = field(repr=False)
    attempts: int = field(init=False)  # the most that one run has

    def __post_init__(self) -> None:
        object.__setattr__(self, "attempts", 1 if self.retry is None else self.retry.attempts)

    def permits(self, arguments: Given) -> tuple[Permit, ...]:
        """Return the permits that a run with these arguments needs, in the order in which they are taken."""
        if not self.limits:
            return ()
        named = self.signature.named(arguments) if any(rule.by for rule in self.limits) else {}
        return tuple(sorted(rule.permit(self.name, named) for rule in self.limits))


def permits_of(record: ScheduleRecord, job: Job) -> tuple[Permit, ...]:
    """Return the permits that a schedule's next run needs.

    Raises:
        ArgumentError: its arguments do not fit here, and another instance may read them and fire it.

    """
    if not job.limits:
        return ()
    try:
        return job.permits(arguments_of(record, job))
    except ArgumentError:
        if job.signature.differs_elsewhere:
            raise
        return ()  # each of its runs ends at once, and says what does not fit


def arguments_of(run: RunRecord | ScheduleRecord, job: Job) -> Given:
    """Return a run's or schedule's arguments, decoded where they were stored as JSON."""
    return job.signature.decode(run.arguments) if isinstance(run.arguments, str) else run.arguments


@dataclass(frozen=True, slots=True)
class Declared:
    """A schedule that the code declares. It keeps copies of the plain mutable arguments."""

    id: str
    job: Job
    trigger: InstantTrigger
    arguments: Arguments
    jitter: int
    max_runs: int | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        """Its id, and the ids that it had while its job had other names."""
        return (self.id, *self.job.aliases) if self.id == self.job.name else (self.id,)

    def __post_init__(self) -> None:
        if not isinstance(self.arguments, str):
            object.__setattr__(self, "arguments", copied(self.arguments))


class JobRegistry(Protocol):
    """The jobs and schedules that the code declares, as the engine reads them."""

    @property
    def jobs(self) -> Mapping[str, Job]:
        """All jobs by name."""
        ...

    @property
    def schedules(self) -> Mapping[str, Declared]:
        """The declared schedules by id."""
        ...

    def find(self, name: str, /) -> Job | None:
        """Return the job of a name or a former name."""
        ...

    def let_go(self, name: str, /) -> None:
        """Count a run of a job that has its outcome."""
        ...
