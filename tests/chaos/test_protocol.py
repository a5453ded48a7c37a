"""The real keeper and the real transactions, through any order of steps, faults and lost answers."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.chaos.instances import Instance, Ledger, pass_time

SIZE = 3
who = st.integers(0, SIZE - 1)
few = st.integers(0, 3)


class Cluster(RuleBasedStateMachine):
    """Three instances, and all that may happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = Ledger(Path(self.folder.name))
        self.final: dict[str, tuple[Any, ...]] = {}
        self.instances: list[Instance] = []

    def teardown(self) -> None:
        try:
            self.let_all_recover()
        finally:
            self.ledger.close()
            self.folder.cleanup()

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.instances = [Instance(self.ledger, number + 1, 1e6 * number) for number in range(SIZE)]

    # ── what happens ─────────────────────────────────────────────────────────────────────────

    @rule(seconds=st.sampled_from([0.25, 1, 3, 6]))
    def wait(self, seconds: float) -> None:
        for one in self.instances:
            if self.dice.random() < 0.5:
                one.claim(self.dice.random() < 0.1)
        pass_time(self.instances, seconds, self.dice)

    @rule(seconds=st.sampled_from([9, 14, 21]))
    def wait_long(self, seconds: float) -> None:
        self.wait(seconds)

    @rule(index=who, delayed=st.booleans())
    def claim(self, index: int, delayed: bool) -> None:
        self.instances[index].claim(delayed)

    @rule(index=who)
    def add(self, index: int) -> None:
        self.instances[index].add()

    @rule(index=who, which=few, verdict=st.sampled_from(["succeeded", "retry", "snooze"]))
    def end(self, index: int, which: int, verdict: str) -> None:
        self.instances[index].finish(which, verdict)

    @rule(index=who, which=few)
    def record(self, index: int, which: int) -> None:
        self.instances[index].record(which)

    @rule(index=who, kind=st.sampled_from(["claim", "record", "join", "beat", "declare_dead", "let_go"]))
    def lose_an_answer(self, index: int, kind: str) -> None:
        self.instances[index].lose = kind

    @rule(index=who)
    def freeze(self, index: int) -> None:
        self.instances[index].leave_us(crash=False)

    @rule(index=who)
    def thaw(self, index: int) -> None:
        self.instances[index].come_back()

    @rule(index=who)
    def crash(self, index: int) -> None:
        if sum(not one.crashed for one in self.instances) > 1:
            self.instances[index].leave_us(crash=True)

    @rule(up=st.booleans())
    def outage(self, up: bool) -> None:
        self.ledger.up = up

    # ── what must hold ───────────────────────────────────────────────────────────────────────

    @invariant()
    def no_living_instance_was_declared_dead(self) -> None:
        assert not self.ledger.wrong

    @invariant()
    def a_slot_has_one_run(self) -> None:
        slots = [
            slot for (slot,) in self.ledger.rows("SELECT slot FROM asyncsched_runs WHERE schedule = 's'")
        ]
        assert len(slots) == len(set(slots))

    @invariant()
    def every_holder_lives_in_the_ledger(self) -> None:
        assert not self.ledger.rows(
            "SELECT id FROM asyncsched_runs WHERE state = 'running' "
            "AND holder NOT IN (SELECT incarnation FROM asyncsched_instances)"
        )

    @invariant()
    def who_lives_executes_what_it_holds(self) -> None:
        held = {
            (int(id, 16), holder, attempt, began)
            for id, holder, attempt, began in self.ledger.rows(
                "SELECT id, holder, attempt, started_at FROM asyncsched_runs WHERE state = 'running'"
            )
        }
        living = {one for (one,) in self.ledger.rows("SELECT incarnation FROM asyncsched_instances")}
        for one in self.instances:
            if one.engine.holder in living:  # else it will hear of it
                for run in one.runner.running.values():
                    assert (run.id, one.engine.holder, run.attempt, run.started_at) in held

    @invariant()
    def places_are_taken_by_who_runs(self) -> None:
        running = self.ledger.rows("SELECT count(*) FROM asyncsched_runs WHERE state = 'running'")[0][0]
        used = self.ledger.rows("SELECT coalesce(sum(used), 0) FROM asyncsched_limits")[0][0]
        assert used == running <= 2

    @invariant()
    def an_outcome_stays(self) -> None:
        rows = self.ledger.rows(
            "SELECT id, state, why, finished_at, attempts FROM asyncsched_runs "
            "WHERE state NOT IN ('pending', 'running')"
        )
        for id, *outcome in rows:
            assert self.final.setdefault(id, tuple(outcome)) == tuple(outcome)

    @invariant()
    def no_attempt_is_begun_too_often(self) -> None:
        assert not self.ledger.rows("SELECT id FROM asyncsched_runs WHERE attempt > max_attempts")

    def let_all_recover(self) -> None:
        """Without further faults, what is held by the dead, or unknown to its holder, is freed in time."""
        if not self.instances:
            return
        self.ledger.up = True
        for one in self.instances:
            one.come_back()
            one.lose = ""
        pass_time(self.instances, 5 + 15 + 5 + 1, self.dice)
        held = {
            (int(id, 16), holder)
            for id, holder in self.ledger.rows(
                "SELECT id, holder FROM asyncsched_runs WHERE state = 'running'"
            )
        }
        known = {
            (run.id, run.holder)
            for one in self.instances
            for run in (*one.runner.running.values(), *(run for run, _ in one.over))
        }
        assert held <= known, "a run stays with who will never end it"
        self.who_lives_executes_what_it_holds()
        for one in self.instances:
            assert one.crashed or one.engine.holder == one.membership.me.incarnation
            if not one.crashed:
                rows = self.ledger.rows("SELECT incarnation FROM asyncsched_instances")
                assert (one.engine.holder,) in rows, "who lives is in the ledger, and claims as that"


TestCluster = Cluster.TestCase
TestCluster.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
