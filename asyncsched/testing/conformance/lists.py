"""The rules of lists: each filter, and each combination of filters, finds the same runs on every store."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from typing import Any

from asyncsched._core.instants import HOUR, MINUTE
from asyncsched._core.records import RunRecord
from asyncsched._core.requests import RunQuery, Verdict
from asyncsched.testing.conformance.stage import Case, Stage

CASES: list[Case] = []


def case(test: Case) -> Case:
    """Add a case to the suite."""
    CASES.append(test)
    return test


_ORIGINS = ("once", "manual", "backfill", "schedule")
_VERDICTS = (
    Verdict("succeeded"), Verdict("failed"), Verdict("timed_out"), Verdict("cancelled", "shutdown"),
    Verdict("cancelled", "cancelled"), Verdict("lost", "its instance died"),
)  # fmt: skip


@case
async def every_combination_of_filters_finds_the_same_runs(stage: Stage) -> None:
    every = await _runs_of_all_kinds(stage)
    assert {run.state for run in every} == {
        "pending", "running", "succeeded", "failed", "timed_out", "cancelled", "lost",
    }  # fmt: skip
    found_some = 0
    for query in _queries(stage, every):
        expected = [run.id for run in query.select(every)]
        assert [run.id for run in await stage.store.runs(query)] == expected, query
        found_some += bool(expected)
    assert found_some > 100


@case
async def a_run_whose_time_moves_is_listed_at_its_new_place(stage: Stage) -> None:
    first, second = stage.run(delay=HOUR, tags=("t",)), stage.run(delay=2 * HOUR, tags=("t",))
    await stage.add(first, second)
    await stage.store.move(first.id, stage.at + 3 * HOUR, False, stage.now)
    for query in (RunQuery(tag="t"), RunQuery(job="job"), RunQuery()):
        assert [run.id for run in await stage.store.runs(query)] == [first.id, second.id]
    assert [run.id for run in await stage.store.runs(RunQuery(tag="t", limit=1))] == [first.id]
    await stage.store.cancel(second.id, "cancelled", stage.now)
    assert [run.id for run in await stage.store.runs(RunQuery(tag="t", states=("pending",)))] == [first.id]


async def _runs_of_all_kinds(stage: Stage) -> list[RunRecord]:
    """Add runs of each origin, some with keys and tags, and bring them into each state."""
    number = 0
    for job, origin in product(("job", "other"), _ORIGINS):
        for verdict in (*_VERDICTS, None):
            number += 1
            await stage.add(stage.run(
                job, origin=origin, schedule=None if origin == "once" else f"s{number % 2}",
                slot=None if origin in ("once", "manual") else stage.at, tags=("even",) if number % 2 == 0 else (),
                key=f"k{number % 3}" if verdict is not None and number % 3 else None,
            ))  # fmt: skip
            (run,) = (await stage.claim()).runs
            stage.wait(MINUTE)
            if verdict is not None:
                await stage.record(run, verdict)
        await stage.add(stage.run(job, HOUR, origin=origin, tags=("even", "odd")))
    return list(await stage.store.runs(RunQuery(limit=1000)))


def _queries(stage: Stage, every: list[RunRecord]) -> Iterator[RunQuery]:
    """Yield each filter alone and each pair, with and without states, dead letters, a limit and a page."""
    middle = sorted(every, key=lambda run: run.due)[len(every) // 2]
    filters: list[dict[str, Any]] = [
        {"job": "job"}, {"job": "nothing of it is there"}, {"schedule": "s1"}, {"schedule": "none"}, {"key": "k1"},
        {"key": "none"}, {"tag": "even"}, {"tag": "none"}, *({"origin": one} for one in (*_ORIGINS, "none")),
        {"start": middle.due}, {"end": middle.due}, {"before": (middle.due, middle.id)},
        {"finished_since": stage.at - 20 * MINUTE}, {"slot": middle.slot or 0},
    ]  # fmt: skip
    others: list[dict[str, Any]] = [
        {}, {"states": ("pending", "running")}, {"states": ("succeeded",)}, {"states": ("lost", "cancelled", "running")},
        {"dead_letters": True}, {"dead_letters": True, "states": ("cancelled",)}, {"limit": 3}, {"states": ()},
    ]  # fmt: skip
    chosen = [
        {},
        *filters,
        *({**one, **two} for one, two in combinations(filters, 2) if not one.keys() & two.keys()),
    ]
    for given, more in product(chosen, others):
        yield RunQuery(**{**given, **more})
