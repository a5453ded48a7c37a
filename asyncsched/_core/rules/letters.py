"""The closing of dead letters: each is run again once, or dismissed with a note.

A letter and the run that came of it name each other. Both stores, in memory and in SQL, decide by these functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncsched._core.records import RunRecord
    from asyncsched._core.requests import Closing


def may_close(letter: RunRecord, closing: Closing) -> bool:
    """Whether a letter may be closed in this way, as it stands."""
    if closing.run is None:
        return letter.requeued_as is None
    if (
        closing.again or letter.requeued_as == closing.run.id
    ):  # the same id: the answer of this closing was lost
        return True
    return letter.requeued_as is None and letter.dismissed is None


def dismiss(letter: RunRecord, note: str) -> None:
    """Put a letter aside, with a note."""
    letter.dismissed = note


def requeue(letter: RunRecord, run_id: int) -> None:
    """Close a letter by a run: the one that came of it, or the one that holds its key and so does its work."""
    letter.requeued_as, letter.dismissed = run_id, None
