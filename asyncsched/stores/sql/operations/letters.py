"""Dead letters are closed, each by the run that comes of it or by a note: an operation of the SQL stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from asyncsched._core.instants import Now
from asyncsched._core.records import RunRecord
from asyncsched._core.requests import Closed, Closing
from asyncsched._core.rules.letters import dismiss, may_close, requeue
from asyncsched.stores.sql.operations.adding import Adding, add
from asyncsched.stores.sql.rows import text
from asyncsched.stores.sql.session import Session


class ClosingLetters(NamedTuple):
    """A request to close dead letters."""

    closings: Sequence[Closing]
    now: Now


def close_letters(session: Session, request: ClosingLetters) -> list[Closed]:
    """Close dead letters, and add the runs that come of them."""
    # Every transaction that closes several letters locks them in this order.
    ids = sorted({closing.letter for closing in request.closings})
    letters = {id: session.a_run("lock_run", id=session.write_id(id)) for id in ids}
    answers: list[Closed | None] = [_answer(session, one, letters[one.letter]) for one in request.closings]
    asked = zip(request.closings, answers, strict=True)
    runs = [one.run for one, answer in asked if answer is None and one.run is not None]
    (added,) = add(session, [Adding(runs, request.now, False)])
    came = dict(zip([run.id for run in runs], added, strict=True))
    for place, closing in enumerate(request.closings):
        letter, run = letters[closing.letter], closing.run
        if answers[place] is not None or letter is None or run is None:
            continue
        if not came[run.id].conflict:
            requeue(letter, came[run.id].run.id)
            _write(session, letter)
        if came[run.id].created:
            session.do("name_letter", id=session.write_id(run.id), letter=session.write_id(letter.id))
            session.keep_entry()
        answers[place] = Closed(letter, *came[run.id])
    return [answer for answer in answers if answer is not None]


def _answer(session: Session, closing: Closing, letter: RunRecord | None) -> Closed | None:
    """Return the answer to a closing that adds no run, after a dismissal was written; else ``None``."""
    if letter is None:
        return Closed(None)
    run = closing.run
    if not may_close(letter, closing):
        came_of_it = letter.requeued_as
        stands = None if came_of_it is None else session.a_run("run", id=session.write_id(came_of_it))
        differs = stands is not None and run is not None and stands.arguments != run.arguments
        return Closed(letter, stands, conflict=differs)
    if run is None:
        dismiss(letter, text(closing.note))
        _write(session, letter)
        session.keep_entry()
        return Closed(letter)
    return None


def _write(session: Session, letter: RunRecord) -> None:
    run = letter.requeued_as
    session.do(
        "close_letter", id=session.write_id(letter.id), note=letter.dismissed,
        run=None if run is None else session.write_id(run),
    )  # fmt: skip
