"""W1: interval jobs at 1 s, all due at the same moments: lateness, drift, CPU per firing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from heapq import heappop, heappush

from tests.benchmarks._bench import Figure, Measure, Metrics, Scenario, Size
from tests.benchmarks._measure import Cpu, aps3, moment, percentile
from tests.benchmarks._workloads import Job, Ticks, copy
from tests.benchmarks.peers import aiocron, aps4, docket, saq, taskiq


def ours(size: Size) -> Metrics:
    """Measure this library."""
    from asyncsched import Interval, Scheduler

    async def main() -> Metrics:
        ticks = Ticks(size, time.time)
        scheduler = Scheduler()
        for number in range(size.n):
            trigger = Interval(seconds=1, start=moment(ticks.start))
            scheduler.job(trigger, name=f"job-{number}", id=f"job-{number}")(copy(ticks.job))
        async with scheduler:
            return await ticks.metrics()

    return asyncio.run(main())


def apscheduler(size: Size) -> Metrics:
    """Measure APScheduler 3."""

    async def main() -> Metrics:
        ticks = Ticks(size, time.time)
        scheduler = aps3()
        for number in range(size.n):
            scheduler.add_job(
                copy(ticks.job), "interval", seconds=1, id=f"job-{number}",
                next_run_time=moment(ticks.start), start_date=moment(ticks.start),
            )  # fmt: skip
        scheduler.start()
        try:
            return await ticks.metrics()
        finally:
            scheduler.shutdown(wait=False)

    return asyncio.run(main())


def heap(size: Size) -> Metrics:
    """Measure the floor: one heap, one timer, a task for each firing."""

    async def main() -> Metrics:
        loop = asyncio.get_running_loop()
        ticks = Ticks(size, loop.time)
        entries: list[tuple[float, int, Job]] = []
        for number in range(size.n):
            heappush(entries, (ticks.start, number, copy(ticks.job)))

        def fire() -> None:
            now = loop.time()
            while entries[0][0] <= now:
                when, number, job = heappop(entries)
                heappush(entries, (when + 1, number, job))
                loop.create_task(job())  # type: ignore[arg-type]  # noqa: RUF006  # nothing kept: the floor
            loop.call_at(entries[0][0], fire)

        loop.call_at(entries[0][0], fire)
        return await ticks.metrics()

    return asyncio.run(main())


def call_at(size: Size) -> Metrics:
    """Measure the floor for one job: the loop's own timer."""

    async def main() -> Metrics:
        loop = asyncio.get_running_loop()
        return await _fast(size, loop.time, _call_at)

    return asyncio.run(main())


async def _call_at(start: float, job: Callable[[], None], count: int) -> None:
    loop = asyncio.get_running_loop()

    def fire(number: int) -> None:
        job()
        if number < count:
            loop.call_at(start + (number + 1) * PERIOD, fire, number + 1)

    loop.call_at(start, fire, 0)
    await asyncio.sleep(start - loop.time() + (count + 2) * PERIOD)


PERIOD = 0.01


async def _fast(
    size: Size, now: Callable[[], float], go: Callable[[float, Callable[[], None], int], Awaitable[None]]
) -> Metrics:
    start, seen, cpu = now() + 0.3, list[float](), Cpu()
    await go(start, lambda: seen.append(now()), size.n)
    late, spent = [(at - start) % PERIOD for at in seen], cpu.spent()
    return {
        "p50_ms": percentile(late, 0.5) * 1e3,
        "p99_ms": percentile(late, 0.99) * 1e3,
        "ticks": len(seen) / (size.n + 1),
        "cpu_us": spent / max(1, len(seen)) * 1e6,
    }


def one_ours(size: Size) -> Metrics:
    """Measure one job of ours every 10 ms."""
    from asyncsched import Interval, Scheduler

    async def go(start: float, job: Callable[[], None], count: int) -> None:
        async def tick() -> None:
            job()

        scheduler = Scheduler()
        end = moment(start + count * PERIOD)
        trigger = Interval(seconds=PERIOD, start=moment(start), end=end)
        scheduler.job(trigger, name="tick")(tick)
        async with scheduler:
            await asyncio.sleep(start - time.time() + (count + 2) * PERIOD)

    return asyncio.run(_fast(size, time.time, go))


def one_apscheduler(size: Size) -> Metrics:
    """Measure one job of APScheduler 3 every 10 ms."""

    async def go(start: float, job: Callable[[], None], count: int) -> None:
        async def tick() -> None:
            job()

        scheduler = aps3()
        scheduler.add_job(
            tick,
            "interval",
            seconds=PERIOD,
            start_date=moment(start),
            end_date=moment(start + count * PERIOD),
        )
        scheduler.start()
        await asyncio.sleep(start - time.time() + (count + 2) * PERIOD)
        scheduler.shutdown(wait=False)

    return asyncio.run(_fast(size, time.time, go))


