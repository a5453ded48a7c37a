"""The retention of the history: its bounds, the runs that stay in any case, and the dead letters.

The stores apply these rules: the store in memory deletes run by run as runs end, the SQL stores in batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from asyncsched._core.checks import check_int
from asyncsched._core.errors import ConfigurationError
from asyncsched._core.instants import DAY, to_micros
from asyncsched._core.states import FAILURES

if TYPE_CHECKING:
    from asyncsched._core.records import RunRecord

KEPT_PER_SCHEDULE = 20
"""The number of last runs that every schedule keeps."""

DEAD_LETTERS = 30 * DAY
"""The time for which a dead letter is kept, in microseconds."""

STRETCHES_KEPT = 1000
"""The number of stretches that a schedule keeps."""

ATTEMPTS_KEPT = 200
"""The number of past attempts that a run keeps."""

DEAD_LETTER_STATES = (*FAILURES, "cancelled")
"""The states that a dead letter can be in; ``cancelled`` only by a shutdown."""


@dataclass(slots=True)
class Bounds:
    """The bounds of the history: microseconds, runs, and bytes; a database does not count its bytes.

    Whatever the bounds are, the last runs and the last failure of each schedule stay, and dead letters for a
    time of their own. In memory the dead letters are bounded by the same count and bytes once more; the newest stay.
    """

    age: int = 7 * DAY
    count: int = 100_000
    size: int = 256 * 1024 * 1024
    per_schedule: int = KEPT_PER_SCHEDULE
    dead_letters: int = DEAD_LETTERS


@runtime_checkable
class BoundedStore(Protocol):
    """A store whose history the scheduler bounds: ``bounds`` is set before it is opened."""

    bounds: Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What is kept of runs that have ended, and for how long: ``Scheduler(retention=Retention(…))``.

    A run is dropped when it is too old, or when there are too many; the last ones of each schedule, its last
    failure, and dead letters for their own time stay in any case.

    Args:
        age: seconds or ``timedelta`` for which a run is kept; 7 days by default.
        runs: the most runs that are kept; 100,000 by default.
        per_schedule: how many last runs of each schedule stay in any case; 20 by default.
        dead_letters: seconds or ``timedelta`` for which dead letters stay in any case; 30 days by default.
        memory: in memory, the bytes that the kept runs may take; 256 MiB by default.

    Raises:
        ConfigurationError: a value is wrong.

    """

    age: float | timedelta = timedelta(days=7)
    runs: int = 100_000
    per_schedule: int = KEPT_PER_SCHEDULE
    dead_letters: float | timedelta = timedelta(days=30)
    memory: int = 256 * 1024 * 1024

    def __post_init__(self) -> None:
        for name in ("age", "dead_letters"):
            if to_micros(getattr(self, name), f"Retention: {name}") < 0:
                raise ConfigurationError(f"Retention: {name} must not be negative, not {getattr(self, name)}")
        for name, least in (("runs", 0), ("per_schedule", 0), ("memory", 0)):
            check_int(getattr(self, name), f"Retention: {name}", least, 2**40)

    @property
    def bounds(self) -> Bounds:
        """The bounds of the history, as a store takes them."""
        age, letters = to_micros(self.age, "age"), to_micros(self.dead_letters, "dead_letters")
        return Bounds(age, self.runs, self.memory, self.per_schedule, letters)


def is_dead_letter(run: RunRecord) -> bool:
    """Whether a run ended without success and without an attempt left, and is kept to be run again.

    One that was run again, or dismissed, is no dead letter any more.
    """
    if run.state in FAILURES or (run.state == "cancelled" and run.why == "shutdown"):
        return run.rare is None or (run.requeued_as is None and run.dismissed is None)
    return False


def dead_letter_sql(run: str) -> str:
    """Return the condition of :func:`is_dead_letter` in SQL, for the table of runs called ``run``.

    Its first two parts are false for nearly every row: a database evaluates it at every write, for its index.
    """
    failures = ", ".join(f"'{state}'" for state in FAILURES)
    return (
        f"{run}.finished_at IS NOT NULL AND {run}.state <> 'succeeded' "
        f"AND ({run}.state IN ({failures}) OR ({run}.state = 'cancelled' AND {run}.why = 'shutdown')) "
        f"AND {run}.requeued_as IS NULL AND {run}.dismissed IS NULL"
    )
