"""What the workloads measure, whatever the system: ticks each second, a burst, and calls that schedule once.

Peers in environments of their own use it too: only the standard library is imported here.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import time
from collections.abc import Awaitable, Callable
from math import ceil

from tests.benchmarks._bench import Metrics, Size
from tests.benchmarks._measure import Cpu, percentile, resident

Job = Callable[[], Awaitable[None]]


AT_ONCE = 64
"""How many jobs a peer may run at once that has to be told, and how many writers there are."""


async def nothing() -> None:
    """Be a job that does nothing."""


# ── W1: each second ──────────────────────────────────────────────────────────────────────────────


def _lead(n: int) -> float:
    return 1.0 + n * 0.5e-3  # room to set everything up before the first due time


class Ticks:
    """When the jobs ran, on the grid of whole seconds from ``start``.

    Args:
        lead: seconds to set everything up before the first due time, if not by the number of jobs.
        whole: begin at a whole second, for systems whose shortest schedule is "each second" of the clock.

    """

    def __init__(
        self, size: Size, now: Callable[[], float], lead: float | None = None, whole: bool = False
    ) -> None:
        self.size = size
        self.now = now
        start = now() + (_lead(size.n) if lead is None else lead)
        self.start = float(ceil(start)) if whole else start
        self.seen: list[float] = []
        append = self.seen.append  # the job costs as little as it can

        async def job() -> None:
            append(now())

        self.job: Job = job

    async def metrics(self) -> Metrics:
        """Wait for the window, the first second of which is left out, and say what was seen."""
        n, seconds = self.size
        await asyncio.sleep(self.start + 0.9 - self.now())
        began, cpu = len(self.seen), Cpu()
        await asyncio.sleep(self.start + seconds + 0.9 - self.now())
        spent, runs = cpu.spent(), len(self.seen) - began
        late = [(at - self.start) % 1.0 for at in self.seen[began:]]
        # The earliest run of a tick shows a drift of the grid; the others show the load of the tick.
        tick = [min(late[at : at + n]) for at in range(0, len(late) - n + 1, n)]
        return {
            "p50_ms": percentile(late, 0.5) * 1e3,
            "p99_ms": percentile(late, 0.99) * 1e3,
            "drift_ms": (min(tick[-2:]) - min(tick[:2])) * 1e3 if tick else 0.0,
            "ticks": runs / (n * seconds),
            "cpu_us": spent / max(1, runs) * 1e6,
        }


def copy(job: Job) -> Job:
    """Return a function of its own: one function is one job."""

    async def own() -> None:
        await job()

    return own


# ── W2: all at the same moment ───────────────────────────────────────────────────────────────────

_BEAT = 0.0005
"""Seconds between two beats of what watches the loop."""


class Burst:
    """When the jobs of a burst started, and what the rest of the loop felt of it."""

    def __init__(self, n: int, due: float, now: Callable[[], float]) -> None:
        self.n = n
        self.due = due
        self._now = now
        self._seen: list[float] = []
        self._done = asyncio.Event()
        self._hold = self._own_hold = self._collecting = self._since = 0.0

    async def job(self) -> None:
        """Be one of the jobs."""
        self._seen.append(self._now())
        if len(self._seen) == self.n:
            self._done.set()

    async def metrics(self) -> Metrics:
        """Wait for the burst and say how it went."""
        await asyncio.sleep(self.due - self._now() - 0.05)
        cpu, beat = Cpu(), asyncio.create_task(self._watch())
        gc.callbacks.append(self._on_collect)
        try:
            await asyncio.wait_for(self._done.wait(), 60)
        except TimeoutError:
            pass  # what is missing is the figure
        await asyncio.sleep(0.05)
        spent = cpu.spent()
        beat.cancel()
        gc.callbacks.remove(self._on_collect)
        return {
            "last_ms": (max(self._seen, default=float("inf")) - self.due) * 1e3,
            "hold_ms": self._hold * 1e3,
            "own_hold_ms": self._own_hold * 1e3,
            "cpu_us": spent / self.n * 1e6,
            "lost": self.n - len(self._seen),
        }

    async def _watch(self) -> None:
        # In CPU time of the loop's thread: what a neighbour takes from the processor is no hold of ours.
        before = time.thread_time()
        while True:
            await asyncio.sleep(_BEAT)
            now = time.thread_time()
            self._hold = max(self._hold, now - before)
            self._own_hold = max(self._own_hold, now - before - self._collecting)
            before, self._collecting = now, 0.0

    def _on_collect(self, phase: str, info: dict[str, int]) -> None:
        # A full collection walks all that the process holds; its length is the application's, not ours.
        if phase == "start":
            self._since = time.thread_time()
        else:
            self._collecting += time.thread_time() - self._since


# ── W3: one call that schedules once ─────────────────────────────────────────────────────────────

SAMPLE = 2000
"""Calls that are timed one by one, before the filling and after it."""

_ROUND = 500
"""Calls between two turns of the loop, as requests would leave it."""


async def _timed(call: Callable[[], Awaitable[object]], count: int) -> list[float]:
    taken = []
    for number in range(count):
        began = time.perf_counter()
        await call()
        taken.append(time.perf_counter() - began)
        if not number % _ROUND:
            await asyncio.sleep(0)
    return taken


async def calls(call: Callable[[], Awaitable[object]], fill: int) -> Metrics:
    """Time a call that schedules once, empty and after filling, and the memory of what waits."""
    await _timed(call, 200)
    empty = await _timed(call, SAMPLE)
    before, cpu = resident(), Cpu()
    for number in range(fill):
        await call()
        if not number % _ROUND:
            await asyncio.sleep(0)
    spent, grown = cpu.spent(), resident() - before
    full = await _timed(call, SAMPLE)
    return {
        "p50_us": percentile(empty, 0.5) * 1e6,
        "p99_us": percentile(empty, 0.99) * 1e6,
        "full_us": percentile(full, 0.5) * 1e6,
        "cpu_us": spent / max(1, fill) * 1e6,
        "bytes": grown / max(1, fill),
    }


# ── W8: nothing to do ────────────────────────────────────────────────────────────────────────────


async def settle(seconds: float) -> None:
    """Let what was set up settle, if it is for a measurement."""
    await asyncio.sleep(min(2.0, seconds))


async def wakeups(seconds: float) -> Metrics:
    """Count the voluntary context switches of all threads of this process, per minute."""
    await settle(seconds)
    before, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw, Cpu()
    await asyncio.sleep(seconds)
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before
    # The end of the sleep above is one switch of ours.
    return {"wakeups": max(0, switches - 1) * 60 / seconds, "cpu_ms": cpu.spent() * 60e3 / seconds}
