"""Attempts: from a claimed run to a verdict.

An attempt is a separate task with a separate context. One function turns its value or exception into a
verdict, :func:`asyncsched._core.rules.outcome.judge`; :mod:`asyncsched._engine.recorder` brings it into
the ledger, and :mod:`asyncsched._engine.endings` tells handles and observers of it.
"""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Iterable, Mapping, Set
from types import FrameType
from typing import TYPE_CHECKING, Any

import anyio

from asyncsched._core.context import CurrentRun, _current
from asyncsched._core.errors import ConfigurationError, SchedulerStateError
from asyncsched._core.events import RunStarted
from asyncsched._core.interrupts import interrupt_in
from asyncsched._core.records import RunRecord
from asyncsched._core.rules.outcome import NeverBegan, judge, leaf, let_go_of_locals
from asyncsched._core.text import safe_repr
from asyncsched._engine.attempt import GRACE, RunningAttempt
from asyncsched._engine.pipeline import Runnable
from asyncsched.abc import TransactionalStore

if TYPE_CHECKING:
    from asyncsched._backends.clock import Timeline
    from asyncsched._engine.endings import Endings
    from asyncsched._engine.environment import Environment
    from asyncsched._engine.progress import ProgressBoard
    from asyncsched._engine.recorder import Recorder
    from asyncsched._engine.timers import Timers
    from asyncsched.abc import Store

logger = logging.getLogger("asyncsched.job")

SLICE = 32
"""The most attempts that one turn of the loop begins: about half a millisecond."""


