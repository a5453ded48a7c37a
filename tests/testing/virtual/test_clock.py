"""Virtual time moves exactly, waits for what goes on outside the loop, and says where it cannot work."""

from __future__ import annotations

import asyncio
import contextlib
import math
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_process
import anyio.to_thread
import pytest
import trio
import trio.testing

from asyncsched._backends.clock import Timeline, held
from asyncsched._core.errors import ConfigurationError, SchedulerStateError
from asyncsched._core.instants import MINUTE, SECOND
from asyncsched.abc import Clock
from asyncsched.testing import VirtualClock, VirtualTimeError, virtual, virtual_backend
from asyncsched.testing.virtual.flow import LOOK_AT_CHILDREN, Flow

START = datetime(2026, 1, 1, tzinfo=UTC)


async def _tick(seconds: float, times: list[float], clock: VirtualClock) -> None:
    while True:
        await anyio.sleep(seconds)
        times.append(clock.monotonic())


# --- time moves exactly


@pytest.mark.anyio
async def test_a_day_of_minutes_passes_exactly_while_each_job_sleeps(virtual_clock: VirtualClock) -> None:
    start = virtual_clock.wall()
    begun: list[int] = []
    ended: list[int] = []

    async def job() -> None:
        begun.append(virtual_clock.wall() - start)
        with anyio.move_on_after(50):
            await anyio.sleep(30)
            ended.append(virtual_clock.wall() - start)

    async with anyio.create_task_group() as tasks:
        for _ in range(24 * 60):
            await anyio.sleep(60)
            tasks.start_soon(job)

    assert begun == [minute * MINUTE for minute in range(1, 1441)]
    assert ended == [minute * MINUTE + 30 * SECOND for minute in range(1, 1441)]


@pytest.mark.anyio
async def test_timers_fire_at_or_after_their_time_to_the_last_bit(virtual_clock: VirtualClock) -> None:
    for k in range(1, 300):
        deadline = virtual_clock.monotonic() + 0.1 / k
        await anyio.sleep_until(deadline)
        assert deadline <= virtual_clock.monotonic() <= deadline + 1e-9


@pytest.mark.anyio
async def test_many_small_advances_add_up_without_error(virtual_clock: VirtualClock) -> None:
    for _ in range(1000):
        await virtual_clock.advance(0.1)
    assert virtual_clock.now() == START + timedelta(seconds=100)
    assert virtual_clock.monotonic() == 100.0


@pytest.mark.anyio
async def test_centuries_do_not_make_the_loop_spin(virtual_clock: VirtualClock) -> None:
    times: list[float] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_tick, 30 * 86400.0, times, virtual_clock)
        await virtual_clock.advance(timedelta(days=36500))
        before = virtual_clock.wall()
        await anyio.sleep(0.001)
        assert virtual_clock.wall() - before == pytest.approx(1000, abs=1)
        tasks.cancel_scope.cancel()
    assert len(times) == 36500 // 30


@pytest.mark.anyio
async def test_a_task_that_sleeps_for_ever_is_no_timer(virtual_clock: VirtualClock) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep_forever)
        tasks.start_soon(anyio.sleep, math.inf)
        await anyio.sleep(5)
        tasks.cancel_scope.cancel()
    assert virtual_clock.monotonic() == 5


@pytest.mark.anyio
async def test_timeouts_and_cancellation_happen_in_virtual_time(virtual_clock: VirtualClock) -> None:
    cancelled_at = math.nan
    with anyio.move_on_after(20) as scope:
        try:
            await anyio.sleep(30)
        finally:
            cancelled_at = virtual_clock.monotonic()
    assert scope.cancelled_caught
    assert cancelled_at == 20
    with pytest.raises(TimeoutError):
        with anyio.fail_after(3600):
            await anyio.sleep_forever()
    assert virtual_clock.monotonic() == 3620


