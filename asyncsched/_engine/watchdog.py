"""The watchdog of the event loop: the log names the job that blocks it, the milliseconds, and the stack.

One daemon thread samples the loop's thread while runs are under way. A loop that waits in its selector is
never woken. A loop that executes code is given a callback; if the callback has not run after the threshold,
samples of the stack show the reason. Without runs, the thread sleeps.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from types import CodeType, FrameType
from typing import Any, NamedTuple, cast

from asyncsched._backends.base import Port
from asyncsched._backends.current import current_port
from asyncsched._core.arguments.functions import unpartial
from asyncsched._core.context import _current
from asyncsched._core.errors import ConfigurationError
from asyncsched._core.records import RunRecord
from asyncsched._engine.frames import base_frame, frames_of, lines_of, waits

logger = logging.getLogger("asyncsched.stall")

OnStall = Callable[[str | None, str | None, int, str], object]
"""Called in the loop with the job (or ``None``), the run's id, the milliseconds, and the stack."""

LINGER = 1.0
"""Seconds for which the thread goes on after the last run, so that it is rarely woken."""

QUIET = 60.0
"""Seconds between two warnings about code outside any job."""

STILL_BLOCKED = 10.0
"""Seconds after which a loop is reported whose callback has not run yet; it may never run."""

SUSPENDED = 1.0
"""Seconds by which this thread must wake too late for the process to count as suspended."""


def _monotonic() -> float:
    # Not schedule time: the machine's clock measures from outside how long the event loop is blocked. Neither
    # the loop's clock nor a virtual one shows that.
    return time.monotonic()


class _Culprit(NamedTuple):
    job: str | None
    run_id: str | None


_UNKNOWN = _Culprit(None, None)


class _Samples:
    """The samples of a blocked loop: how often each job was seen, and its stack."""

    def __init__(self) -> None:
        self.seen: Counter[_Culprit] = Counter()
        self.stacks: dict[_Culprit, str] = {}

    def verdict(self) -> tuple[_Culprit, str]:
        """Return the job that has more than half of the samples, if one has, and the stack of the most frequent one."""
        if not self.seen:
            return _UNKNOWN, ""
        culprit, times = self.seen.most_common(1)[0]
        stack = self.stacks.get(culprit, "")
        return (culprit if times * 2 > self.seen.total() else _UNKNOWN), stack


