"""One run: from claimed to recorded, policies around it.

An attempt is a task of its own with a context of its own. Whatever happens in it becomes a verdict
in one place, :func:`judge`, and the verdict is recorded exactly once.
"""

from __future__ import annotations

import inspect
import logging
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from asyncsched._context import CurrentRun, _current
from asyncsched._errors import (
    ArgumentError,
    ConfigurationError,
    Discard,
    SchedulerStateError,
    Snooze,
    StoreUnavailable,
    TryAgain,
    shown,
)
from asyncsched._events import RunStarted, RunSucceeded, RunUnsuccessful, RunWaits
from asyncsched._instants import SECOND, to_datetime, to_micros
from asyncsched._jobs import Job, Runnable, arguments_of
from asyncsched._ledger import RunRecord, Verdict
from asyncsched._models import ErrorInfo, Progress
from asyncsched._views import run_view

if TYPE_CHECKING:
    from asyncsched._clock import Now, Timeline
    from asyncsched._hub import Hub
    from asyncsched._spawn import Backend, Task
    from asyncsched._timers import Timer, Timers
    from asyncsched.abc import Clock, Store

logger = logging.getLogger("asyncsched.job")

GRACE = 5.0
"""Seconds that a cancelled attempt has to clean up before its slot is freed without it."""

START_UP = 60.0
"""Seconds that an executor may take to start a worker, beyond the attempt's own timeout."""

RESULT_LIMIT = 64 * 1024
"""Bytes that a result may have as JSON."""

_TRACEBACK_LIMIT = 64 * 1024


class Watcher(Protocol):
    """Watches the event loop while attempts are executed in it."""

    def busy(self) -> None: ...

    def idle(self) -> None: ...


class Live:
    """An attempt that is being executed, and the link through which its code speaks to us."""

    __slots__ = (
        "_runner", "abandoned", "asked", "current", "deadline", "phase", "provided", "run", "runnable",
        "task", "timer",
    )  # fmt: skip

    def __init__(self, runner: Runner, run: RunRecord, runnable: Runnable) -> None:
        self._runner = runner
        self.run = run
        self.runnable = runnable
        self.task: Task | None = None
        self.timer: Timer | None = None
        self.deadline: float | None = None
        self.asked: str | None = None  # why it is to end: timeout, shutdown, fenced, or a person's why
        self.phase = "new"  # then "executing", then "over"
        self.abandoned = False
        self.provided: dict[str, Any] | None = None
        due = run.due if run.slot is None else run.slot
        self.current = CurrentRun(run.id, run.job, due, run.attempt, run.key, self)

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
        if timeout is not None and self.asked is None and self.phase == "executing":
            self._runner.arm(self, timeout / SECOND)

    def cancelled(self) -> bool:
        return self.asked is not None

    def complete_in(self, connection: Any) -> Any:
        return self._runner.complete_in(self, connection)

    # What the scheduler does to it, from the loop.

    def cancel(self, why: str) -> None:
        """Ask the attempt to end; it is given up :data:`GRACE` seconds later."""
        if self.asked is not None or self.phase == "over":
            return
        self.asked = why
        if self.phase == "executing" and self.task is not None:
            self.task.cancel()
        self._runner.give_up_later(self)


