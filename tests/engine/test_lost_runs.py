"""Which runs a fencing has ended is told by the runs themselves, whatever else ended at that moment."""

from __future__ import annotations

from typing import Any

import pytest

from asyncsched._core.instants import Now
from asyncsched._core.records import RunRecord
from asyncsched._core.requests import Verdict
from asyncsched._core.rules.outcome import abandoned
from asyncsched._core.rules.transitions import end
from asyncsched._engine.lost_runs import tell_lost

NOW = Now(5_000_000, 5_000_000)


class Ledger:
    def __init__(self, *kept: RunRecord) -> None:
        self.kept = kept

    async def runs(self, query: Any) -> list[RunRecord]:
        return [run for run in self.kept if run.state in query.states]


class Told:
    def __init__(self) -> None:
        self.ids: list[int] = []

    def run_ended(self, run: RunRecord, job: object) -> None:
        self.ids.append(run.id)


def running(number: int) -> RunRecord:
    run = RunRecord(number, "work", 0)
    run.state, run.attempt, run.started_at = "running", 1, 1
    return run


@pytest.mark.anyio
async def test_a_run_that_its_holder_ended_at_the_moment_of_a_fencing_is_not_told_of_twice() -> None:
    lost, requested, own = running(1), running(2), running(3)
    requested.cancel_requested = "cancelled"
    for run in (lost, requested):
        end(run, abandoned(run, "its instance died", NOW, True), NOW)
    end(own, Verdict("cancelled", "cancelled"), NOW)
    told: Any = Told()
    store: Any = Ledger(lost, requested, own)
    await tell_lost(store, told, {"lost": 1, "cancelled": 1, "pending": 3}, NOW)
    assert told.ids == [1, 2]
