"""A running attempt: the job's code reports through it, and the scheduler cancels it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from asyncsched._core.instants import SECOND
from asyncsched._core.models import Progress

if TYPE_CHECKING:
    from asyncsched._backends.base import Task
    from asyncsched._core.records import RunRecord
    from asyncsched._engine.pipeline import Runnable
    from asyncsched._engine.timers import Timer


class Owner(Protocol):
    """The part of the engine that an attempt calls."""

    def progressed(self, run: RunRecord) -> None:
        """Pass on a run's progress. Callable from any thread."""
        ...

    def arm(self, attempt: RunningAttempt, seconds: float) -> None:
        """Set the deadline of an attempt, in seconds from now."""
        ...

    def give_up_later(self, attempt: RunningAttempt) -> None:
        """Free the attempt's place if it has not ended after its grace."""
        ...

    def complete_in(self, attempt: RunningAttempt, connection: Any) -> Any:
        """Write the run's success through the user's connection."""
        ...


class RunningAttempt:
    """One attempt of a run, from its claim to its end; the link from the job's code to the engine.

    ``phase`` is ``new`` until the attempt's first step, then ``executing``, then ``over``.
    ``cancel_requested`` is the reason for a cancel: ``timeout``, ``shutdown``, ``fenced``, or a user's reason.
    """

    __slots__ = (
        "_owner", "abandoned", "cancel_requested", "deadline", "phase", "provided", "run", "runnable", "task",
        "timer",
    )  # fmt: skip

    def __init__(self, owner: Owner, run: RunRecord, runnable: Runnable) -> None:
        self._owner = owner
        self.run = run
        self.runnable = runnable
        self.task: Task | None = None
        self.timer: Timer | None = None
        self.deadline: float | None = None
        self.cancel_requested: str | None = None
        self.phase = "new"
        self.abandoned = False
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
            self._owner.arm(self, timeout / SECOND)

    def cancelled(self) -> bool:
        return self.cancel_requested is not None

    def complete_in(self, connection: Any) -> Any:
        return self._owner.complete_in(self, connection)

    # ── the scheduler's side, in the loop ────────────────────────────────────────────────────────

    def cancel(self, why: str) -> None:
        """Cancel the attempt; its place is freed :data:`~asyncsched._engine.runner.GRACE` seconds later at the latest."""
        if self.cancel_requested is not None or self.phase == "over":
            return
        self.cancel_requested = why
        if self.phase == "executing" and self.task is not None:
            self.task.cancel()
        self._owner.give_up_later(self)
