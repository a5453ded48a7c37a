"""Virtual time on asyncio: an event loop whose selector jumps instead of sleeping."""

from __future__ import annotations

import asyncio
import heapq
import math
import selectors
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from random import Random
from typing import Any, TypeVar, TypeVarTuple, Unpack

from asyncsched.testing.virtual.flow import Flow, Hold, current_hold
from asyncsched.testing.virtual.outside import is_pool_worker, watched

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _JumpingSelector(selectors.DefaultSelector):
    """Polls for I/O without waiting; if there is none, the flow decides."""

    loop: VirtualEventLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self.loop
        flow = loop.flow
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            flow.busy()
            return ready
        # One of the descriptors is the loop's, by which other threads wake it.
        wait = flow.idle(loop.next_timer(), listening=len(self.get_map()) > 1)
        if wait <= 0:
            loop.jumped()
            return ready
        began = time.perf_counter()
        ready = super().select(None if wait == math.inf else wait)
        flow.slept(time.perf_counter() - began)
        loop.jumped()
        if ready:
            flow.busy()
        return ready


class VirtualEventLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop that runs in a :class:`Flow` of virtual time."""

    def __init__(self, flow: Flow, check: Callable[[], None], seed: int | None) -> None:
        self.flow = flow
        self._check = check
        self._random = None if seed is None else Random(seed)
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)
        self.jumped()

    def time(self) -> float:
        """Return the virtual seconds since the clock's start."""
        return self.flow.now

    def run_forever(self) -> None:
        """Run until stopped; virtual time belongs to this loop meanwhile."""
        self._check()
        with watched("asyncio"):
            self.flow.attach(self)
            try:
                super().run_forever()
            finally:
                self.flow.detach()

    def close(self) -> None:
        """Close the loop."""
        super().close()
        self.flow.forget()

    # asyncio has no public way to ask for the next timer. The names below are the same in every
    # CPython since 3.7; the selector receives only a duration, from which `when` follows inexactly.

    def next_timer(self) -> float:
        """Return when the next timer is due, infinite if there is none."""
        scheduled: list[Any] = self._scheduled  # type: ignore[attr-defined]
        return float(scheduled[0].when()) if scheduled else math.inf

    def jumped(self) -> None:
        """Make the timers due at this instant run, however large the number of seconds is."""
        # A timer runs if its `when` is below now + resolution: beyond 10**7 seconds (115 days) a
        # resolution of 1 ns is lost in rounding, and the loop would spin for ever.
        self._clock_resolution = max(1e-9, math.ulp(self.flow.now))
        if self._random is not None:
            self._shuffle_due(self._random)

    def _shuffle_due(self, random: Random) -> None:
        # As BaseEventLoop._run_once handles the due timers, in another order.
        scheduled: list[Any] = self._scheduled  # type: ignore[attr-defined]
        due = []
        while scheduled and scheduled[0].when() <= self.flow.now:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            if handle.cancelled():
                self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
            else:
                due.append(handle)
        random.shuffle(due)
        self._ready.extend(due)  # type: ignore[attr-defined]

    def wake(self) -> None:
        """Make the loop poll again; from another thread."""
        with suppress(RuntimeError):  # closed in the meantime
            self.call_soon_threadsafe(lambda: None)

    async def sleep_until(self, deadline: float) -> None:
        """Return when virtual time has reached ``deadline``, exactly."""
        reached = self.create_future()

        def reach() -> None:
            if not reached.done():  # cancelled at the same instant
                reached.set_result(None)

        timer = self.call_at(deadline, reach)
        try:
            await reached
        finally:
            timer.cancel()

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Call ``func`` in an executor; time waits for it."""
        hold = Hold(self.flow)
        hold.begin()
        try:
            future = super().run_in_executor(executor, func, *args)
        except BaseException:
            hold.end()
            raise
        future.add_done_callback(lambda _: hold.end())
        return future

    async def shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        """Wait for the default executor's threads; time does not jump to the limit of that wait."""
        with Hold(self.flow):
            await super().shutdown_default_executor(*args, **kwargs)

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> Any:
        """Start a child process; time waits for its end."""
        return self._watch(await super().subprocess_exec(*args, **kwargs), args)

    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> Any:
        """Start a shell; time waits for its end."""
        return self._watch(await super().subprocess_shell(*args, **kwargs), args)

    def _watch(self, pair: Any, args: tuple[Any, ...]) -> Any:
        transport: asyncio.SubprocessTransport = pair[0]
        if current_hold() is None and not is_pool_worker(args):
            self.flow.watch(transport.get_returncode)
        return pair
