"""A running attempt: the job's code reports through it, and the scheduler cancels it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from asyncsched._core.context import _current
from asyncsched._core.instants import SECOND
from asyncsched._core.models import Progress

if TYPE_CHECKING:
    from asyncsched._backends.base import Task
    from asyncsched._core.records import Given, RunRecord
    from asyncsched._engine.pipeline import Runnable
    from asyncsched._engine.timers import Timer, Timers

logger = logging.getLogger("asyncsched.job")

GRACE = 5.0
"""Seconds that a cancelled attempt has to clean up before its place is freed without it."""

START_UP = 60.0
"""Seconds that an executor may take to start a worker, beyond the attempt's own timeout."""


class Owner(Protocol):
    """The part of the engine that an attempt calls."""

    def progressed(self, run: RunRecord) -> None:
        """Pass on a run's progress. Callable from any thread."""
        ...

    def give_up(self, attempt: RunningAttempt) -> None:
        """Record the run's outcome without waiting for its code any longer."""
        ...

    def complete_in(self, attempt: RunningAttempt, connection: Any) -> Any:
        """Write the run's success through the user's connection."""
        ...

    async def note(self, run: RunRecord) -> None:
        """Write the run's progress and reference into the store."""
        ...


class RunningAttempt:
    """One attempt of a run, from its claim to its end; the link from the job's code to the engine.

    ``phase`` is ``new`` until the attempt's first step, then ``executing``, then ``over``.
    ``cancel_requested`` is the reason for a cancel: ``timeout``, ``shutdown``, ``fenced``, or a user's reason.
    """

    __slots__ = (
        "_lent", "_owner", "_timers", "_waits", "abandoned", "arguments", "cancel_requested", "deadline", "phase", "provided", "run", "runnable", "task",
        "timer",
    )  # fmt: skip

    def __init__(self, owner: Owner, timers: Timers, run: RunRecord, runnable: Runnable) -> None:
        self._owner = owner
        self._timers = timers
        self.run = run
        self.runnable = runnable
        self.task: Task | None = None
        self.timer: Timer | None = None
        self.deadline: float | None = None
        self.cancel_requested: str | None = None
        self.phase = "new"
        self.abandoned = False
        self._waits = 0  # of the job's code for other runs
        self._lent = False
        self.arguments: Given | None = None  # read from JSON
        self.provided: dict[str, Any] | None = None

    # ── the link: called from the job's code, also from threads, so each is one assignment ───────

    def progress(self, done: float, total: float | None, message: str) -> None:
        if self.phase == "over" or self.abandoned:
            return  # its outcome may be recorded already: a later report belongs to no run
        self.run.progress = Progress(done, total, message)
        self._owner.progressed(self.run)

    def extend(self, micros: int) -> None:
        if self.deadline is not None:
            self.deadline += micros / SECOND

    def began(self) -> None:
        """Note that the function begins only now: its timeout counts from here."""
        timeout = self.runnable.job.timeout
        if timeout is not None and self.cancel_requested is None and self.phase == "executing":
            self._arm(timeout / SECOND)

    def cancelled(self) -> bool:
        return self.cancel_requested is not None

    def complete_in(self, connection: Any) -> Any:
        return self._owner.complete_in(self, connection)

    def reference(self) -> str | None:
        return self.run.reference

    async def refer(self, reference: str) -> None:
        self.run.reference = reference
        await self._owner.note(self.run)

    def task_id(self) -> str:
        id, attempt = f"{self.run.id:032x}", self.run.attempt
        return id if attempt == 1 else f"{id}-{attempt}"

    def goes_on(self) -> bool:
        return self.cancel_requested in ("shutdown", "fenced") and isinstance(self.run.arguments, str)

    @contextmanager
    def waiting(self, run_id: int) -> Iterator[None]:
        """Lend the attempt's place while its code waits for another run, which may need one to go on."""
        name, capacity = self.run.executor, self.runnable.capacity
        self._waits += 1
        if self._waits == 1 and self.phase == "executing" and not self.abandoned:
            self._lent = capacity.lend(name)
            if not self._lent:
                logger.error(
                    "job %r waits in run %032x for run %032x, and so many runs in executor %r wait that its place is not "
                    "lent any more: if they wait for one another, they do not end", self.run.job, self.run.id,
                    run_id, name,
                )  # fmt: skip
        try:
            yield
        finally:
            self._waits -= 1
            if self._lent and not self._waits:
                self._lent = False
                capacity.take_back(name)

    # ── the scheduler's side, in the loop ────────────────────────────────────────────────────────

    def cancel(self, why: str) -> None:
        """Cancel the attempt; its place is freed :data:`GRACE` seconds later at the latest."""
        if self.cancel_requested is not None or self.phase == "over":
            return
        self.cancel_requested = why
        if self.phase == "executing" and self.task is not None:
            self.task.cancel()
        self.stop_timer()
        self.timer = self._timers.at(self._timers.now() + GRACE, lambda: self._owner.give_up(self))

    def start_timeout(self, timeout: int) -> None:
        """Count the timeout, in microseconds, from now: the attempt's first step.

        A process that has to be started first says when the function itself begins, by :meth:`began`.
        """
        self._arm(timeout / SECOND + (START_UP if self.runnable.announces else 0.0))

    def stop_timer(self) -> None:
        """Cancel the timer, if there is one."""
        if self.timer is not None:
            self.timer.cancel()

    def _arm(self, seconds: float) -> None:
        self.stop_timer()
        self.deadline = self._timers.now() + seconds
        self.timer = self._timers.at(self.deadline, self._expire)

    def _expire(self) -> None:
        """Cancel the attempt, unless its deadline was extended meanwhile."""
        assert self.deadline is not None
        if self.deadline > self._timers.now():
            self.timer = self._timers.at(self.deadline, self._expire)
        else:
            self.cancel("timeout")


def lent_place(run_id: int) -> AbstractContextManager[None]:
    """Lend the place of the run that the caller is part of, if it is part of one, while it waits for another run."""
    current = _current.get(None)
    link = None if current is None else current._link
    return link.waiting(run_id) if isinstance(link, RunningAttempt) else nullcontext()