class Runner:
    """Executes claimed runs, and records how they end."""

    def __init__(
        self,
        store: Store,
        timeline: Timeline,
        clock: Clock,
        hub: Hub,
        backend: Backend,
        timers: Timers,
        context: Context,
        done: Callable[[RunRecord, Verdict | None], None],
        watcher: Watcher,
    ) -> None:
        self._store = store
        self._timeline = timeline
        self._clock = clock
        self._hub = hub
        self._backend = backend
        self._timers = timers
        self._context = context
        self._done = done
        self._watcher = watcher
        self.live: dict[int, Live] = {}
        self.progressed: Callable[[RunRecord], None] = lambda run: None
        self.on_end: Callable[[RunRecord], None] = lambda run: None
        self.given_up = 0
        self._idle: anyio.Event | None = None
        self.unrecorded: dict[int, RunRecord] = {}  # ended, and not yet in a durable store
        self._last_call = anyio.Event()

    def start(self, run: RunRecord, runnable: Runnable) -> None:
        """Begin an attempt of a run that was claimed."""
        live = Live(self, run, runnable)
        self.live[run.id] = live
        if runnable.in_loop:
            self._watcher.busy()
        if runnable.job.timeout is not None:
            # A process that has to be started first says when the function itself begins.
            spare = START_UP if getattr(runnable.executor, "announces", False) else 0.0
            self.arm(live, runnable.job.timeout / SECOND + spare)
        live.task = self._backend.spawn(self._attempt(live), self._context.copy())

    async def _attempt(self, live: Live) -> None:
        value, error = None, None
        if live.asked is None:
            live.phase = "executing"
            try:
                value = await self._begin(live)
            except BaseException as raised:
                error = raised
        else:
            error = _NeverBegan()
        live.phase = "over"
        if live.abandoned:
            return
        self._leave(live)
        if error is not None and live.asked is None and isinstance(error, anyio.get_cancelled_exc_class()):
            if self._backend.torn_down():
                live.asked = "shutdown"
        if live.asked is None:
            await self._settle(live, value, error)
        else:  # on trio the task stays cancelled, and its record is to be written all the same
            with anyio.CancelScope(shield=True):
                await self._settle(live, value, error)
        if isinstance(error, KeyboardInterrupt):
            raise error

    def _begin(self, live: Live) -> Awaitable[Any]:
        """Set the attempt's context up and return its call: no frame of ours stands around it."""
        _current.set(live.current)
        run, job = live.run, live.runnable.job
        if run.carried:
            for name, value in run.carried.items():
                if name in job.carry:
                    job.carry[name].set(value)
        if self._hub.wants(RunStarted):
            self._hub.emit(RunStarted(to_datetime(run.started_at or 0), run_view(run, job)))
        call: Any = live.runnable.call(live.current)
        if job.policies and not inspect.isawaitable(call):
            raise ConfigurationError(
                f"job {job.name!r}: its policies ({', '.join(map(shown, job.policies))}) returned {shown(call)} "
                "when the call was made; what wrap() returns must be an async function"
            )
        return call  # type: ignore[no-any-return]

    async def _settle(self, live: Live, value: Any, error: BaseException | None) -> None:
        """Record how the attempt ended, then tell whoever waits or listens."""
        run, job, now = live.run, live.runnable.job, self._timeline.now()
        verdict = judge(live, value, error, now)
        if isinstance(error, Exception):
            # Before it is recorded: a handle may see the record before we are told that it stands.
            self._hub.keep(run.id, _leaf(error))
        held = verdict is not None and await self._record(run, verdict, now)
        self._done(run, verdict)
        if not held:
            return
        # The row says what became of it, not the verdict: a cancel may have been asked meanwhile.
        if not run.live:
            self.ended(run, job)
            return
        self._hub.let_go(run.id)
        self._hub.told(run.id)  # that it waits again is a change, too
        if self._hub.wants(RunWaits):
            self._hub.emit(RunWaits(to_datetime(now.wall), run_view(run, job)))

    def ended(self, run: RunRecord, job: Job | None) -> None:
        """Tell whoever waits or listens that a run has its outcome."""
        self.on_end(run)
        self._hub.ended(run.id)
        kind = RunSucceeded if run.state == "succeeded" else RunUnsuccessful
        if self._hub.wants(kind):
            self._hub.emit(kind(to_datetime(self._timeline.now().wall), run_view(run, job)))

    async def _record(self, run: RunRecord, verdict: Verdict, now: Now) -> bool:
        if not self._store.durable:
            return await self._try_record(run, verdict, now)
        self.unrecorded[run.id] = run
        pause = 0.1
        while True:
            try:
                held = await self._try_record(run, verdict, now)
                del self.unrecorded[run.id]
                return held
            except StoreUnavailable as error:
                if self._last_call.is_set():
                    self._give_up_record(run, verdict, error)
                    return False
            # The store is away: the run is over, and only its outcome waits.
            with anyio.move_on_after(pause):
                await self._last_call.wait()
            pause = min(2 * pause, 5.0)

    async def _try_record(self, run: RunRecord, verdict: Verdict, now: Now) -> bool:
        try:
            return await self._store.record(run, verdict, now)
        except StoreUnavailable:
            raise
        except Exception as error:
            self._give_up_record(run, verdict, error)
            return False

    def _give_up_record(self, run: RunRecord, verdict: Verdict, error: Exception) -> None:
        logger.error(
            "run %032x of job %r ended as %s, and the store did not take it: %s",
            run.id, run.job, verdict.state, error, exc_info=not isinstance(error, StoreUnavailable),
            extra={"run_id": f"{run.id:032x}", "job": run.job},
        )  # fmt: skip

    def last_call(self) -> None:
        """Try once more to record what the store has not taken, and then no more."""
        self._last_call.set()

    def _leave(self, live: Live) -> None:
        del self.live[live.run.id]
        if live.runnable.in_loop:
            self._watcher.idle()
        if live.timer is not None:
            live.timer.cancel()
        if self._idle is not None and not self.live:
            self._idle.set()

    async def idle(self) -> None:
        """Wait until nothing is executed here."""
        while self.live:
            if self._idle is None or self._idle.is_set():
                self._idle = anyio.Event()
            await self._idle.wait()

    # ── ending attempts ──────────────────────────────────────────────────────────────────────

    def arm(self, live: Live, seconds: float) -> None:
        """Give the attempt so many seconds from now."""
        if live.timer is not None:
            live.timer.cancel()
        live.deadline = self._clock.monotonic() + seconds
        live.timer = self._timers.at(live.deadline, lambda: self._expire(live))

    def _expire(self, live: Live) -> None:
        """The deadline has come, unless it was extended meanwhile."""
        assert live.deadline is not None
        if live.deadline > self._clock.monotonic():
            live.timer = self._timers.at(live.deadline, lambda: self._expire(live))
        else:
            live.cancel("timeout")

    def give_up_later(self, live: Live) -> None:
        """Free the slot of an attempt that does not end within its grace."""
        if live.timer is not None:
            live.timer.cancel()
        live.timer = self._timers.at(self._clock.monotonic() + GRACE, lambda: self.give_up(live))

    def give_up(self, live: Live) -> None:
        """Record the run without waiting for its code any longer."""
        if live.phase == "over" or live.abandoned:
            return
        live.abandoned = True
        self.given_up += 1
        self._leave(live)
        logger.error(
            "job %r did not end after it was cancelled (%s): its slot is freed and its code, "
            "which swallows cancellation, is left to itself",
            live.run.job, live.asked, extra={"run_id": live.current.id, "job": live.run.job},
        )  # fmt: skip
        error = TimeoutError(f"the attempt did not end within {GRACE:g} s of its cancellation")
        self._backend.spawn(self._settle(live, None, error), self._context.copy())

    def cancel(self, run_id: int, why: str) -> bool:
        """Ask a running attempt to end. Returns whether it is ours."""
        live = self.live.get(run_id)
        if live is not None:
            live.cancel(why)
        return live is not None

    def complete_in(self, live: Live, connection: Any) -> Any:
        """Write the run's success through the user's connection, where the store can."""
        complete = getattr(self._store, "complete_in", None)
        if complete is None:
            raise SchedulerStateError(
                f"job {live.run.job!r}: complete_in() needs a SQLite or PostgreSQL store; "
                "this scheduler keeps its runs in memory"
            )
        return complete(live.run, connection, self._timeline.now())