@pytest.mark.anyio
async def test_advance_returns_after_all_that_was_due_has_happened(virtual_clock: VirtualClock) -> None:
    seen: list[str] = []

    async def chain() -> None:
        await anyio.sleep(10)
        seen.append("due")
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        await anyio.to_thread.run_sync(time.sleep, 0.01)
        seen.append("what follows from it")
        await anyio.sleep(0.000_001)
        seen.append("later")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(chain)
        await virtual_clock.advance(timedelta(seconds=9.999_999))
        assert seen == []
        await virtual_clock.advance(0.000_001)
        assert seen == ["due", "what follows from it"]
        assert virtual_clock.monotonic() == 10
        await virtual_clock.advance_to(START + timedelta(minutes=1))
        assert seen[2:] == ["later"]
    assert virtual_clock.now() == START + timedelta(minutes=1)


@pytest.mark.anyio
async def test_settle_lets_everything_happen_and_moves_no_time(virtual_clock: VirtualClock) -> None:
    done: list[int] = []

    async def work(n: int) -> None:
        for _ in range(n):
            await anyio.lowlevel.checkpoint()
        done.append(n)
        await anyio.sleep(1)

    async with anyio.create_task_group() as tasks:
        for n in range(10):
            tasks.start_soon(work, n)
        tasks.start_soon(virtual_clock.settle)
        await virtual_clock.settle()
        assert sorted(done) == list(range(10))
        assert virtual_clock.monotonic() == 0


@pytest.mark.anyio
async def test_waiting_for_blocked_tasks_moves_no_time_either(
    virtual_clock: VirtualClock, anyio_backend_name: str
) -> None:
    times: list[float] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_tick, 1, times, virtual_clock)
        await anyio.wait_all_tasks_blocked()
        if anyio_backend_name == "trio":
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert times == []
        assert virtual_clock.monotonic() == 0
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
@pytest.mark.parametrize("amount", [-1, math.inf, math.nan, True, "1"])
async def test_advance_refuses_what_is_no_stretch_of_time(virtual_clock: VirtualClock, amount: Any) -> None:
    with pytest.raises(ConfigurationError, match="advance"):
        await virtual_clock.advance(amount)


@pytest.mark.anyio
async def test_advance_to_refuses_the_past_and_naive_times(virtual_clock: VirtualClock) -> None:
    with pytest.raises(ConfigurationError, match="in the past"):
        await virtual_clock.advance_to(START - timedelta(seconds=1))
    with pytest.raises(ConfigurationError, match="naive"):
        await virtual_clock.advance_to(datetime(2027, 1, 1))
    await virtual_clock.advance_to(START)


def test_runs_of_one_clock_follow_one_another(backend: str) -> None:
    clock = VirtualClock(START)
    clock.run(anyio.sleep, 60, backend=backend)
    clock.run(clock.advance, 60, backend=backend)
    assert clock.now() == START + timedelta(minutes=2)


def test_run_returns_the_value_and_raises_the_error(backend: str) -> None:
    async def answer(value: int) -> int:
        if value < 0:
            raise ValueError(value)
        return value

    clock = VirtualClock()
    assert clock.run(answer, 42, backend=backend) == 42
    with pytest.raises(ValueError, match="-1"):
        clock.run(answer, -1, backend=backend)


def test_native_entry_points_run_in_virtual_time_too() -> None:
    clock = VirtualClock()

    async def native() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(7200), 3600)

    with asyncio.Runner(loop_factory=clock.new_event_loop) as runner:
        runner.run(native())
    assert clock.now() == START + timedelta(hours=1)
    trio.run(trio.sleep, 3600, clock=clock.new_trio_clock())
    assert clock.now() == START + timedelta(hours=2)


# --- the same history


def _history(seed: int | None) -> list[tuple[float, int]]:
    clock = VirtualClock(seed=seed)
    history: list[tuple[float, int]] = []

    async def worker(n: int) -> None:
        for _ in range(5):
            await anyio.sleep(1 if n % 2 else 2)
            history.append((clock.monotonic(), n))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for n in range(12):
                tasks.start_soon(worker, n)

    clock.run(main)
    return history


