"""The retention of the history: its bounds, the runs that stay in any case, and the dead letters.

The stores apply these rules: the store in memory deletes run by run as runs end, the SQL stores in batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asyncsched._core.instants import DAY
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

    Whatever the bounds are, the last 20 runs and the last failure of each schedule stay, and dead letters
    for 30 days. In memory the dead letters are bounded by the same count and bytes once more; the newest stay.
    """

    age: int = 7 * DAY
    count: int = 100_000
    size: int = 256 * 1024 * 1024


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