class _NeverBegan(Exception):
    """The attempt was cancelled before its first step."""


def judge(live: Live, value: Any, error: BaseException | None, now: Now) -> Verdict | None:
    """Return how an attempt ended: the one place where values and exceptions become outcomes.

    ``None`` means that nothing is to be recorded: another instance holds the run now.
    """
    if error is None and value is None and live.asked is None:
        return Verdict("succeeded")  # nearly every run: there is nothing to decide
    if live.asked == "fenced":
        return None
    try:
        return _judged(live, value, error, now)
    except Exception as broken:
        # A retry rule of the user's own, or a delay that is none: the run fails with that, and
        # what the attempt itself had raised stays in sight as its context.
        broken.__context__ = error
        job = live.runnable.job
        logger.exception("job %r: what follows its attempt could not be decided", job.name)
        return Verdict("failed", "retry", error=error_info(broken), pause_after=job.pause_after)


def _judged(live: Live, value: Any, error: BaseException | None, now: Now) -> Verdict:
    job, run, asked = live.runnable.job, live.run, live.asked
    if asked == "timeout":
        late = TimeoutError(
            f"the attempt did not end within its timeout of {(job.timeout or 0) / SECOND:g} s"
        )
        late.__cause__ = error if isinstance(error, Exception) else None
        return _failed(job, run, late, now, "timed_out")
    if error is None:
        return _succeeded(job, value, isinstance(run.arguments, str))
    if asked is not None:
        return _cancelled(job, asked, error, now)
    return _raised(job, run, _leaf(error), now)


