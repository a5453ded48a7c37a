"""The queue of runs hands them out by number, however they come: in order, out of order, again, or not at all."""

from __future__ import annotations

import random

import pytest

from asyncsched._core.records import RunRecord
from asyncsched.stores.memory.run_queue import RunQueue, take_out


@pytest.mark.parametrize("out_of_order", [0.0, 0.2, 1.0])
def test_runs_come_in_order_whatever_was_added_moved_or_taken_out_before(out_of_order: float) -> None:
    chance = random.Random(7)
    queue, wanted = RunQueue(), dict[int, tuple[int, RunRecord]]()
    runs = [RunRecord(number, "job", 0) for number in range(1, 400)]
    for step, run in enumerate(runs):
        at = chance.randrange(1000) if chance.random() < out_of_order else step // 3
        queue.push(at, run)
        wanted[run.id] = at, run
        moved = chance.choice(runs[: step + 1])
        if chance.random() < 0.3 and moved.id in wanted:
            queue.push(step + 5, moved)
            wanted[moved.id] = step + 5, moved
        gone = chance.choice(runs[: step + 1])
        if chance.random() < 0.3 and wanted.pop(gone.id, None) is not None:
            take_out(gone)
        assert len(queue) == len(wanted)

    order = sorted(wanted.values(), key=lambda one: (one[0], one[1].id))

    assert queue.peek() == order[0][0]
    assert queue.pop(order[0][0] - 1) is None
    assert [queue.pop(at) for at, _ in order] == [run for _, run in order]
    assert queue.pop() is None
    assert len(queue) == 0


def test_a_run_that_is_added_twice_by_the_same_number_comes_once() -> None:
    queue, runs = RunQueue(), [RunRecord(number, "job", 0) for number in range(200)]
    for _ in range(2):
        for run in runs:
            queue.push(5, run)

    assert [queue.pop() for _ in runs] == runs
    assert queue.pop() is None
