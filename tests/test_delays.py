"""The plugin of delays: repeatable by its seed, in order, and no reason of its own for a test to fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextvars import copy_context

import anyio
import pytest
from anyio.lowlevel import checkpoint

from asyncsched._backends.current import current_backend, current_port
from asyncsched.executors import ThreadExecutor
from asyncsched.stores.sql.thread import DatabaseThread, Request
from asyncsched.testing import VirtualClock
from tests import delays
from tests.executors.helpers import attempts, call


@pytest.fixture
def everything_is_late(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(delays, "MOODS", (1.0,))
    monkeypatch.setattr(delays, "delays", delays.Delays(1))
    plugin = delays.Plugin()
    plugin.put_in()
    yield
    plugin.take_out()


def test_a_seed_repeats_the_delays_of_each_test_and_place() -> None:
    def drawn(seed: int, test: str, place: str) -> list[tuple[int, float]]:
        made = delays.Delays(seed)
        made.begin(test)
        return [made.lateness(place) for _ in range(50)]

    tests = [f"test{number}" for number in range(20)]
    assert [drawn(1, test, "here") for test in tests] == [drawn(1, test, "here") for test in tests]
    assert [drawn(1, test, "here") for test in tests] != [drawn(2, test, "here") for test in tests]
    assert [drawn(1, test, "here") for test in tests] != [drawn(1, test, "there") for test in tests]
    some = [drawn(1, test, "here") for test in tests]
    late = [{one != (0, 0.0) for one in drawn} for drawn in some]
    assert {False} in late  # never late there,
    assert {True} in late  # always,
    assert {True, False} in late  # and now and then


@pytest.mark.anyio
async def test_what_one_thread_tells_the_loop_stays_in_order(everything_is_late: None) -> None:
    heard: list[int] = []

    def hear(number: int) -> Callable[[], None]:
        return lambda: heard.append(number)

    port = current_port()
    for number in range(20):
        port.call_soon(hear(number))
    assert not heard
    while len(heard) < 20:
        await checkpoint()
    assert heard == list(range(20))


@pytest.mark.anyio
async def test_virtual_time_stands_still_while_a_thread_is_delayed(
    everything_is_late: None, virtual_clock: VirtualClock
) -> None:
    def serve(requests: list[Request]) -> None:
        for request in requests:
            request.result = request.payload

    thread = DatabaseThread("asyncsched-test", serve, lambda: None, 5, virtual_clock)
    executor = ThreadExecutor(1)
    executor.use_clock(virtual_clock)
    async with executor, anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 3600)  # what time would jump to
        for number in range(3):
            assert await thread.submit("kind", number) == number
            assert await call(executor, lambda: "called") == "called"
        await thread.close()
        assert virtual_clock.monotonic() == 0
        group.cancel_scope.cancel()


@pytest.mark.anyio
@pytest.mark.real_time  # its threads are real ones
async def test_whoever_is_cancelled_while_an_answer_is_late_leaves_nothing_behind(
    everything_is_late: None,
) -> None:
    async with ThreadExecutor(2) as executor, attempts() as start:
        for late in range(12):
            attempt = start(call(executor, time.sleep, 0.001))
            for _ in range(1 + late):
                await checkpoint()
            attempt.cancel()
            await attempt.ended()
    assert executor.busy == 0


@pytest.mark.anyio
async def test_a_task_that_is_cancelled_before_its_late_first_step_takes_it_all_the_same(
    everything_is_late: None,
) -> None:
    steps: list[str] = []

    async def main() -> None:
        steps.append("first")
        try:
            await anyio.sleep(3600)
        finally:
            steps.append("last")

    async with current_backend() as backend:
        task = backend.spawn(main(), copy_context())
        await checkpoint()
        task.cancel()
        assert await backend.join(60) == 0
    assert steps == ["first", "last"]