def _succeeded(job: Job, value: Any, as_json: bool) -> Verdict:
    if not as_json or value is None:
        return Verdict("succeeded", result=value)
    try:
        text = job.signature.encode_result(value)
        size = len(text.encode())
        if size > RESULT_LIMIT:
            raise ArgumentError(
                f"job {job.name!r}: its result has {size} bytes as JSON, {RESULT_LIMIT} are kept; "
                "write it somewhere and return where"
            )
    except ArgumentError as refused:
        return Verdict("failed", "result", error=error_info(refused), pause_after=job.pause_after)
    return Verdict("succeeded", result=text)


def _cancelled(job: Job, why: str, error: BaseException, now: Now) -> Verdict:
    if why == "shutdown" and (job.retry is not None or isinstance(error, _NeverBegan)):
        return Verdict("pending", why, ready_at=now.steady, spent=False, attempt="released")
    cleanup_failed = isinstance(error, Exception) and not isinstance(error, _NeverBegan)
    return Verdict("cancelled", why, error=error_info(error) if cleanup_failed else None)


def _raised(job: Job, run: RunRecord, error: BaseException, now: Now) -> Verdict:
    if isinstance(error, Discard):
        return Verdict("failed", error.reason, error=error_info(error), pause_after=job.pause_after)
    if isinstance(error, Snooze):
        delay = _delay(error.delay, f"job {job.name!r}: Snooze: delay")
        return Verdict("pending", "snooze", ready_at=now.steady + delay, spent=False, attempt="snoozed")
    if isinstance(error, TryAgain) and error.delay is not None:
        _delay(error.delay, f"job {job.name!r}: TryAgain: delay")
    return _failed(job, run, error, now, "failed")


def _delay(delay: Any, what: str) -> int:
    micros = to_micros(delay, what)
    if micros < 0:
        raise ConfigurationError(f"{what} must not be negative, not {delay}")
    return micros


def _failed(job: Job, run: RunRecord, error: BaseException, now: Now, state: str) -> Verdict:
    info = error_info(error)
    if job.retry is not None and run.attempt < job.attempts:
        began = run.attempts[0].started_at if run.attempts else run.started_at
        delay = job.retry.delay_for(run.id, run.attempt, error, now.wall - (began or now.wall))
        if delay is not None:
            return Verdict("pending", "retry", error=info, ready_at=now.steady + delay, attempt=state)
    return Verdict(state, error=info, pause_after=job.pause_after)


def _leaf(error: BaseException) -> BaseException:
    """Return the only exception in a group of one: a job's own task group wraps what it raises."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def error_info(error: BaseException) -> ErrorInfo:
    """Return an exception as text, its traceback beginning in the job's own code."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    frames = error.__traceback__
    ours = sys.modules[__package__ or "asyncsched"].__path__[0]
    while frames is not None and frames.tb_next and frames.tb_frame.f_code.co_filename.startswith(ours):
        frames = frames.tb_next
    try:
        text = "".join(traceback.format_exception(kind, error, frames))
        message = str(error)
    except Exception as broken:  # an exception whose own text cannot be made
        text = message = f"<{name} whose text raised {type(broken).__name__}>"
    return ErrorInfo(name, message[:4096], text[-_TRACEBACK_LIMIT:])


def invoke(job: Job, executor: Any) -> Any:
    """Return the innermost call of a job's chain: the executor with the run's arguments."""

    def call(current: CurrentRun) -> Any:
        live: Any = current._link
        args, kwargs = arguments_of(live.run, job)
        if live.provided is not None:
            kwargs = {**kwargs, **live.provided}
        return executor.run(current, job.func, args, kwargs)

    return call


def fill(current: CurrentRun, values: dict[str, Any]) -> None:
    """Give the attempt the values of its provided parameters."""
    live: Any = current._link
    live.provided = values
