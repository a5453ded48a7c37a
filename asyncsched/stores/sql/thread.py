"""A thread that owns one connection, and how the event loop asks it for something.

Whoever asks hands a request over and parks; the thread takes all that waits, answers it, and wakes
the loop once for the whole lot. Nothing in the loop ever blocks.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import Context
from queue import SimpleQueue
from typing import Any

import anyio
from anyio.lowlevel import cancel_shielded_checkpoint

from asyncsched._backends.base import Future, Port
from asyncsched._backends.current import current_port
from asyncsched._core.errors import StoreUnavailable
from asyncsched.abc import Clock

AT_ONCE = 512
"""How many requests are answered in one go, so that waking their callers takes the loop no longer than 1 ms."""

WOKEN = 32
"""How many callers are woken in one turn of the loop."""

HOLD = 0.05
"""Seconds that one go takes at most, so that a beat never waits for longer."""

WEIGHT = 2048
"""How many rows one go writes at most: fewer, where those of the last ones took longer than that;"""

LEAST = 100
"""and this many in any case."""


READING = ("read", "look")
"""The kinds of request that change nothing."""


class Ask:
    """One request on its way: answered with a result or an error, exactly once."""

    __slots__ = (
        "answered",
        "done",
        "error",
        "expires",
        "kind",
        "late",
        "lost",
        "request",
        "result",
        "urgent",
        "waiter",
        "weight",
    )

    def __init__(self, kind: str, request: Any, weight: int, urgent: bool) -> None:
        self.kind = kind
        self.request = request
        self.weight = weight
        self.urgent = urgent
        self.result: Any = None
        self.error: BaseException | None = None
        self.late: BaseException | None = None  # there was no answer in time; the thread does not touch this
        self.answered = False  # by the thread, and perhaps not told yet
        self.done = False
        self.lost = False  # nobody waits for it any more, though it may still be done
        self.expires = 0.0
        self.waiter: Future | None = None

    def settle(self) -> None:
        """Wake who waits for it. In the loop's thread."""
        self.done = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Worker:
    """The thread and its queue.

    Args:
        name: what the thread is called.
        serve: called in the thread with some requests; fills in their results and errors.
        end: called in the thread when it ends.
        timeout: seconds after which a caller is told that there is no answer.
        clock: whose virtual time waits for the thread.

    """

    def __init__(
        self,
        name: str,
        serve: Callable[[list[Ask]], None],
        end: Callable[[], None],
        timeout: float,
        clock: Clock,
    ) -> None:
        self._serve = serve
        self._end = end
        self._timeout = timeout
        self._clock = clock
        self._port: Port = current_port()
        self._next: list[Ask] = []  # asked for in this turn of the loop, and not handed over;
        self._expires = 0.0  # and when all of them expire
        self._queue: deque[Ask] = deque()
        self._wake: SimpleQueue[bool] = SimpleQueue()
        self._under_way: dict[Ask, None] = {}
        self._watching = False
        self._outside: AbstractContextManager[None] | None = None
        self._context = Context()
        self._closing = False
        self.most = WEIGHT
        """How many rows one go writes at present."""
        self.unheard = 0
        """How many callers were sent away without an answer to what may have been done."""
        self.trouble = ""
        """What keeps the thread from answering, in words; for errors and health pages."""
        self._ended = self._port.future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    # ── in the loop ──────────────────────────────────────────────────────────────────────────

    async def ask(self, kind: str, request: Any, weight: int = 1, urgent: bool = False) -> Any:
        """Have the thread do something that takes about ``weight`` rows, and return its answer.

        Cancelled before the thread took it: nothing happened. Afterwards the answer is waited for.

        Raises:
            StoreUnavailable: there was no answer in time.

        """
        if self._closing:
            raise StoreUnavailable("the store has been closed")
        ask = Ask(kind, request, weight, urgent)
        waiter = ask.waiter = self._port.future()
        self._enter(ask)
        try:
            await waiter
        except BaseException:
            if not ask.done and not self._withdraw(ask) and not self._abandon(ask):
                with anyio.CancelScope(shield=True):
                    await self._wait_out(ask)
            raise
        error = ask.late or ask.error
        if error is not None:
            try:
                raise error
            finally:
                del ask, error  # the traceback refers to this frame
        return ask.result

    def _abandon(self, ask: Ask) -> bool:
        """Let go of a request that changes nothing, whatever the thread is doing with it."""
        if ask.kind not in READING:
            return False
        ask.lost = ask.done = True
        self._forget(ask)
        return True

    async def _wait_out(self, ask: Ask) -> None:
        """Wait for the answer whatever happens: asyncio's own ``cancel()`` minds no shield."""
        while not ask.done:
            waiter = ask.waiter = self._port.future()
            try:
                await waiter
            except BaseException:
                pass  # the cancellation that we are in already is what is raised in the end

    def _enter(self, ask: Ask) -> None:
        """Have a request handed over once all that run in this turn of the loop have asked for theirs."""
        if not self._next:
            self._port.call_next(self._hand_over)
            self._expires = self._clock.monotonic() + self._timeout
        ask.expires = self._expires
        if not self._under_way:
            self._outside = self._clock.hold()
            self._context.run(self._outside.__enter__)
        self._under_way[ask] = None
        if not self._watching:
            self._watch()
        self._next.append(ask)

    def _hand_over(self) -> None:
        """Hand over what was asked for in one turn, without what was asked for under a cancellation."""
        asks, self._next = self._next, []
        for ask in asks:
            if ask.waiter is not None and ask.waiter.cancelled():
                self._forget(ask)
                ask.done = True
            elif ask.urgent:
                self._queue.appendleft(ask)
            else:
                self._queue.append(ask)
        # The thread empties the queue before it sleeps: it is awake if something was there before.
        if len(self._queue) <= len(asks):
            self._wake.put(True)

    def _withdraw(self, ask: Ask) -> bool:
        """Take a request back, unless the thread has taken it."""
        for waiting in (self._next, self._queue):
            try:
                waiting.remove(ask)
            except (ValueError, IndexError):  # IndexError: the thread took something just now
                continue
            self._forget(ask)
            return True
        return False

    def _forget(self, ask: Ask) -> None:
        if self._under_way.pop(ask, 0) is None and not self._under_way and self._outside is not None:
            outside, self._outside = self._outside, None
            self._context.run(outside.__exit__, None, None, None)

    def _watch(self) -> None:
        """Look after requests that get no answer: one timer for all, as long as there are any."""
        first = next(iter(self._under_way), None)
        self._watching = first is not None and not self._closing
        if self._watching and first is not None:
            self._port.call_at(first.expires, lambda: self._expire(first.expires))

    def _expire(self, now: float) -> None:
        # The clock is not asked: one that anyio tells the time knows none outside a task.
        for ask in [ask for ask in self._under_way if ask.expires <= now and not ask.answered]:
            begun = not self._withdraw(ask)
            done = "; what was asked may have been done" if begun else "; nothing was done"
            ask.late = StoreUnavailable(
                f"the store gave no answer within {self._timeout:g} s"
                + (f" ({self.trouble})" if self.trouble else "")
                + ("" if ask.kind in READING else done)
            )
            self._forget(ask)
            if begun:
                ask.lost = True
                self.unheard += 1
            ask.settle()
        self._watch()

    def _collect(self, asks: list[Ask]) -> None:
        answered = [ask for ask in asks if not ask.lost]
        for ask in answered:
            self._forget(ask)
        self._settle(answered, 0)

    def _settle(self, asks: list[Ask], first: int) -> None:
        """Wake who waits for these, some in each turn of the loop: the thread goes on with what they ask for next."""
        for ask in asks[first : first + WOKEN]:
            ask.settle()
        if first + WOKEN < len(asks):
            self._port.call_next(lambda: self._settle(asks, first + WOKEN))

    async def close(self) -> None:
        """End the thread after what it has been given, and wait for that, at most the timeout."""
        if self._closing:
            return
        self._closing = True
        self._hand_over()
        self._wake.put(False)
        with anyio.CancelScope(shield=True), anyio.move_on_after(self._timeout):
            with self._clock.hold():
                await self._ended
        while self._ended.done() and self._thread.is_alive():
            await cancel_shielded_checkpoint()  # its last act was to say so: it is gone in microseconds
        for ask in list(self._under_way):
            ask.late = StoreUnavailable("the store was closed before it gave an answer")
            ask.lost = True
            self._forget(ask)
            ask.settle()

    # ── in the thread ────────────────────────────────────────────────────────────────────────

    def take(self) -> list[Ask]:
        """Take what waits, in order. In the thread."""
        taken: list[Ask] = []
        weight = 0
        queue = self._queue
        while queue and len(taken) < AT_ONCE and weight < self.most:
            try:
                ask = queue.popleft()
            except IndexError:  # withdrawn just now
                break
            taken.append(ask)
            weight += ask.weight
        return taken

    def _run(self) -> None:
        try:
            go_on = True
            while go_on:
                go_on = self._wake.get()
                while asks := self.take():
                    self._answer(asks)
        finally:
            self._end()
            self._call(lambda: None if self._ended.done() else self._ended.set_result(None))

    def _answer(self, asks: list[Ask]) -> None:
        began = time.monotonic()
        try:
            self._serve(asks)
        except BaseException as error:
            for ask in asks:
                ask.error = ask.error or error
        for ask in asks:
            ask.answered = True
        self._pace(sum(ask.weight for ask in asks), time.monotonic() - began)
        self._call(lambda: self._collect(asks))

    def _pace(self, rows: int, took: float) -> None:
        """Learn from one go how many rows the next may write: fewer at once, more little by little."""
        if rows >= LEAST:
            fitting = int(rows * HOLD / max(took, 1e-6))
            self.most = max(LEAST, min(fitting, 2 * self.most, WEIGHT))

    def _call(self, callback: Callable[[], object]) -> None:
        try:
            self._port.call_soon(callback)
        except RuntimeError:
            pass  # the loop is over, and with it whoever waited