def test_the_same_seed_gives_the_same_history_and_another_seed_another_order() -> None:
    assert _history(None) == _history(None)
    assert _history(1) == _history(1)
    assert _history(1) != _history(2)
    assert sorted(_history(1)) == sorted(_history(2)) == sorted(_history(None))


def test_cancelled_timers_are_dropped_when_the_order_is_shuffled() -> None:
    clock = VirtualClock(seed=7)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ran: list[int] = []
        timers = [loop.call_at(1, ran.append, n) for n in range(6)]
        for timer in timers[1:]:
            loop.call_at(0.5, timer.cancel)
        await asyncio.sleep(2)
        assert ran == [0]

    clock.run(main)


# --- the wall clock apart from the monotonic clock


def test_it_is_a_clock_that_starts_where_it_is_told() -> None:
    clock: Clock = VirtualClock(datetime(2030, 5, 6, tzinfo=UTC))
    assert clock.wall() == datetime(2030, 5, 6, tzinfo=UTC).timestamp() * SECOND
    assert VirtualClock().now().tzinfo is UTC
    assert repr(VirtualClock()) == "<VirtualClock 2026-01-01T00:00:00+00:00>"
    with pytest.raises(ConfigurationError, match="naive"):
        VirtualClock(datetime(2030, 5, 6))


@pytest.mark.anyio
async def test_a_step_moves_the_wall_clock_alone(virtual_clock: VirtualClock) -> None:
    await virtual_clock.advance(10)
    virtual_clock.step(-3600)
    assert virtual_clock.now() == START + timedelta(seconds=10 - 3600)
    virtual_clock.step(timedelta(hours=2))
    assert virtual_clock.now() == START + timedelta(seconds=10 + 3600)
    assert virtual_clock.monotonic() == 10
    virtual_clock.set_wall(datetime(2000, 1, 1, tzinfo=UTC))
    await virtual_clock.advance(5)
    assert virtual_clock.now() == datetime(2000, 1, 1, 0, 0, 5, tzinfo=UTC)
    assert virtual_clock.monotonic() == 15


@pytest.mark.anyio
async def test_a_timeline_follows_the_monotonic_clock_through_steps_and_suspends(
    virtual_clock: VirtualClock,
) -> None:
    timeline = Timeline(virtual_clock)
    begin = timeline.now()
    await virtual_clock.advance(60)
    virtual_clock.suspend(timedelta(days=30))
    virtual_clock.step(-1)
    now = timeline.now()
    assert now.steady - begin.steady == MINUTE
    assert now.wall - begin.wall == MINUTE + 30 * 86400 * SECOND - SECOND
    with pytest.raises(ConfigurationError, match="suspend"):
        virtual_clock.suspend(-1)


@pytest.mark.anyio
async def test_advance_to_arrives_though_the_clock_is_stepped_back_on_the_way(
    virtual_clock: VirtualClock,
) -> None:
    async def step() -> None:
        await anyio.sleep(10)
        virtual_clock.step(-600)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(step)
        await virtual_clock.advance_to(START + timedelta(minutes=1))
    assert virtual_clock.now() == START + timedelta(minutes=1)
    assert virtual_clock.monotonic() == 660


# --- work outside the loop


@pytest.mark.anyio
async def test_time_stands_still_while_a_thread_works(virtual_clock: VirtualClock) -> None:
    times: list[float] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_tick, 1, times, virtual_clock)
        await anyio.to_thread.run_sync(time.sleep, 0.03)
        assert times == []
        assert virtual_clock.monotonic() == 0
        await anyio.sleep(2.5)
        assert times == [1, 2]
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_threads_of_the_backend_itself_are_waited_for(
    virtual_clock: VirtualClock, anyio_backend_name: str
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep, 1)
        if anyio_backend_name == "asyncio":
            await asyncio.to_thread(time.sleep, 0.02)
        else:
            await trio.to_thread.run_sync(time.sleep, 0.02)
        await anyio.getaddrinfo("localhost", 80)
        assert virtual_clock.monotonic() == 0


