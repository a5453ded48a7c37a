"""A day of 100 runs a second in virtual time: ``python -m tests.benchmarks.soak [--hours 24] [--backend trio]``.

Prints, after each virtual hour, how many runs there were, the process's memory, and how many entries
the scheduler's collections have. Flat is what both must be; it says so, and exits with 1 where they
are not. A day is 8.64 million runs: some ten minutes on one core.
"""

from __future__ import annotations

import argparse
import gc
import logging
import sys
import time

import psutil

from asyncsched import Scheduler
from asyncsched.testing import VirtualClock
from tests.test_memory import sizes

JOBS, HERTZ = 10, 10
_GROWTH = 1.10
"""How much more than in its early hours memory may take in the last; the history is full by then."""


async def soak(clock: VirtualClock, hours: int) -> bool:
    """Run it, print the table, and return whether memory stayed flat."""
    scheduler = Scheduler(clock=clock)
    done = 0

    async def tick() -> int:
        nonlocal done
        done += 1
        return done

    for number in range(JOBS):
        scheduler.interval(seconds=1 / HERTZ, name=f"tick-{number}")(_copy(tick))
    process = psutil.Process()
    resident: list[int] = []
    entries: list[int] = []
    print(f"{'hour':>4} {'runs':>10} {'MiB':>7} {'entries':>9} {'µs/run':>7}")
    async with scheduler:
        for hour in range(1, hours + 1):
            began, before = time.perf_counter(), done
            for _ in range(60):
                await clock.advance(60)
            took = time.perf_counter() - began
            gc.collect()
            resident.append(process.memory_info().rss)
            entries.append(sum(sizes(scheduler).values()))
            per_run = took / max(1, done - before) * 1e6
            print(
                f"{hour:>4} {done:>10,} {resident[-1] / 2**20:>7.1f} {entries[-1]:>9,} {per_run:>7.1f}",
                flush=True,
            )
    expected = hours * 3600 * JOBS * HERTZ
    full = min(1, hours - 1)  # the history of 100,000 runs is full within the first hour
    flat = resident[-1] <= _GROWTH * resident[full] and entries[-1] <= entries[full] + 1000
    print(f"{done:,} of {expected:,} runs; memory is {'flat' if flat else 'NOT flat'}")
    return flat and done == expected


def _copy(func):  # type: ignore[no-untyped-def]  # a job is a function: each of them needs its own
    async def tick() -> int:
        return await func()

    return tick


def main() -> int:
    """Run it as a script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    clock = VirtualClock()
    return 0 if clock.run(soak, clock, options.hours, backend=options.backend) else 1


if __name__ == "__main__":
    sys.exit(main())
