"""What is kept: how much of the history, which runs stay in any case, and which runs are dead letters.

The stores ask; a store in memory drops run by run as they end, the SQL stores portion by portion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncsched._core.instants import DAY
from asyncsched._core.states import FAILURES

if TYPE_CHECKING:
    from asyncsched._core.records import RunRecord

KEPT_PER_SCHEDULE = 20
"""How many of its last runs every schedule keeps."""

DEAD_LETTERS = 30 * DAY
"""How long a dead letter is kept."""

STRETCHES_KEPT = 1000
"""How many stretches of slots without a run a schedule keeps."""

ATTEMPTS_KEPT = 200
"""How many of its past attempts a run keeps."""

DEAD_LETTER_STATES = (*FAILURES, "cancelled")
"""The states that a dead letter can be in; ``cancelled`` only by a shutdown."""


@dataclass(slots=True)
class Bounds:
    """How much history is kept: microseconds, runs, and bytes; a database does not count its bytes.

    Whatever they say, the last 20 runs and the last failure of each schedule stay, and dead letters
    for 30 days. In memory those are bounded by the same count and bytes once more, the newest staying.
    """

    age: int = 7 * DAY
    count: int = 100_000
    size: int = 256 * 1024 * 1024


def is_dead_letter(run: RunRecord) -> bool:
    """Whether a run ended without success and without an attempt left, and is kept to be run again."""
    return run.state in FAILURES or (run.state == "cancelled" and run.why == "shutdown")


def dead_letter_sql(run: str) -> str:
    """Return the condition of :func:`is_dead_letter` in SQL, for the table of runs called ``run``.

    Of nearly all rows its first two parts say no: a database asks at every write, for its index.
    """
    failures = ", ".join(f"'{state}'" for state in FAILURES)
    return (
        f"{run}.finished_at IS NOT NULL AND {run}.state <> 'succeeded' "
        f"AND ({run}.state IN ({failures}) OR ({run}.state = 'cancelled' AND {run}.why = 'shutdown'))"
    )
