"""How costs grow: ``python -m tests.benchmarks.growth [part ...]`` measures, and draws the guide's plots.

All of it is in virtual time, so that no slot is late, and what is measured is CPU time, bytes and counts: other load
on the machine hardly shows. ``pending`` and ``schedules`` measure the CPU time of the whole process per firing at a
steady rate, each point in three fresh processes by turns, of which the median counts; in one where the filling takes
more than a minute. With PostgreSQL the CPU time of the server is in it, which runs without fsync: what a commit waits for is no CPU. ``history`` is a week of an SQLite file, ``memory`` an hour at 500 runs a second.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks._bench import ROOT
from tests.benchmarks._chart import Points, chart
from tests.benchmarks._measure import Cpu, resident
from tests.benchmarks._report import machine

KEPT = Path(__file__).parent / "kept" / "growth.json"
PENDING = (10, 1_000, 100_000, 1_000_000)
SCHEDULES = (1, 10, 1_000, 10_000, 50_000)
_RATE = {"memory": 500, "sqlite": 100, "postgres": 100}
"""Firings a second."""
_MOST = {("pending", "postgres"): 100_000, ("schedules", "postgres"): 10_000}
"""The last point of a store whose filling takes longer."""
_SECONDS = 10.0
_TIMES = 3
_LONG = 60.0
"""Seconds after which a point, whose filling takes that long, is not measured again."""
_MANY = 10_000

Kept = dict[str, Any]


async def fires(*_: object) -> None:
    """Be the job."""


async def _per_firing(clock: Any, seconds: float, fired: Callable[[], int]) -> float:
    """Return the CPU microseconds per firing over some seconds of virtual time, from a second after the start on."""
    await clock.advance(1)
    gc.collect()
    before, cpu, server = fired(), Cpu(), _of_server()
    await clock.advance(seconds)
    return (cpu.spent() + _of_server() - server) / (fired() - before) * 1e6


_server: Any = None


def _of_server() -> float:
    """Return the CPU seconds of the PostgreSQL server, if there is one: of all its processes that live."""
    if _server is None:
        return 0.0
    import psutil

    ((folder,),) = _server.run("SHOW data_directory")
    postmaster = int(Path(str(folder), "postmaster.pid").read_text().split()[0])
    pids = [postmaster, *(one.pid for one in psutil.Process(postmaster).children())]
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids) / 1e9


def over_pending(store: str, count: int, seconds: float = _SECONDS) -> float:
    """Return the cost of a firing while one-offs wait that are due in some hours."""
    from asyncsched import Interval, Once, Scheduler

    fired = 0

    async def tick() -> None:
        nonlocal fired
        fired += 1

    async def main(clock: Any, url: str | None) -> float:
        scheduler = Scheduler(url, clock=clock)
        scheduler.job()(fires)
        for number in range(10):
            scheduler.job(Interval(seconds=10 / _RATE[store]), name=f"tick-{number}")(_copy(tick))
        async with scheduler:
            for first in range(0, count, _MANY):
                some = range(first, min(count, first + _MANY))
                await scheduler.schedule_many(
                    [Once(fires, (number,), delay=7200 + number % 3600) for number in some]
                )
            return await _per_firing(clock, seconds, lambda: fired)

    return _virtual(main, store)


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

    async def main(clock: Any, url: str | None) -> float:
        scheduler = Scheduler(url, clock=clock)
        scheduler.job()(tick)
        period, start = count / _RATE[store], clock.now()

        def new(number: int) -> dict[str, Any]:
            first = start + timedelta(seconds=number / _RATE[store])
            return {
                "job": tick,
                "trigger": Interval(seconds=period, start=first),
                "id": str(number),
                "args": (number,),
            }

        async with scheduler:
            for first in range(0, count, _MANY):
                await scheduler.add_schedules(
                    [new(number) for number in range(first, min(count, first + _MANY))]
                )
            return await _per_firing(clock, seconds, lambda: fired)

    return _virtual(main, store)


def _virtual(main: Callable[[Any, str | None], Awaitable[float]], store: str) -> float:
    from asyncsched.testing import VirtualClock

    clock = VirtualClock()
    with _opened(store) as url:
        spent: float = clock.run(main, clock, url)
        return spent


@contextmanager
def _opened(store: str) -> Iterator[str | None]:
    """Yield the URL of a store that is empty."""
    global _server
    if store == "postgres":
        from tests.postgres import open_server

        _server = open_server()
        try:
            yield _server.dsn(_server.create_database())
        finally:
            _server.close()
    elif store == "sqlite":
        with _in_memory() as folder:
            yield f"sqlite:///{folder}/jobs.db"
    else:
        yield None


def _in_memory() -> tempfile.TemporaryDirectory[str]:
    """Return a folder in memory where there is one: what a commit waits for is no CPU."""
    return tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


def history(hours: int = 8 * 24) -> dict[str, Points]:
    """Return the bytes of an SQLite file, write-ahead log included, and its runs, hour by hour of virtual time."""
    from asyncsched import Scheduler
    from asyncsched.testing import VirtualClock

    clock, sizes, runs = VirtualClock(), list[tuple[float, float]](), list[tuple[float, float]]()

    async def main() -> None:
        import sqlite3

        with _in_memory() as folder:
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


def measure(part: str, stores: Sequence[str] = tuple(_RATE)) -> dict[str, Points]:
    """Return the lines of one part, measured in fresh processes."""
    if part in _COURSES:
        course: dict[str, Points] = _child(part)
        return course
    counts = {
        store: [one for one in _POINTS[part][1] if one <= _MOST.get((part, store), one)] for store in stores
    }
    found: dict[tuple[str, int], list[float]] = {
        (store, count): [] for store in stores for count in counts[store]
    }
    long: set[tuple[str, int]] = set()
    for _ in range(_TIMES):
        for (store, count), values in found.items():
            if (store, count) not in long:
                began = time.monotonic()
                values.append(_child(part, store, str(count)))
                print(f"{part}: {store}, {count:,}: {values[-1]:.1f} µs", file=sys.stderr, flush=True)
                if time.monotonic() - began > _LONG:
                    long.add((store, count))
    named = {"memory": "memory", "sqlite": "SQLite", "postgres": "PostgreSQL"}
    return {
        named[store]: [(count, median(found[store, count])) for count in counts[store]] for store in stores
    }


def _child(*arguments: str) -> Any:
    command = [sys.executable, "-m", "tests.benchmarks.growth", "--child", *arguments]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if said.returncode:
        raise RuntimeError(f"{arguments} failed:\n{said.stderr[-2000:]}")
    return json.loads(said.stdout.splitlines()[-1])


TITLES = {
    "pending": ("CPU per firing over one-offs that wait", "waiting one-offs", "µs of CPU"),
    "schedules": ("CPU per firing over schedules, at the same rate of firings", "schedules", "µs of CPU"),
    "history": ("An SQLite file over a week of history", "days", "megabytes, and thousand runs"),
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
    parser.add_argument("--store", choices=_RATE, help="measure the costs with this store; the others stay")
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
        lines = measure(part, (options.store,) if options.store else tuple(_RATE))
        if options.store and part in _POINTS:
            lines = found.get(part, {"lines": {}})["lines"] | lines
        found[part] = {"at": datetime.now(UTC).strftime("%Y-%m-%d"), "machine": machine(), "lines": lines}
        print(f"{part}: {time.perf_counter() - began:.0f} s: {lines}", flush=True)
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    from tests.benchmarks import _page

    _page.write()


if __name__ == "__main__":
    main()
