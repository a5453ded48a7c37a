"""Ended runs are counted many at a time, and each in the half minute and the hour in which it ended."""

from __future__ import annotations

from asyncsched._core.book import PERIOD, PERIODS_KEPT, Book, Period
from asyncsched._core.instants import HOUR
from asyncsched._core.records import RunRecord

_NOON = 1_700_000_400 * 1_000_000 // HOUR * HOUR
"""A full hour, which begins a half minute too."""


def _ended(number: int, at: int, state: str = "succeeded") -> RunRecord:
    run = RunRecord(number, "tidy", at - 5000)
    run.state, run.started_at, run.late, run.finished_at = state, at - 2000, 3000, at
    return run


def test_runs_counted_together_are_in_the_periods_and_hours_in_which_they_ended() -> None:
    book = Book()
    ends = [_NOON - PERIOD - 1, _NOON - 2, _NOON - 1, _NOON, _NOON + 1]
    states = ["succeeded", "failed", "succeeded", "cancelled", "timed_out"]

    book.count([_ended(i, at, states[i]) for i, at in enumerate(ends)], _NOON)

    assert [
        (start - _NOON, period.succeeded, period.failed, period.cancelled, sum(period.late.values()))
        for start, period in book.periods.items()
    ] == [(-2 * PERIOD, 1, 0, 0, 1), (-PERIOD, 1, 1, 0, 2), (0, 0, 1, 1, 2)]
    assert [sum(period.took.values()) for period in book.periods.values()] == [1, 2, 2]
    tally = book.tallies["job:tidy"]
    assert [hour.states for hour in tally.hours.values()] == [
        {"succeeded": 2, "failed": 1},
        {"cancelled": 1, "timed_out": 1},
    ]
    assert [sum(hour.took.values()) for hour in tally.hours.values()] == [3, 2]
    assert (tally.failed, tally.failing_since, tally.succeeded_at) == (1, _NOON + 1, _NOON - 1)
    assert [run.finished for run in tally.recent] == ends


def test_a_book_takes_what_was_written_again_and_keeps_two_days() -> None:
    known, newer = Book(), Book()
    known.periods = {number * PERIOD: Period(1) for number in range(PERIODS_KEPT)}
    newer.periods = {(number + 10) * PERIOD: Period(2) for number in range(PERIODS_KEPT)}

    known.take(newer)

    assert sorted(known.periods) == sorted(newer.periods)
    assert {period.succeeded for period in known.periods.values()} == {2}


def test_sums_over_hours_are_those_of_their_periods_whatever_changes_meanwhile() -> None:
    book = Book()
    for number in range(0, 3 * 120, 7):
        book.count([_ended(number, _NOON + number * PERIOD)], _NOON)
    for start, end in (
        (0, 3 * HOUR),
        (1, HOUR),
        (5 * PERIOD, 2 * HOUR + 1),
        (HOUR // 2, HOUR // 2 + 5),
        (9, 9),
    ):
        for _ in range(2):
            inside = [at for at in book.periods if start <= at - _NOON < end]
            assert book.between(_NOON + start, _NOON + end).runs == len(inside)
            assert sum(book.between(_NOON + start, _NOON + end).took.values()) == len(inside)
    all_ = book.between(_NOON, _NOON + 3 * HOUR).runs
    book.count([_ended(1000, _NOON + HOUR + 1)], _NOON)
    assert book.between(_NOON, _NOON + 3 * HOUR).runs == all_ + 1
    newer = Book()
    newer.periods = {_NOON: Period(41)}
    book.take(newer)
    assert book.between(_NOON, _NOON + 3 * HOUR).runs == all_ + 41
