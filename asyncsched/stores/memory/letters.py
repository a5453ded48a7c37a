"""Dead letters in memory: each is closed by the run that comes of it, or by a note."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from asyncsched._core.records import RunRecord
from asyncsched._core.requests import Added, Closed, Closing
from asyncsched._core.rules.letters import dismiss, may_close, requeue
from asyncsched.stores.memory.keys import same


def close_letter(
    closing: Closing, runs: Mapping[int, RunRecord], add: Callable[[RunRecord], Added]
) -> Closed:
    """Close a dead letter, unless it is closed already.

    Args:
        closing: the request.
        runs: all runs by their ids.
        add: adds the run that comes of the letter, keys respected.

    """
    letter, run = runs.get(closing.letter), closing.run
    if letter is None:
        return Closed(None)
    if not may_close(letter, closing):
        stands = None if letter.requeued_as is None else runs.get(letter.requeued_as)
        differs = stands is not None and run is not None and not same(stands.arguments, run.arguments)
        return Closed(letter, stands, conflict=differs)
    if run is None:
        dismiss(letter, closing.note)
        return Closed(letter)
    added = add(run)
    if not added.conflict:
        requeue(letter, added.run.id)
    return Closed(letter, *added)
