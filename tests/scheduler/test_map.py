"""``Scheduler.map``: one function over many items, in the loop and in threads, as its consumer keeps up."""

from __future__ import annotations

import gc
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from itertools import count
from typing import Any

import anyio
import anyio.from_thread
import pytest

from asyncsched import (
    ArgumentError,
    ConfigurationError,
    RunCancelled,
    Scheduler,
    SchedulerClosed,
    SchedulerStateError,
    UnknownJob,
    current_run,
)
from asyncsched.executors import ItemFailed, LoopExecutor, MapFailed, ThreadExecutor
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def scheduler(virtual_clock: VirtualClock) -> Scheduler:
    return Scheduler(clock=virtual_clock)


async def double(n: int) -> int:
    await anyio.sleep(1 if n % 2 else 2)
    return 2 * n


async def refuse_odd(n: int) -> int:
    if n % 2:
        raise ValueError(f"{n} is odd")
    return n


class Items:
    """An iterable that counts how far it was read."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[int]:
        for number in count():
            self.taken += 1
            yield number


class Gate:
    """A function whose calls wait until they are let through, and tell how many wait."""

    def __init__(self) -> None:
        self.inside = self.most = self.cancelled = 0
        self.open = anyio.Event()

    async def __call__(self, item: int) -> int:
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.open.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        finally:
            self.inside -= 1
        return item


# Results.


async def test_results_come_in_the_order_of_the_items(scheduler: Scheduler) -> None:
    async with scheduler:
        assert [value async for value in scheduler.map(double, range(7), limit=3)] == [0, 2, 4, 6, 8, 10, 12]


async def test_or_each_as_soon_as_it_is_there(scheduler: Scheduler) -> None:
    async with scheduler:
        found = [value async for value in scheduler.map(double, range(4), ordered=False)]
    assert (sorted(found[:2]), sorted(found[2:])) == ([2, 6], [0, 4])


async def test_threads_get_many_short_calls_at_once(scheduler: Scheduler) -> None:
    threads: list[str] = []

    def square(n: int) -> int:
        threads.append(threading.current_thread().name)
        return n * n

    async with scheduler:
        assert [v async for v in scheduler.map(square, range(3000))] == [n * n for n in range(3000)]
    assert all(name.startswith("asyncsched-thread") for name in threads)


async def test_a_job_keeps_its_executor_and_may_be_given_by_its_name(virtual_clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=virtual_clock, executors={"own": ThreadExecutor(2, name="own")})

    @scheduler.job(executor="own", name="where")
    def where(item: int) -> str:
        return threading.current_thread().name[:14]

    async with scheduler:
        for one in (where, "where"):
            assert [name async for name in scheduler.map(one, range(2))] == ["asyncsched-own"] * 2


async def test_async_iterables_are_read_and_closed(scheduler: Scheduler) -> None:
    closed: list[str] = []

    async def rows() -> AsyncIterator[int]:
        try:
            for number in range(50):
                await anyio.sleep(0.01)
                yield number
        finally:
            closed.append("rows")

    async with scheduler:
        assert [v async for v in scheduler.map(refuse_odd, rows(), on_error="yield", limit=2)][::2] == [
            *range(0, 50, 2)
        ]
        async with scheduler.map(double, rows()) as results:
            async for _ in results:
                break
    assert closed == ["rows", "rows"]


async def test_nothing_is_left_of_no_items(scheduler: Scheduler) -> None:
    async with scheduler:
        empty = scheduler.map(double, [])
        assert [value async for value in empty] == []
        with pytest.raises(StopAsyncIteration):
            await anext(empty)


# As the consumer keeps up.


async def test_no_more_is_taken_than_the_limit_and_the_consumer_ask_for(scheduler: Scheduler) -> None:
    items, gate = Items(), Gate()
    async with scheduler, scheduler.map(gate, items, limit=5) as results:
        async with anyio.create_task_group() as group:
            group.start_soon(anext, results)
            await anyio.sleep(1)
            assert (gate.inside, items.taken) == (5, 5)
            gate.open.set()
        await anyio.sleep(10)
        assert (gate.most, items.taken) == (5, 11)
        for _ in range(1000):
            await anext(results)
        await anyio.sleep(10)
        assert items.taken == 1011


async def test_a_full_executor_is_waited_for_and_shown(virtual_clock: VirtualClock) -> None:
    scheduler = Scheduler(clock=virtual_clock, executors={"own": LoopExecutor(3, name="own")})
    gate = Gate()

    @scheduler.job(executor="own")
    async def nap() -> None:
        await anyio.sleep(10)

    async with scheduler:
        runs = [await scheduler.schedule_once(nap) for _ in range(2)]
        await anyio.sleep(1)
        async with scheduler.map(gate, Items(), executor="own", limit=8) as results:
            with anyio.move_on_after(1):
                async with anyio.create_task_group() as group:
                    group.start_soon(anext, results)
                    await anyio.sleep(0.5)
                    assert gate.inside == 1
                    assert scheduler.health().full == ("runs wait for a place in executor 'own' (3)",)
        for run in runs:
            await run.result()
        assert scheduler.health().full == ()


async def test_a_loop_in_the_last_place_of_its_own_executor_goes_on(virtual_clock: VirtualClock) -> None:
    scheduler = Scheduler(
        clock=virtual_clock, executors={"loop": LoopExecutor(1), "thread": ThreadExecutor(1)}
    )

    async def over(items: int) -> list[int]:
        return [value async for value in scheduler.map(double, range(items))]

    def in_thread(items: int) -> list[int]:
        return anyio.from_thread.run(collect, items)

    async def collect(items: int) -> list[int]:
        return [value async for value in scheduler.map(abs, range(items), executor="thread")]

    async with scheduler:
        assert await (await scheduler.schedule_once(over, 3)).result() == [0, 2, 4]
        assert await (await scheduler.schedule_once(in_thread, 3)).result() == [0, 1, 2]


# Failures.


async def test_a_failing_item_stops_nobody_else_and_is_told_at_the_end(scheduler: Scheduler) -> None:
    found: list[int] = []
    async with scheduler:
        with pytest.raises(MapFailed, match="'refuse_odd': 3 of its items failed") as told:
            async for value in scheduler.map(refuse_odd, range(6), limit=2):
                found.append(value)
    assert found == [0, 2, 4]
    assert [(e.index, e.item, e.job, str(e.__cause__)) for e in told.value.exceptions if isinstance(e, ItemFailed)] == [
        (1, 1, "refuse_odd", "1 is odd"), (3, 3, "refuse_odd", "3 is odd"), (5, 5, "refuse_odd", "5 is odd"),
    ]  # fmt: skip
    with pytest.raises(ExceptionGroup):
        try:
            raise told.value
        except* KeyError:
            pass


async def test_of_many_failures_the_first_hundred_are_kept(scheduler: Scheduler) -> None:
    async with scheduler:
        with pytest.raises(MapFailed, match="1000 of its items failed; the first 100 are here") as told:
            async for _ in scheduler.map(refuse_odd, range(2000)):
                pass
    assert (told.value.failed, len(told.value.exceptions)) == (1000, 100)


async def test_it_is_handed_out_in_its_place_if_asked(scheduler: Scheduler) -> None:
    async with scheduler:
        found = [value async for value in scheduler.map(refuse_odd, range(3), on_error="yield")]
    assert found[::2] == [0, 2]
    assert isinstance(found[1], ItemFailed)


async def test_it_stops_the_others_if_asked(scheduler: Scheduler) -> None:
    gate, items = Gate(), Items()

    async def fail_at_three(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return await gate(item)

    async with scheduler:
        results = scheduler.map(fail_at_three, items, limit=4, on_error="stop")
        with pytest.raises(ItemFailed, match=r"item 3 of map over 'fail_at_three' failed: ValueError: three"):
            await anext(results)
        assert (gate.inside, gate.cancelled, items.taken) == (0, 3, 4)
        with pytest.raises(StopAsyncIteration):
            await anext(results)


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_iterable_that_raises_ends_the_loop_after_the_items_before(
    scheduler: Scheduler, is_async: bool
) -> None:
    def broken() -> Iterator[int]:
        yield from (0, 1, 2)
        raise OSError("the file ends here")

    async def broken_stream() -> AsyncIterator[int]:
        for item in broken():
            yield item

    found: list[int] = []
    async with scheduler:
        with pytest.raises(OSError, match="the file ends here") as told:
            async for value in scheduler.map(refuse_odd, broken_stream() if is_async else broken()):
                found.append(value)
    assert found == [0, 2]
    assert isinstance(told.value.__cause__, MapFailed)


async def test_a_function_that_cancels_itself_has_failed(scheduler: Scheduler) -> None:
    async def cancels(item: int) -> int:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.sleep(1)
        return item

    async with scheduler:
        assert [value async for value in scheduler.map(cancels, range(3))] == [0, 1, 2]


# Its end.


async def test_leaving_the_loop_early_cancels_what_is_under_way(scheduler: Scheduler) -> None:
    gate = Gate()

    async def first_at_once(item: int) -> int:
        return item if item == 0 else await gate(item)

    async with scheduler:
        async for value in scheduler.map(first_at_once, Items(), limit=4):
            assert value == 0
            break
        gc.collect()
        await anyio.sleep(1)
        assert (gate.inside, gate.cancelled) == (0, gate.most)
        assert gate.most >= 1


async def test_cancelling_the_consumer_cancels_the_calls(scheduler: Scheduler) -> None:
    gate = Gate()
    async with scheduler:
        results = scheduler.map(gate, range(10), limit=4)
        with anyio.move_on_after(1):
            await anext(results)
        assert (gate.inside, gate.cancelled) == (0, 4)
        with pytest.raises(StopAsyncIteration):
            await anext(results)


async def test_cancelling_the_run_around_it_cancels_the_calls(scheduler: Scheduler) -> None:
    gate = Gate()

    @scheduler.job()
    async def nightly() -> None:
        async for _ in scheduler.map(gate, Items(), limit=4):
            pass

    async with scheduler:
        handle = await scheduler.schedule_once(nightly)
        await anyio.sleep(1)
        assert gate.inside == 4
        await handle.cancel()
        with pytest.raises(RunCancelled):
            await handle.result()
        assert (gate.inside, gate.cancelled) == (0, 4)


async def test_the_end_of_the_scheduler_ends_a_loop_outside_of_jobs(virtual_clock: VirtualClock) -> None:
    gate, told = Gate(), []
    scheduler = Scheduler(clock=virtual_clock, shutdown_timeout=1)

    async def consume() -> None:
        try:
            async for _ in scheduler.map(gate, Items(), limit=2):
                pass
        except SchedulerClosed as error:
            told.append(error)

    async with anyio.create_task_group() as group:
        async with scheduler:
            group.start_soon(consume)
            await anyio.sleep(1)
    assert gate.cancelled == 2
    assert len(told) == 1


# The run around it.


async def test_the_run_around_it_shows_the_progress_and_is_that_of_the_calls(scheduler: Scheduler) -> None:
    seen: set[tuple[str, str]] = set()

    async def look(item: int) -> int:
        run = current_run()
        run.progress(99)
        seen.add((run.id, run.job))
        return await refuse_odd(item)

    @scheduler.job()
    async def nightly() -> None:
        async for _ in scheduler.map(look, range(10), on_error="yield"):
            pass

    async with scheduler:
        handle = await scheduler.schedule_once(nightly)
        await handle.result()
        progress = (await handle.status()).progress
        assert len(await scheduler.runs()) == 1
    assert seen == {(handle.id, "nightly")}
    assert progress is not None
    assert (progress.done, progress.total, progress.message) == (10, 10, "5 failed")


async def test_or_leaves_it_to_the_calls(scheduler: Scheduler) -> None:
    async def report(item: int) -> None:
        current_run().progress(item, 7)

    @scheduler.job()
    async def nightly() -> None:
        async for _ in scheduler.map(report, [3], progress=False):
            pass

    async with scheduler:
        handle = await scheduler.schedule_once(nightly)
        await handle.result()
        progress = (await handle.status()).progress
    assert progress is not None
    assert (progress.done, progress.total) == (3, 7)


async def test_a_call_outside_of_jobs_has_a_run_that_no_ledger_has(scheduler: Scheduler) -> None:
    async def look(item: int) -> str:
        return current_run().job

    async with scheduler:
        assert [job async for job in scheduler.map(look, range(2))] == ["look", "look"]
        assert await scheduler.runs() == []


# Bad input.


def two(a: int, b: int) -> int:
    return a + b


@pytest.mark.parametrize(
    ("func", "options", "error", "words"),
    [
        (two, {}, ArgumentError, "map over 'two': the function is called with one item .*functools.partial"),
        (partial(two, 1), {"limit": 0}, ConfigurationError, "map over 'two': limit must be a whole number"),
        (double, {"executor": "gpu"}, ConfigurationError, "map over 'double': there is no executor 'gpu'"),
        (double, {"executor": "process"}, ConfigurationError, "'double' is a coroutine function"),
        (double, {"on_error": "ignore"}, ConfigurationError, "on_error must be one of 'after', 'stop', 'yield'"),
        (double, {"batch": 0}, ConfigurationError, "batch must be a whole number"),
        (double, {"ordered": "no"}, ConfigurationError, "ordered must be"),
        (3, {}, ConfigurationError, "map: 3 is not a function"),
        ("nobody", {}, UnknownJob, "nobody"),
    ],
)  # fmt: skip
async def test_what_cannot_be_called_is_refused_at_once(
    scheduler: Scheduler, func: Any, options: Any, error: type[Exception], words: str
) -> None:
    async with scheduler:
        with pytest.raises(error, match=words):
            scheduler.map(func, range(3), **options)


async def test_so_is_what_cannot_be_iterated_and_a_scheduler_that_does_not_run(scheduler: Scheduler) -> None:
    with pytest.raises(SchedulerStateError, match="has not been started"):
        scheduler.map(double, range(3))
    async with scheduler:
        wrong: Any = 3
        with pytest.raises(ConfigurationError, match="items must be an iterable or async iterable, not 3"):
            scheduler.map(double, wrong)


async def test_a_scheduler_that_only_submits_says_so(virtual_clock: VirtualClock) -> None:
    async with Scheduler(clock=virtual_clock, role="submit") as scheduler:
        with pytest.raises(SchedulerStateError, match="role 'submit' and runs nothing here"):
            await anext(scheduler.map(double, range(3)))