def test_the_default_executor_is_joined_without_jumping_over_its_limit(
    recwarn: pytest.WarningsRecorder,
) -> None:
    async def main() -> None:
        asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.05)

    VirtualClock().run(main)
    assert not recwarn.list


def test_an_executor_that_refuses_leaves_no_hold() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, int)
        await loop.shutdown_default_executor()
        with pytest.raises(RuntimeError):
            await loop.run_in_executor(None, int)
        await anyio.sleep(60)

    clock = VirtualClock(patience=math.inf)
    clock.run(main)
    assert "held" not in repr(clock)


@pytest.mark.anyio
async def test_a_thread_that_asks_the_loop_for_something_does_not_hold_it(
    virtual_clock: VirtualClock, anyio_backend_name: str
) -> None:
    def work() -> float:
        anyio.from_thread.run(anyio.sleep, 3600)
        time.sleep(0.02)
        return anyio.from_thread.run_sync(anyio.current_time)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep, 7200)
        assert await anyio.to_thread.run_sync(work) == 3600
        if anyio_backend_name == "trio":
            await trio.to_thread.run_sync(trio.from_thread.run, trio.sleep, 3600)
            assert virtual_clock.monotonic() == 7200


@pytest.mark.anyio
async def test_a_foreign_thread_that_asks_the_loop_is_served(virtual_clock: VirtualClock) -> None:
    token = anyio.lowlevel.current_token()
    called = anyio.Event()

    def foreign() -> None:
        time.sleep(0.02)
        anyio.from_thread.run_sync(called.set, token=token)

    thread = threading.Thread(target=foreign)
    thread.start()
    await called.wait()  # no timer and no hold: a wait in real time
    await anyio.to_thread.run_sync(thread.join)
    assert virtual_clock.monotonic() == 0


def test_an_abandoned_thread_that_waits_for_the_loop_holds_no_longer(backend: str) -> None:
    clock = VirtualClock(patience=math.inf)
    left = threading.Event()

    def work() -> None:
        try:
            anyio.from_thread.run(anyio.sleep, 10)
        finally:
            left.set()

    async def main() -> None:
        with anyio.move_on_after(5):
            await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
        await anyio.sleep(60)
        await anyio.to_thread.run_sync(left.wait)

    clock.run(main, backend=backend)
    assert "held" not in repr(clock)
    assert clock.now() >= START + timedelta(seconds=65)


@pytest.mark.anyio
async def test_a_foreign_thread_can_await_in_the_loop(virtual_clock: VirtualClock) -> None:
    token = anyio.lowlevel.current_token()
    answered = anyio.Event()

    async def answer() -> None:
        answered.set()

    thread = threading.Thread(target=lambda: anyio.from_thread.run(answer, token=token))
    thread.start()
    await answered.wait()
    await anyio.to_thread.run_sync(thread.join)
    assert virtual_clock.monotonic() == 0


@pytest.mark.anyio
async def test_a_deadline_that_has_passed_is_met_though_time_is_held(virtual_clock: VirtualClock) -> None:
    await anyio.sleep(10)
    with virtual_clock.hold(), anyio.CancelScope() as scope:
        scope.deadline = 5
        await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert virtual_clock.monotonic() == 10


@pytest.mark.anyio
async def test_an_advance_can_be_cancelled(virtual_clock: VirtualClock) -> None:
    with anyio.move_on_after(5) as scope:
        await virtual_clock.advance(10)
    assert scope.cancelled_caught
    with anyio.move_on_after(5):
        await virtual_clock.advance(5)
    await virtual_clock.advance(10)
    assert virtual_clock.monotonic() == 20


