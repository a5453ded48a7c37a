"""A thread that owns one connection, and the requests that the event loop sends to it.

A caller hands a request over and waits for its future; the thread takes all queued requests, answers them, and
wakes the loop once for the whole batch. Nothing in the loop ever blocks.
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
"""How many requests one batch answers at most, so that waking their callers takes the loop no longer than 1 ms."""

WOKEN = 32
"""How many callers are woken in one turn of the loop."""

HOLD = 0.05
"""Seconds that one batch takes at most, so that a beat never waits for longer."""

WEIGHT = 2048
"""How many rows one batch writes at most; fewer, where the rows of the last batches took longer than ``HOLD``."""

LEAST = 100
"""How many rows one batch may write in any case."""


READING = ("read", "poll")
"""The kinds of request that only read."""


class Request:
    """One request: answered with a result or an error, exactly once."""

    __slots__ = (
        "answered",
        "done",
        "error",
        "expires",
        "kind",
        "late",
        "lost",
        "payload",
        "result",
        "urgent",
        "waiter",
        "weight",
    )

    def __init__(self, kind: str, payload: Any, weight: int, urgent: bool) -> None:
        self.kind = kind
        self.payload = payload
        self.weight = weight
        self.urgent = urgent
        self.result: Any = None
        self.error: BaseException | None = None
        self.late: BaseException | None = (
            None  # the error of an answer that did not come in time; the thread does not touch this
        )
        self.answered = False  # by the thread; the caller may not have been woken yet
        self.done = False
        self.lost = False  # no caller waits for it any more, though the thread may still do it
        self.expires = 0.0
        self.waiter: Future | None = None

    def settle(self) -> None:
        """Wake the caller. In the loop's thread."""
        self.done = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class DatabaseThread:
    """The thread and its queue.

    Args:
        name: the thread's name.
        serve: called in the thread with some requests; fills in their results and errors.
        end: called in the thread when it ends.
        timeout: seconds after which a call without an answer fails.
        clock: the clock; a virtual one stands still while the thread works.

    """

    def __init__(
        self,
        name: str,
        serve: Callable[[list[Request]], None],
        end: Callable[[], None],
        timeout: float,
        clock: Clock,
    ) -> None:
        self._serve = serve
        self._end = end
        self._timeout = timeout
        self._clock = clock
        self._port: Port = current_port()
        self._next: list[Request] = []  # submitted in this turn of the loop, and not handed over yet
        self._expires = 0.0  # the monotonic time at which all of those expire
        self._queue: deque[Request] = deque()
        self._wake: SimpleQueue[bool] = SimpleQueue()
        self._under_way: dict[Request, None] = {}
        self._watching = False
        self._outside: AbstractContextManager[None] | None = None
        self._context = Context()
        self._closing = False
        self.most = WEIGHT
        """How many rows one batch writes at present."""
        self.lost_answers = 0
        """How many calls failed without an answer although their request may have been done."""
        self.trouble = ""
        """The reason why the thread does not answer, in words; for errors and health pages."""
        self._ended = self._port.future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    # ── in the loop ──────────────────────────────────────────────────────────────────────────

    async def submit(self, kind: str, payload: Any, weight: int = 1, urgent: bool = False) -> Any:
        """Have the thread do a request that writes about ``weight`` rows, and return its answer.

        A call that is cancelled before the thread takes the request has no effect; after that the cancellation waits
        for the answer.

        Raises:
            StoreUnavailable: there was no answer in time.

        """
        if self._closing:
            raise StoreUnavailable("the store has been closed")
        request = Request(kind, payload, weight, urgent)
        waiter = request.waiter = self._port.future()
        self._enter(request)
        try:
            await waiter
        except BaseException:
            if not request.done and not self._withdraw(request) and not self._abandon(request):
                with anyio.CancelScope(shield=True):
                    await self._wait_out(request)
            raise
        error = request.late or request.error
        if error is not None:
            try:
                raise error
            finally:
                del request, error  # the traceback refers to this frame
        return request.result

    def _abandon(self, request: Request) -> bool:
        """Stop waiting for a request that only reads, whatever the thread is doing with it."""
        if request.kind not in READING:
            return False
        request.lost = request.done = True
        self._forget(request)
        return True

    async def _wait_out(self, request: Request) -> None:
        """Wait for the answer whatever happens: asyncio's ``cancel()`` ignores the shield."""
        while not request.done:
            waiter = request.waiter = self._port.future()
            try:
                await waiter
            except BaseException:
                pass  # submit() raises the first cancellation in the end

    def _enter(self, request: Request) -> None:
        """Have a request handed over once all tasks of this turn of the loop have submitted theirs."""
        if not self._next:
            self._port.call_next(self._hand_over)
            self._expires = self._clock.monotonic() + self._timeout
        request.expires = self._expires
        if not self._under_way:
            self._outside = self._clock.hold()
            self._context.run(self._outside.__enter__)
        self._under_way[request] = None
        if not self._watching:
            self._watch()
        self._next.append(request)

    def _hand_over(self) -> None:
        """Hand over the requests of one turn, without those whose callers were cancelled."""
        requests, self._next = self._next, []
        for request in requests:
            if request.waiter is not None and request.waiter.cancelled():
                self._forget(request)
                request.done = True
            elif request.urgent:
                self._queue.appendleft(request)
            else:
                self._queue.append(request)
        # The thread empties the queue before it sleeps: it is awake if the queue was not empty before.
        if len(self._queue) <= len(requests):
            self._wake.put(True)

    def _withdraw(self, request: Request) -> bool:
        """Take a request back, unless the thread has taken it."""
        for waiting in (self._next, self._queue):
            try:
                waiting.remove(request)
            except (ValueError, IndexError):  # IndexError: the thread took a request just now
                continue
            self._forget(request)
            return True
        return False

    def _forget(self, request: Request) -> None:
        if self._under_way.pop(request, 0) is None and not self._under_way and self._outside is not None:
            outside, self._outside = self._outside, None
            self._context.run(outside.__exit__, None, None, None)

    def _watch(self) -> None:
        """Set the timer of the next request to expire: one timer for all, as long as there are requests."""
        first = next(iter(self._under_way), None)
        self._watching = first is not None and not self._closing
        if self._watching and first is not None:
            self._port.call_at(first.expires, lambda: self._expire(first.expires))

    def _expire(self, now: float) -> None:
        # The time is not read from the clock: a clock that reads anyio's time has none outside a task.
        for request in [
            request for request in self._under_way if request.expires <= now and not request.answered
        ]:
            begun = not self._withdraw(request)
            done = "; the request may have been done" if begun else "; nothing was done"
            request.late = StoreUnavailable(
                f"the store gave no answer within {self._timeout:g} s"
                + (f" ({self.trouble})" if self.trouble else "")
                + ("" if request.kind in READING else done)
            )
            self._forget(request)
            if begun:
                request.lost = True
                self.lost_answers += 1
            request.settle()
        self._watch()

    def _collect(self, requests: list[Request]) -> None:
        answered = [request for request in requests if not request.lost]
        for request in answered:
            self._forget(request)
        self._settle(answered, 0)

    def _settle(self, requests: list[Request], first: int) -> None:
        """Wake the callers of requests, some in each turn of the loop: the thread goes on with their next requests."""
        for request in requests[first : first + WOKEN]:
            request.settle()
        if first + WOKEN < len(requests):
            self._port.call_next(lambda: self._settle(requests, first + WOKEN))

    async def close(self) -> None:
        """End the thread after the requests that it has been given, waiting at most the timeout."""
        if self._closing:
            return
        self._closing = True
        self._hand_over()
        self._wake.put(False)
        with anyio.CancelScope(shield=True), anyio.move_on_after(self._timeout):
            with self._clock.hold():
                await self._ended
        while self._ended.done() and self._thread.is_alive():
            await cancel_shielded_checkpoint()  # setting the future was its last act: it ends in microseconds
        for request in list(self._under_way):
            request.late = StoreUnavailable("the store was closed before it gave an answer")
            request.lost = True
            self._forget(request)
            request.settle()

    # ── in the thread ────────────────────────────────────────────────────────────────────────

    def take(self) -> list[Request]:
        """Take queued requests, in order. In the thread."""
        taken: list[Request] = []
        weight = 0
        queue = self._queue
        while queue and len(taken) < AT_ONCE and weight < self.most:
            try:
                request = queue.popleft()
            except IndexError:  # withdrawn just now
                break
            taken.append(request)
            weight += request.weight
        return taken

    def _run(self) -> None:
        try:
            go_on = True
            while go_on:
                go_on = self._wake.get()
                while requests := self.take():
                    self._answer(requests)
        finally:
            self._end()
            self._call(lambda: None if self._ended.done() else self._ended.set_result(None))

    def _answer(self, requests: list[Request]) -> None:
        began = time.monotonic()
        try:
            self._serve(requests)
        except BaseException as error:
            for request in requests:
                request.error = request.error or error
        for request in requests:
            request.answered = True
        self._pace(sum(request.weight for request in requests), time.monotonic() - began)
        self._call(lambda: self._collect(requests))

    def _pace(self, rows: int, took: float) -> None:
        """Learn from one batch how many rows the next may write: it falls at once, and rises little by little."""
        if rows >= LEAST:
            fitting = int(rows * HOLD / max(took, 1e-6))
            self.most = max(LEAST, min(fitting, 2 * self.most, WEIGHT))

    def _call(self, callback: Callable[[], object]) -> None:
        try:
            self._port.call_soon(callback)
        except RuntimeError:
            pass  # the loop is closed, and its callers with it
