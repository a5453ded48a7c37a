"""asyncsched's answers to the questions, its drift in virtual time, and the page that is made of all of them."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from tests.conformance.asking import Answers, Drift, ask, is_right
from tests.conformance.peers import PEERS, answer
from tests.conformance.questions import QUESTIONS, Question
from tests.conformance.report import page, picture
from tests.conformance.virtual_day import day_of
from tests.conformance.ways import WAYS, WORK
from tests.docs.pages import GUIDE


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda one: one.name)
def test_asyncsched_answers_right(question: Question) -> None:
    given = answer("asyncsched", asdict(question), max(1, len(question.right)))
    assert is_right(question.right, given), given


def test_a_wrong_answer_counts_as_wrong() -> None:
    """croniter takes `5-5` for every day, which time.md has measured."""
    (question,) = (one for one in QUESTIONS if one.expression == "0 0 5-5 * *")
    assert not is_right(question.right, answer("croniter", asdict(question), len(question.right)))
    assert is_right((), ["refused: ValueError"]) and not is_right((), ["2026-03-02T00:00+00:00"])


def test_a_library_that_is_not_there_is_left_out_with_the_reason() -> None:
    """APScheduler 3 is installed here, so 4 cannot be."""
    found = ask("APScheduler 4")
    assert (found.given, "environment of its own" in found.skipped) == ({}, True)


@pytest.mark.blocking_ok  # the other ways block the loop for as long as their call takes
def test_a_loop_that_sleeps_a_second_drifts_by_its_call_and_asyncsched_does_not() -> None:
    slow, ours = (day_of(name, 600) for name in ("asyncio.sleep(1) after each call", "asyncsched"))
    assert slow.behind == pytest.approx(WORK * (len(slow.starts) - 1))
    assert (len(ours.starts) in (600, 601), ours.behind) == (
        True,
        0,
    )  # the last second is also that of the end


def test_the_page_and_its_picture_show_each_library_way_and_question() -> None:
    answers = {name: Answers("1.0", given={one.name: list(one.right) for one in QUESTIONS}) for name in PEERS}
    answers["cronsim"].given["30 February"] = ["no answer in 20 s"]
    answers["APScheduler 4"] = Answers(skipped="needs an environment of its own")
    real = {name: Drift("1.0", starts=[0.0, 1.004, 2.011]) for name in WAYS}
    real["schedule"] = Drift(skipped="not installed")
    written = page(answers, real, {name: Drift(starts=[0.0, 1.0]) for name in WAYS}, 2)
    assert all(name in written for name in (*PEERS, *WAYS))
    assert all(f"`{one.expression}`" in written for one in QUESTIONS)
    assert "right is . cronsim: no answer in 20 s" in written.replace("refused. ", ". ")
    assert "Not asked: APScheduler 4" in written
    drawn = picture(real, 2)
    assert drawn.count("<polyline") == len(WAYS) - 1
    assert "schedule (not tried)" in drawn


def test_the_guide_has_all_questions() -> None:
    """The page is made by hand, on a machine that it names; a question that is added is missing until then."""
    written = (GUIDE / "conformance.md").read_text("utf-8")
    assert [
        one.expression
        for one in QUESTIONS
        if f"| {one.name}: {one.why} | `{one.expression}` |" not in written
    ] == []
    assert (GUIDE / "pictures" / "drift.svg").is_file()