def test_a_thread_that_hangs_lets_time_flow_after_the_patience(backend: str) -> None:
    clock = VirtualClock(patience=0.02)
    release = threading.Event()

    async def main() -> None:
        with anyio.move_on_after(0.05) as scope:
            await anyio.to_thread.run_sync(release.wait, abandon_on_cancel=True)
        assert scope.cancelled_caught
        assert clock.monotonic() == pytest.approx(0.05, abs=1e-9)
        before = clock.monotonic()
        await anyio.sleep(3600)
        assert clock.monotonic() - before == pytest.approx(3600, abs=1e-6)
        release.set()

    began = time.perf_counter()
    clock.run(main, backend=backend)
    assert time.perf_counter() - began > 0.05


def test_the_patience_is_for_each_thread_not_for_all_together(backend: str) -> None:
    clock = VirtualClock(patience=0.6)

    async def worker() -> None:
        for _ in range(20):
            await anyio.to_thread.run_sync(time.sleep, 0.04)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_tick, 0.01, [], clock)
            async with anyio.create_task_group() as workers:
                workers.start_soon(worker)
                await anyio.to_thread.run_sync(time.sleep, 0.01)
                workers.start_soon(worker)
            assert clock.monotonic() == 0  # though some thread was at work for longer than 0.6 s
            tasks.cancel_scope.cancel()

    clock.run(main, backend=backend)


@pytest.mark.anyio
async def test_a_hold_stops_time_until_it_ends(virtual_clock: VirtualClock) -> None:
    times: list[float] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_tick, 1, times, virtual_clock)
        await virtual_clock.settle()
        done = anyio.Event()
        token = anyio.lowlevel.current_token()

        def outside() -> None:
            time.sleep(0.03)
            anyio.from_thread.run_sync(done.set, token=token)

        with held(virtual_clock), virtual_clock.hold():
            assert repr(virtual_clock).endswith(" held>")
            threading.Thread(target=outside).start()
            await done.wait()
            assert times == []
        assert not repr(virtual_clock).endswith(" held>")
        await anyio.sleep(1.5)
        assert times == [1]
        tasks.cancel_scope.cancel()


@pytest.mark.blocking_ok  # the thread may have its last steps to go
def test_a_hold_that_ends_in_another_thread_wakes_the_loop(backend: str) -> None:
    clock = VirtualClock(patience=math.inf)
    hold = clock.hold()

    def outside() -> None:
        time.sleep(0.03)
        hold.__exit__(None, None, None)

    async def main() -> None:
        hold.__enter__()
        thread = threading.Thread(target=outside)
        thread.start()
        await anyio.sleep(60)
        thread.join()

    clock.run(main, backend=backend)
    assert clock.now() == START + timedelta(minutes=1)


@pytest.mark.anyio
async def test_settle_waits_for_threads_but_not_for_one_that_hangs(virtual_clock: VirtualClock) -> None:
    release = threading.Event()
    ended: list[str] = []

    async def quick() -> None:
        await anyio.to_thread.run_sync(time.sleep, 0.02)
        ended.append("quick")

    async def hangs() -> None:
        await anyio.to_thread.run_sync(release.wait)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(quick)
        await virtual_clock.settle()
        assert ended == ["quick"]
        tasks.start_soon(hangs)
        await virtual_clock.settle()
        release.set()


@pytest.mark.anyio
async def test_time_stands_still_while_a_pool_process_works(virtual_clock: VirtualClock) -> None:
    times: list[float] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_tick, 1000, times, virtual_clock)
        assert await anyio.to_process.run_sync(math.sqrt, 9) == 3
        assert times == []
        await anyio.sleep(86400)  # the idle worker stays, and holds nothing
        assert len(times) == 86
        tasks.cancel_scope.cancel()


