"""Names the job that blocks the event loop, the milliseconds, and the line it stands at.

One daemon thread looks at what the loop's thread does while runs are under way. A loop that waits in
its selector is left alone, so that looking never wakes it; one that is at work is asked to answer, and
if it has not after the threshold, its stack says why. With no run under way the thread sleeps.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import Context
from itertools import takewhile
from types import CodeType, FrameType
from typing import Any, NamedTuple, cast

import anyio.lowlevel

from asyncsched._backends.base import Port
from asyncsched._backends.current import current_port
from asyncsched._core.arguments.functions import unpartial
from asyncsched._core.context import _current
from asyncsched._core.errors import ConfigurationError
from asyncsched._core.records import RunRecord

logger = logging.getLogger("asyncsched.stall")

OnStall = Callable[[str | None, str | None, int, str], object]
"""Called in the loop with the job (or ``None``), the run's id, the milliseconds, and the stack."""

LINGER = 1.0
"""Seconds that the thread goes on looking after the last run, so that it is rarely woken."""

QUIET = 60.0
"""Seconds between two warnings about code that is no job's."""

STILL_BLOCKED = 10.0
"""Seconds after which a loop is reported that has not answered yet; it may never."""


SUSPENDED = 1.0
"""Seconds for which this thread must not have come to its turn for the process to count as suspended."""


def _monotonic() -> float:
    # Not schedule time: this measures how long the machine's own event loop stands still, from outside
    # it, so the loop's clock (and a virtual one) could not tell.
    return time.monotonic()


class _Culprit(NamedTuple):
    job: str | None
    run_id: str | None


_NOBODY = _Culprit(None, None)


class _Samples:
    """Who was seen at work while the loop did not answer, how often, and where."""

    def __init__(self) -> None:
        self.seen: Counter[_Culprit] = Counter()
        self.stacks: dict[_Culprit, str] = {}

    def verdict(self) -> tuple[_Culprit, str]:
        """Return whom most of the time goes to. If many had their share, no single one is to blame."""
        if not self.seen:
            return _NOBODY, ""
        culprit, times = self.seen.most_common(1)[0]
        stack = self.stacks.get(culprit, "")
        return (culprit if times * 2 > self.seen.total() else _NOBODY), stack


class StallWatcher:
    """Watches the event loop that it is started in.

    The scheduler calls ``busy()`` when a run begins in the loop and ``idle()`` when it ends.

    Args:
        threshold: seconds that the loop may be blocked unremarked.
        enabled: if false, nothing is watched.
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
        """Remember whose code ``func`` is, for where the stack is all there is to go by."""
        code = getattr(unpartial(func), "__code__", None)
        if code is not None:
            self._jobs[code] = job

    def busy(self) -> None:
        """Count a run that begins."""
        self.running += 1
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
        self._base = _base_frame(sys._getframe(1), self._port.token)
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
                if not self._look():
                    return
            elif now - busy_at > LINGER:
                self._park()
                busy_at = _monotonic()
            self._await(self._wake, self.threshold / 2)
            if not self._stopping:
                self._wake.clear()

    def _look(self) -> bool:
        """Look once at what the loop does. False if the loop is over.

        A look that fails costs that look alone: whatever a frame or a log filter raises, the next blocking
        job is named.
        """
        try:
            return self._waits() or self._ask()
        except Exception:
            with suppress(Exception):  # the log itself may be what failed
                logger.exception("the stall watcher failed; it goes on")
            return True

    def _await(self, event: threading.Event, seconds: float) -> tuple[bool, float]:
        """Wait for an event; return whether it came, and how long the whole process stood still meanwhile.

        That it did shows in this thread: it woke too late, and nothing in the process had worked, as
        native code does that keeps all threads waiting.
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
        # Looked at again only after the flag is up: busy() counts first and looks at the flag then.
        if self.running <= 0 and not self._stopping:
            self._wake.wait()
        self._parked = False

    def _ask(self) -> bool:
        """Ask the loop to answer, and report it if it does not in time. False if the loop is over."""
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
            asked_at += suspended  # which is nobody's doing
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
        """Note where the loop stands. It runs on meanwhile: a frame that has ended may have lost its variables."""
        try:
            self._note(samples)
        except Exception:
            logger.debug("the event loop moved on while its frames were read", exc_info=True)

    def _note(self, samples: _Samples) -> None:
        frames = list(_frames(sys._current_frames().get(self._loop_thread), self._base))
        culprit = self._culprit(frames)
        samples.seen[culprit] += 1
        if culprit not in samples.stacks and samples.seen[culprit] > 1:
            workers = traceback.StackSummary.extract(_lines(frames))
            samples.stacks[culprit] = "".join(traceback.format_list(workers)).rstrip()

    def _waits(self) -> bool:
        """Return whether the loop waits for something to happen."""
        frame = sys._current_frames().get(self._loop_thread)
        if frame is None or frame is self._base:
            return True
        inner = frame
        while frame is not None:
            name = frame.f_code.co_name
            if name == "_run_once":  # asyncio: no handle runs above it
                return inner.f_code.co_name != "_run_once"
            if name == "unrolled_run":  # trio: the frame above it is a task's, or the I/O manager's
                return inner.f_code.co_name == "get_events"
            if name == "_run" and "self" in frame.f_code.co_varnames:
                return False
            inner = frame
            frame = frame.f_back
        return False

    def _culprit(self, frames: list[FrameType]) -> _Culprit:
        if (culprit := self._run_of(frames)) is not None:
            return culprit
        for frame in reversed(frames):
            if (job := self._jobs.get(frame.f_code)) is not None:
                return _Culprit(job, None)
        return _NOBODY

    def _run_of(self, frames: list[FrameType]) -> _Culprit | None:
        """Return the run whose attempt or context the loop is in, as its frames have it at hand."""
        context: object = None
        for frame in frames:
            if (run := self._run_in(frame)) is not None:  # the attempt's frame, which every loop has at hand
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
                'job %r%s blocked the event loop for %d ms%s; give it executor="thread", or "process" '
                "for CPU work. It stood at:\n%s",
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


def _frames(frame: FrameType | None, base: FrameType | None) -> Iterator[FrameType]:
    while frame is not None and frame is not base:
        yield frame
        frame = frame.f_back


def _lines(frames: list[FrameType]) -> Iterator[tuple[FrameType, int]]:
    """Yield the user's frames, outermost first: those within the loop's machinery that are not ours."""
    within = list(takewhile(lambda frame: not _machinery(frame), frames))
    for frame in reversed([frame for frame in within if not _ours(frame)] or within):
        yield frame, frame.f_lineno


def _machinery(frame: FrameType) -> bool:
    """Whether the event loop itself stands here."""
    loop = str(frame.f_globals.get("__name__")).partition(".")[0] in ("asyncio", "trio")
    return loop and frame.f_code.co_name in ("_run_once", "_run", "unrolled_run")


def _ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] == "asyncsched"


def _base_frame(frame: FrameType | None, token: anyio.lowlevel.EventLoopToken) -> FrameType | None:
    """Return uvloop's frame that is on top while it waits: it has no frames of its own in between."""
    if not type(token.native_token).__module__.startswith("uvloop"):
        return None
    ran = 0x80 | 0x20 | 0x200 | 0x100  # coroutines and generators, async and iterable ones too
    while frame is not None and frame.f_code.co_flags & ran:
        frame = frame.f_back
    return frame
