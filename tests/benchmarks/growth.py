"""How costs grow: ``python -m tests.benchmarks.growth [part ...]`` measures, and draws the guide's plots.

``pending`` and ``schedules`` measure the CPU time of the whole process per firing at a steady rate, each point in
three fresh processes by turns, of which the median counts. ``history`` and ``memory`` are in virtual time: a week,
and an hour at 500 runs a second. What is measured is CPU time, bytes and counts, so that other load on the machine
hardly shows.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks._bench import ROOT
from tests.benchmarks._chart import Points, chart
from tests.benchmarks._measure import Cpu, moment, resident
from tests.benchmarks._report import machine

KEPT = Path(__file__).parent / "kept" / "growth.json"
PENDING = (10, 1_000, 100_000, 1_000_000)
SCHEDULES = (1, 10, 1_000, 10_000, 50_000)
_RATE = {"memory": 500, "sqlite": 100}
"""Firings a second."""
_SECONDS = 4.0
_TIMES = 3
_MANY = 10_000

Kept = dict[str, Any]


async def fires(*_: object) -> None:
    """Be the job."""


def _url(store: str, folder: str) -> str | None:
    return None if store == "memory" else f"sqlite:///{folder}/jobs.db"


async def _per_firing(scheduler: Any, rate: int, seconds: float, ready: Callable[[], int]) -> float:
    """Return the CPU microseconds per firing, from a second after the start on."""
    await asyncio.sleep(1)
    gc.collect()
    before, cpu = ready(), Cpu()
    await asyncio.sleep(seconds)
    return cpu.spent() / max(1, ready() - before) * 1e6


def over_pending(store: str, count: int, seconds: float = _SECONDS) -> float:
    """Return the cost of a firing while one-offs wait that are due in some hours."""
    from asyncsched import Interval, Once, Scheduler

    fired = 0

    async def tick() -> None:
        nonlocal fired
        fired += 1

    async def main(folder: str) -> float:
        scheduler = Scheduler(_url(store, folder))
        scheduler.job()(fires)
        scheduler.job(Interval(seconds=10 / _RATE[store]), name="tick")(tick)
        for number in range(9):
            scheduler.job(Interval(seconds=10 / _RATE[store]), name=f"tick-{number}")(_copy(tick))
        async with scheduler:
            for first in range(0, count, _MANY):
                some = range(first, min(count, first + _MANY))
                await scheduler.schedule_many(
                    [Once(fires, (number,), delay=7200 + number % 3600) for number in some]
                )
                await asyncio.sleep(0)
            return await _per_firing(scheduler, _RATE[store], seconds, lambda: fired)

    return _in_folder(main)


def _copy(func: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    async def copy() -> None:
        await func()

    return copy


def over_schedules(store: str, count: int, seconds: float = _SECONDS) -> float:
    """Return the cost of a firing where the same number of firings is of more schedules, each less often."""
    from asyncsched import Interval, Scheduler

    fired = 0

    async def tick(_: int) -> None:
        nonlocal fired
        fired += 1

    async def main(folder: str) -> float:
        scheduler = Scheduler(_url(store, folder))
        scheduler.job()(tick)
        period = count / _RATE[store]
        async with scheduler:
            start = time.time() + 1
            for first in range(0, count, _MANY):
                await scheduler.add_schedules(
                    [
                        {
                            "job": tick,
                            "trigger": Interval(
                                seconds=period, start=moment(start + number / _RATE[store] % period)
                            ),
                            "id": str(number),
                            "args": (number,),
                        }
                        for number in range(first, min(count, first + _MANY))
                    ]
                )
            return await _per_firing(scheduler, _RATE[store], seconds, lambda: fired)

    return _in_folder(main)


def _in_folder(main: Callable[[str], Any]) -> float:
    # In memory where there is a file system in memory: what a commit waits for is no CPU, but it makes batches.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        spent: float = asyncio.run(main(folder))
        return spent


def history(hours: int = 8 * 24) -> dict[str, Points]:
    """Return the bytes of an SQLite file, write-ahead log included, and its runs, hour by hour of virtual time."""
    from asyncsched import Scheduler
    from asyncsched.testing import VirtualClock

    clock, sizes, runs = VirtualClock(), list[tuple[float, float]](), list[tuple[float, float]]()

    async def main() -> None:
        import sqlite3

        with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
            scheduler = Scheduler(f"sqlite:///{folder}/jobs.db", clock=clock)
            for number in range(10):
                scheduler.interval(minutes=1, name=f"minutely-{number}")(_copy(fires))
            async with scheduler:
                for hour in range(1, hours + 1):
                    await clock.advance(3600)
                    size = sum(os.stat(f"{folder}/{name}").st_size for name in os.listdir(folder))
                    sizes.append((hour / 24, size / 1e6))
                    with sqlite3.connect(f"{folder}/jobs.db") as connection:
                        (count,) = connection.execute("SELECT count(*) FROM asyncsched_runs").fetchone()
                    connection.close()
                    runs.append((hour / 24, count / 1e3))

    clock.run(main)
    return {"megabytes": sizes, "thousand runs": runs}


def memory(minutes: int = 60) -> dict[str, Points]:
    """Return the memory of a process at 500 runs a second, minute by minute of virtual time."""
    from asyncsched import Scheduler
    from asyncsched.testing import VirtualClock

    clock, found = VirtualClock(), list[tuple[float, float]]()

    async def main() -> None:
        scheduler = Scheduler(clock=clock)
        for number in range(50):
            scheduler.interval(seconds=0.1, name=f"tick-{number}")(_copy(fires))
        async with scheduler:
            for minute in range(1, minutes + 1):
                await clock.advance(60)
                found.append((float(minute), resident() / 1e6))

    clock.run(main)
    return {"memory store": found}


# ── all of it ────────────────────────────────────────────────────────────────────────────────────

_POINTS: dict[str, tuple[Callable[..., float], tuple[int, ...]]] = {
    "pending": (over_pending, PENDING),
    "schedules": (over_schedules, SCHEDULES),
}
_COURSES: dict[str, Callable[..., dict[str, Points]]] = {"history": history, "memory": memory}
PARTS = (*_POINTS, *_COURSES)


def measure(part: str) -> dict[str, Points]:
    """Return the lines of one part, measured in fresh processes."""
    if part in _COURSES:
        course: dict[str, Points] = _child(part)
        return course
    counts = _POINTS[part][1]
    found: dict[tuple[str, int], list[float]] = {(store, count): [] for store in _RATE for count in counts}
    for _ in range(_TIMES):
        for (store, count), values in found.items():
            values.append(_child(part, store, str(count)))
            print(f"{part}: {store}, {count:,}: {values[-1]:.1f} µs", file=sys.stderr, flush=True)
    named = {"memory": "memory", "sqlite": "SQLite"}
    return {named[store]: [(count, median(found[store, count])) for count in counts] for store in _RATE}


def _child(*arguments: str) -> Any:
    command = [sys.executable, "-m", "tests.benchmarks.growth", "--child", *arguments]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if said.returncode:
        raise RuntimeError(f"{arguments} failed:\n{said.stderr[-2000:]}")
    return json.loads(said.stdout.splitlines()[-1])


TITLES = {
    "pending": ("CPU per firing over one-offs that wait", "waiting one-offs", "µs of CPU"),
    "schedules": ("CPU per firing over schedules, at the same rate of firings", "schedules", "µs of CPU"),
    "history": ("An SQLite file over a week of history", "days", "megabytes, and thousand runs kept,"),
    "memory": ("Memory at 500 runs a second", "minutes", "megabytes"),
}


def pictures(kept: Kept) -> dict[str, str]:
    """Return the plots of what was kept, by the names of their files."""
    return {
        f"growth-{part}.svg": chart(*TITLES[part], kept[part]["lines"], logarithmic=part in _POINTS)
        for part in PARTS
        if part in kept
    }


def kept() -> Kept:
    """Return what was kept of earlier measurements."""
    found: Kept = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    return found


def main() -> None:
    """Measure, keep, and draw."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks.growth", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"any of {', '.join(PARTS)}; all by default")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        part, *of = options.child
        logging.disable(logging.WARNING)  # what the filling held up is told there
        print(json.dumps(_COURSES[part]() if part in _COURSES else _POINTS[part][0](of[0], int(of[1]))))
        return
    found = kept()
    for part in options.part or PARTS:
        began = time.perf_counter()
        lines = measure(part)
        found[part] = {"at": datetime.now(UTC).strftime("%Y-%m-%d"), "machine": machine(), "lines": lines}
        print(f"{part}: {time.perf_counter() - began:.0f} s: {lines}", flush=True)
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    from tests.benchmarks import _page

    _page.write()


if __name__ == "__main__":
    main()