def blocked(size: Size) -> Metrics:
    """Measure the drift of our 100 ms job while the loop is held for 200 ms in each second."""
    from asyncsched import CurrentRun, Interval, Scheduler, current_run

    async def main() -> Metrics:
        slots: list[int] = []
        start = time.time() + 0.3
        anchor = moment(start)

        async def tick() -> None:
            run: CurrentRun = current_run()
            slots.append((run.scheduled_for - anchor) // timedelta(microseconds=1))

        scheduler = Scheduler(stall_threshold=None)
        scheduler.job(Interval(seconds=0.1, start=anchor), name="tick")(tick)
        async with scheduler:
            while time.time() < start + size.seconds:
                await asyncio.sleep(0.8)
                time.sleep(0.2)  # the block is the workload
        off = [slot % 100_000 for slot in slots]
        twice = len(slots) - len(set(slots))
        return {"drift_us": max(min(one, 100_000 - one) for one in off), "twice": twice, "ticks": len(slots)}

    return asyncio.run(main())


SYSTEMS = {"asyncsched": ours, "aps3": apscheduler, "heap": heap}

SCENARIOS = (
    Scenario(
        "intervals",
        "1,000 jobs of their own, each second, all due at the same moment",
        SYSTEMS | {
            "aps4": aps4.intervals, "aiocron": aiocron.intervals, "taskiq": taskiq.intervals, "saq": saq.intervals,
            "docket": docket.intervals,
        },
        (
            Figure("1a", "1,000 jobs: p99 lateness over aps3", "p99_ms", 0.50, 0.30, ("aps3", "p99_ms"), unit="ms"),
            Figure("", "1,000 jobs: p99 lateness over heap", "p99_ms", over=("heap", "p99_ms"), unit="ms"),
            Figure("", "1,000 jobs: p50 lateness over aps3", "p50_ms", over=("aps3", "p50_ms"), unit="ms"),
            Figure("1b", "CPU per firing over aps3", "cpu_us", 0.40, 0.23, ("aps3", "cpu_us"), unit="µs"),
            Figure("1b", "CPU per firing over heap", "cpu_us", None, 1.0, ("heap", "cpu_us"), unit="µs"),
            Figure("1e", "drift: earliest run of the last ticks − of the first", "drift_ms", 1.0, unit="ms"),
        ),
        Size(1000, 2), Size(1000, 2), Size(20, 1), floor="heap", redis="memory",
        measures=(
            Measure("lateness p50", "p50_ms", "ms"), Measure("lateness p99", "p99_ms", "ms"),
            Measure("CPU per firing", "cpu_us", "µs"), Measure("share of the ticks run", "ticks"),
        ),
    ),
    Scenario(
        "intervals5k",
        "5,000 jobs of their own, each second, all due at the same moment",
        SYSTEMS,
        (
            Figure("1c", "5,000 jobs: p99 lateness over aps3", "p99_ms", 0.40, 0.25, ("aps3", "p99_ms"), unit="ms"),
            Figure("1c", "5,000 jobs: share of the ticks run", "ticks", 1.0, at_least=True),
        ),
        Size(5000, 2), Size(5000, 2), Size(50, 1), floor="heap",
        measures=(
            Measure("lateness p99", "p99_ms", "ms"), Measure("CPU per firing", "cpu_us", "µs"),
            Measure("share of the ticks run", "ticks"),
        ),
    ),
    Scenario(
        "single",
        "one job every 10 ms, 250 ticks",
        {"asyncsched": one_ours, "call_at": call_at, "aps3": one_apscheduler},
        (
            Figure("1d", "10 ms job: p50 lateness over call_at", "p50_ms", 1.1, 0.25, ("call_at", "p50_ms"), unit="ms"),
            Figure("", "10 ms job: p50 lateness over aps3", "p50_ms", over=("aps3", "p50_ms"), unit="ms"),
        ),
        Size(250), Size(250), Size(20),
        measures=(
            Measure("lateness p50", "p50_ms", "ms"), Measure("lateness p99", "p99_ms", "ms"),
            Measure("CPU per firing", "cpu_us", "µs"),
        ),
    ),
    Scenario(
        "blocked",
        "one job every 100 ms while the loop is held for 200 ms in each second: slots off the grid, slots run twice",
        {"asyncsched": blocked},
        (
            Figure("1e", "drift of the slots under blocks", "drift_us", 0.0, unit="µs"),
            Figure("1e", "slots run twice under blocks", "twice", 0.0),
        ),
        Size(0, 6), Size(0, 3), Size(0, 1), rounds=1,
    ),
)  # fmt: skip
