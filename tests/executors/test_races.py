"""Races between what an executor's loop hands out and whoever waits for it, made to happen every time."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from asyncsched._backends.current import current_port
from asyncsched._core.errors import SchedulerClosed
from asyncsched.executors import ProcessExecutor, ThreadExecutor
from asyncsched.executors.process.worker import WorkerProcess
from tests.executors import jobs
from tests.executors.helpers import attempts, call
from tests.waiting import soon

pytestmark = [pytest.mark.real_time, pytest.mark.anyio]  # processes and threads work in real time


@pytest.fixture
async def executor() -> AsyncIterator[ProcessExecutor]:
    async with ProcessExecutor(1) as executor:
        yield executor


async def test_a_future_whose_task_was_cancelled_is_done_before_the_task_has_run_again() -> None:
    futures: list[Any] = []

    async def wait() -> None:
        futures.append(current_port().future())
        await futures[0]

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        while not futures:
            await checkpoint()
        await checkpoint()
        group.cancel_scope.cancel()
        # asyncio's scope cancels a turn later: then it is not cancelled yet, and may be given something.
        assert futures[0].done() == futures[0].cancelled()


async def test_a_worker_is_not_handed_to_a_waiter_that_was_cancelled_in_the_same_turn(
    executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    release, over = ProcessExecutor._give_place, tmp_path / "over"

    async with attempts() as start:
        working = start(call(executor, jobs.tells_and_waits, str(over)))
        await soon(lambda: executor.busy == 1)
        cancelled = start(call(executor, jobs.noop))
        await soon(lambda: len(executor._waiting) == 1)
        next_one = start(call(executor, jobs.add, 1, b=2))
        await soon(lambda: len(executor._waiting) == 2)

        def cancel_and_release(self: ProcessExecutor, worker: WorkerProcess) -> None:
            if not cancelled.over:
                cancelled.cancel()
            release(self, worker)

        monkeypatch.setattr(ProcessExecutor, "_give_place", cancel_and_release)
        over.touch()
        with anyio.fail_after(10):
            await working.ended()
            assert (await next_one.ended()).value == 3
        assert isinstance((await cancelled.ended()).error, anyio.get_cancelled_exc_class())
    assert [worker.alive for worker in executor._workers] == [True]
    assert executor.busy == 0


async def test_a_worker_that_dies_while_it_is_handed_over_is_not_given_the_run(
    executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    release, over = ProcessExecutor._give_place, tmp_path / "over"

    def release_and_die(self: ProcessExecutor, worker: WorkerProcess) -> None:
        release(self, worker)
        monkeypatch.setattr(ProcessExecutor, "_give_place", release)
        worker.end()

    monkeypatch.setattr(ProcessExecutor, "_give_place", release_and_die)
    async with attempts() as start:
        working = start(call(executor, jobs.tells_and_waits, str(over)))
        await soon(lambda: executor.busy == 1)
        waiting = start(call(executor, jobs.pid))
        await soon(lambda: len(executor._waiting) == 1)
        over.touch()
        with anyio.fail_after(10):
            first, second = (await working.ended()).value, (await waiting.ended()).value
    assert waiting.error is None
    assert first != second


async def test_of_a_worker_that_was_replaced_nothing_is_kept() -> None:
    async with ProcessExecutor(1, max_tasks_per_worker=1) as executor:
        for _ in range(4):
            await call(executor, jobs.noop)
        await soon(lambda: not executor._workers)


async def test_a_call_that_ended_while_its_executor_was_closed_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended, closing = threading.Event(), threading.Event()
    answer = ThreadExecutor._answer

    def answer_late(self: ThreadExecutor, call: Any) -> None:
        ended.set()
        closing.wait(10)
        answer(self, call)

    monkeypatch.setattr(ThreadExecutor, "_answer", answer_late)
    executor = ThreadExecutor(1)
    async with attempts() as start:
        await executor.__aenter__()
        late = start(call(executor, lambda: 7))
        await soon(ended.is_set)  # and the loop has not been told
        async with anyio.create_task_group() as group:
            group.start_soon(executor.__aexit__, None, None, None)
            await soon(lambda: executor._port is None)
            closing.set()
        with anyio.fail_after(5):
            await late.ended()
    assert late.value == 7 or isinstance(late.error, SchedulerClosed)


async def test_a_worker_whose_run_is_cancelled_as_it_answers_is_kept(
    executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, worker = WorkerProcess._answer, await call(executor, jobs.pid)

    async with attempts() as start:
        late = start(call(executor, jobs.pid))

        def answer_and_cancel(self: WorkerProcess, answered: Any) -> None:
            monkeypatch.setattr(WorkerProcess, "_answer", answer)
            answer(self, answered)
            late.cancel()

        monkeypatch.setattr(WorkerProcess, "_answer", answer_and_cancel)
        await late.ended()
    assert await call(executor, jobs.pid) == worker
