"""What a schedule owes: plain code over integers, so every case is one line."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncsched import AnyOf, Cron, Interval, Misfire, TriggerError
from asyncsched._core.instants import DAY, HOUR, MINUTE, SECOND, YEAR, to_datetime, to_instant
from asyncsched._core.records import ScheduleRecord
from asyncsched._core.rules.due import Plan, Slot, first_slot, jittered, plan, replanned, resumed
from asyncsched._core.rules.lost import Lost, count_slots
from asyncsched._core.trigger import UserTrigger, as_instants

T0 = to_instant(datetime(2026, 1, 1, tzinfo=UTC))


def schedule(trigger: Any, known: int = T0, jitter: int = 0) -> ScheduleRecord:
    anchored = trigger.anchored(known) if hasattr(trigger, "anchored") else as_instants(trigger, "it")
    record = ScheduleRecord("it", "job", anchored, anchor=known, cursor=known - 1, jitter=jitter)
    record.next_slot, record.next_due = first_slot(record, known - 1) or (None, None)
    return record


def owed(record: ScheduleRecord, now: int, *args: Any, **misfire: Any) -> Plan:
    return plan(record, Misfire(*args, **misfire), now)


class Every:
    """A user's trigger without ``previous``: every so many seconds since 1970."""

    def __init__(self, seconds: int) -> None:
        self.step = seconds * SECOND
        self.cancel_requested = 0

    def next(self, after: datetime) -> datetime | None:
        self.cancel_requested += 1
        return to_datetime((to_instant(after) // self.step + 1) * self.step)


# ── what is owed ─────────────────────────────────────────────────────────────────────────────────


def test_a_slot_met_in_time_runs_and_the_next_is_known() -> None:
    planned = owed(schedule(Interval(seconds=10)), T0 + 10 * SECOND)
    assert planned == Plan(
        [Slot(T0 + 10 * SECOND, T0 + 10 * SECOND)],
        None,
        T0 + 10 * SECOND,
        Slot(T0 + 20 * SECOND, T0 + 20 * SECOND),
    )


def test_late_by_less_than_a_period_it_runs() -> None:
    planned = owed(schedule(Interval(seconds=10)), T0 + 20 * SECOND - 1)
    assert [slot.slot for slot in planned.run] == [T0 + 10 * SECOND]
    assert planned.lost is None


@pytest.mark.parametrize("trigger", [Interval(seconds=10), Every(10)])
def test_latest_runs_the_newest_and_the_others_are_one_stretch(trigger: Any) -> None:
    planned = owed(schedule(trigger), T0 + 95 * SECOND)
    first = T0 if isinstance(trigger, Every) else T0 + 10 * SECOND
    assert [slot.slot for slot in planned.run] == [T0 + 90 * SECOND]
    assert planned.lost == Lost(first, T0 + 80 * SECOND, 8 + (first == T0), True)
    assert planned.upcoming is not None
    assert planned.upcoming.slot == T0 + 100 * SECOND


def test_all_runs_the_newest_so_many_oldest_first() -> None:
    planned = owed(schedule(Interval(seconds=10)), T0 + 95 * SECOND, "all", limit=3)
    assert [(slot.slot - T0) // SECOND for slot in planned.run] == [70, 80, 90]
    assert planned.lost == Lost(T0 + 10 * SECOND, T0 + 60 * SECOND, 6, True)
    everything = owed(schedule(Interval(seconds=10)), T0 + 95 * SECOND, "all")
    assert [(slot.slot - T0) // SECOND for slot in everything.run] == list(range(10, 91, 10))
    assert everything.lost is None


@pytest.mark.parametrize("late, runs", [(59, 1), (60, 1), (61, 0)])
def test_none_runs_the_newest_within_a_minute(late: int, runs: int) -> None:
    planned = owed(schedule(Cron("0 * * * *"), T0 - 1), T0 + 3 * HOUR + late * SECOND, "none")
    assert len(planned.run) == runs
    assert planned.lost == Lost(T0, T0 + (3 - runs) * HOUR, 4 - runs, True)


@pytest.mark.parametrize("catch_up", ["latest", "all", "none"])
def test_a_given_grace_bounds_all_three(catch_up: str) -> None:
    record = schedule(Interval(seconds=10))
    assert owed(record, T0 + 19 * SECOND, catch_up, grace=5).run == []
    assert len(owed(record, T0 + 13 * SECOND, catch_up, grace=5).run) == 1
    older = owed(record, T0 + 31 * SECOND, catch_up, grace=timedelta(seconds=12))
    assert [(slot.slot - T0) // SECOND for slot in older.run] == ([20, 30] if catch_up == "all" else [30])


def test_a_single_slot_that_is_too_late_is_a_stretch_of_one() -> None:
    planned = owed(schedule(Interval(hours=1)), T0 + HOUR + 6 * SECOND, grace=5)
    assert planned.lost == Lost(T0 + HOUR, T0 + HOUR, 1, True)
    assert planned.cursor == T0 + HOUR


def test_the_count_is_exact_to_a_thousand_where_the_trigger_cannot_tell_at_once() -> None:
    assert count_slots(Cron("* * * * *"), T0, T0 + 1000 * MINUTE) == (1000, True)
    assert count_slots(Cron("* * * * *"), T0, T0 + 1001 * MINUTE) == (1000, False)
    assert count_slots(Interval(seconds=1).anchored(T0), T0, T0 + YEAR) == (YEAR // SECOND, True)


def test_after_the_last_slot_nothing_comes() -> None:
    ends = Interval(seconds=10, end=to_datetime(T0 + 20 * SECOND))
    planned = owed(schedule(ends), T0 + YEAR)
    assert [slot.slot for slot in planned.run] == [T0 + 20 * SECOND]
    assert planned.upcoming is None


@settings(max_examples=150, deadline=None)
@given(
    trigger=st.sampled_from(
        [Interval(seconds=7), Cron("*/7 * * * *"), AnyOf(Interval(minutes=9), Cron("0 * * * *")), Every(420)]
    ),
    jitter=st.sampled_from([0, 3 * SECOND, HOUR]),
    looks=st.lists(st.integers(1, 3 * HOUR), min_size=1, max_size=12),
    catch_up=st.sampled_from(["latest", "all", "none"]),
    grace=st.sampled_from([None, 0, 100]),
    limit=st.sampled_from([1, 3, 10_000]),
)
def test_every_slot_is_run_or_lost_once_and_never_before_its_time(
    trigger: Any, jitter: int, looks: list[int], catch_up: str, grace: int | None, limit: int
) -> None:
    record = schedule(trigger, jitter=jitter)
    now, told = T0, []
    for look in looks:
        now += look
        if record.next_due is None or record.next_due > now:
            continue
        planned = owed(record, now, catch_up, grace=grace, limit=limit)
        if planned.lost:
            at: int | None = planned.lost.first - 1
            while at is not None and at < planned.lost.last:
                at = record.trigger.next_instant(at)
                told.append(at)
            assert at == planned.lost.last
        for slot in planned.run:
            assert slot.slot <= slot.due <= now
            told.append(slot.slot)
        record.cursor = planned.cursor
        record.next_slot, record.next_due = planned.upcoming or (None, None)
        assert record.next_due is None or record.next_due > now
    expected, at = [], record.anchor - 1
    while (at := record.trigger.next_instant(at) or YEAR * 1000) <= record.cursor:
        expected.append(at)
    assert told == expected


# ── jitter ───────────────────────────────────────────────────────────────────────────────────────


@given(st.text(min_size=1), st.integers(0, 10**12), st.integers(1, DAY))
def test_jitter_never_reaches_the_next_slot(id: str, k: int, jitter: int) -> None:
    every = Interval(seconds=60).anchored(0)
    slot = k // 1000 * 60 * SECOND
    due = jittered(id, slot, jitter, every)
    assert slot <= due <= slot + min(jitter, 60 * SECOND - 1)
    assert due == jittered(id, slot, jitter, every)


def test_jitter_is_drawn_for_each_schedule_and_slot_and_is_the_same_for_ever() -> None:
    every = Interval(hours=1).anchored(0)
    slots = [k * HOUR for k in range(5)]
    drawn = [jittered("digest", slot, MINUTE, every) - slot for slot in slots]
    assert drawn == [22113625, 37452871, 21315791, 3482080, 59251524]
    assert drawn != [jittered("other", slot, MINUTE, every) - slot for slot in slots]


def test_the_last_slot_of_all_may_be_moved_by_the_whole_jitter() -> None:
    once = Interval(hours=1, start=to_datetime(T0), end=to_datetime(T0))
    assert T0 <= jittered("it", T0, 30 * DAY, once) <= T0 + 30 * DAY


# ── a user's own trigger ─────────────────────────────────────────────────────────────────────────


@settings(max_examples=100)
@given(seconds=st.integers(1, 10**6), at=st.integers(0, 4 * 10**15))
def test_previous_is_found_without_being_told_and_without_a_walk(seconds: int, at: int) -> None:
    own = Every(seconds)
    assert UserTrigger(own).previous_instant(at) == at // own.step * own.step
    assert own.cancel_requested < 130


def test_previous_of_a_trigger_that_has_ended_or_not_begun() -> None:
    class Once:
        def next(self, after: datetime) -> datetime | None:
            return to_datetime(T0) if to_instant(after) < T0 else None

    own = UserTrigger(Once())
    assert own.previous_instant(T0 + YEAR) == T0
    assert own.previous_instant(T0) == T0
    assert own.previous_instant(T0 - 1) is None


def test_previous_of_its_own_is_asked_where_there_is_one() -> None:
    class Mirrored(Every):
        def previous(self, before: datetime) -> datetime | None:
            return to_datetime(to_instant(before) // self.step * self.step)

    own = Mirrored(10)
    assert UserTrigger(own).previous_instant(T0 + 1) == T0
    assert own.cancel_requested == 0


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda at: at, "which is not later; next must return a time strictly after"),
        (lambda at: at - timedelta(seconds=1), "which is not later"),
        (lambda at: at.replace(tzinfo=None) + timedelta(days=1), "Liar.next is a naive datetime"),
        (lambda at: 5, "Liar.next must be a datetime, not int"),
    ],
)
def test_a_trigger_that_answers_nonsense_is_told_so(answer: Any, words: str) -> None:
    class Liar:
        def next(self, after: datetime) -> Any:
            return answer(after)

    with pytest.raises(ValueError, match=words):
        UserTrigger(Liar()).next_instant(T0)


def test_a_previous_that_lies_later_is_refused() -> None:
    class Liar(Every):
        def previous(self, before: datetime) -> datetime:
            return before + timedelta(days=1)

    with pytest.raises(TriggerError, match="which is later; previous must return a time at or before"):
        UserTrigger(Liar(1)).previous_instant(T0)


@pytest.mark.parametrize("trigger", [None, 5, "0 7 * * *", object(), Cron, Every])
def test_what_cannot_be_asked_is_no_trigger(trigger: Any) -> None:
    with pytest.raises(
        TriggerError, match=r"it: .* is no trigger; (give an|write|write it as) (Interval|Cron)"
    ):
        as_instants(trigger, "it")


# ── a wrong clock put right, and the end of a pause ──────────────────────────────────────────────


def test_a_last_slot_three_hours_ahead_is_forgotten_and_a_nearer_one_waited_for() -> None:
    record = schedule(Cron("* * * * *"))
    record.cursor = T0 + 600 * MINUTE
    record.next_slot = record.next_due = T0 + 601 * MINUTE
    again = replanned(record, T0 + 600 * MINUTE - 3 * HOUR - 1)
    assert again is not None
    assert again.next_slot == T0 + 420 * MINUTE
    assert replanned(record, T0 + 600 * MINUTE - 3 * HOUR) is None
    assert record.cursor == T0 + 600 * MINUTE  # the row itself is changed by its store alone


def test_what_is_due_already_is_left_to_the_misfire_rule() -> None:
    record = schedule(Cron("* * * * *"))
    assert replanned(record, T0 + YEAR) is None


def test_a_grid_anchored_by_a_wrong_clock_is_anchored_anew_but_not_a_start_that_was_given() -> None:
    wrong = T0 + 9 * YEAR
    again = replanned(schedule(Interval(hours=1), known=wrong), T0)
    assert again is not None
    assert (again.anchor, again.next_slot) == (T0, T0 + HOUR)
    given_ = schedule(Interval(hours=1, start=to_datetime(wrong)), known=wrong)
    assert replanned(given_, T0) is None


def test_a_pause_that_ends_is_one_stretch_and_the_next_slot_counts_from_now() -> None:
    record = schedule(Interval(minutes=1))
    lost, following = resumed(record, T0 + 10 * MINUTE + 1)
    assert lost == Lost(T0 + MINUTE, T0 + 10 * MINUTE, 10, True)
    assert following == Slot(T0 + 11 * MINUTE, T0 + 11 * MINUTE)
    assert resumed(replace(record), T0 + 1)[0] is None