def test_time_stands_still_until_a_child_process_has_ended(backend: str) -> None:
    clock = VirtualClock(patience=math.inf)

    async def main() -> None:
        command = [sys.executable, "-S", "-c", "print('hello')"]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep, 60)
            async with await anyio.open_process(command, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                assert b"".join([data async for data in process.stdout]) == b"hello\n"
                assert await process.wait() == 0
            result = await anyio.run_process(command)
            assert result.stdout == b"hello\n"
            assert clock.monotonic() == 0

    clock.run(main, backend=backend)


def test_the_last_bytes_of_a_child_process_are_read_before_time_goes_on() -> None:
    flow = Flow(math.inf, 0.01)
    ended: list[int] = []
    flow.watch(lambda: ended[0] if ended else None)
    assert flow.idle(60, listening=True) == 0.01
    assert flow.idle(60, listening=True) == LOOK_AT_CHILDREN
    ended.append(0)  # after the loop has polled, and with bytes in its pipe
    assert (flow.idle(60, listening=True), flow.now) == (0, 0), "the loop polls again"
    assert (flow.idle(60, listening=True), flow.now) == (0.01, 0)
    assert (flow.idle(60, listening=True), flow.now) == (0, 60)


def test_a_child_process_that_ends_between_two_looks_holds_until_the_next() -> None:
    flow = Flow(math.inf, 0.01)
    looks = iter([None, 0, 0, 0])
    flow.watch(lambda: next(looks))
    assert (flow.idle(60, listening=False), flow.now) == (LOOK_AT_CHILDREN, 0)
    assert (flow.idle(60, listening=False), flow.now) == (0, 0)
    assert (flow.idle(60, listening=False), flow.now) == (0, 60)


def test_a_child_process_holds_even_if_nobody_waits_for_it(backend: str) -> None:
    clock = VirtualClock(patience=math.inf)

    async def main() -> None:
        command = [sys.executable, "-S", "-c", "import time; time.sleep(0.1)"]
        if backend == "trio":
            await trio.run_process(command)
        else:
            native = await asyncio.create_subprocess_shell("true")
            await native.wait()
        process = await anyio.open_process(command, stdin=None, stdout=None, stderr=None)
        await anyio.sleep(60)
        assert process.returncode == 0
        await process.aclose()

    clock.run(main, backend=backend)


def test_a_child_process_started_in_a_hold_is_held_by_that_alone(backend: str) -> None:
    clock = VirtualClock(patience=math.inf)

    async def main() -> None:
        with clock.hold():
            process = await anyio.open_process([sys.executable, "-S", "-c", "input()"])
        await anyio.sleep(60)
        assert process.returncode is None
        process.kill()
        await process.aclose()

    clock.run(main, backend=backend)


def test_what_was_patched_is_put_back(backend: str) -> None:
    import anyio._backends._asyncio as on_asyncio
    import anyio._backends._trio as on_trio

    def seams() -> list[Any]:
        engines = [on_asyncio.AsyncIOBackend, on_trio.TrioBackend]
        names = ["run_sync_in_worker_thread", "run_async_from_thread", "wait_all_tasks_blocked"]
        return [vars(engine)[name] for engine in engines for name in names] + [
            anyio.to_process.run_sync,
            trio.to_thread.run_sync,
            trio.from_thread.run,
            trio.run_process,
            trio.lowlevel.open_process,
        ]

    before = seams()

    async def main() -> None:
        assert seams() != before
        # A second virtual run at the same time, in another thread, ends before this one.
        await anyio.to_thread.run_sync(VirtualClock().run, anyio.sleep, 60)
        assert seams() != before

    VirtualClock().run(main, backend=backend)
    assert seams() == before


def test_a_real_run_beside_a_virtual_one_is_left_alone(backend: str) -> None:
    clock = VirtualClock()

    async def real() -> float:
        began = anyio.current_time()
        await anyio.to_thread.run_sync(time.sleep, 0.01)
        await anyio.to_process.run_sync(math.sqrt, 4)
        if backend == "trio":
            await trio.run_process(["true"])
        await anyio.wait_all_tasks_blocked()
        return anyio.current_time() - began

    async def main() -> None:
        took = await anyio.to_thread.run_sync(lambda: anyio.run(real, backend=backend))
        assert took > 0.01

    clock.run(main, backend=backend)


# --- sockets


@pytest.mark.anyio
async def test_sockets_answer_before_time_jumps_to_their_timeout(virtual_clock: VirtualClock) -> None:
    async def echo(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            async for data in stream:
                await anyio.sleep(5)
                await stream.send(data)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, echo)
        async with await anyio.connect_tcp("127.0.0.1", port) as client:
            for n in range(20):
                with anyio.fail_after(6):
                    await client.send(b"%d" % n)
                    assert await client.receive() == b"%d" % n
        tasks.cancel_scope.cancel()
    assert virtual_clock.monotonic() == 100


@pytest.mark.anyio
async def test_a_socket_nobody_writes_to_does_not_stop_time(virtual_clock: VirtualClock) -> None:
    async def refuse(stream: anyio.abc.SocketStream) -> None:
        raise AssertionError(f"nobody connects, but {stream} did")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        with anyio.move_on_after(3600):
            await listener.serve(refuse)
    assert virtual_clock.monotonic() == 3600


# --- where it cannot work


@pytest.mark.parametrize("options", [{}, {"use_uvloop": True}])
def test_a_real_loop_is_refused_in_words(options: dict[str, Any], backend: str) -> None:
    if options and backend == "trio":
        pytest.skip("uvloop is an asyncio loop")
    if options:
        pytest.importorskip("uvloop")
    clock = VirtualClock()

    async def main() -> None:
        word = "leave uvloop out" if options else "real time" if backend == "asyncio" else "SystemClock"
        with pytest.raises(VirtualTimeError, match=f"{word}.*anyio_backend"):
            clock.monotonic()
        with pytest.raises(SchedulerStateError, match=word):
            await clock.advance(1)
        with pytest.raises(VirtualTimeError, match=word):
            await clock.settle()

    anyio.run(main, backend=backend, backend_options=options)


def test_outside_of_a_run_the_wall_can_be_read_and_the_loop_time_not() -> None:
    clock = VirtualClock()
    clock.step(1)
    assert clock.now() == START + timedelta(seconds=1)
    with pytest.raises(VirtualTimeError, match="no event loop is running here"):
        clock.monotonic()


def test_a_clock_belongs_to_one_loop_at_a_time(backend: str) -> None:
    clock = VirtualClock()
    other = VirtualClock()

    async def main() -> None:
        with pytest.raises(VirtualTimeError, match="another VirtualClock"):
            await other.advance(1)
        with pytest.raises(VirtualTimeError, match="in use by another event loop"):
            await anyio.to_thread.run_sync(lambda: clock.run(anyio.sleep, 1, backend=backend))

    clock.run(main, backend=backend)


def test_freezegun_is_refused_in_words(monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    factories: list[object] = []
    monkeypatch.setitem(sys.modules, "freezegun.api", SimpleNamespace(freeze_factories=factories))
    clock = VirtualClock()
    clock.run(anyio.sleep, 1, backend=backend)  # imported, but not active

    async def main() -> None:
        factories.append(object())
        with pytest.raises(VirtualTimeError, match="freezes the monotonic clock"):
            clock.monotonic()
        with pytest.raises(VirtualTimeError, match="freezes the monotonic clock"):
            await clock.advance(1)

    clock.run(main, backend=backend)
    with pytest.raises(VirtualTimeError, match="freezes the monotonic clock"):
        clock.run(anyio.sleep, 1, backend=backend)


def test_freezegun_itself_is_seen(backend: str) -> None:
    freezegun = pytest.importorskip("freezegun")
    clock = VirtualClock()
    with freezegun.freeze_time("2026-01-01"):
        with pytest.raises(VirtualTimeError, match="freezes the monotonic clock"):
            clock.run(anyio.sleep, 1, backend=backend)
    clock.run(anyio.sleep, 1, backend=backend)


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'asyncio' or 'trio', not 'curio'"):
        virtual("curio", VirtualClock())
    assert virtual_backend("trio", VirtualClock())[0] == "trio"
