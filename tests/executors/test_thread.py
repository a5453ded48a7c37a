from __future__ import annotations

import functools
import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar

import anyio
import anyio.from_thread
import pytest

from asyncsched._backends.clock import SystemClock
from asyncsched._core.context import current_run
from asyncsched._core.errors import ConfigurationError, SchedulerClosed, SchedulerStateError
from asyncsched.executors import ThreadExecutor
from tests.executors.conftest import on_every_loop
from tests.executors.helpers import Attempt, Holding, attempts, call
from tests.waiting import soon

pytestmark = pytest.mark.real_time  # threads work in real time

colour: ContextVar[str] = ContextVar("colour", default="none")


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a stubborn job waits for; opened at the end of every test."""
    gate = threading.Event()
    yield gate
    gate.set()


def wait_for(gate: threading.Event, began: list[str] | None = None) -> str:
    if began is not None:
        began.append(threading.current_thread().name)
    gate.wait(10)
    return "late"


# Running.


@on_every_loop
@pytest.mark.anyio
async def test_a_function_runs_in_a_daemon_thread_and_gives_its_value() -> None:
    def job(value: int, *, plus: int) -> tuple[int, str, bool]:
        thread = threading.current_thread()
        return value + plus, thread.name, thread.daemon

    async with ThreadExecutor(name="slow") as executor:
        assert await call(executor, job, 1, plus=2) == (3, "asyncsched-slow-1", True)


@on_every_loop
@pytest.mark.anyio
async def test_a_thousand_calls_share_few_threads() -> None:
    async with ThreadExecutor(4) as executor, attempts() as start:
        started = [start(call(executor, lambda n=n: n)) for n in range(1000)]
        assert [(await attempt.ended()).value for attempt in started] == list(range(1000))
        assert executor.threads <= 4
        assert executor.busy == 0


@pytest.mark.anyio
async def test_calls_beyond_the_capacity_wait_for_a_thread(gate: threading.Event) -> None:
    async with ThreadExecutor(2) as executor, attempts() as start:
        began: list[str] = []
        for _ in range(3):
            start(call(executor, wait_for, gate, began))
        await soon(lambda: len(began) == 2)
        await anyio.sleep(0.02)  # nothing can tell us that the third did not begin
        assert len(began) == 2
        assert executor.busy == 3
        gate.set()
    assert len(began) == 3


@pytest.mark.anyio
async def test_blocking_jobs_run_side_by_side() -> None:
    barrier = threading.Barrier(3, timeout=5)
    async with ThreadExecutor(3) as executor, attempts() as start:
        started = [start(call(executor, barrier.wait)) for _ in range(3)]
        assert sorted([(await attempt.ended()).value for attempt in started]) == [0, 1, 2]


@pytest.mark.anyio
async def test_threads_are_started_only_when_they_are_needed() -> None:
    async with ThreadExecutor(8) as executor:
        assert executor.threads == 0
        for _ in range(5):
            await call(executor, lambda: None)
        assert executor.threads == 1


@pytest.mark.anyio
async def test_the_context_of_the_run_comes_along_and_stays_apart() -> None:
    def job() -> tuple[str, str]:
        seen = colour.get()
        colour.set("changed in the thread")
        return seen, current_run().job

    async with ThreadExecutor() as executor:
        colour.set("green")
        assert await call(executor, job, job="painter") == ("green", "painter")
        assert colour.get() == "green"


# Errors.


class Peculiar(BaseException):
    pass


@on_every_loop
@pytest.mark.parametrize("error", [ValueError("x"), Peculiar(), SystemExit(3), KeyboardInterrupt()])
@pytest.mark.anyio
async def test_what_the_function_raises_reaches_its_run_and_no_other(error: BaseException) -> None:
    def job() -> None:
        raise error

    async with ThreadExecutor(1) as executor:
        with pytest.raises(type(error)) as raised:
            await call(executor, job)
        assert raised.value is error
        assert await call(executor, lambda: "goes on") == "goes on"


@pytest.mark.anyio
async def test_a_stop_iteration_becomes_a_runtime_error_as_in_any_coroutine() -> None:
    async with ThreadExecutor(1) as executor:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await call(executor, lambda: next(iter(())))
        assert await call(executor, lambda: "goes on") == "goes on"


@pytest.mark.anyio
async def test_a_returned_coroutine_is_refused_and_closed() -> None:
    async def later() -> None: ...

    async with ThreadExecutor() as executor:
        with pytest.raises(ConfigurationError, match=r"job 'nightly' returned a coroutine.*async def"):
            await call(executor, lambda: later(), job="nightly")


async def coroutine_function() -> None: ...


def generator_function() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    "func, words",
    [
        (coroutine_function, 'coroutine function.*"def"'),
        (functools.partial(coroutine_function), "coroutine function"),
        (generator_function, "generator function"),
        (dict, "is a class"),
        ("text", "is not a function"),
    ],
)
def test_what_a_thread_cannot_run_is_refused_in_words(func: object, words: str) -> None:
    with pytest.raises(ConfigurationError, match=f"job 'report'.*{words}"):
        ThreadExecutor().check(func, "report")  # type: ignore[arg-type]


@pytest.mark.parametrize("func", [print, functools.partial(print, 1), "text".upper, lambda: None])
def test_plain_callables_are_accepted(func: object) -> None:
    ThreadExecutor().check(func, "job")  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_a_closed_executor_says_so() -> None:
    executor = ThreadExecutor()
    with pytest.raises(SchedulerClosed, match="'thread' is not open"):
        await call(executor, print)
    async with executor:
        with pytest.raises(SchedulerStateError, match="started already"):
            await executor.__aenter__()
    async with executor:
        assert await call(executor, lambda: 1) == 1


# Ending.


@on_every_loop
@pytest.mark.anyio
async def test_cancelling_frees_the_run_at_once_and_abandons_the_thread(
    gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    async with ThreadExecutor(1) as executor:
        async with attempts() as start:
            began: list[str] = []
            attempt = start(call(executor, wait_for, gate, began, job="hourly"))
            await soon(lambda: bool(began))
            attempt.cancel()
            await attempt.ended()
        assert isinstance(attempt.error, anyio.get_cancelled_exc_class())
        assert (executor.abandoned, executor.busy) == (1, 0)
        assert "'hourly'" in caplog.text
        assert "(1 abandoned now)" in caplog.text
        assert await call(executor, lambda: threading.current_thread().name) != began[0]
        gate.set()
        await soon(lambda: executor.abandoned == 0)
        assert executor.threads == 1


@pytest.mark.anyio
async def test_a_call_cancelled_before_it_began_never_begins(gate: threading.Event) -> None:
    async with ThreadExecutor(1) as executor:
        async with attempts() as start:
            began: list[str] = []
            start(call(executor, wait_for, gate, began))
            await soon(lambda: bool(began))
            waiting = start(call(executor, wait_for, gate, began))
            await soon(lambda: executor.busy == 2)
            waiting.cancel()
            await waiting.ended()
            assert executor.abandoned == 0
            gate.set()
        assert len(began) == 1


@on_every_loop
@pytest.mark.anyio
async def test_calls_that_wait_do_not_wait_for_an_abandoned_thread(gate: threading.Event) -> None:
    async with ThreadExecutor(1) as executor, attempts() as start:
        began: list[str] = []
        stuck = start(call(executor, wait_for, gate, began))
        await soon(lambda: bool(began))
        waiting = start(call(executor, lambda: "served"))
        await soon(lambda: executor.busy == 2)
        stuck.cancel()
        assert (await waiting.ended()).value == "served"


@pytest.mark.anyio
async def test_a_system_without_room_for_threads_fails_the_run_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_room(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with ThreadExecutor(2) as executor:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_room)
            with pytest.raises(RuntimeError, match="can't start"):
                await call(executor, print)
        assert executor.busy == 0
        assert await call(executor, lambda: 1) == 1


@pytest.mark.anyio
async def test_threads_that_outlive_the_executor_are_named(
    gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    executor = ThreadExecutor(2, name="reports")
    async with executor, attempts() as start:
        began: list[str] = []
        attempt = start(call(executor, wait_for, gate, began, job="endless"))
        await soon(lambda: bool(began))
        attempt.cancel()
    assert executor.abandoned == 1
    assert "'reports' leaves 1 thread behind that cannot be killed: 'endless'" in caplog.text


@pytest.mark.anyio
async def test_a_run_that_is_still_there_when_the_executor_closes_is_ended(gate: threading.Event) -> None:
    executor = ThreadExecutor(1)
    async with attempts() as start:
        began: list[str] = []
        async with executor:
            running = start(call(executor, wait_for, gate, began))
            waiting = start(call(executor, wait_for, gate, began))
            await soon(lambda: bool(began) and executor.busy == 2)
    assert isinstance(running.error, SchedulerClosed)
    assert isinstance(waiting.error, SchedulerClosed)
    assert len(began) == 1


@on_every_loop
@pytest.mark.anyio
async def test_a_storm_of_cancellations_leaves_the_pool_whole() -> None:
    def job(n: int) -> int:
        time.sleep(0.0005 * (n % 3))  # real, so that the storm meets calls at every stage
        return n

    async with ThreadExecutor(4) as executor:
        for _ in range(3):
            async with attempts() as start:
                started: list[Attempt] = []
                for n in range(60):
                    started.append(start(call(executor, job, n)))
                    if n % 4 == 0:
                        await anyio.sleep(0)
                for n, attempt in enumerate(started):
                    if n % 2:
                        attempt.cancel()
                    if n % 16 == 0:
                        await anyio.sleep(0.001)
            for n, attempt in enumerate(started):
                ended = attempt.value == n or isinstance(attempt.error, anyio.get_cancelled_exc_class())
                assert ended, attempt.error
                assert n % 2 or attempt.value == n
        assert executor.busy == 0
        await soon(lambda: executor.abandoned == 0)
        assert await call(executor, lambda: "goes on") == "goes on"


# The way back to the loop.


@on_every_loop
@pytest.mark.anyio
async def test_a_job_may_call_into_the_loop_through_anyio() -> None:
    loop_thread = threading.get_ident()

    async def in_loop(value: int) -> tuple[int, bool]:
        await anyio.sleep(0)
        return value, threading.get_ident() == loop_thread

    def job() -> tuple[tuple[int, bool], int]:
        return anyio.from_thread.run(in_loop, 3), anyio.from_thread.run_sync(threading.get_ident)

    async with ThreadExecutor() as executor:
        assert await call(executor, job) == ((3, True), loop_thread)


@on_every_loop
@pytest.mark.anyio
async def test_a_job_may_look_for_cancellation_through_anyio() -> None:
    seen: list[str] = []

    def job() -> None:
        anyio.from_thread.check_cancelled()
        seen.append("began")
        try:
            while True:
                anyio.from_thread.check_cancelled()
                time.sleep(0.002)  # real: a thread waits for real
        finally:
            seen.append("ended early")

    async with ThreadExecutor() as executor:
        async with attempts() as start:
            attempt = start(call(executor, job))
            await soon(lambda: bool(seen))
            attempt.cancel()
        await soon(lambda: executor.abandoned == 0)
        assert seen == ["began", "ended early"]
        # The next call in a new thread knows nothing of it.
        await call(executor, anyio.from_thread.check_cancelled)


# Its surroundings.


@pytest.mark.anyio
async def test_the_clock_is_held_while_threads_work() -> None:
    clock = Holding()
    executor = ThreadExecutor(2)
    executor.use_clock(clock)
    async with executor, attempts() as start:
        started = [start(call(executor, lambda: clock.held)) for _ in range(5)]
        assert [(await attempt.ended()).value for attempt in started] == [1] * 5
        assert clock.held == 0
    executor.use_clock(SystemClock())


@pytest.mark.anyio
async def test_threads_make_way_for_the_loop_while_jobs_run_and_only_then() -> None:
    before = sys.getswitchinterval()
    async with ThreadExecutor(2) as polite, ThreadExecutor(2, switch_interval=None) as plain:
        assert await call(polite, sys.getswitchinterval) == pytest.approx(0.0005)
        assert sys.getswitchinterval() == before
        assert await call(plain, sys.getswitchinterval) == before


@pytest.mark.anyio
async def test_a_switch_interval_that_somebody_else_sets_is_left_alone() -> None:
    before = sys.getswitchinterval()
    try:
        async with ThreadExecutor() as executor:
            await call(executor, sys.setswitchinterval, 0.002)
            assert sys.getswitchinterval() == pytest.approx(0.002)
    finally:
        sys.setswitchinterval(before)


def test_a_thread_that_finishes_after_its_loop_has_closed_does_no_harm(
    gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        executor, began = ThreadExecutor(1), list[str]()
        await executor.__aenter__()
        async with anyio.create_task_group() as group:
            group.start_soon(call, executor, wait_for, gate, began)
            await soon(lambda: bool(began))
            group.cancel_scope.cancel()

    with caplog.at_level(logging.CRITICAL):
        anyio.run(main)
    gate.set()


def test_a_capacity_below_one_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="capacity"):
        ThreadExecutor(0)