class Runner:
    """Executes claimed runs, and passes their verdicts to the recorder."""

    def __init__(
        self, store: Store, timeline: Timeline, environment: Environment, timers: Timers, recorder: Recorder,
        endings: Endings, board: ProgressBoard,
    ) -> None:  # fmt: skip
        self._store = store
        self._timeline = timeline
        self._bus = environment.bus
        self._waiters = environment.waiters
        self._backend = environment.backend
        self._context = environment.context
        self._watcher = environment.watcher
        self._result_limit = environment.settings.result_limit
        self._timers = timers
        self._recorder = recorder
        self.endings = endings
        self.progressed = board.changed
        self.running: dict[int, RunningAttempt] = {}
        self._early: dict[int, str] = {}  # cancels of runs that a claim under way may bring
        self._waiting: deque[RunningAttempt] = deque()  # claimed, and to begin in the next turns of the loop
        self._beginning = False
        self._idle: anyio.Event | None = None

    def known(self) -> Set[int]:
        """Return the runs that this instance holds and knows of: running, or over and not yet recorded."""
        return self.running.keys() | self._recorder.unrecorded.keys()

    # ── beginning ────────────────────────────────────────────────────────────────────────────

    def start(self, claimed: Iterable[RunRecord], jobs: Mapping[str, Runnable]) -> None:
        """Begin attempts of runs that a claim brought: some at once, the others turn by turn of the loop."""
        in_loop = 0
        for run in claimed:
            self.running[run.id] = attempt = RunningAttempt(self, self._timers, run, jobs[run.job])
            in_loop += attempt.runnable.in_loop
            self._waiting.append(attempt)
            if self._early and (why := self._early.get(run.id)) is not None:
                attempt.cancel(why)
        self._early.clear()
        if in_loop:
            self._watcher.busy(in_loop)
        if not self._beginning and self._waiting:
            self._begin_some()
            if self._waiting:
                self._beginning = True
                self._backend.spawn(self._begin_others(), self._context.copy())

    def _begin_some(self) -> None:
        for _ in range(min(SLICE, len(self._waiting))):
            self._begin(self._waiting.popleft())

    async def _begin_others(self) -> None:
        """Begin the attempts that wait, and let every other task have its turn in between."""
        try:
            while self._waiting:
                await self._backend.pause()
                self._begin_some()
        finally:
            self._beginning = False
            while self._waiting:  # the loop ends: the ledger is told of each that it was not begun
                attempt = self._waiting.popleft()
                attempt.cancel_requested = attempt.cancel_requested or "shutdown"
                self._begin(attempt)

    def _begin(self, attempt: RunningAttempt) -> None:
        if attempt.abandoned:
            return
        task = self._backend.spawn(self._attempt(attempt), self._context.copy(), attempt.run.job)
        if attempt.phase != "over":  # an eager task may be over before spawn() returns
            attempt.task = task
            if attempt.cancel_requested is not None and attempt.phase == "executing":
                task.cancel()  # the first steps of an eager task may have requested this themselves

    # ── one attempt ──────────────────────────────────────────────────────────────────────────

    async def _attempt(self, attempt: RunningAttempt) -> None:
        value, error = None, None
        if attempt.cancel_requested is None:
            attempt.phase = "executing"
            timeout = attempt.runnable.job.timeout
            if timeout is not None:
                attempt.start_timeout(timeout)
            try:
                value = await self._call(attempt)
            except BaseException as raised:
                error = raised
        else:
            error = NeverBegan()
        attempt.phase = "over"
        if attempt.abandoned:
            return
        self._leave(attempt)
        uncancelled = error is not None and attempt.cancel_requested is None
        if uncancelled and isinstance(error, anyio.get_cancelled_exc_class()) and self._backend.torn_down():
            attempt.cancel_requested = "shutdown"
            self._end(attempt, value, error)
            with anyio.CancelScope(shield=True):  # an ending loop waits for this task, but for no new one
                await self._recorder.record_gathered()
        else:
            self._end(attempt, value, error)
        if error is not None and (interrupt := interrupt_in(error)) is not None:
            raise interrupt

    def _call(self, attempt: RunningAttempt) -> Awaitable[Any]:
        """Set the attempt's context up and return its call, so that no frame of the engine stands around it."""
        run, job = attempt.run, attempt.runnable.job
        if type(run.arguments) is str:
            attempt.arguments = attempt.runnable.read(run)
        key = None
        if run.rare is not None:
            key = run.key
            for name, value in (run.context_vars or {}).items():
                if name in job.carry:
                    job.carry[name].set(value)
        # The view refers to the attempt, never the reverse: a circle would be left to the garbage collector.
        current = CurrentRun(
            run.id, run.job, run.due if run.slot is None else run.slot, run.attempt, key, attempt
        )
        _current.set(current)
        if self._bus.wants(RunStarted):
            self._bus.emit_run_here(RunStarted, run, job, run.started_at or 0)
        call = attempt.runnable.call(current)
        if job.policies and not inspect.isawaitable(call):
            raise ConfigurationError(
                f"job {job.name!r}: its policies ({', '.join(map(safe_repr, job.policies))}) returned {safe_repr(call)} "
                "when the call was made; what wrap() returns must be an async function"
            )
        return call

    def _end(self, attempt: RunningAttempt, value: Any, error: BaseException | None) -> None:
        """Judge an attempt, and pass the verdict to the recorder."""
        run, job, now = attempt.run, attempt.runnable.job, self._timeline.now()
        verdict = judge(job, run, attempt.cancel_requested, value, error, now, self._result_limit)
        if value is not None and verdict is not None and verdict.why:  # too large to be kept with the run
            self._waiters.keep_result(run.id, value)
        if isinstance(error, Exception):
            if verdict is not None and verdict.state != "pending":
                # First of all: a handle may see the record before the recorder has the answer.
                self._waiters.keep_error(run.id, leaf(error))
            if self._store.durable:
                let_go_of_locals(error)
        if verdict is None:
            self.endings.attempt_ended(run)
        else:
            self._recorder.take(run, verdict, now, job)

    def _leave(self, attempt: RunningAttempt) -> None:
        del self.running[attempt.run.id]
        attempt.task = None  # the task refers to the attempt by its context: without this, a circle
        if attempt.runnable.in_loop:
            self._watcher.idle()
        if attempt.timer is not None:  # spelled out: a call costs every run
            attempt.timer.cancel()
        if self._idle is not None and not self.running:
            self._idle.set()

    async def idle(self) -> None:
        """Wait until no attempt runs."""
        while self.running:
            if self._idle is None or self._idle.is_set():
                self._idle = anyio.Event()
            await self._idle.wait()

    # ── ending attempts ──────────────────────────────────────────────────────────────────────

    def give_up(self, attempt: RunningAttempt, after: float = GRACE, goes_on: bool = True) -> None:
        """Record the run's outcome without waiting for its code any longer, so many seconds after its cancellation.

        Args:
            attempt: the attempt.
            after: the seconds.
            goes_on: whether its code may go on for ever, which is told of.

        """
        if attempt.phase == "over" or attempt.abandoned:
            return
        attempt.abandoned = True
        self._leave(attempt)
        error: Exception = NeverBegan()
        if attempt.phase != "new":
            if goes_on:
                logger.error(
                    "job %r did not end within %g s of its cancellation (%s): its place is freed, and code that "
                    "swallows cancellation goes on",
                    attempt.run.job, after, attempt.cancel_requested,
                    extra={"run_id": f"{attempt.run.id:032x}", "job": attempt.run.job},
                )  # fmt: skip
            error = TimeoutError(f"the attempt did not end within {after:g} s of its cancellation")
        self._end(attempt, None, error)

    def cancel(self, run_id: int, why: str) -> None:
        """Cancel a running attempt. The cancel of a run that is not known here is kept for the next claim's answer.

        A cancel can arrive after a claim was committed and before its answer has come.
        """
        attempt = self.running.get(run_id)
        if attempt is not None:
            attempt.cancel(why)
        else:
            self._early[run_id] = why

    def cancel_all(self, why: str) -> None:
        """Cancel every running attempt."""
        for attempt in list(self.running.values()):
            attempt.cancel(why)

    def give_up_all(self, after: float) -> None:
        """Record the outcome of every run whose attempt has not ended, without waiting for its code."""
        for attempt in list(self.running.values()):
            # The end of what is killed is certain, and the executor waits for it: only the record does not.
            self.give_up(attempt, after, goes_on=not attempt.runnable.executor.traits.kills)

    async def note(self, run: RunRecord) -> None:
        """Write the run's progress and reference into the store."""
        await self._store.note(run, self._timeline.now())

    def complete_in(self, attempt: RunningAttempt, connection: Any) -> Any:
        """Write the run's success through the user's connection, if the store is a database."""
        if not isinstance(self._store, TransactionalStore):
            raise SchedulerStateError(
                f"job {attempt.run.job!r}: complete_in() needs a SQLite or PostgreSQL store; "
                "this scheduler keeps its runs in memory"
            )
        return self._store.complete_in(attempt.run, connection)


_ATTEMPT = Runner._attempt.__code__


def run_in(frame: FrameType) -> RunRecord | None:
    """Return the run whose attempt the frame executes, or ``None`` for any other frame."""
    if frame.f_code is not _ATTEMPT:
        return None
    attempt: RunningAttempt = frame.f_locals[_ATTEMPT.co_varnames[1]]  # the argument after self
    return attempt.run
