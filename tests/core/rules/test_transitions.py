"""The one state machine: what each step changes, and what a run keeps of the steps before."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from copy import copy
from itertools import product

import pytest

from asyncsched._core.instants import MINUTE, SECOND, Now
from asyncsched._core.models import ErrorInfo
from asyncsched._core.records import Permit, RunRecord, ScheduleRecord, Stretch
from asyncsched._core.requests import Verdict
from asyncsched._core.rules import transitions
from asyncsched._core.rules.lost import lengthened
from asyncsched._core.rules.outcome import COMPLETED, abandoned, heeding
from asyncsched._core.rules.retention import ATTEMPTS_KEPT, dead_letter_sql, is_dead_letter
from asyncsched._core.states import FINAL_STATES
from asyncsched.triggers import Interval

AT = 1_000 * MINUTE
NOW = Now(AT, AT + SECOND)
BROKEN = ErrorInfo("ValueError", "no", "Traceback")


def begun(**more: object) -> RunRecord:
    run = RunRecord(1, "job", AT - MINUTE, **more)  # type: ignore[arg-type]
    transitions.begin(run, 7, NOW)
    return run


def test_a_run_begins_late_by_its_own_timeline_and_only_once() -> None:
    on_wall, steady = begun(), begun(steady=True)
    assert (on_wall.state, on_wall.holder, on_wall.attempt, on_wall.started_at) == ("running", 7, 1, AT)
    assert (on_wall.late, steady.late) == (MINUTE, MINUTE + SECOND)
    transitions.end(on_wall, Verdict("pending", "retry", ready_at=AT + MINUTE, attempt="failed"), NOW)
    transitions.begin(on_wall, 8, Now(AT + 5 * MINUTE, AT + 5 * MINUTE))
    assert (on_wall.attempt, on_wall.late) == (2, MINUTE)


def test_an_attempt_that_fails_is_kept_and_its_run_waits_by_priority() -> None:
    run = begun(priority=2)
    run.cancel_requested = "replaced"
    verdict = Verdict("pending", "retry", error=BROKEN, ready_at=AT + 9 * MINUTE, attempt="failed")
    transitions.end(run, verdict, NOW)
    assert (run.state, run.holder, run.why, run.error) == ("pending", 0, "retry", BROKEN)
    assert (run.ready_at, run.rank, run.steady) == (AT + 9 * MINUTE, AT + 7 * MINUTE, True)
    assert run.cancel_requested is None
    assert run.attempts is not None
    assert [(past.number, past.state, past.error) for past in run.attempts] == [(1, "failed", BROKEN)]


def test_a_snooze_gives_its_attempt_back() -> None:
    run = begun()
    for _ in range(ATTEMPTS_KEPT + 5):
        transitions.end(run, Verdict("pending", "snooze", ready_at=AT, spent=False, attempt="snoozed"), NOW)
        assert run.attempt == 0
        transitions.begin(run, 7, NOW)
    assert run.attempts is not None
    assert len(run.attempts) == ATTEMPTS_KEPT


def test_a_plain_success_leaves_nothing_rare() -> None:
    run = begun()
    transitions.end(run, Verdict("succeeded"), NOW)
    assert (run.state, run.finished_at, run.ready_at, run.rare) == ("succeeded", AT, None, None)


def test_what_is_parked_wakes_when_it_would_have_been_ready() -> None:
    run = begun(priority=3)
    transitions.end(run, Verdict("pending", "retry", ready_at=AT + MINUTE, attempt="failed"), NOW)
    transitions.park(run, "paused")
    assert (run.ready_at, run.waits_for) == (None, "paused")
    transitions.wake(run)
    assert (run.ready_at, run.waits_for) == (AT + MINUTE, None)


def test_a_run_behind_another_is_moved_and_goes_on_waiting() -> None:
    behind, parked = RunRecord(1, "job", AT, priority=1), RunRecord(2, "job", AT)
    transitions.park(behind, "overlap")
    transitions.park(parked, "paused")
    for run in (behind, parked):
        transitions.move(run, AT + MINUTE, True)
        assert (run.due, run.steady) == (AT + MINUTE, True)
    assert (behind.waits_for, behind.ready_at, behind.rank) == ("overlap", None, AT)
    assert (parked.waits_for, parked.ready_at) == (None, AT + MINUTE)


def test_a_newer_call_with_the_same_key_takes_the_pending_run_over() -> None:
    held = RunRecord(1, "job", AT, key="k", arguments="old")
    newer = RunRecord(
        2, "job", AT + MINUTE, key="k", key_ttl=9, arguments="new", priority=1, permits=(Permit("p", 1),)
    )
    transitions.take_over(held, newer)
    assert (held.id, held.arguments, held.permits, held.key_ttl) == (1, "new", newer.permits, 9)
    assert (held.due, held.ready_at, held.rank) == (newer.due, newer.due, newer.rank)


def test_a_key_is_kept_while_its_run_lives_and_for_a_while_after_a_success() -> None:
    good, bad = begun(key="k", key_ttl=MINUTE), begun(key="k", key_ttl=MINUTE)
    assert transitions.keeps_key(good)
    assert transitions.answers_for_key(good, AT + 99 * MINUTE)
    transitions.end(good, Verdict("succeeded"), NOW)
    transitions.end(bad, Verdict("failed"), NOW)
    assert (transitions.keeps_key(good), transitions.keeps_key(bad)) == (True, False)
    assert transitions.answers_for_key(good, AT + MINUTE - 1)
    assert not transitions.answers_for_key(good, AT + MINUTE)


def schedule(**more: object) -> ScheduleRecord:
    return ScheduleRecord(
        "s", "job", Interval(seconds=60).anchored(AT), AT, AT, AT + MINUTE, AT + MINUTE, **more
    )  # type: ignore[arg-type]


def test_a_schedule_is_paused_once_by_as_many_failures_as_its_job_allows() -> None:
    failing = schedule(failures=3, revision=5)
    assert not transitions.pause_after_failures(failing, 0, AT)
    assert not transitions.pause_after_failures(failing, 4, AT)
    assert transitions.pause_after_failures(failing, 3, AT)
    assert (failing.paused, failing.paused_at, failing.by, failing.revision) == (True, AT, "asyncsched", 6)
    assert failing.note == "paused after 3 failures in a row"
    assert not transitions.pause_after_failures(failing, 3, AT)


def test_only_a_schedule_that_stood_paused_goes_on() -> None:
    paused, running = schedule(paused=True), schedule()
    assert transitions.goes_on(paused, running)
    assert not transitions.goes_on(paused, copy(paused))
    assert not transitions.goes_on(running, copy(running))
    assert not transitions.goes_on(None, running)


def test_slots_that_follow_on_the_newest_stretch_make_it_longer() -> None:
    newest, lost = Stretch("s", 10, 20, 2, "overlap"), Stretch("s", 30, 30, 1, "overlap", False)
    assert lengthened(newest, lost, 20) == Stretch("s", 10, 30, 3, "overlap", False)
    for other, before in ((None, 20), (newest, None), (newest, 25), (Stretch("s", 10, 20, 2, "missed"), 20)):
        assert lengthened(other, lost, before) is lost


# ── the verdicts that a cancel and a death make ──────────────────────────────────────────────────


def test_nothing_that_is_to_be_cancelled_begins_again() -> None:
    again, failed = (
        Verdict("pending", "retry", error=BROKEN, ready_at=AT, attempt="failed"),
        Verdict("failed"),
    )
    assert heeding(again, None) is again
    assert heeding(failed, "replaced") is failed
    ended = heeding(again, "replaced")
    assert (ended.state, ended.why, ended.error, ended.attempt) == ("cancelled", "replaced", BROKEN, "failed")
    assert heeding(Verdict("cancelled", "shutdown"), COMPLETED).state == "succeeded"


@pytest.mark.parametrize(
    ("cancel_requested", "max_attempts", "spent", "state", "why"),
    [
        (None, 2, True, "pending", "its instance died"),
        (None, 1, True, "lost", "its instance died"),
        (None, 1, False, "pending", "its instance died"),
        ("replaced", 2, True, "cancelled", "replaced"),
        (COMPLETED, 1, True, "succeeded", ""),
    ],
)
def test_a_run_whose_holder_is_gone(
    cancel_requested: str | None, max_attempts: int, spent: bool, state: str, why: str
) -> None:
    run = begun(max_attempts=max_attempts)
    run.cancel_requested = cancel_requested
    verdict = abandoned(run, "its instance died", NOW, spent)
    assert (verdict.state, verdict.why) == (state, why)


def test_dead_letters_are_the_same_in_python_and_in_sql() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        states, whys = (*FINAL_STATES, "pending", "running"), ("", "shutdown", "cancelled")
        for state, why, requeued_as, dismissed in product(states, whys, (None, 2), (None, "", "paid")):
            run = RunRecord(1, "job", AT)
            run.state, run.why = state, why
            run.requeued_as, run.dismissed = requeued_as, dismissed
            row = connection.execute(
                f"SELECT {dead_letter_sql('r')} FROM (SELECT ? AS state, ? AS why, ? AS requeued_as, ? AS dismissed, "
                "1 AS finished_at) AS r",
                (state, why, requeued_as, dismissed),
            )
            assert bool(row.fetchone()[0]) is is_dead_letter(run), (state, why, requeued_as, dismissed)
