"""History in memory is bounded by age, count and bytes, and spares what must stay."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from asyncsched._core.instants import DAY, HOUR, SECOND
from asyncsched._core.models import ErrorInfo
from asyncsched._core.records import RunRecord
from asyncsched._core.rules.retention import KEPT_PER_SCHEDULE, Bounds
from asyncsched.stores.memory.history import History, size_of

_ids = count(1)


class Kept:
    """A history, and the runs that it has not let go of."""

    def __init__(self, **bounds: int) -> None:
        self.runs: dict[int, RunRecord] = {}
        self.history = History(Bounds(**{"age": 7 * DAY, "count": 10, "size": 10**9, **bounds}), self._forget)
        self.now = 1_000 * DAY

    def _forget(self, run: RunRecord) -> None:
        del self.runs[run.id]

    def end(self, state: str = "succeeded", schedule: str | None = None, **more: Any) -> RunRecord:
        run = RunRecord(next(_ids), "job", self.now, schedule=schedule, key_ttl=more.pop("key_ttl", 0))
        run.state, run.finished_at = state, self.now
        for name, value in more.items():
            setattr(run, name, value)
        self.runs[run.id] = run
        self.history.push(run, self.now, schedule is not None)
        self.now += SECOND
        return run


def test_the_count_bounds_it_the_oldest_go_first() -> None:
    kept = Kept(count=10)
    runs = [kept.end() for _ in range(25)]
    assert list(kept.runs) == [run.id for run in runs[-10:]]
    assert len(kept.history) == 10


def test_age_bounds_it() -> None:
    kept = Kept(age=HOUR)
    for _ in range(5):
        kept.end()
    kept.now += 2 * HOUR
    newest = kept.end()
    assert list(kept.runs) == [newest.id]


def test_pruning_by_hand_does_the_same() -> None:
    kept = Kept(age=HOUR)
    for _ in range(5):
        kept.end()
    assert kept.history.prune(kept.now + 2 * HOUR) == 5
    assert kept.runs == {}


def test_bytes_bound_it_results_and_tracebacks_included() -> None:
    kept = Kept(count=1000, size=100_000)
    for _ in range(100):
        kept.end(result="x" * 10_000)
    assert 5 <= len(kept.runs) <= 10
    assert sum(size_of(run) for run in kept.runs.values()) <= 100_000


def test_a_result_that_grows_while_it_is_kept_does_not_upset_the_count_of_bytes() -> None:
    kept = Kept(count=10)
    result: list[int] = []
    kept.end(result=result)
    result.extend(range(100_000))
    for _ in range(20):
        kept.end()
    assert kept.history._bytes == 10 * size_of(next(iter(kept.runs.values())))


def test_the_last_runs_and_the_last_failure_of_each_schedule_stay() -> None:
    kept = Kept(count=10)
    failure = kept.end("failed", "rare")
    rare = [kept.end(schedule="rare") for _ in range(30)]
    for _ in range(100):
        kept.end()
    kept.history.prune(kept.now + 40 * DAY)  # a dead letter's thirty days are over as well
    assert set(kept.runs) == {failure.id, *(run.id for run in rare[-KEPT_PER_SCHEDULE:])}


def test_a_newer_failure_takes_the_place_of_the_older() -> None:
    kept = Kept(count=1)
    older, newer = kept.end("failed", "s"), kept.end("timed_out", "s")
    for _ in range(30):
        kept.end(schedule="s")
    kept.history.prune(kept.now + 40 * DAY)
    assert newer.id in kept.runs and older.id not in kept.runs


def test_dead_letters_stay_for_thirty_days() -> None:
    kept = Kept(count=5)
    letters = [kept.end(state) for state in ("failed", "timed_out", "lost")]
    letters.append(kept.end("cancelled", why="shutdown"))
    by_hand = kept.end("cancelled", why="cancelled")
    for _ in range(20):
        kept.end()
    assert {run.id for run in letters} <= set(kept.runs) and by_hand.id not in kept.runs
    kept.history.prune(kept.now + 29 * DAY)
    assert set(kept.runs) == {run.id for run in letters}
    kept.history.prune(kept.now + 31 * DAY)
    assert kept.runs == {}


def test_dead_letters_alone_cannot_fill_the_memory() -> None:
    kept = Kept(count=2000)
    for _ in range(20_000):
        kept.end("failed")
        assert len(kept.runs) <= 3 * 2000 + 1  # as many in order, and twice as many spared between sweeps
    kept.history.prune(kept.now)
    assert len(kept.runs) == 4000


def test_big_dead_letters_cannot_either() -> None:
    kept = Kept(count=100, size=1_000_000)
    for _ in range(2000):
        kept.end("failed", error=ErrorInfo("E", "m", "t" * 50_000))
    assert sum(size_of(run) for run in kept.runs.values()) <= 3_100_000


def test_a_run_that_still_answers_for_its_key_stays() -> None:
    kept = Kept(count=5)
    holder = kept.end(key_ttl=DAY)
    for _ in range(20):
        kept.end()
    assert holder.id in kept.runs
    kept.history.prune(kept.now + 2 * DAY)
    assert holder.id not in kept.runs


def test_a_removed_schedule_keeps_nothing_in_any_case() -> None:
    kept = Kept(count=5)
    for _ in range(10):
        kept.end(schedule="gone")
    kept.history.drop_schedule("gone")
    for _ in range(10):
        kept.end()
    kept.history.prune(kept.now)
    assert len(kept.runs) == 5


def test_looking_at_what_is_spared_costs_no_more_for_each_run_as_it_grows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0
    plain = History._keeps

    def counted(self: History, run: RunRecord, now: int) -> bool:
        nonlocal looks
        looks += 1
        return plain(self, run, now)

    monkeypatch.setattr(History, "_keeps", counted)
    kept = Kept(count=100)
    for number in range(5000):
        kept.end(schedule=f"s{number % 200}")  # 4,000 of them are spared
    assert looks < 6 * 5000
