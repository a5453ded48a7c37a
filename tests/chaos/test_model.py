"""The protocol's model holds in every interleaving, and each of its rules is needed."""

from __future__ import annotations

from dataclasses import fields

import pytest

from tests.chaos.model import Bounds, Protocol, check

DEATH = Bounds(slots=0, lease=3, faults=2)
"""Two who watch each other, and two faults."""

ALONE = Bounds(nodes=1, turns=3, faults=2)
"""One with its own lost answers."""

PAIR = Bounds(turns=1, faults=1)
"""Two, a run that may begin twice, and one fault. All at once, with more of each, by hand: see the module."""

SMALL = Bounds(turns=2, faults=1)


@pytest.mark.timeout(180)  # a busy machine takes a while for 200,000 worlds
@pytest.mark.parametrize("bounds", [DEATH, ALONE, PAIR], ids=["death", "alone", "pair"])
def test_nothing_goes_wrong_in_any_interleaving(bounds: Bounds) -> None:
    found = check(bounds=bounds)
    assert not found.complaint, str(found)
    assert found.worlds > 10_000


BROKEN = {
    "fire_if_unmoved": "a slot has two runs",
    "claim_if_alive": "held by nobody who lives",
    "record_if_running": "was overwritten",
    "record_if_holder": "executes run 0, which it does not hold",
    "record_if_same_turn": "executes run 0, which it does not hold",
    "give_back_if_recorded": "places are taken by",
    "bury_if_unmoved": "lives and was declared dead",
    "bury_needs_own_beats": "lives and was declared dead",
    "watch_anew": "lives and was declared dead",
    "polls_tell": "lives and was declared dead",
    "fence_at_once": "held by nobody who lives",
    "stop_when_dead": "executes run 0, which it does not hold",
    "let_go_when_idle": "executes run 0, which it does not hold",
    "look_again_for_unknown": "stays with who will never end it",
}


@pytest.mark.parametrize("rule", [field.name for field in fields(Protocol)])
def test_without_any_one_rule_there_is_a_counter_example(rule: str) -> None:
    found = check(Protocol(**{rule: False}), SMALL)
    assert BROKEN[rule] in found.complaint, str(found)
    assert 0 < len(found.way) < 12