class StallWatcher:
    """Watches the event loop that it is started in.

    The scheduler calls ``busy()`` when a run begins in the loop and ``idle()`` when it ends.

    Args:
        threshold: seconds that the loop may be blocked without a report.
        enabled: if false, no thread is started.
        on_stall: called in the loop for each stall that is reported.
        run_in: returns the run whose attempt a frame executes, or ``None`` for any other frame.

    """

    def __init__(
        self,
        threshold: float = 0.1,
        *,
        enabled: bool = True,
        on_stall: OnStall | None = None,
        run_in: Callable[[FrameType], RunRecord | None] = lambda frame: None,
    ) -> None:
        if threshold <= 0:
            raise ConfigurationError(f"a stall's threshold must be above 0 seconds, not {threshold}")
        self.threshold = threshold
        self.enabled = enabled
        self.running = 0
        self._on_stall = on_stall
        self._run_in = run_in
        self._jobs: dict[CodeType, str] = {}
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._parked = False
        self._stopping = False
        self._quiet_until = -QUIET

    def register(self, func: Callable[..., Any], job: str) -> None:
        """Remember the job of ``func``, for stacks that show no attempt and no context."""
        code = getattr(unpartial(func), "__code__", None)
        if code is not None:
            self._jobs[code] = job

    def busy(self, runs: int = 1) -> None:
        """Count runs that begin."""
        self.running += runs
        if self._parked:
            self._wake.set()

    def idle(self) -> None:
        """Count a run that has ended."""
        self.running -= 1

    def start(self) -> None:
        """Begin to watch the event loop that the calling task runs in. Idempotent."""
        if not self.enabled or self._thread is not None:
            return
        self._port: Port = current_port()
        self._loop_thread = threading.get_ident()
        self._base = base_frame(sys._getframe(1), self._port.token)
        self._stopping = self._parked = False
        self._wake.clear()
        self._thread = threading.Thread(target=self._watch, name="asyncsched-stall", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End watching, and the thread. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping = True
            self._wake.set()
            thread.join()
            self._base = None

    # In the watching thread.

    def _watch(self) -> None:
        busy_at = _monotonic()
        while not self._stopping:
            now = _monotonic()
            if self.running > 0:
                busy_at = now
                if not self._check():
                    return
            elif now - busy_at > LINGER:
                self._park()
                busy_at = _monotonic()
            self._await(self._wake, self.threshold / 2)
            if not self._stopping:
                self._wake.clear()

    def _check(self) -> bool:
        """Check the loop once. False if the loop is over.

        A check that fails ends no other: whatever a frame or a log filter raises, the next blocking job is
        named.
        """
        try:
            frame = sys._current_frames().get(self._loop_thread)
            return waits(frame, self._base) or self._probe()
        except Exception:
            with suppress(Exception):  # the log itself may have failed
                logger.exception("the stall watcher failed; it goes on")
            return True

    def _await(self, event: threading.Event, seconds: float) -> tuple[bool, float]:
        """Wait for an event; return whether it came, and for how long the whole process was suspended meanwhile.

        After a suspension this thread wakes too late, and the process has used no CPU time. Native code that
        keeps all threads waiting would have used it.
        """
        began, worked = _monotonic(), time.process_time()
        came = event.wait(seconds)
        late = _monotonic() - began - seconds
        if late < SUSPENDED or time.process_time() - worked > late / 2:
            return came, 0.0
        logger.info("the process was suspended for %.1f s, and its event loop with it", late)
        return came, late

    def _park(self) -> None:
        self._parked = True
        # Read again after the flag is set, because busy() counts first and reads the flag then.
        if self.running <= 0 and not self._stopping:
            self._wake.wait()
        self._parked = False

    def _probe(self) -> bool:
        """Give the loop a callback, and report the loop if the callback is late. False if the loop is over."""
        answered = threading.Event()
        answered_at = 0.0

        def answer() -> None:
            nonlocal answered_at
            answered_at = _monotonic()
            answered.set()

        asked_at = _monotonic()
        try:
            self._port.call_soon(answer)
        except RuntimeError:
            return False
        samples = _Samples()
        remind_at = asked_at + STILL_BLOCKED
        while True:
            came, suspended = self._await(answered, self.threshold / 4)
            asked_at += suspended  # no job is to blame for that time
            remind_at += suspended
            if came:
                break
            if self._stopping:
                return False
            self._sample(samples)
            if _monotonic() > remind_at:
                remind_at = float("inf")
                self._report(samples, _monotonic() - asked_at, over=False)
        if answered_at - asked_at > self.threshold:
            self._report(samples, answered_at - asked_at, over=True)
        return True

    def _sample(self, samples: _Samples) -> None:
        """Take a sample. The loop runs on meanwhile, so a frame that has ended may have lost its variables."""
        try:
            self._note(samples)
        except Exception:
            logger.debug("the event loop moved on while its frames were read", exc_info=True)

    def _note(self, samples: _Samples) -> None:
        frames = list(frames_of(sys._current_frames().get(self._loop_thread), self._base))
        culprit = self._culprit(frames)
        samples.seen[culprit] += 1
        if culprit not in samples.stacks and samples.seen[culprit] > 1:
            workers = traceback.StackSummary.extract(lines_of(frames))
            samples.stacks[culprit] = "".join(traceback.format_list(workers)).rstrip()

    def _culprit(self, frames: list[FrameType]) -> _Culprit:
        if (culprit := self._run_of(frames)) is not None:
            return culprit
        for frame in reversed(frames):
            if (job := self._jobs.get(frame.f_code)) is not None:
                return _Culprit(job, None)
        return _UNKNOWN

    def _run_of(self, frames: list[FrameType]) -> _Culprit | None:
        """Return the run of the attempt or the context that the loop executes, as its frames show it."""
        context: object = None
        for frame in frames:
            if (run := self._run_in(frame)) is not None:  # the attempt's frame, which every loop shows
                return _Culprit(run.job, f"{run.id:032x}")
            if frame.f_code.co_name == "_run":
                context = getattr(frame.f_locals.get("self"), "_context", None)
            elif frame.f_code.co_name == "unrolled_run":
                context = getattr(frame.f_locals.get("task"), "context", None)
            if isinstance(context, Context):
                return _culprit_in(context)
        loop = self._port.token.native_token
        if isinstance(loop, asyncio.AbstractEventLoop):  # uvloop, which has no frames of its own
            task: Any = asyncio.current_task(loop)
            if hasattr(task, "get_context"):  # Python 3.12
                return _culprit_in(cast("Context", task.get_context()))
        return None

    def _report(self, samples: _Samples, seconds: float, *, over: bool) -> None:
        culprit, stack = samples.verdict()
        milliseconds = round(seconds * 1000)
        so_far = "" if over else " and still is"
        if culprit.job is not None:
            logger.warning(
                "job %r%s blocked the event loop for %d ms%s; await anyio.to_thread.run_sync(...) for the call that "
                'blocks, or make the job a plain "def", which runs in a thread, and with executor="process" in a '
                "process, for CPU work. It stood at:\n%s",
                culprit.job,
                f" (run {culprit.run_id})" if culprit.run_id else "",
                milliseconds,
                so_far,
                stack,
                extra={"job": culprit.job, "run_id": culprit.run_id},
            )
        elif (now := _monotonic()) >= self._quiet_until:
            self._quiet_until = now + QUIET
            logger.warning(
                "the event loop was blocked for %d ms%s outside any job. It stood at:\n%s",
                milliseconds,
                so_far,
                stack,
            )
        if over and self._on_stall is not None:
            on_stall = self._on_stall
            try:
                self._port.call_soon(lambda: self._tell(on_stall, culprit, milliseconds, stack))
            except RuntimeError:
                return

    def _tell(self, on_stall: OnStall, culprit: _Culprit, milliseconds: int, stack: str) -> None:
        try:
            on_stall(culprit.job, culprit.run_id, milliseconds, stack)
        except Exception:
            logger.exception("the stall watcher's callback failed")


def _culprit_in(context: Context) -> _Culprit | None:
    run = context.get(_current)
    return None if run is None else _Culprit(run.job, run.id)
