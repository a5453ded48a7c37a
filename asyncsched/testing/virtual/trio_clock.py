"""Virtual time on trio: a clock that jumps when the run loop has nothing to do.

``MockClock`` does not serve here: it can neither wait for work outside the loop for a limited time, nor
land exactly on a deadline.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from math import inf

import trio
from trio._core._run import GLOBAL_RUN_CONTEXT  # the only way to see whether a task waits for idle tasks

from asyncsched.testing.virtual.flow import Flow
from asyncsched.testing.virtual.outside import begin_watching, end_watching


class JumpingClock(trio.abc.Clock, trio.abc.Instrument):
    """A trio clock, and its own instrument, in a :class:`Flow` of virtual time."""

    def __init__(self, flow: Flow, check: Callable[[], None]) -> None:
        self.flow = flow
        self._check = check
        self._polled = False  # whether I/O was polled since a task was last scheduled
        self._wait_began: float | None = None
        self._token: trio.lowlevel.TrioToken

    def start_clock(self) -> None:
        """Attach the flow to the run that begins."""
        self._check()
        self._polled = False
        self._wait_began = None
        self._token = trio.lowlevel.current_trio_token()
        trio.lowlevel.add_instrument(self)
        begin_watching("trio")
        self.flow.attach(self)

    def after_run(self) -> None:
        """Detach the flow from the run that has ended."""
        self.flow.detach()
        self.flow.forget()
        end_watching("trio")

    def current_time(self) -> float:
        """Return the virtual seconds since the clock's start."""
        if self._wait_began is not None:
            began, self._wait_began = self._wait_began, None
            self.flow.slept(time.perf_counter() - began)
        return self.flow.now

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        """Note that a task is ready."""
        self._polled = False
        self.flow.busy()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return how many real seconds the run loop waits for I/O. Called only if no task can run."""
        if deadline <= self.flow.now:
            return 0.0
        if GLOBAL_RUN_CONTEXT.runner.waiting_for_idle:
            return inf  # wait_all_tasks_blocked goes first, as with MockClock
        if not self._polled:
            self._polled = True
            return 0.0
        wait = self.flow.idle(deadline, listening=_listening())
        if wait > 0:
            self._wait_began = time.perf_counter()
        return wait

    def wake(self) -> None:
        """Make the run loop poll again; from another thread."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(lambda: None)

    async def sleep_until(self, deadline: float) -> None:
        """Return when virtual time has reached ``deadline``, exactly."""
        await trio.sleep_until(deadline)


def _listening() -> bool:
    io = trio.lowlevel.current_statistics().io_statistics
    # One descriptor is the run loop's, by which other threads wake it. Where a platform's statistics
    # have other names (kqueue, IOCP), assume that a task listens.
    waiting = getattr(io, "tasks_waiting_read", 2) + getattr(io, "tasks_waiting_write", 0)
    return bool(waiting > 1)
