"""Cases for every store: dead letters are found, and closed by the run that comes of them or by a note."""

from __future__ import annotations

from typing import Any

from asyncsched._core.instants import MINUTE
from asyncsched._core.records import RunRecord
from asyncsched._core.requests import Closed, Closing, RunQuery, Verdict
from asyncsched.testing.conformance.stage import Case, Stage

CASES: list[Case] = []


def case(function: Case) -> Case:
    """Add a case to the suite."""
    CASES.append(function)
    return function


@case
async def dead_letters_are_found_newest_first(stage: Stage) -> None:
    ends = {
        "failed": Verdict("failed"), "timed_out": Verdict("timed_out"), "lost": Verdict("lost", "its instance died"),
        "shutdown": Verdict("cancelled", "shutdown"), "by hand": Verdict("cancelled", "cancelled"),
        "fine": Verdict("succeeded"),
    }  # fmt: skip
    letters: list[int] = []
    for name, verdict in ends.items():
        await stage.add(stage.run(tags=(name,)))
        (run,) = (await stage.claim()).runs
        stage.wait(MINUTE)
        await stage.record(run, verdict)
        if name not in ("by hand", "fine"):
            letters.insert(0, run.id)
    await stage.add(stage.run())

    async def ids(**query: Any) -> list[int]:
        return [run.id for run in await stage.store.runs(RunQuery(dead_letters=True, **query))]

    assert await ids() == letters
    assert await ids(limit=3) == letters[:3]
    assert await ids(states=("cancelled", "lost", "succeeded")) == letters[:2]
    assert await ids(tag="failed") == letters[3:]
    assert await ids(finished_since=stage.at - 4 * MINUTE) == letters[:3]
    assert await ids(finished_since=stage.at) == []
    ended = await stage.store.runs(RunQuery(finished_since=stage.at - MINUTE))
    assert [run.tags for run in ended] == [("fine",), ("by hand",)]


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────


@case
async def a_dead_letter_is_closed_once_by_a_run_or_by_a_note(stage: Stage) -> None:
    async def close(letter: RunRecord, run: RunRecord | None = None, **more: Any) -> Closed:
        closed: Closed
        (closed,) = await stage.store.close_letters([Closing(letter.id, run, **more)], stage.now)
        return closed

    async def open_ones() -> list[int]:
        return [run.id for run in await stage.store.runs(RunQuery(dead_letters=True))]

    def new_run(arguments: str = '{"x":1}') -> RunRecord:
        run = stage.run(arguments=arguments)
        run.requeue_of = paid.id
        return run

    paid, dropped = stage.run(), stage.run()
    await stage.add(paid, dropped)
    for run in (await stage.claim()).runs:
        await stage.end(run, "failed")
    first, again = new_run(), new_run()
    for _ in range(2):  # the same id: the answer was lost
        closed = await close(paid, first)
        assert (closed.run is not None and closed.run.id, closed.created) == (first.id, True)
    closed = await close(paid, new_run())
    assert (closed.run is not None and closed.run.id, closed.created, closed.conflict) == (
        first.id,
        False,
        False,
    )
    closed = await close(paid, new_run('{"x":2}'))
    assert (closed.created, closed.conflict) == (False, True)
    assert (await stage.kept(first.id)).requeue_of == paid.id
    assert (await close(paid, note="no")).letter is not None
    assert (await stage.kept(paid.id)).dismissed is None  # what was run again cannot be dismissed
    assert (await close(paid, again, again=True)).created
    assert (await stage.kept(paid.id)).requeued_as == again.id

    assert await open_ones() == [dropped.id]
    await close(dropped, note="known")
    assert await open_ones() == []
    assert (await stage.kept(dropped.id)).dismissed == "known"
    closed = await close(dropped, stage.run())
    assert (closed.run, closed.created) == (None, False)
    assert (await close(stage.run(), stage.run())) == Closed(None)  # no such letter: nothing is added
    assert {run.id for run in (await stage.claim()).runs} == {first.id, again.id}
