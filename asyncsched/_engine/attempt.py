"""An attempt that is being executed: what its own code says through it, and what the scheduler asks of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncsched._core.instants import SECOND
from asyncsched._core.models import Progress

if TYPE_CHECKING:
    from asyncsched._backends.base import Task
    from asyncsched._core.records import RunRecord
    from asyncsched._engine.pipeline import Runnable
    from asyncsched._engine.runner import Runner
    from asyncsched._engine.timers import Timer


class RunningAttempt:
    """An attempt that is being executed, and the link through which its code speaks to us."""

    __slots__ = (
        "_runner", "abandoned", "cancel_requested", "deadline", "phase", "provided", "run", "runnable", "task", "timer",
    )  # fmt: skip

    def __init__(self, runner: Runner, run: RunRecord, runnable: Runnable) -> None:
        self._runner = runner
        self.run = run
        self.runnable = runnable
        self.task: Task | None = None
        self.timer: Timer | None = None
        self.deadline: float | None = None
        self.cancel_requested: str | None = (
            None  # why it is to end: timeout, shutdown, fenced, or a person's why
        )
        self.phase = "new"  # then "executing", then "over"
        self.abandoned = False
        self.provided: dict[str, Any] | None = None

    # The link: called from the job's code, also from threads, so each is one assignment.

    def progress(self, done: float, total: float | None, message: str) -> None:
        if self.phase == "over" or self.abandoned:
            return  # its outcome has been told: what its code says afterwards is nobody's
        self.run.progress = Progress(done, total, message)
        self._runner.progressed(self.run)

    def extend(self, micros: int) -> None:
        if self.deadline is not None:
            self.deadline += micros / SECOND

    def began(self) -> None:
        """Hear that the function begins only now: its timeout counts from here."""
        timeout = self.runnable.job.timeout
        if timeout is not None and self.cancel_requested is None and self.phase == "executing":
            self._runner.arm(self, timeout / SECOND)

    def cancelled(self) -> bool:
        return self.cancel_requested is not None

    def complete_in(self, connection: Any) -> Any:
        return self._runner.complete_in(self, connection)

    # What the scheduler does to it, from the loop.

    def cancel(self, why: str) -> None:
        """Ask the attempt to end; it is given up :data:`GRACE` seconds later."""
        if self.cancel_requested is not None or self.phase == "over":
            return
        self.cancel_requested = why
        if self.phase == "executing" and self.task is not None:
            self.task.cancel()
        self._runner.give_up_later(self)
