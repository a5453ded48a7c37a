"""Every way in which the protocol was ever found to go wrong, on the real keeper and transactions.

Found by the model (``model.py``) in the first design, or by chaos; each failed before its rule was there.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncsched._core.instants import SECOND
from asyncsched._core.requests import Claim
from asyncsched._engine.maintenance import EVERY
from asyncsched.stores.sql.operations.claiming import Claiming, claim
from tests.chaos.instances import Instance, Ledger, pass_time

LEASE, BEAT = Instance.lease, Instance.beat_every
BEATER, POLLER = 0, 1
"""Which of an instance's tasks beats."""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path)
    yield ledger
    ledger.close()


def wait(ledger: Ledger, seconds: float) -> None:
    pass_time([*ledger.instances.values()], seconds, random.Random(1))


def holders(ledger: Ledger) -> list[int]:
    return [holder for (holder,) in ledger.rows("SELECT holder FROM asyncsched_runs WHERE state = 'running'")]


def living(ledger: Ledger) -> set[int]:
    return {one for (one,) in ledger.rows("SELECT incarnation FROM asyncsched_instances")}


def begun(one: Instance) -> None:
    """Have an instance execute one run."""
    one.add()
    one.claim(delayed=False)
    assert one.runner.running


def test_a_repeated_record_leaves_the_next_attempt_of_the_same_number_alone(ledger: Ledger) -> None:
    """A snooze spends no attempt: (incarnation, attempt) were the same for the next one."""
    one = Instance(ledger, 1, 0.0)
    begun(one)
    one.finish(0, "snooze")
    one.lose = "record"
    one.record(0)  # it is done, and nobody knows
    ledger.at += SECOND
    one.claim(delayed=False)
    (again,) = one.runner.running.values()
    one.record(0)
    assert holders(ledger) == [again.holder]


def test_an_outage_between_ones_own_beats_declares_nobody_dead(ledger: Ledger) -> None:
    """All beats of one were accepted, and each of the other's fell into an outage."""
    one = Instance(ledger, 1, 0.0)
    wait(ledger, 2.5)
    Instance(ledger, 2, 5e6)
    before = living(ledger)
    for _ in range(4 * 20):
        ledger.up = BEATER in one.due()
        wait(ledger, 0)
        ledger.at += SECOND // 4
    assert living(ledger) == before


def test_a_join_whose_answer_is_lost_is_repeated(ledger: Ledger) -> None:
    """It lived and beat as somebody new, and went on to claim as the one who was dead."""
    one, other = Instance(ledger, 1, 0.0), Instance(ledger, 2, 5e6)
    one.leave_us(crash=False)
    wait(ledger, LEASE + BEAT + 1)
    assert living(ledger) == {other.engine.holder}
    one.come_back()
    one.lose = "join"
    wait(ledger, BEAT)
    assert one.engine.holder in living(ledger)
    begun(one)


def test_a_claim_that_lands_when_nobody_expects_it_is_found(ledger: Ledger) -> None:
    """An answer was lost, all seemed known, and then the write was done: the run stayed for ever."""
    one = Instance(ledger, 1, 0.0)
    one.add()
    wanted = Claim(one.engine.holder, [], {"loop": 1}, jobs=("job",))
    ledger.do(claim, Claiming(wanted, ledger.now))  # by a connection that was cut
    assert holders(ledger) == [one.engine.holder]
    wait(ledger, EVERY + 2 * BEAT)
    assert not holders(ledger)


def unconfirmed(ledger: Ledger) -> Instance:
    """Return an instance that is about to look what it holds, with a run to claim."""
    one = Instance(ledger, 1, 0.0)
    one.add()
    wait(ledger, BEAT - 0.25)
    ledger.at += SECOND // 4
    one.lost_answers += 1
    while one.next_call != "held":
        one.step(POLLER)
    return one


def test_what_a_claim_brings_is_not_let_go_while_its_answer_is_on_its_way(ledger: Ledger) -> None:
    """Held in the ledger and not yet known here looks like an answer that was lost."""
    one = unconfirmed(ledger)
    one.claim(delayed=True)
    one.step(POLLER, in_order=False)
    wait(ledger, 3 * BEAT)
    assert holders(ledger) == [run.holder for run in one.runner.running.values()] != []


def test_an_answer_lost_while_another_doubt_is_settled_is_a_doubt_of_its_own(ledger: Ledger) -> None:
    """The look that settles the first may have been before what was done without an answer."""
    one = unconfirmed(ledger)
    one.lost_answers += 1
    one.step(POLLER)
    wanted = Claim(one.engine.holder, [], {"loop": 1}, jobs=("job",))
    ledger.do(claim, Claiming(wanted, ledger.now))
    assert holders(ledger) == [one.engine.holder]
    wait(ledger, 3 * BEAT)
    assert not holders(ledger)


def test_who_wakes_between_its_look_and_its_burial_declares_nobody_dead(ledger: Ledger) -> None:
    """It had seen a beat stand still, was frozen, and the other had beaten since."""
    one, other = Instance(ledger, 1, 0.0), Instance(ledger, 2, 5e6)
    other.leave_us(crash=False)
    wait(ledger, LEASE - 1)
    while ledger.rows("SELECT count(*) FROM asyncsched_instances") == [(2,)]:
        if one.next_call == "declare_dead":
            break
        ledger.at += SECOND // 4
        for index in one.due():
            one.step(index)
            if one.next_call == "declare_dead":
                break
    assert one.next_call == "declare_dead", "it is about to declare the other dead"
    one.leave_us(crash=False)
    other.come_back()
    wait(ledger, BEAT)
    one.come_back()
    wait(ledger, 1)
    assert other.engine.holder in living(ledger)
    assert not ledger.wrong


def test_two_who_were_frozen_together_declare_nobody_dead(ledger: Ledger) -> None:
    """A container was paused: each saw the other's beat stand still, and its own clock go on."""
    pair = [Instance(ledger, number, 1e6 * number) for number in (1, 2)]
    before = living(ledger)
    for _ in range(5):
        wait(ledger, 3)
        for one in pair:
            one.leave_us(crash=False)
        wait(ledger, 4 * LEASE)
        for one in pair:
            one.come_back()
        wait(ledger, BEAT + 1)
    assert living(ledger) == before


def test_what_a_frozen_claim_won_is_not_begun_by_the_next_incarnation(ledger: Ledger) -> None:
    """The answer to its claim came when it had been declared dead: the runs are somebody else's."""
    one, other = Instance(ledger, 1, 0.0), Instance(ledger, 2, 5e6)
    before = one.membership.me.incarnation
    one.add()
    one.claim(delayed=True)
    one.leave_us(crash=False)
    wait(ledger, LEASE + BEAT + 1)
    other.claim(delayed=False)
    assert {*holders(ledger)} == {other.engine.holder}
    one.come_back()
    while one.membership.me.incarnation == before:
        one.step(BEATER, in_order=False)
    one.receive()
    assert not one.runner.running
